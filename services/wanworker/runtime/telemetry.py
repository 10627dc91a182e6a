"""Traces and metrics leave the process here, set up from the standard `OTEL_*` variables.

Nothing is exported, no SDK is imported and no thread is started unless an endpoint is named.
"""

import logging
import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from opentelemetry import metrics, trace

from wanworker.runtime.settings import ServiceSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.resources import Resource

_LOG = logging.getLogger("wanworker.runtime")
_FLUSH_SECONDS = 5.0


class Telemetry:
    """The providers that a process has started."""

    def __init__(self) -> None:
        """Starts with none."""
        self._stack = ExitStack()
        self.metrics_port: int | None = None
        """Port of the Prometheus endpoint; None if there is none."""

    def on_shutdown(self, callback: Callable[[], object]) -> None:
        """Has `callback` called by `shutdown`, latest first."""
        self._stack.callback(callback)

    def shutdown(self) -> None:
        """Exports what is still waiting and stops the exporters' threads. Calling it twice is fine.

        Gives up after 5 s: exporters go on trying for longer when their collector is down.
        """
        # A daemon, so that what hangs in it does not hold up the interpreter's end.
        flushing = threading.Thread(target=self._stack.close, name="telemetry-shutdown", daemon=True)
        flushing.start()
        flushing.join(_FLUSH_SECONDS)
        if flushing.is_alive():
            _LOG.warning("gave up on exporting the last spans and metrics after %.0f s", _FLUSH_SECONDS)


def setup_telemetry(service: str, settings: ServiceSettings) -> Telemetry:
    """Sets the process's tracer and meter providers. Call it once, before the first call is served.

    Traces go over OTLP/gRPC if `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` names a
    collector, metrics likewise (`…_METRICS_ENDPOINT`), and to a Prometheus endpoint if
    `settings.metrics_port` is set. `OTEL_SDK_DISABLED=true` switches all of it off,
    `OTEL_TRACES_EXPORTER=none` and `OTEL_METRICS_EXPORTER=none` the one or the other's OTLP export.
    Everything else (headers, sampler, resource attributes, …) is read by the SDK itself.

    Args:
        service: `service.name` unless `OTEL_SERVICE_NAME` says otherwise, for example `wanworker-gateway`.
        settings: Host and port of the Prometheus endpoint.

    Raises:
        OSError: The Prometheus port is taken.
    """
    telemetry = Telemetry()
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return telemetry
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    if protocol != "grpc":
        _LOG.warning("OTEL_EXPORTER_OTLP_PROTOCOL=%s is not supported: exporting over grpc", protocol)
    if _exports("TRACES"):
        _start_traces(telemetry, _resource(service))
    if _exports("METRICS") or settings.metrics_port is not None:
        _start_metrics(telemetry, _resource(service), settings)
    return telemetry


def _exports(signal: str) -> bool:
    """Whether a signal has somewhere to go over OTLP."""
    if os.environ.get(f"OTEL_{signal}_EXPORTER", "otlp").strip() == "none":
        return False
    variables = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    return any(os.environ.get(name, "").strip() for name in variables)


def _resource(service: str) -> "Resource":
    from opentelemetry.sdk.resources import Resource

    attributes = {"service.namespace": "wanworker", "service.version": _version()}
    # Resource.create lets OTEL_RESOURCE_ATTRIBUTES fill in, but arguments win: the name is given only if
    # nobody else does.
    named = "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    if not named and not os.environ.get("OTEL_SERVICE_NAME"):
        attributes["service.name"] = service
    return Resource.create(attributes)


def _version() -> str:
    try:
        return version("wanworker")
    except PackageNotFoundError:
        return "0+unknown"


def _start_traces(telemetry: Telemetry, resource: "Resource") -> None:
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    telemetry.on_shutdown(provider.shutdown)


def _start_metrics(telemetry: Telemetry, resource: "Resource", settings: ServiceSettings) -> None:
    from opentelemetry.sdk.metrics import MeterProvider

    readers: list[MetricReader] = []
    if _exports("METRICS"):
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

        readers.append(PeriodicExportingMetricReader(OTLPMetricExporter()))
    if settings.metrics_port is not None:
        readers.append(_serve_prometheus(telemetry, settings.metrics_host, settings.metrics_port))
    provider = MeterProvider(readers, resource, shutdown_on_exit=False)
    metrics.set_meter_provider(provider)
    telemetry.on_shutdown(provider.shutdown)


def _serve_prometheus(telemetry: Telemetry, host: str, port: int) -> "MetricReader":
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from prometheus_client import start_http_server

    server, thread = start_http_server(port, host)
    telemetry.metrics_port = server.server_port
    telemetry.on_shutdown(thread.join)
    telemetry.on_shutdown(server.server_close)
    telemetry.on_shutdown(server.shutdown)
    _LOG.info("metrics on http://%s:%d/metrics", host, server.server_port)
    return PrometheusMetricReader()

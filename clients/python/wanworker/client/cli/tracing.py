"""Spans of the command line: exported when the environment names a collector and the extra `tracing` is
installed."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from wanworker.client._version import __version__

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def _wanted() -> bool:
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return not disabled and any(os.environ.get(name) for name in _ENDPOINTS)


@contextmanager
def root_span(name: str) -> Iterator[Callable[[int], None]]:
    """Holds a span open around a command; what it yields takes the exit code. Flushes on the way out."""
    if not _wanted():
        yield lambda code: None
        return
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        yield lambda code: None
        return
    service = os.environ.get("OTEL_SERVICE_NAME", "wanworker-cli")
    provider = TracerProvider(resource=Resource.create({"service.name": service, "service.version": __version__}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=5)))
    # Not made the process's own: propagation follows the active span, and tests run many commands in a
    # process.
    tracer = provider.get_tracer("wanworker.cli", __version__)
    try:
        with tracer.start_as_current_span(name, kind=trace.SpanKind.INTERNAL) as span:

            def finish(code: int) -> None:
                span.set_attribute("process.exit.code", code)
                if code:
                    span.set_status(trace.Status(trace.StatusCode.ERROR, f"exit code {code}"))

            yield finish
    finally:
        provider.shutdown()

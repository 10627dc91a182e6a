"""Telemetry that is off costs nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys, threading
from wanworker.runtime.settings import ServiceSettings
from wanworker.runtime.telemetry import setup_telemetry
from opentelemetry import metrics, propagate, trace
telemetry = setup_telemetry("test", ServiceSettings({values}))
print(type(trace.get_tracer_provider()).__module__, type(metrics.get_meter_provider()).__module__)
print(threading.active_count(), any(name.startswith("opentelemetry.sdk.trace") for name in sys.modules))
resource = getattr(trace.get_tracer_provider(), "resource", None)
print(resource and resource.attributes["service.name"])
caller = propagate.extract({{"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"}})
tracer = trace.get_tracer("test")
print(*(tracer.start_span("x", context).is_recording() for context in (None, caller)))
telemetry.shutdown()
telemetry.shutdown()
print(threading.active_count())
"""
OFF = """
import asyncio
from opentelemetry import propagate, trace
from tests.support.runtime import FakeEnhancer, FakeService, call, running
from grpc.aio import insecure_channel

async def main():
    seen = []

    async def action(context):
        carrier = {}
        propagate.inject(carrier)
        seen.append(carrier.get("traceparent"))

    async with running(FakeService(FakeEnhancer(action))) as served, insecure_channel(served.server.address) as plain:
        await call(plain, "unary")
        await call(plain, "unary", metadata=(("traceparent", "00-" + "1" * 32 + "-" + "2" * 16 + "-01"),))
    print(*seen, type(trace.get_tracer_provider()).__name__)

asyncio.run(main())
"""
COLLECTOR = "http://127.0.0.1:1"


def test_while_tracing_is_off_a_caller_s_context_is_passed_on() -> None:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    sources = os.pathsep.join((str(ROOT / "services"), str(ROOT / "clients/python"), str(ROOT)))
    done = subprocess.run(
        [sys.executable, "-c", OFF],
        env={**inherited, "PYTHONPATH": sources},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["None", f"00-{'1' * 32}-{'2' * 16}-01", "ProxyTracerProvider"]


def started(values: str = "", **environment: str) -> list[str]:
    """What a fresh process says after `setup_telemetry`."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    sources = os.pathsep.join((str(ROOT / "services"), str(ROOT / "clients/python")))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(values=values)],
        env={**inherited, "PYTHONPATH": sources, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR},
        {
            "OTEL_TRACES_EXPORTER": "none",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR,
        },
    ],
)
def test_without_an_endpoint_there_is_no_sdk_and_no_thread(environment: dict[str, str]) -> None:
    providers, threads_and_sdk, *_ = started(**environment)
    assert "sdk" not in providers
    assert threads_and_sdk == "1 False"


def test_a_traces_endpoint_starts_traces_only() -> None:
    providers, _, name, _, threads = started(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=COLLECTOR)
    assert providers == "opentelemetry.sdk.trace opentelemetry.metrics._internal"
    assert (name, threads) == ("test", "1")


def test_an_endpoint_starts_both_and_shutdown_ends_their_threads() -> None:
    providers, _, _, _, threads = started(OTEL_EXPORTER_OTLP_ENDPOINT=COLLECTOR)
    assert providers == "opentelemetry.sdk.trace opentelemetry.sdk.metrics._internal"
    assert threads == "1"


def test_a_metrics_port_starts_metrics_only() -> None:
    providers, _, _, _, threads = started("metrics_port=0")
    assert providers == "opentelemetry.trace opentelemetry.sdk.metrics._internal"
    assert threads == "1"


@pytest.mark.parametrize(
    "environment",
    [{"OTEL_SERVICE_NAME": "mine"}, {"OTEL_RESOURCE_ATTRIBUTES": "service.name=mine,region=here"}],
)
def test_the_environment_names_the_service(environment: dict[str, str]) -> None:
    assert started(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=COLLECTOR, **environment)[2] == "mine"


@pytest.mark.parametrize(
    ("environment", "recorded"),
    [
        ({}, "True True"),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, "False False"),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}, "False False"),
        # The caller has decided already.
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}, "False True"),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, "False True"),
    ],
)
def test_the_standard_variables_choose_the_sampler(environment: dict[str, str], recorded: str) -> None:
    assert started(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=COLLECTOR, **environment)[3] == recorded

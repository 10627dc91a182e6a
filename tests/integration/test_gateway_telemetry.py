"""One trace from the caller to the generator, and across a restart."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.support.gateway import running_system, until
from tests.support.runtime import recorded_spans
from wanworker.runtime.channel import open_channel
from wanworker.v1 import gateway_pb2 as pb
from wanworker.v1 import gateway_pb2_grpc


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """The spans of this process."""
    with recorded_spans() as exporter:
        yield exporter


def by_name(spans: InMemorySpanExporter, trace_id: int) -> dict[str, ReadableSpan]:
    """The spans of one trace."""
    return {
        span.name: span
        for span in spans.get_finished_spans()
        if span.context is not None and span.context.trace_id == trace_id
    }


async def test_a_job_is_one_trace_from_the_call_to_the_generator(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    async with running_system(tmp_path / "data") as system:
        channel = open_channel(system.server.address)  # type: ignore[union-attr]
        stub: Any = gateway_pb2_grpc.GatewayServiceStub(channel)
        with trace.get_tracer("test").start_as_current_span("caller") as caller:
            request = pb.CreateJobRequest(spec=pb.JobSpec(prompt="a cat"))
            job = (await stub.CreateJob(request)).job
        trace_id = caller.get_span_context().trace_id
        await system.finished(job.id)
        await until(lambda: "job" in by_name(spans, trace_id))
        await channel.close()
    found = by_name(spans, trace_id)
    assert job.trace_id == f"{trace_id:032x}"
    assert {"job", "enhance", "queue", "attempt", "store"} <= set(found)
    parent = found["job"].context
    assert parent is not None
    for name in ("enhance", "queue", "attempt", "store"):
        assert found[name].parent is not None, name
        assert found[name].parent.span_id == parent.span_id, name  # type: ignore[union-attr]
    (headers,) = system.generator.metadata
    assert headers["traceparent"].split("-")[1] == job.trace_id


async def test_a_rung_and_a_warning_are_events_of_the_attempt(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    async with running_system(tmp_path / "data") as system:
        system.generator.fits = lambda settings: settings.memory.tiled_decode
        system.generator.statistics.mean_luma = 0.0
        await system.finished((await system.create()).id)
        await until(lambda: any(span.name == "job" for span in spans.get_finished_spans()))
    events = {
        span.name: [(event.name, dict(event.attributes or {})) for event in span.events]
        for span in spans.get_finished_spans()
    }
    assert ("enhancer_unload", {"outcome": "unloaded"}) in events["attempt"]
    assert ("degradation", {"rung": "spare_memory", "wanworker.attempt": 0}) in events["attempt"]
    reasons = [attributes["wanworker.reason"] for name, attributes in events["store"] if name == "warning"]
    assert "BLACK_FRAMES" in reasons


async def test_a_job_keeps_its_trace_over_a_restart(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    async with running_system(tmp_path / "data") as system:
        system.generator.gate = asyncio.Event()
        channel = open_channel(system.server.address)  # type: ignore[union-attr]
        stub: Any = gateway_pb2_grpc.GatewayServiceStub(channel)
        with trace.get_tracer("test").start_as_current_span("caller"):
            job = (await stub.CreateJob(pb.CreateJobRequest(spec=pb.JobSpec(prompt="a cat")))).job
        await until(lambda: len(system.generator.requests) == 1)
        await channel.close()
        await system.stop()
        system.generator.gate.set()
        await system.start()
        await system.finished(job.id)
    assert [headers["traceparent"].split("-")[1] for headers in system.generator.metadata] == [job.trace_id] * 2

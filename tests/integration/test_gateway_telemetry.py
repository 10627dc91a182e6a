"""One trace from the caller to the generator, and across a restart."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from tests.support.gateway import Failure, running_system, until
from tests.support.runtime import recorded_spans
from wanworker.gateway import steps
from wanworker.runtime.channel import open_channel
from wanworker.runtime.logging import JsonFormatter
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
    mine = [
        span for span in spans.get_finished_spans() if span.context and span.context.trace_id == int(job.trace_id, 16)
    ]
    first, second = (span for span in mine if span.name == "attempt")
    taken_up = [span for span in mine if span.name == "job"][-1]
    assert first.context is not None
    for span in (second, taken_up):
        (link,) = span.links
        assert (link.context.trace_id, link.context.span_id) == (first.context.trace_id, first.context.span_id)
        assert dict(link.attributes or {}) == {"wanworker.link": "previous_attempt"}
    assert not first.links


async def test_an_attempt_that_is_made_again_is_an_event_and_a_link(
    tmp_path: Path, spans: InMemorySpanExporter
) -> None:
    async with running_system(tmp_path / "data") as system:
        system.generator.failures = [Failure(grpc.StatusCode.UNAVAILABLE, "STARTING")]
        await system.finished((await system.create()).id)
        await until(lambda: any(span.name == "job" for span in spans.get_finished_spans()))
    first, second = (span for span in spans.get_finished_spans() if span.name == "attempt")
    retries = [dict(event.attributes or {}) for event in first.events if event.name == "retry"]
    assert retries == [{"wanworker.reason": "STARTING", "waits": 0}]
    assert [link.context.span_id for link in second.links] == [first.context and first.context.span_id]
    assert not [event for event in second.events if event.name == "retry"]
    assert (first.status.status_code, second.status.status_code) == (StatusCode.ERROR, StatusCode.UNSET)


async def test_a_failed_job_is_a_failed_span(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    async with running_system(tmp_path / "data") as system:
        system.generator.failures = [Failure(grpc.StatusCode.INVALID_ARGUMENT, "BAD_SEED", "no such seed")]
        await system.finished((await system.create()).id)
        await until(lambda: any(span.name == "job" for span in spans.get_finished_spans()))
    (job,) = (span for span in spans.get_finished_spans() if span.name == "job")
    (attempt,) = (span for span in spans.get_finished_spans() if span.name == "attempt")
    assert job.status.status_code is attempt.status.status_code is StatusCode.ERROR
    assert job.status.description == "no such seed"
    assert "no such seed" in (attempt.status.description or "")
    assert (job.attributes or {})["wanworker.job.state"] == "FAILED"


@pytest.mark.parametrize("deadline", [None, 1.0])
async def test_a_job_that_is_cancelled_or_out_of_time_is_a_failed_span(
    tmp_path: Path, spans: InMemorySpanExporter, deadline: float | None
) -> None:
    async with running_system(tmp_path / "data") as system:
        system.generator.gate = asyncio.Event()
        call = system.stub.RunJob(pb.RunJobRequest(spec=pb.JobSpec(prompt="a cat")), timeout=deadline)
        job_id = (await call.read()).event.snapshot.id
        await until(lambda: len(system.generator.requests) == 1)
        if deadline is None:
            call.cancel()
        assert (await system.finished(job_id)).state == pb.JOB_STATE_CANCELLED
        await until(lambda: any(span.name == "job" for span in spans.get_finished_spans()))
    (job,) = (span for span in spans.get_finished_spans() if span.name == "job")
    (attempt,) = (span for span in spans.get_finished_spans() if span.name == "attempt")
    assert job.status.status_code is attempt.status.status_code is StatusCode.ERROR
    assert (job.attributes or {})["wanworker.job.state"] == "CANCELLED"


async def test_log_lines_carry_the_trace_of_their_job(
    tmp_path: Path, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug in the middle of the work")

    monkeypatch.setattr(steps, "grade", broken)
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonFormatter("test"))
    logger = logging.getLogger("wanworker")
    level = logger.level
    logger.setLevel("INFO")
    logger.addHandler(handler)
    try:
        async with running_system(tmp_path / "data") as system:
            job = await system.finished((await system.create()).id)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert job.failure.metadata["trace_id"] == job.trace_id
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    (call,) = (line for line in lines if line.get("method") == "wanworker.v1.GatewayService/CreateJob")
    (bug,) = (line for line in lines if "a bug in the middle" in line.get("exception", ""))
    assert call["trace_id"] == bug["trace_id"] == job.trace_id

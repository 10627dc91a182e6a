"""Waiting, leaving, deadlines, shutting down: the device is never held for nobody."""

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
import pytest_asyncio
from opentelemetry import trace

from tests.support.generator import (
    RunningGenerator,
    copied_checkpoint,
    failure,
    generate_request,
    generation_settings,
    running_generator,
    watched_forwards,
)
from tests.support.runtime import recorded_spans
from wanworker.runtime import names
from wanworker.v1 import generator_pb2, types_pb2


@pytest_asyncio.fixture
async def generator() -> AsyncIterator[RunningGenerator]:
    async with running_generator(preload=True, warm_up_job=False, queue_limit=2, concurrent_jobs=1) as running:
        yield running


@dataclass
class Gate:
    """Holds the job's thread at a chosen forward until it is opened."""

    at: int
    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def __call__(self, number: int) -> None:
        if number == self.at:
            self.reached.set()
            assert self.opened.wait(20)


@contextmanager
def opened_at_last(gate: Gate) -> Iterator[Gate]:
    try:
        yield gate
    finally:
        gate.opened.set()


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)


def is_idle(generator: RunningGenerator) -> Callable[[], bool]:
    return lambda: generator.runner.queue.running == 0 and generator.runner.queue.waiting == 0


async def test_a_caller_that_leaves_stops_the_device_within_a_step(generator: RunningGenerator) -> None:
    alone = await generator.file()

    with opened_at_last(Gate(at=3)) as gate, watched_forwards(generator.engine, gate) as forwards:
        call = generator.stub.Generate(generate_request(steps=50, frames=9))
        reader = asyncio.ensure_future(_read(call))
        await until(gate.reached.is_set)  # in the second of 50 steps
        call.cancel()
        await asyncio.wait((reader,))
        await until(lambda: all(each.cancelled for each in generator.runner._controls))
        gate.opened.set()
        await until(is_idle(generator))
        begun = forwards.count
        gc.collect()
        kept = [reference for reference in forwards.latents if reference() is not None]

    assert begun == 4  # the step's second forward still ran, no third step began
    assert kept == []
    assert await generator.file() == alone


async def test_a_deadline_stops_the_device_within_a_step(generator: RunningGenerator) -> None:
    alone = await generator.file()

    with opened_at_last(Gate(at=3)) as gate, watched_forwards(generator.engine, gate) as forwards:
        found = await failure(generator.stub.Generate(generate_request(steps=50), timeout=1.0))
        await until(lambda: all(each.cancelled for each in generator.runner._controls))
        gate.opened.set()
        await until(is_idle(generator))

    assert found.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert forwards.count == 4
    assert await generator.file() == alone


async def test_a_caller_that_leaves_during_decoding_stops_it(generator: RunningGenerator) -> None:
    alone = await generator.file()
    decoder = generator.engine._models["demo"].vae.decoder
    pieces = 0
    call = generator.stub.Generate(generate_request(frames=17, steps=1))

    def leave(*_: Any) -> None:
        nonlocal pieces
        pieces += 1
        if pieces == 2:
            loop.call_soon_threadsafe(call.cancel)
            deadline = time.monotonic() + 10
            while not all(each.cancelled for each in generator.runner._controls):
                assert time.monotonic() < deadline
                time.sleep(0.005)

    loop = asyncio.get_running_loop()
    hook = decoder.register_forward_pre_hook(leave)
    with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
        await _read(call)
    await until(is_idle(generator))
    hook.remove()

    assert pieces == 2
    assert await generator.file() == alone


async def test_jobs_wait_in_line_and_the_line_ends_somewhere(generator: RunningGenerator) -> None:
    with opened_at_last(Gate(at=1)) as gate, watched_forwards(generator.engine, gate):
        running = asyncio.ensure_future(generator.generate())
        await until(gate.reached.is_set)
        video = asyncio.ensure_future(generator.generate(seed=1))
        await until(lambda: generator.runner.queue.waiting == 1)
        other = asyncio.ensure_future(generator.generate(seed=2))
        await until(lambda: generator.runner.queue.waiting == 2)
        full = await failure(generator.stub.Generate(generate_request()))
        status = await asyncio.wait_for(generator.stub.GetStatus(generator_pb2.GeneratorServiceGetStatusRequest()), 2)
        await generator.stub.Estimate(generator_pb2.EstimateRequest(settings=generation_settings()), timeout=2)
        still = asyncio.ensure_future(generator.generate(frames=1))
        await until(lambda: generator.runner.queue.running == 2)  # videos are no reason for a still to wait
        gate.opened.set()
        await running
        done, _ = await asyncio.wait((video, still), return_when=asyncio.FIRST_COMPLETED)
        second = await other

    assert (full.code, full.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
    assert full.retry_after_seconds
    assert (status.running, status.queued, status.queue_limit) == (1, 2, 2)
    assert done == {still}  # stills go first
    positions = [event.queued.position for event in second.events if event.HasField("queued")]
    assert positions == [1, 0]


async def test_a_caller_that_leaves_the_line_makes_room(generator: RunningGenerator) -> None:
    with opened_at_last(Gate(at=1)) as gate, watched_forwards(generator.engine, gate):
        running = asyncio.ensure_future(generator.generate())
        await until(gate.reached.is_set)
        calls = [generator.stub.Generate(generate_request(seed=seed)) for seed in (1, 2)]
        readers = [asyncio.ensure_future(_read(call)) for call in calls]
        await until(lambda: generator.runner.queue.waiting == 2)
        calls[0].cancel()
        await until(lambda: generator.runner.queue.waiting == 1)
        gate.opened.set()
        await running
        await asyncio.wait(readers)

    assert readers[0].cancelled() or readers[0].exception() is not None
    assert readers[1].result()[-1].HasField("completed")


async def test_draining_ends_the_running_job_and_turns_the_others_away() -> None:
    async with running_generator(preload=True, warm_up_job=False, concurrent_jobs=1) as generator:
        with opened_at_last(Gate(at=1)) as gate, watched_forwards(generator.engine, gate):
            running = asyncio.ensure_future(generator.generate())
            await until(gate.reached.is_set)
            waiting = asyncio.ensure_future(failure(generator.stub.Generate(generate_request(seed=1))))
            await until(lambda: generator.runner.queue.waiting == 1)
            stopping = asyncio.ensure_future(generator.server.stop())
            refused = await waiting
            gate.opened.set()
            finished = await running
            await stopping

    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
    assert finished.completed.size_bytes == len(finished.file)


async def test_what_does_not_end_within_the_grace_is_stopped() -> None:
    async with running_generator(preload=True, warm_up_job=False, shutdown_grace_seconds=0.2) as generator:
        with watched_forwards(generator.engine, lambda _: time.sleep(0.02)) as forwards:
            call = asyncio.ensure_future(failure(generator.stub.Generate(generate_request(steps=200))))
            await until(lambda: forwards.count > 2)
            await generator.server.stop()
            found = await call

    assert found.code in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
    assert forwards.count < 400  # all of its steps, each with guidance


async def test_spans_of_a_job_hang_under_the_call(generator: RunningGenerator) -> None:
    with recorded_spans() as recorded:
        tracer = trace.get_tracer("test")
        with tracer.start_as_current_span("caller") as caller:
            await generator.generate()
        spans = {span.name: span for span in recorded.get_finished_spans()}

    stages = [names.SPAN_ENCODE_TEXT, names.SPAN_DENOISE, names.SPAN_DECODE, names.SPAN_MUX]
    assert set(stages) <= set(spans)
    for name in stages:
        assert spans[name].context is not None
        assert spans[name].context.trace_id == caller.get_span_context().trace_id
    parents = {parent.span_id for name in stages if (parent := spans[name].parent)}
    assert len(parents) == 1
    denoise = spans[names.SPAN_DENOISE]
    events = [event for event in denoise.events if event.name == names.EVENT_STEP]
    assert [event.attributes[names.ATTR_STEP] for event in events if event.attributes] == [1, 2, 3]
    durations = [float(str(event.attributes[names.ATTR_SECONDS])) for event in events if event.attributes]
    assert denoise.end_time is not None
    assert denoise.start_time is not None
    assert 0 < sum(durations) <= (denoise.end_time - denoise.start_time) / 1e9


async def test_a_prompt_that_is_known_already_is_an_event(generator: RunningGenerator) -> None:
    await generator.generate()
    with recorded_spans() as recorded:
        await generator.generate()
        (encoding,) = (span for span in recorded.get_finished_spans() if span.name == names.SPAN_ENCODE_TEXT)
    hits = [dict(event.attributes or {}) for event in encoding.events if event.name == names.EVENT_CACHE_HIT]
    # The prompt and the negative one.
    assert hits == [{names.ATTR_CACHE: "prompt"}] * 2


async def test_status_lists_models_and_device(generator: RunningGenerator) -> None:
    status = await generator.stub.GetStatus(generator_pb2.GeneratorServiceGetStatusRequest())

    models = {model.name: model for model in status.models}
    demo = models["demo"]
    assert (demo.loaded, demo.available, demo.is_default) == (True, True, True)
    assert demo.revision.startswith("sha256:")
    assert generator_pb2.MODEL_CAPABILITY_IMAGE_TO_VIDEO in demo.capabilities
    assert not models["wan2.1-t2v-14b"].available
    assert status.device == "cpu"
    assert 0 < status.free_memory_bytes < status.total_memory_bytes


async def test_estimates_are_made_of_what_jobs_took(generator: RunningGenerator) -> None:
    request = generator_pb2.EstimateRequest(settings=generation_settings(steps=12))
    runs = [(await generator.generate(steps=12)).completed for _ in range(3)]
    estimate = (await generator.stub.Estimate(request)).estimate

    assert estimate.fits
    assert [each.stage for each in estimate.stages] == [each.stage for each in runs[-1].stages]
    took = [{each.stage: each.duration.ToNanoseconds() for each in run.stages} for run in runs]
    for each in estimate.stages:
        if each.stage in (types_pb2.STAGE_DECODING, types_pb2.STAGE_MUXING):  # whose every second counts as it is
            seen = [stages[each.stage] for stages in took]
            assert min(seen) <= each.duration.ToNanoseconds() <= max(seen)


async def test_warm_up_loads_the_default_model_and_learns_its_speed() -> None:
    async with running_generator(preload=True, warm_up_job=True) as generator:
        progress = (await generator.generate(frames=1)).progress

    assert progress[0].stage == types_pb2.STAGE_ENCODING_TEXT
    assert progress[0].HasField("eta")


async def test_a_second_model_takes_the_place_of_the_first() -> None:
    folder = copied_checkpoint()
    async with running_generator(model_paths={"wan2.1-t2v-1.3b": folder}) as generator:
        first = await generator.file()
        other = await generator.generate(model="wan2.1-t2v-1.3b")
        loaded = list(generator.engine.loaded())
        again = await generator.file()

    assert loaded == ["wan2.1-t2v-1.3b"]
    assert other.completed.settings.flow_shift == 3.0
    assert again == first


async def _read(call: Any) -> list[Any]:
    return [event async for event in call]

"""Waiting, cancelling and watching, on both databases."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support.gateway import Failure, System, each_store, running_system, until
from wanworker.v1 import gateway_pb2 as pb

STILL = pb.JOB_TYPE_IMAGE_FAST
UNAVAILABLE = Failure(grpc.StatusCode.UNAVAILABLE, "DEVICE_LOST")


@pytest.fixture(params=["sqlite", "postgres"], autouse=True)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """Every test is run on both databases."""
    yield from each_store(request.param, tmp_path / "database")


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    """A gateway that works on one job at a time; the generator waits for its gate."""
    async with running_system(tmp_path / "data", max_concurrent_jobs=1, still_head_start_seconds=2.0) as running:
        running.generator.gate = asyncio.Event()
        yield running


async def create(system: System, prompt: str, **spec: Any) -> pb.Job:
    """A job that goes straight to the generator."""
    return await system.create(prompt=prompt, enhance=False, **spec)


async def cancel(system: System, job_id: str) -> pb.Job:
    """What CancelJob answers."""
    job: pb.Job = (await system.stub.CancelJob(pb.CancelJobRequest(job_id=job_id))).job
    return job


async def test_a_video_is_not_starved_by_stills_that_keep_coming(system: System) -> None:
    jobs = [await create(system, "running")]
    await until(lambda: len(system.generator.requests) == 1)
    jobs.append(await create(system, "video"))
    jobs.append(await create(system, "early still", job_type=STILL))
    await asyncio.sleep(3.1)
    jobs.append(await create(system, "late still", job_type=STILL))
    assert [(await system.get(job.id)).progress.queue_position for job in jobs[1:]] == [1, 0, 2]
    system.generator.gate.set()  # type: ignore[union-attr]
    for job in jobs:
        await system.finished(job.id)
    prompts = [request.prompt for request in system.generator.requests]
    assert prompts == ["running", "early still", "video", "late still"]


async def test_a_waiting_job_knows_its_place_and_when_it_will_be_done(system: System) -> None:
    gate = system.generator.gate
    assert gate is not None
    first = await create(system, "measured")
    await until(lambda: len(system.generator.requests) == 1)
    unknown = await create(system, "too early to say")
    assert not (await system.get(unknown.id)).progress.HasField("eta")
    gate.set()
    await system.finished(first.id)
    await system.finished(unknown.id)

    gate.clear()
    running = await create(system, "running")
    await until(lambda: len(system.generator.requests) == 3)
    jobs = [await create(system, "second"), await create(system, "third")]
    # At once: what is left of the running job falls from one question to the next.
    progress = [job.progress for job in await asyncio.gather(*(system.get(job.id) for job in jobs))]
    assert [part.queue_position for part in progress] == [0, 1]
    assert progress[0].eta.ToSeconds() + 1e-9 * progress[0].eta.nanos > 0
    assert progress[0].eta.ToNanoseconds() < progress[1].eta.ToNanoseconds()
    estimate = await system.stub.EstimateJob(pb.EstimateJobRequest(spec=pb.JobSpec(prompt="a cat")))
    assert estimate.queue_wait.ToNanoseconds() >= progress[1].eta.ToNanoseconds() * 0.5
    events = asyncio.create_task(system.watch(jobs[1].id))
    await asyncio.sleep(0.1)
    gate.set()
    told = [event.progress.queue_position for event in await events if event.progress.HasField("queue_position")]
    assert 0 in told
    assert (await system.finished(running.id)).state == pb.JOB_STATE_SUCCEEDED


async def test_a_job_that_is_cancelled_in_the_queue_never_starts(system: System) -> None:
    running = await create(system, "running")
    await until(lambda: len(system.generator.requests) == 1)
    waiting = await create(system, "waiting")
    assert [(await cancel(system, waiting.id)).state for _ in range(2)] == [pb.JOB_STATE_CANCELLED] * 2
    system.generator.gate.set()  # type: ignore[union-attr]
    await system.finished(running.id)
    after = await system.finished((await create(system, "after")).id)
    assert after.state == pb.JOB_STATE_SUCCEEDED
    assert [request.prompt for request in system.generator.requests] == ["running", "after"]
    job = await system.get(waiting.id)
    assert (job.state, job.attempts, job.HasField("start_time")) == (pb.JOB_STATE_CANCELLED, 0, False)


async def test_a_job_is_cancelled_while_its_prompt_is_written(system: System) -> None:
    system.enhancer.delay = 30
    job = await system.create()
    await until(lambda: len(system.enhancer.requests) == 1)
    await cancel(system, job.id)
    async with asyncio.timeout(2):
        assert (await system.finished(job.id)).state == pb.JOB_STATE_CANCELLED
    assert not system.generator.requests


async def test_a_job_is_cancelled_in_mid_work_twice(system: System) -> None:
    job = await create(system, "working")
    await until(lambda: len(system.generator.requests) == 1)
    await asyncio.gather(*(cancel(system, job.id) for _ in range(4)))
    async with asyncio.timeout(2):
        assert (await system.finished(job.id)).state == pb.JOB_STATE_CANCELLED
    assert system.generator.cancelled == [1]


async def test_a_job_is_cancelled_between_two_tries(tmp_path: Path) -> None:
    async with running_system(tmp_path / "data", retry_initial_seconds=30.0, retry_max_seconds=30.0) as system:
        system.generator.failures = [UNAVAILABLE] * 5
        job = await create(system, "retried")
        await until(lambda: len(system.generator.requests) == 1)
        await cancel(system, job.id)
        async with asyncio.timeout(2):
            assert (await system.finished(job.id)).state == pb.JOB_STATE_CANCELLED
        assert len(system.generator.requests) == 1


@pytest.mark.parametrize("fails", [False, True])
async def test_cancelling_what_has_ended_changes_nothing(system: System, fails: bool) -> None:
    system.generator.gate = None
    if fails:
        system.generator.failures = [Failure(grpc.StatusCode.INTERNAL, "BROKEN")]
    job = await system.finished((await create(system, "done")).id)
    assert job.state == (pb.JOB_STATE_FAILED if fails else pb.JOB_STATE_SUCCEEDED)
    assert await cancel(system, job.id) == job == await system.get(job.id)


async def test_many_watchers_and_one_that_does_not_read(system: System) -> None:
    gate = system.generator.gate
    assert gate is not None
    system.generator.step_seconds = 0.005
    job = await create(system, "watched", steps=100)
    request = pb.WatchJobRequest(job_id=job.id)
    lazy = system.stub.WatchJob(request)
    first = (await lazy.read()).event
    watching = [asyncio.create_task(system.watch(job.id)) for _ in range(50)]
    await until(lambda: len(system.generator.requests) == 1)
    gate.set()
    for events in await asyncio.gather(*watching):
        sequences = [event.sequence for event in events]
        assert sequences == sorted(set(sequences))
        assert events[-1].snapshot.state == pb.JOB_STATE_SUCCEEDED
    # Who has not read meanwhile has kept nobody waiting and still hears how it ended.
    late = []
    while (response := await lazy.read()) is not grpc.aio.EOF:
        late.append(response.event)
    assert late[-1].snapshot.state == pb.JOB_STATE_SUCCEEDED
    assert first.sequence < late[0].sequence

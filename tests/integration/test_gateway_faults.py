"""What the gateway makes of callers that leave, peers that fail, and its own restarts."""

import asyncio
import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from PIL import Image

from tests.support.gateway import Failure, System, each_store, running_system, until
from wanworker.client.status import status_details
from wanworker.gateway.references import ReferenceFetcher
from wanworker.v1 import gateway_pb2 as pb
from wanworker.v1 import gateway_pb2_grpc

UNAVAILABLE = Failure(grpc.StatusCode.UNAVAILABLE, "DEVICE_LOST")
OUT_OF_MEMORY = Failure(
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    "GPU_OUT_OF_MEMORY",
    "too large",
    {"needed_bytes": "10", "free_bytes": "5"},
)


@pytest.fixture(params=["sqlite", "postgres"], autouse=True)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """Every test is run on both databases."""
    yield from each_store(request.param, tmp_path / "database")


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    """A gateway between two fakes."""
    async with running_system(tmp_path / "data") as running:
        yield running


def reasons(job: pb.Job) -> list[str]:
    """The job's warnings."""
    return [warning.reason for warning in job.warnings]


# Callers


async def test_cancelling_a_running_job_stops_the_generator(system: System) -> None:
    system.generator.step_seconds = 0.05
    job = await system.create(steps=100)
    await until(lambda: len(system.generator.requests) == 1)
    for _ in range(2):
        await system.stub.CancelJob(pb.CancelJobRequest(job_id=job.id))
    await until(lambda: system.generator.cancelled == [1], 1.0)
    assert (await system.finished(job.id)).state == pb.JOB_STATE_CANCELLED
    response = await system.stub.CancelJob(pb.CancelJobRequest(job_id=job.id))
    assert response.job.state == pb.JOB_STATE_CANCELLED
    assert not [path for path in (system.data_dir / "artifacts").rglob("*") if path.is_file()]


async def test_cancelling_a_waiting_job_ends_it_at_once(tmp_path: Path) -> None:
    async with running_system(tmp_path / "data", max_concurrent_jobs=1) as system:
        system.generator.gate = asyncio.Event()
        first = await system.create()
        await until(lambda: len(system.generator.requests) == 1)
        second = await system.create()
        response = await system.stub.CancelJob(pb.CancelJobRequest(job_id=second.id))
        assert response.job.state == pb.JOB_STATE_CANCELLED
        system.generator.gate.set()
        await system.finished(first.id)
        third = await system.finished((await system.create()).id)
        assert third.state == pb.JOB_STATE_SUCCEEDED
        assert len(system.generator.requests) == 2


async def test_a_caller_of_run_job_who_leaves_takes_the_job_along(system: System) -> None:
    system.generator.step_seconds = 0.05
    call = system.stub.RunJob(pb.RunJobRequest(spec=pb.JobSpec(prompt="a cat", steps=100)))
    job_id = (await call.read()).event.snapshot.id
    await until(lambda: len(system.generator.requests) == 1)
    call.cancel()
    await until(lambda: system.generator.cancelled == [1], 1.0)
    assert (await system.finished(job_id)).state == pb.JOB_STATE_CANCELLED


async def test_a_caller_who_stops_reading_and_leaves_takes_the_job_along(system: System) -> None:
    system.generator.step_seconds = 0.01
    async with grpc.aio.insecure_channel(system.server.address) as channel:  # type: ignore[union-attr]
        stub: Any = gateway_pb2_grpc.GatewayServiceStub(channel)
        call = stub.RunJob(pb.RunJobRequest(spec=pb.JobSpec(prompt="a cat", steps=100)))
        job_id = (await call.read()).event.snapshot.id
        await until(lambda: len(system.generator.requests) == 1)
        await asyncio.sleep(0.2)
    assert (await system.finished(job_id)).state == pb.JOB_STATE_CANCELLED


async def test_the_deadline_of_run_job_reaches_the_generator(system: System) -> None:
    system.generator.step_seconds = 0.05
    request = pb.RunJobRequest(spec=pb.JobSpec(prompt="a cat", steps=100))
    events = [response.event async for response in system.stub.RunJob(request, timeout=1.5)]
    # The generator was given less time, so that the job ends, and is told, before the call is over.
    assert events[-1].snapshot.state == pb.JOB_STATE_CANCELLED
    timeout = system.generator.timeouts[0]
    assert timeout is not None
    assert timeout < 1.2
    await until(lambda: system.generator.cancelled == [1], 1.0)


async def test_a_deadline_that_passes_in_the_queue_cancels_the_job(tmp_path: Path) -> None:
    async with running_system(tmp_path / "data", max_concurrent_jobs=1) as system:
        system.generator.gate = asyncio.Event()
        await system.create()
        await until(lambda: len(system.generator.requests) == 1)
        call = system.stub.RunJob(pb.RunJobRequest(spec=pb.JobSpec(prompt="late")), timeout=0.3)
        job_id = (await call.read()).event.snapshot.id
        with pytest.raises(grpc.RpcError) as caught:
            while await call.read() is not grpc.aio.EOF:
                pass
        assert status_details(caught.value).code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert (await system.finished(job_id)).state == pb.JOB_STATE_CANCELLED
        assert len(system.generator.requests) == 1


async def test_a_reader_that_comes_back_gets_a_snapshot_and_newer_events(system: System) -> None:
    system.generator.step_seconds = 0.02
    job = await system.create()
    call = system.stub.WatchJob(pb.WatchJobRequest(job_id=job.id))
    for _ in range(4):
        last = (await call.read()).event
    call.cancel()
    await asyncio.sleep(0.1)
    events = await system.watch(job.id, after=last.sequence)
    assert events[0].HasField("snapshot")
    assert events[0].sequence > last.sequence
    assert events[-1].snapshot.state == pb.JOB_STATE_SUCCEEDED
    late = await system.watch(job.id)
    assert [event.snapshot.state for event in late] == [pb.JOB_STATE_SUCCEEDED]
    assert late[0].sequence == events[-1].sequence


# The enhancer


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("down", "ENHANCER_UNAVAILABLE"),
        ("failing", "ENHANCER_UNAVAILABLE"),
        ("slow", "ENHANCER_TIMEOUT"),
        ("empty", "ENHANCER_BAD_ANSWER"),
        ("long", "ENHANCER_BAD_ANSWER"),
    ],
)
async def test_without_an_enhancer_the_original_prompt_is_used(tmp_path: Path, trouble: str, reason: str) -> None:
    async with running_system(tmp_path / "data", enhance_timeout_seconds=0.5) as system:
        match trouble:
            case "down":
                await system.enhancer_peer.down()
            case "failing":
                system.enhancer.failure = Failure(grpc.StatusCode.FAILED_PRECONDITION, "MODEL_BROKEN")
            case "slow":
                system.enhancer.delay = 5
            case "empty":
                system.enhancer.answer = lambda prompt: "  "
            case "long":
                system.enhancer.answer = lambda prompt: "x" * 4001
        events = await system.watch((await system.create()).id)
        job = events[-1].snapshot
        assert job.state == pb.JOB_STATE_SUCCEEDED
        assert reasons(job) == [reason]
        assert [event.warning.reason for event in events if event.HasField("warning")] == [reason]
        assert job.delivered.prompt == "a cat"
        assert not job.delivered.enhanced
        assert not job.enhanced_prompt


# The generator


async def test_a_generator_that_comes_back_gets_the_job_again(system: System) -> None:
    system.generator.failures = [UNAVAILABLE, UNAVAILABLE]
    job = await system.finished((await system.create()).id)
    assert job.state == pb.JOB_STATE_SUCCEEDED
    assert job.attempts == 3
    assert reasons(job) == ["GENERATOR_UNAVAILABLE"]
    assert len(system.enhancer.requests) == 1
    assert len({request.seed for request in system.generator.requests}) == 1


async def test_a_generator_that_dies_in_mid_work_gets_the_job_again(system: System) -> None:
    system.generator.step_seconds = 0.05
    job = await system.create()
    await until(lambda: len(system.generator.requests) == 1)
    await system.generator_peer.down()
    await asyncio.sleep(0.3)
    system.generator.step_seconds = 0.0
    await system.generator_peer.up()
    job = await system.finished(job.id)
    assert job.state == pb.JOB_STATE_SUCCEEDED
    assert job.attempts >= 2


async def test_a_job_may_be_made_while_the_generator_is_away(tmp_path: Path) -> None:
    async with running_system(tmp_path / "data") as system:
        await system.generator_peer.down()
        job = await system.create()
        assert not job.HasField("resolved")
        await asyncio.sleep(0.3)
        await system.generator_peer.up()
        assert (await system.finished(job.id)).state == pb.JOB_STATE_SUCCEEDED


async def test_a_generator_that_stays_away_fails_the_job(tmp_path: Path) -> None:
    async with running_system(tmp_path / "data", generator_retries=2) as system:
        system.generator.failures = [UNAVAILABLE] * 10
        job = await system.finished((await system.create()).id)
        assert (job.state, job.failure.code) == (pb.JOB_STATE_FAILED, "UNAVAILABLE")
        assert job.failure.reason == "DEVICE_LOST"
        assert job.attempts == 3


async def test_a_job_can_be_cancelled_between_two_attempts(tmp_path: Path) -> None:
    async with running_system(tmp_path / "data", retry_initial_seconds=5.0, retry_max_seconds=5.0) as system:
        system.generator.failures = [UNAVAILABLE] * 10
        job = await system.create()
        await until(lambda: len(system.generator.requests) == 1)
        await asyncio.sleep(0.1)
        await system.stub.CancelJob(pb.CancelJobRequest(job_id=job.id))
        async with asyncio.timeout(1.0):
            assert (await system.finished(job.id)).state == pb.JOB_STATE_CANCELLED


async def test_out_of_memory_goes_down_the_ladder_until_it_fits(system: System) -> None:
    system.generator.failures = [OUT_OF_MEMORY]
    system.generator.fits = lambda settings: len(system.generator.requests) == 0 or settings.fps <= 14
    events = await system.watch((await system.create(job_type=pb.JOB_TYPE_VIDEO_HIGH)).id)
    job = events[-1].snapshot
    assert job.state == pb.JOB_STATE_SUCCEEDED
    assert [row.rung for row in job.degradations] == ["spare_memory", "quality_balanced"]
    assert [event.degradation.rung for event in events if event.HasField("degradation")] == [
        "spare_memory",
        "quality_balanced",
    ]
    assert (job.delivered.fps, job.delivered.settings.steps) == (14, 20)
    assert job.delivered.settings.memory.tiled_decode
    assert job.degradations[0].attempt == 1
    assert job.attempts == 2


async def test_what_the_estimate_refuses_is_never_tried(system: System) -> None:
    system.generator.fits = lambda settings: settings.memory.tiled_decode
    job = await system.finished((await system.create()).id)
    assert [row.rung for row in job.degradations] == ["spare_memory"]
    assert job.attempts == 1


POLICIES = [
    # Policy, times that memory runs out, whether the job succeeds, rungs, whether the enhancer is asked for its memory.
    (pb.DEGRADATION_POLICY_FORBIDDEN, 1, False, [], False),
    (pb.DEGRADATION_POLICY_SAME_OUTPUT_ONLY, 1, True, ["spare_memory"], True),
    (pb.DEGRADATION_POLICY_SAME_OUTPUT_ONLY, 2, False, ["spare_memory"], True),
    (pb.DEGRADATION_POLICY_ALLOWED, 2, True, ["spare_memory", "quality_balanced"], True),
    (pb.DEGRADATION_POLICY_ALLOWED, 3, True, ["spare_memory", "quality_balanced", "quality_fast"], True),
    (pb.DEGRADATION_POLICY_ALLOWED, 9, False, ["spare_memory", "quality_balanced", "quality_fast"], True),
]


@pytest.mark.parametrize(("policy", "times", "succeeds", "rungs", "unloads"), POLICIES)
async def test_the_caller_says_how_far_quality_may_be_lowered(
    system: System, policy: Any, times: int, succeeds: bool, rungs: list[str], unloads: bool
) -> None:
    system.generator.failures = [OUT_OF_MEMORY] * times
    spec = {"job_type": pb.JOB_TYPE_VIDEO_HIGH, "degradation": policy}
    events = await system.watch((await system.create(**spec)).id)
    job = events[-1].snapshot
    assert (job.state == pb.JOB_STATE_SUCCEEDED) is succeeds
    assert [row.rung for row in job.degradations] == rungs
    assert [row.attempt for row in job.degradations] == list(range(1, len(rungs) + 1))
    assert (system.enhancer.unloads > 0) is unloads
    assert job.attempts == len(system.generator.requests) == len(rungs) + 1
    if succeeds:
        assert job.delivered.settings == job.resolved == job.degradations[-1].to
    else:
        assert job.failure.reason == "GPU_OUT_OF_MEMORY"
        assert job.failure.metadata == {"needed_bytes": "10", "free_bytes": "5"}


async def test_an_enhancer_that_is_away_does_not_hold_the_ladder_up(system: System) -> None:
    await system.enhancer_peer.down()
    system.generator.failures = [OUT_OF_MEMORY]
    job = await system.finished((await system.create(enhance=False)).id)
    assert (job.state, [row.rung for row in job.degradations]) == (pb.JOB_STATE_SUCCEEDED, ["spare_memory"])


async def test_after_a_job_was_lowered_the_next_is_not(system: System) -> None:
    system.generator.failures = [OUT_OF_MEMORY]
    first = await system.finished((await system.create(job_type=pb.JOB_TYPE_VIDEO_HIGH)).id)
    second = await system.finished((await system.create(job_type=pb.JOB_TYPE_VIDEO_HIGH)).id)
    assert first.degradations
    assert not second.degradations
    assert (second.delivered.fps, second.delivered.settings.memory.tiled_decode) == (16, False)


async def test_a_model_that_was_not_found_is_asked_for_once_more(system: System) -> None:
    missing = Failure(grpc.StatusCode.FAILED_PRECONDITION, "MODEL_NOT_FOUND", "no model there", {"path": "/m"})
    system.generator.failures = [missing]
    job = await system.finished((await system.create()).id)
    assert (job.state, job.attempts, reasons(job)) == (pb.JOB_STATE_SUCCEEDED, 2, ["MODEL_NOT_FOUND"])
    # Once a job: other troubles in between do not count.
    system.generator.failures = [missing, UNAVAILABLE, missing]
    job = await system.finished((await system.create()).id)
    assert (job.failure.code, job.failure.reason) == ("FAILED_PRECONDITION", "MODEL_NOT_FOUND")
    assert job.failure.metadata == {"path": "/m"}
    assert job.attempts == 3


# Reference images


def png() -> bytes:
    """A picture."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 36), "red").save(buffer, "PNG")
    return buffer.getvalue()


async def test_a_reference_image_goes_to_the_generator_and_back_to_get_job(system: System) -> None:
    job = await system.create(reference_image={"data": png()})
    final = await system.finished(job.id)
    assert final.delivered.reference_image_used
    assert system.generator.requests[0].reference_image == png()
    assert not final.spec.HasField("reference_image")
    assert (await system.get(job.id)).spec.reference_image.data == png()


async def test_a_bad_reference_image_falls_back_or_fails(system: System) -> None:
    job = await system.finished((await system.create(reference_image={"data": png()[:60]})).id)
    assert job.state == pb.JOB_STATE_SUCCEEDED
    assert reasons(job) == ["BAD_REFERENCE_IMAGE"]
    assert not job.delivered.reference_image_used
    assert not system.generator.requests[0].HasField("reference_image")
    strict = {"reference_image": {"data": b"no image"}, "on_bad_reference": pb.ON_BAD_REFERENCE_REJECT}
    job = await system.finished((await system.create(**strict)).id)
    assert (job.state, job.failure.reason) == (pb.JOB_STATE_FAILED, "BAD_REFERENCE_IMAGE")


async def test_an_image_that_only_the_generator_rejects_follows_the_same_policy(system: System) -> None:
    system.generator.failures = [Failure(grpc.StatusCode.INVALID_ARGUMENT, "BAD_REFERENCE_IMAGE")]
    job = await system.finished((await system.create(reference_image={"data": png()})).id)
    assert job.state == pb.JOB_STATE_SUCCEEDED
    assert reasons(job) == ["BAD_REFERENCE_IMAGE"]
    assert [request.HasField("reference_image") for request in system.generator.requests] == [True, False]


async def test_a_reference_image_is_fetched_by_url(tmp_path: Path) -> None:
    async def resolver(host: str, port: int) -> list[str]:
        return ["93.184.215.14"]

    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=png()))
    async with running_system(tmp_path / "data") as system:
        await system.stop()
        system.fetcher = ReferenceFetcher(1_000_000, 2.0, resolver, transport)
        await system.start()
        job = await system.create(reference_image={"url": "https://example.com/cat.png"})
        final = await system.finished(job.id)
        assert final.delivered.reference_image_used
        assert final.spec.reference_image.url == "https://example.com/cat.png"
        assert system.generator.requests[0].reference_image == png()

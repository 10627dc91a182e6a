"""The gateway over gRPC, from CreateJob to ReadArtifact."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support.gateway import Failure, System, each_store, running_system, until
from wanworker.client.status import status_details
from wanworker.v1 import gateway_pb2 as pb
from wanworker.v1 import types_pb2


@pytest.fixture(params=["sqlite", "postgres"], autouse=True)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """Every test is run on both databases."""
    yield from each_store(request.param, tmp_path / "database")


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    """A gateway between two fakes."""
    async with running_system(tmp_path / "data") as running:
        yield running


async def failure_of(call: Any) -> Any:
    """What a failed call says."""
    with pytest.raises(grpc.RpcError) as caught:
        if hasattr(call, "read"):
            async for _ in call:
                pass
        else:
            await call
    return status_details(caught.value)


async def test_events_tell_a_job_from_its_creation_to_its_end(system: System) -> None:
    spec = pb.JobSpec(prompt="a cat", seed=5)
    events = [response.event async for response in system.stub.RunJob(pb.RunJobRequest(spec=spec))]

    sequences = [event.sequence for event in events]
    assert sequences == sorted(set(sequences))
    assert events[0].snapshot.state in (pb.JOB_STATE_QUEUED, pb.JOB_STATE_RUNNING)
    kinds = [event.WhichOneof("event") for event in events]
    assert {"prompt_delta", "prompt_enhanced", "progress", "preview", "snapshot"} <= set(kinds)
    assert kinds.index("prompt_enhanced") > kinds.index("prompt_delta")
    fractions = [event.progress.fraction for event in events if event.HasField("progress")]
    assert fractions == sorted(fractions)

    job = events[-1].snapshot
    assert job.state == pb.JOB_STATE_SUCCEEDED
    assert job.sequence == events[-1].sequence
    assert job.progress.fraction == 1.0
    assert job.spec == spec
    assert job.enhanced_prompt == job.delivered.prompt == "a cat, cinematic, slow pan"
    assert job.delivered.enhanced
    assert job.delivered.enhancer_model == "fake-qwen"
    assert job.delivered.seed == 5
    assert (job.delivered.width, job.delivered.height, job.delivered.frames) == (256, 144, 33)
    assert job.artifact.sha256 == hashlib.sha256(system.generator.content).digest()
    assert job.attempts == 1
    assert [row.stage for row in job.stages][:2] == [types_pb2.STAGE_QUEUED, types_pb2.STAGE_ENHANCING]
    request = system.generator.requests[0]
    assert request.prompt == job.enhanced_prompt
    assert request.seed == 5
    assert system.enhancer.requests[0].seed == 5


async def test_a_still_takes_its_own_defaults(system: System) -> None:
    job = await system.create(job_type=pb.JOB_TYPE_IMAGE_HIGH, enhance=False)
    job = await system.finished(job.id)
    assert job.artifact.media_type == "image/png"
    settings = system.generator.requests[0].settings
    assert (settings.frames, settings.steps, settings.guidance_scale) == (1, 25, 7.5)
    assert not system.enhancer.requests
    assert job.delivered.prompt == "a cat"
    assert not job.delivered.HasField("duration")


async def test_an_odd_size_is_generated_larger_cropped_and_reported(system: System) -> None:
    job = await system.finished((await system.create(width=200, height=120)).id)
    request = system.generator.requests[0]
    assert (request.settings.width, request.settings.height) == (208, 128)
    assert (request.crop_width, request.crop_height) == (200, 120)
    assert (job.delivered.width, job.delivered.height) == (200, 120)
    assert [(row.field, row.asked, row.used) for row in job.adjustments] == [
        ("width", "200", "208"),
        ("height", "120", "128"),
    ]


async def test_the_file_is_read_whole_and_in_ranges(system: System) -> None:
    job = await system.finished((await system.create()).id)
    content = system.generator.content

    async def read(**values: Any) -> list[pb.ReadArtifactResponse]:
        request = pb.ReadArtifactRequest(job_id=job.id, **values)
        return [response async for response in system.stub.ReadArtifact(request)]

    pieces = await read()
    assert b"".join(piece.data for piece in pieces) == content
    assert pieces[0].artifact == job.artifact
    assert not any(piece.HasField("artifact") for piece in pieces[1:])
    assert all(len(piece.data) <= 256 * 1024 for piece in pieces)
    part = await read(offset=300_000, limit=300_000)
    assert b"".join(piece.data for piece in part) == content[300_000:600_000]
    assert part[0].offset == 300_000
    end = await read(offset=len(content))
    assert [piece.data for piece in end] == [b""]
    details = await failure_of(system.stub.ReadArtifact(pb.ReadArtifactRequest(job_id=job.id, offset=len(content) + 1)))
    assert details.code is grpc.StatusCode.OUT_OF_RANGE


async def test_a_file_that_is_not_there_yet_is_a_failed_precondition(system: System) -> None:
    system.generator.gate = asyncio.Event()
    job = await system.create()
    details = await failure_of(system.stub.ReadArtifact(pb.ReadArtifactRequest(job_id=job.id)))
    assert (details.code, details.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "ARTIFACT_NOT_READY")
    await system.stub.CancelJob(pb.CancelJobRequest(job_id=job.id))


async def test_a_bad_field_is_named_with_its_path(system: System) -> None:
    spec = pb.JobSpec(prompt="a cat", fps=99)
    for call in (
        system.stub.CreateJob(pb.CreateJobRequest(spec=spec)),
        system.stub.RunJob(pb.RunJobRequest(spec=spec)),
        system.stub.EstimateJob(pb.EstimateJobRequest(spec=spec)),
    ):
        details = await failure_of(call)
        assert details.code is grpc.StatusCode.INVALID_ARGUMENT
        assert [violation.field for violation in details.violations] == ["spec.fps"]


@pytest.mark.parametrize(
    ("spec", "path", "word"),
    [
        ({"model": "nope"}, "spec.model", "demo, big"),
        ({"model": "big", "job_type": pb.JOB_TYPE_IMAGE_FAST}, "spec.job_type", "demo"),
        ({"model": "big", "reference_image": {"data": b"x"}}, "spec.reference_image", "demo"),
        ({"duration": {"seconds": 20}}, "spec.duration", "33"),
    ],
)
async def test_what_no_model_can_do_is_rejected(system: System, spec: dict[str, Any], path: str, word: str) -> None:
    request = pb.CreateJobRequest(spec=pb.JobSpec(prompt="a cat", **spec))
    details = await failure_of(system.stub.CreateJob(request))
    assert details.code is grpc.StatusCode.INVALID_ARGUMENT
    assert [violation.field for violation in details.violations] == [path]
    assert word in details.violations[0].description


async def test_an_unknown_job_is_not_found(system: System) -> None:
    for call in (
        system.stub.GetJob(pb.GetJobRequest(job_id="nope")),
        system.stub.CancelJob(pb.CancelJobRequest(job_id="nope")),
        system.stub.WatchJob(pb.WatchJobRequest(job_id="nope")),
        system.stub.ReadArtifact(pb.ReadArtifactRequest(job_id="nope")),
    ):
        details = await failure_of(call)
        assert (details.code, details.reason) == (grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND")


async def test_a_request_id_makes_creation_safe_to_repeat(system: System) -> None:
    request_id = "2f1ac2b4-0b7e-4a7e-9d53-0d5e4b1f1c11"
    first = await system.create(request_id=request_id)
    again = await asyncio.gather(*(system.create(request_id=request_id) for _ in range(5)))
    assert {job.id for job in again} == {first.id}
    spec = pb.JobSpec(prompt="a dog", request_id=request_id)
    details = await failure_of(system.stub.CreateJob(pb.CreateJobRequest(spec=spec)))
    assert details.code is grpc.StatusCode.ALREADY_EXISTS
    await system.finished(first.id)
    assert (await system.create(request_id=request_id)).state == pb.JOB_STATE_SUCCEEDED
    assert len(system.generator.requests) == 1


async def test_jobs_are_listed_newest_first_page_by_page(system: System) -> None:
    ids = [(await system.create(prompt=f"cat {number}")).id for number in range(5)]
    for job_id in ids:
        await system.finished(job_id)
    listed: list[str] = []
    token = ""
    while True:
        request = pb.ListJobsRequest(page_size=2, page_token=token)
        page = await system.stub.ListJobs(request)
        listed += [job.id for job in page.jobs]
        token = page.next_page_token
        if not token:
            break
    assert listed == ids[::-1]
    states = [pb.JOB_STATE_FAILED, pb.JOB_STATE_QUEUED]
    assert not (await system.stub.ListJobs(pb.ListJobsRequest(states=states))).jobs
    done = await system.stub.ListJobs(pb.ListJobsRequest(states=[pb.JOB_STATE_SUCCEEDED]))
    assert len(done.jobs) == 5
    details = await failure_of(system.stub.ListJobs(pb.ListJobsRequest(page_token="?")))
    assert details.violations[0].field == "page_token"


async def test_an_estimate_makes_no_job(system: System) -> None:
    request = pb.EstimateJobRequest(spec=pb.JobSpec(prompt="a cat", duration={"seconds": 2}))
    response = await system.stub.EstimateJob(request)
    assert response.estimate.fits
    assert response.settings.frames == 25
    assert [row.field for row in response.adjustments] == ["duration"]
    assert response.queue_wait.ToSeconds() == 0
    assert not (await system.stub.ListJobs(pb.ListJobsRequest())).jobs


async def test_status_reports_a_peer_that_is_down(system: System) -> None:
    status = await system.stub.GetStatus(pb.GatewayServiceGetStatusRequest())
    assert status.enhancer_peer.reachable
    assert status.generator.device == "cpu"
    await system.generator_peer.down()
    status = await system.stub.GetStatus(pb.GatewayServiceGetStatusRequest())
    assert not status.generator_peer.reachable
    assert status.generator_peer.error
    assert not status.HasField("generator")


async def test_two_jobs_run_at_once_and_a_third_waits(tmp_path: Path) -> None:
    async with running_system(tmp_path / "data", max_concurrent_jobs=2, queue_limit=1) as system:
        gate = system.generator.gate = asyncio.Event()
        first, second = await system.create(), await system.create()
        await until(lambda: len(system.generator.requests) == 2)
        third = await system.create()
        assert (await system.get(third.id)).progress.queue_position == 0
        details = await failure_of(system.stub.CreateJob(pb.CreateJobRequest(spec=pb.JobSpec(prompt="one too many"))))
        assert (details.code, details.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
        assert details.retry_after_seconds
        gate.set()
        for job in (first, second, third):
            assert (await system.finished(job.id)).state == pb.JOB_STATE_SUCCEEDED


async def test_stills_go_before_videos(tmp_path: Path) -> None:
    async with running_system(tmp_path / "data", max_concurrent_jobs=1) as system:
        gate = system.generator.gate = asyncio.Event()
        jobs = [await system.create(prompt="running")]
        await until(lambda: len(system.generator.requests) == 1)
        jobs += [await system.create(prompt="video", enhance=False)]
        jobs += [await system.create(prompt="still", enhance=False, job_type=pb.JOB_TYPE_IMAGE_FAST)]
        assert (await system.get(jobs[1].id)).progress.queue_position == 1
        gate.set()
        for job in jobs:
            await system.finished(job.id)
        assert [request.prompt for request in system.generator.requests][1:] == ["still", "video"]


async def test_a_failed_job_is_data(system: System) -> None:
    failure = Failure(grpc.StatusCode.FAILED_PRECONDITION, "MODEL_NOT_FOUND", "no model there", {"path": "/m"})
    system.generator.failures = [failure, failure]
    events = await system.watch((await system.create()).id)
    job = events[-1].snapshot
    assert job.state == pb.JOB_STATE_FAILED
    assert (job.attempts, [row.reason for row in job.warnings]) == (2, ["MODEL_NOT_FOUND"])
    assert (job.failure.code, job.failure.reason) == ("FAILED_PRECONDITION", "MODEL_NOT_FOUND")
    assert job.failure.metadata == {"path": "/m"}
    assert not job.HasField("artifact")


async def test_a_damaged_file_is_not_stored(system: System) -> None:
    system.generator.promised_sha256 = b"0" * 32
    job = await system.finished((await system.create()).id)
    assert (job.state, job.failure.reason) == (pb.JOB_STATE_FAILED, "FILE_DAMAGED")
    assert not [path for path in (system.data_dir / "artifacts").rglob("*") if path.is_file()]

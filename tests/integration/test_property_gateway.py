"""Whatever a caller sends: OK, or a refusal with the path of a field that it did send wrong; never a bug's status,
never half a job, never silence."""

import io
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.support.gateway import System, running_system
from wanworker.client.status import StatusDetails, status_details
from wanworker.gateway.references import ReferenceFetcher
from wanworker.v1 import gateway_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="module")

CALL_SECONDS = 10.0
BOUNDED = settings(
    max_examples=60,
    deadline=None,
    database=None,
    # Shrinking over a live server takes long, and the failing message is small enough.
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

UINT32, UINT64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
# Surrogates cannot be sent: protobuf's own encoder refuses them.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
LONG = st.integers(0, 9000).map(lambda length: "ä" * length)
# Enums travel as any int32.
ENUM = st.one_of(st.integers(-2, 9), st.integers(-(2**31), 2**31 - 1))
DOUBLE = st.floats(allow_nan=True, allow_infinity=True, width=64)
DURATION = st.builds(
    Duration,
    seconds=st.one_of(st.integers(-1, 40), st.integers(-(2**63), 2**63 - 1)),
    nanos=st.one_of(st.integers(0, 999_999_999), st.integers(-(2**31), 2**31 - 1)),
)


def png() -> bytes:
    """A whole small image."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(buffer, "PNG")
    return buffer.getvalue()


def damaged(cut: int, place: int, value: int) -> bytes:
    """The same image cut short, with one byte changed."""
    data = bytearray(png())
    data[place % len(data)] = value
    return bytes(data[: cut % (len(data) + 1)])


IMAGE_BYTES = st.one_of(
    st.binary(max_size=300),
    st.builds(damaged, st.integers(0, 4000), st.integers(0, 4000), st.integers(0, 255)),
    st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"RIFF\xff\xff\xff\xffWEBPVP8 ", b"GIF89a"]).flatmap(
        lambda head: st.binary(max_size=200).map(lambda rest: head + rest)
    ),
    st.just(bytes(3 * 1024 * 1024 + 1)),
)
# An https URL that is well formed would be fetched, from a network that a test has not: a name that never resolves.
URL = st.one_of(
    TEXT, st.sampled_from(["http://a/b", "https://", "https://nowhere.invalid/x.png", "file:///etc/passwd"])
)
REFERENCE = st.one_of(
    st.builds(pb.ReferenceImage, data=IMAGE_BYTES),
    st.builds(pb.ReferenceImage, url=URL),
    st.just(pb.ReferenceImage()),
)

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "prompt": st.one_of(TEXT, LONG),
    "negative_prompt": st.one_of(TEXT, LONG),
    "job_type": ENUM,
    "quality": ENUM,
    "width": st.one_of(UINT32, st.integers(60, 300)),
    "height": st.one_of(UINT32, st.integers(60, 300)),
    "duration": DURATION,
    "fps": st.one_of(UINT32, st.integers(10, 26)),
    "steps": st.one_of(UINT32, st.integers(0, 101)),
    "guidance_scale": st.one_of(DOUBLE, st.floats(0, 21)),
    "seed": UINT64,
    "model": st.one_of(TEXT, st.sampled_from(["demo", "big", "nope"]), LONG),
    "reference_image": REFERENCE,
    "enhance": st.booleans(),
    "on_bad_reference": ENUM,
    "degradation": ENUM,
    "request_id": st.one_of(TEXT, st.uuids().map(str)),
    "format": ENUM,
}
GOOD: dict[str, Any] = {"prompt": "a cat", "enhance": False, "steps": 1, "duration": Duration(nanos=300_000_000)}
ONE_FIELD = st.sampled_from(sorted(FIELDS)).flatmap(lambda name: FIELDS[name].map(lambda value: {**GOOD, name: value}))
SOME_FIELDS = st.fixed_dictionaries({}, optional=FIELDS)
SPEC = st.one_of(ONE_FIELD, SOME_FIELDS).map(lambda values: pb.JobSpec(**values))
IDS = st.one_of(TEXT, st.uuids().map(str), st.from_regex(r"[a-zA-Z0-9-]{1,64}", fullmatch=True), LONG)

Call = Callable[[], Any]


async def unknown_host(host: str, port: int) -> list[str]:
    """A resolver that knows nobody, so that no test waits for the network."""
    raise OSError(f"{host}:{port} is not known here")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """A gateway between two fakes, with room for all that comes."""
    values = {"queue_limit": 100_000, "max_concurrent_jobs": 16}
    async with running_system(tmp_path_factory.mktemp("property") / "data", **values) as running:
        await running.stop()
        running.fetcher = ReferenceFetcher(3 * 1024 * 1024, 5.0, unknown_host)
        await running.start(**values)
        yield running


async def outcome(call: Call) -> StatusDetails | None:
    """None for OK, else how the call was refused. It must end in time."""
    try:
        answer = call()
        if hasattr(answer, "__aiter__"):
            async for _ in answer:
                pass
        else:
            await answer
    except grpc.aio.AioRpcError as error:
        return status_details(error)
    return None


async def count(system: System) -> int:
    """How many jobs there are."""
    found, token = 0, ""
    while True:
        request = pb.ListJobsRequest(page_size=500, page_token=token)
        page = await system.stub.ListJobs(request, timeout=CALL_SECONDS)
        found, token = found + len(page.jobs), page.next_page_token
        if not token:
            return found


def check_refusal(found: StatusDetails, fields: set[str], prefix: str, *codes: grpc.StatusCode) -> None:
    """It is INVALID_ARGUMENT with paths of fields that the message has, or one of the other codes."""
    if found.code in codes:
        return
    assert found.code is grpc.StatusCode.INVALID_ARGUMENT, (found.code, found.message)
    assert found.violations, found.message
    for violation in found.violations:
        path = violation.field.removeprefix(prefix)
        assert violation.field.startswith(prefix), violation
        assert path.split(".")[0].split("[")[0] in fields, violation
        assert violation.description, violation


SPEC_FIELDS = set(pb.JobSpec.DESCRIPTOR.fields_by_name)
NOT_FOUND, OUT_OF_RANGE = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.OUT_OF_RANGE


def check_spec_refusal(found: StatusDetails, *codes: grpc.StatusCode) -> None:
    """Paths lie in the spec; rules over several fields name the spec itself."""
    assert "spec" in pb.CreateJobRequest.DESCRIPTOR.fields_by_name
    if all(violation.field == "spec" for violation in found.violations) and found.violations:
        assert found.code is grpc.StatusCode.INVALID_ARGUMENT
        return
    others = [violation for violation in found.violations if violation.field != "spec"]
    check_refusal(replace(found, violations=tuple(others)), SPEC_FIELDS, "spec.", *codes)


async def final(system: System, job_id: str) -> pb.Job:
    """The job once it has ended, which it must in time."""
    last: pb.Job | None = None
    async for response in system.stub.WatchJob(pb.WatchJobRequest(job_id=job_id), timeout=CALL_SECONDS):
        if response.event.HasField("snapshot"):
            last = response.event.snapshot
    assert last is not None
    return last


@BOUNDED
@given(spec=SPEC)
async def test_any_spec_makes_a_whole_job_or_none(system: System, spec: pb.JobSpec) -> None:
    before = await count(system)
    request = pb.CreateJobRequest(spec=spec)
    found = await outcome(lambda: system.stub.CreateJob(request, timeout=CALL_SECONDS))
    if found is not None:
        check_spec_refusal(found, grpc.StatusCode.ALREADY_EXISTS)
        assert await count(system) == before
        return
    again = spec.request_id and await outcome(lambda: system.stub.CreateJob(request, timeout=CALL_SECONDS))
    assert not again
    listed = await system.stub.ListJobs(pb.ListJobsRequest(page_size=1), timeout=CALL_SECONDS)
    assert await count(system) <= before + 1
    job = await final(system, listed.jobs[0].id)
    assert job.state in (pb.JOB_STATE_SUCCEEDED, pb.JOB_STATE_FAILED)
    assert job.failure.code in ("", "INVALID_ARGUMENT"), job.failure


@BOUNDED
@given(spec=SPEC)
async def test_any_spec_can_be_estimated_or_is_refused_and_makes_no_job(system: System, spec: pb.JobSpec) -> None:
    before = await count(system)
    request = pb.EstimateJobRequest(spec=spec)
    found = await outcome(lambda: system.stub.EstimateJob(request, timeout=CALL_SECONDS))
    if found is not None:
        check_spec_refusal(found)
    assert await count(system) == before


@BOUNDED
@given(data=IMAGE_BYTES, policy=st.integers(0, 2))
async def test_any_bytes_as_an_image_are_used_warned_of_or_refused(system: System, data: bytes, policy: int) -> None:
    spec = pb.JobSpec(**GOOD, reference_image=pb.ReferenceImage(data=data), on_bad_reference=policy)  # type: ignore[arg-type]
    before, events = await count(system), []
    try:
        async for response in system.stub.RunJob(pb.RunJobRequest(spec=spec), timeout=CALL_SECONDS):
            events.append(response.event)
    except grpc.aio.AioRpcError as error:
        found = status_details(error)
        assert not 1 <= len(data) <= 3 * 1024 * 1024, found
        check_spec_refusal(found)
        assert await count(system) == before
        return
    job = events[-1].snapshot
    warned = [warning.reason for warning in job.warnings if warning.reason == "BAD_REFERENCE_IMAGE"]
    if job.state == pb.JOB_STATE_SUCCEEDED:
        assert job.delivered.reference_image_used == (not warned)
        return
    assert policy == pb.ON_BAD_REFERENCE_REJECT
    assert (job.failure.code, job.failure.reason) == ("INVALID_ARGUMENT", "BAD_REFERENCE_IMAGE")


@BOUNDED
@given(job_id=IDS, number=UINT64, limit=st.one_of(st.none(), UINT64))
async def test_any_id_is_known_or_not_found_or_refused(
    system: System, job_id: str, number: int, limit: int | None
) -> None:
    stub = system.stub
    calls: dict[str, Call] = {
        "GetJob": lambda: stub.GetJob(pb.GetJobRequest(job_id=job_id), timeout=CALL_SECONDS),
        "CancelJob": lambda: stub.CancelJob(pb.CancelJobRequest(job_id=job_id), timeout=CALL_SECONDS),
        "WatchJob": lambda: stub.WatchJob(
            pb.WatchJobRequest(job_id=job_id, after_sequence=number), timeout=CALL_SECONDS
        ),
        "ReadArtifact": lambda: stub.ReadArtifact(
            pb.ReadArtifactRequest(job_id=job_id, offset=number, limit=limit), timeout=CALL_SECONDS
        ),
    }
    for method, call in calls.items():
        found = await outcome(call)
        assert found is not None, method
        check_refusal(found, {"job_id", "limit", "after_sequence"}, "", NOT_FOUND)


@BOUNDED
@given(offset=UINT64, limit=st.one_of(st.none(), UINT64), after=UINT64)
async def test_any_numbers_for_a_job_that_is_there(system: System, offset: int, limit: int | None, after: int) -> None:
    page = await system.stub.ListJobs(pb.ListJobsRequest(page_size=1, states=[pb.JOB_STATE_SUCCEEDED]))
    job = page.jobs[0] if page.jobs else await system.finished((await system.create(**GOOD)).id)
    read = pb.ReadArtifactRequest(job_id=job.id, offset=offset, limit=limit)
    found = await outcome(lambda: system.stub.ReadArtifact(read, timeout=CALL_SECONDS))
    if found is not None:
        check_refusal(found, {"limit"}, "", OUT_OF_RANGE)
    watch = pb.WatchJobRequest(job_id=job.id, after_sequence=after)
    watched = await outcome(lambda: system.stub.WatchJob(watch, timeout=CALL_SECONDS))
    if watched is not None:
        check_refusal(watched, {"after_sequence"}, "")


@BOUNDED
@given(size=st.one_of(UINT32, st.integers(0, 501)), token=TEXT, states=st.lists(ENUM, max_size=10))
async def test_any_page_is_listed_or_refused(system: System, size: int, token: str, states: list[int]) -> None:
    request = pb.ListJobsRequest(page_size=size, page_token=token, states=states)  # type: ignore[arg-type]
    found = await outcome(lambda: system.stub.ListJobs(request, timeout=CALL_SECONDS))
    if found is not None:
        check_refusal(found, set(pb.ListJobsRequest.DESCRIPTOR.fields_by_name), "")


@BOUNDED
@given(data=st.binary(max_size=200), method=st.sampled_from(["CreateJob", "GetJob", "ListJobs", "RunJob", "WatchJob"]))
async def test_any_bytes_as_a_message_are_answered(system: System, data: bytes, method: str) -> None:
    assert system.channel is not None
    make = system.channel.unary_stream if method in ("RunJob", "WatchJob") else system.channel.unary_unary
    call = make(f"/wanworker.v1.GatewayService/{method}", request_serializer=bytes, response_deserializer=bytes)
    found = await outcome(lambda: call(data, timeout=CALL_SECONDS))
    assert found is None or found.code in (grpc.StatusCode.INVALID_ARGUMENT, NOT_FOUND), found

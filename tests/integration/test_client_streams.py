"""Streams: bound runs, watches that are cut, downloads that are cut."""

import asyncio
from contextlib import aclosing
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2

from tests.support.client import (
    CHUNK,
    FILE,
    JOB_ID,
    Fail,
    FakeGateway,
    Pause,
    good_run,
    job,
    progress,
    read_file,
    serving,
    serving_thread,
    snapshot,
)
from wanworker.client import (
    AsyncClient,
    Client,
    CorruptArtifactError,
    FailedPreconditionError,
    JobCancelledError,
    JobFailedError,
    JobState,
    NotFoundError,
    ProgressEvent,
    SnapshotEvent,
    UnavailableError,
    resume,
)
from wanworker.v1 import gateway_pb2

CUT = Fail(grpc.StatusCode.UNAVAILABLE, "restarting", "DRAINING")


def contents(folder: Path) -> list[str]:
    """Names in a folder, hidden ones too."""
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume, "_FIRST_PAUSE", 0.01)


async def test_a_run_yields_every_event() -> None:
    async with serving(FakeGateway()) as address, AsyncClient(address) as client:
        events = [event async for event in client.run("a red ball", steps=15)]
    assert [event.sequence for event in events] == list(range(1, 12))
    assert isinstance(events[-1], SnapshotEvent)
    assert events[-1].job.state is JobState.SUCCEEDED
    assert isinstance(events[8], ProgressEvent)
    assert (events[8].progress.step, events[8].progress.eta) == (3, 12.0)


@pytest.mark.parametrize("how", ["aclose", "cancel"])
async def test_leaving_a_run_cancels_it(how: str) -> None:
    gateway = FakeGateway()
    gateway.runs = [[snapshot("RUNNING", 1), progress(2), Pause()]]
    async with serving(gateway) as address, AsyncClient(address) as client:
        if how == "aclose":
            async with aclosing(client.run("x")) as events:
                await anext(events)
        else:
            task = asyncio.create_task(client.generate("x"))
            await asyncio.sleep(0.3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await asyncio.to_thread(gateway.cancelled.wait, 5)


def test_leaving_a_blocking_run_cancels_it() -> None:
    gateway = FakeGateway()
    gateway.runs = [[snapshot("RUNNING", 1), Pause()]]
    with serving_thread(gateway) as address, Client(address) as client:
        events = client.run("x")
        next(events)
        assert not gateway.cancelled.is_set()
        events.close()
        assert gateway.cancelled.wait(5)


async def test_a_failed_job_is_data_for_run_and_an_error_for_generate(tmp_path: Path) -> None:
    gateway = FakeGateway()
    async with serving(gateway) as address, AsyncClient(address) as client:
        gateway.runs = [[snapshot("RUNNING", 1), snapshot("FAILED", 2)]]
        events = [event async for event in client.run("x")]
        assert isinstance(events[-1], SnapshotEvent)
        assert events[-1].job.state is JobState.FAILED
        with pytest.raises(JobFailedError) as failed:
            await client.generate("x", tmp_path / "x.mp4")
        assert (failed.value.reason, failed.value.job.id) == ("GPU_OUT_OF_MEMORY", JOB_ID)
        gateway.runs = [[snapshot("CANCELLED", 1)]]
        with pytest.raises(JobCancelledError):
            await client.generate("x", tmp_path / "x.mp4")
    assert contents(tmp_path) == []


async def test_a_run_that_ends_early_is_no_success(tmp_path: Path) -> None:
    gateway = FakeGateway()
    gateway.runs = [[snapshot("RUNNING", 1)]]
    async with serving(gateway) as address, AsyncClient(address) as client:
        with pytest.raises(UnavailableError, match="before its job did"):
            await client.generate("x", tmp_path / "x.mp4")


async def test_generate_saves_the_file(tmp_path: Path) -> None:
    async with serving(FakeGateway()) as address, AsyncClient(address) as client:
        result = await client.generate("a red ball", tmp_path / "out.mp4")
        assert result.path == tmp_path / "out.mp4"
        assert result.path.read_bytes() == FILE
        assert (result.delivered.seed, result.artifact.size_bytes) == (42, len(FILE))
        assert (await client.generate("a red ball", tmp_path)).path == tmp_path / "ball.mp4"
    assert contents(tmp_path) == ["ball.mp4", "out.mp4"]


async def test_a_cut_watch_misses_nothing() -> None:
    """Cut twice: once in the middle, once by an OK that came too early; the service repeats what is already
    known."""
    gateway = FakeGateway()
    gateway.watches = [
        [snapshot("QUEUED", 1), snapshot("RUNNING", 2), progress(3), CUT],
        [CUT],
        [snapshot("RUNNING", 3), progress(4)],
        [snapshot("RUNNING", 6), snapshot("RUNNING", 7, attempts=2), snapshot("SUCCEEDED", 8)],
    ]
    async with serving(gateway) as address, AsyncClient(address) as client:
        events = [event async for event in client.watch(JOB_ID)]
    assert [event.sequence for event in events] == [1, 2, 3, 4, 6, 7, 8]
    assert [request.after_sequence for request in gateway.asked("WatchJob")] == [0, 3, 3, 4]


async def test_a_watch_survives_a_restart_of_the_gateway() -> None:
    gateway = FakeGateway()
    gateway.watches = [[snapshot("RUNNING", 1), Pause()], [snapshot("SUCCEEDED", 2)]]
    events = []
    async with AsyncClient("127.0.0.1:1", reconnect_seconds=20) as client:
        async with serving(gateway) as address:
            client = AsyncClient(address, reconnect_seconds=20)
            watching = client.watch(JOB_ID)
            events.append(await anext(watching))
        rest = asyncio.create_task(anext(watching))
        await asyncio.sleep(0.5)
        assert not rest.done()
        async with serving(gateway, port=int(address.split(":")[1])):
            events.append(await asyncio.wait_for(rest, 20))
            assert [event async for event in watching] == []
            await client.close()
    assert [event.sequence for event in events] == [1, 2]


async def test_a_finished_job_is_one_event_also_for_a_reader_that_has_it() -> None:
    gateway = FakeGateway()
    gateway.watches = [[snapshot("SUCCEEDED", 9)]]
    async with serving(gateway) as address, AsyncClient(address) as client:
        events = [event async for event in client.watch(JOB_ID, after_sequence=9)]
        assert [event.sequence for event in events] == [9]
        assert gateway.asked("WatchJob")[0].after_sequence == 9
        assert (await client.wait(JOB_ID)).state is JobState.SUCCEEDED


async def test_patience_ends_and_other_errors_end_it_at_once() -> None:
    gateway = FakeGateway()
    gateway.watches = [[snapshot("RUNNING", 1), CUT], [CUT]]
    async with serving(gateway) as address, AsyncClient(address, reconnect_seconds=0.2) as client:
        with pytest.raises(UnavailableError, match="restarting"):
            _ = [event async for event in client.watch(JOB_ID)]
        assert len(gateway.asked("WatchJob")) > 2
        gateway.watches = [[snapshot("RUNNING", 1), CUT], [Fail(grpc.StatusCode.NOT_FOUND)]]
        with pytest.raises(NotFoundError):
            _ = [event async for event in client.watch(JOB_ID)]


async def test_the_service_says_when_to_come_back() -> None:
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(400)
    busy = Fail(grpc.StatusCode.UNAVAILABLE, "restarting", "DRAINING", details=[retry])
    gateway = FakeGateway()
    gateway.watches = [[snapshot("RUNNING", 1), busy], good_run()]
    async with serving(gateway) as address, AsyncClient(address) as client:
        began = asyncio.get_running_loop().time()
        _ = [event async for event in client.watch(JOB_ID)]
        assert asyncio.get_running_loop().time() - began >= 0.4


async def test_a_cut_download_goes_on_where_it_was(tmp_path: Path) -> None:
    gateway = FakeGateway()
    gateway.reads = [
        lambda offset: read_file(offset, cut_at=2 * CHUNK),
        lambda offset: read_file(offset, cut_at=4 * CHUNK),
        read_file,
    ]
    async with serving(gateway) as address, AsyncClient(address) as client:
        result = await client.download(JOB_ID, tmp_path / "x.mp4")
        assert result.path.read_bytes() == FILE
        assert [request.offset for request in gateway.asked("ReadArtifact")] == [0, 2 * CHUNK, 4 * CHUNK]
        assert b"".join([piece async for piece in client.read(JOB_ID)]) == FILE


@pytest.mark.parametrize("kind", ["changed", "short", "misplaced", "other"])
async def test_a_wrong_file_is_not_kept(tmp_path: Path, kind: str) -> None:
    gateway = FakeGateway()
    bad = bytes(len(FILE))

    def misplaced(offset: int) -> list[gateway_pb2.ReadArtifactResponse | Fail]:
        return [*read_file(offset)][1:]

    gateway.reads = {
        "changed": [lambda offset: read_file(offset, bad, claimed=FILE)],
        "short": [lambda offset: read_file(offset, FILE[:CHUNK], claimed=FILE)],
        "misplaced": [misplaced],
        "other": [lambda offset: read_file(offset, cut_at=CHUNK), lambda offset: read_file(offset, bad, claimed=bad)],
    }[kind]  # type: ignore[assignment]
    path = tmp_path / "x.mp4"
    path.write_bytes(b"from before")
    async with serving(gateway) as address, AsyncClient(address) as client:
        with pytest.raises(CorruptArtifactError):
            await client.download(JOB_ID, path)
    assert path.read_bytes() == b"from before"
    assert contents(tmp_path) == ["x.mp4"]


async def test_a_download_that_fails_leaves_nothing(tmp_path: Path) -> None:
    gateway = FakeGateway()
    gateway.failures["ReadArtifact"] = [Fail(grpc.StatusCode.FAILED_PRECONDITION, "no file", "ARTIFACT_NOT_READY")]
    async with serving(gateway) as address, AsyncClient(address) as client:
        with pytest.raises(FailedPreconditionError):
            await client.download(JOB_ID, tmp_path / "x.mp4")
        gateway.reads = [lambda offset: read_file(offset, cut_at=CHUNK if offset == 0 else offset)]
        with pytest.raises(UnavailableError):
            await AsyncClient(address, reconnect_seconds=0.2).download(JOB_ID, tmp_path / "x.mp4")
        gateway.state = "FAILED"
        with pytest.raises(JobFailedError):
            await client.download(JOB_ID, tmp_path / "x.mp4")
    assert contents(tmp_path) == []


async def test_gateways_do_not_choose_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    gateway = FakeGateway()
    made = job("SUCCEEDED")
    made.artifact.file_name = "../../etc/ball.mp4"
    gateway.runs = [[gateway_pb2.JobEvent(sequence=1, snapshot=made)]]
    async with serving(gateway) as address, AsyncClient(address) as client:
        result = await client.generate("x")
    assert result.path == Path("ball.mp4")
    assert (tmp_path / "ball.mp4").read_bytes() == FILE

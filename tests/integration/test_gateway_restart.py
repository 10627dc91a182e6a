"""The gateway's own restarts: drained, and killed."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from tests.support.gateway import System, each_store, running_system, until
from wanworker.client.status import status_details
from wanworker.v1 import gateway_pb2 as pb
from wanworker.v1 import gateway_pb2_grpc


@pytest.fixture(params=["sqlite", "postgres"], autouse=True)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """Every test is run on both databases."""
    yield from each_store(request.param, tmp_path / "database")


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    """A gateway between two fakes."""
    async with running_system(tmp_path / "data") as running:
        yield running


async def test_a_restart_goes_on_with_the_same_prompt_and_seed(system: System) -> None:
    system.generator.step_seconds = 0.05
    job = await system.create(steps=100)
    call = system.stub.WatchJob(pb.WatchJobRequest(job_id=job.id))
    sequences: list[int] = []
    await until(lambda: len(system.generator.requests) == 1)
    stopping: asyncio.Task[None] | None = None
    with pytest.raises(grpc.RpcError) as caught:
        async for response in call:
            sequences.append(response.event.sequence)
            if len(sequences) == 5:
                stopping = asyncio.create_task(system.server.stop())  # type: ignore[union-attr]
    details = status_details(caught.value)
    assert (details.code, details.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
    assert details.retry_after_seconds
    assert stopping is not None
    await stopping
    await system.stop()
    assert system.generator.cancelled == [1]

    system.generator.step_seconds = 0.0
    await system.start()
    events = await system.watch(job.id, after=sequences[-1])
    assert events[0].snapshot.state == pb.JOB_STATE_RUNNING
    assert events[0].sequence > sequences[-1]
    final = events[-1].snapshot
    assert final.state == pb.JOB_STATE_SUCCEEDED
    assert final.attempts == 2
    assert len(system.enhancer.requests) == 1
    first, second = system.generator.requests
    assert (first.seed, first.prompt) == (second.seed, second.prompt)
    assert final.delivered.prompt == "a cat, cinematic, slow pan"


async def test_a_drain_does_not_cancel_what_run_job_is_bound_to(system: System) -> None:
    system.generator.step_seconds = 0.05
    call = system.stub.RunJob(pb.RunJobRequest(spec=pb.JobSpec(prompt="a cat", steps=100)))
    job_id = (await call.read()).event.snapshot.id
    await until(lambda: len(system.generator.requests) == 1)
    stopping = asyncio.create_task(system.server.stop())  # type: ignore[union-attr]
    with pytest.raises(grpc.RpcError) as caught:
        while await call.read() is not grpc.aio.EOF:
            pass
    assert status_details(caught.value).reason == "DRAINING"
    await stopping
    await system.stop()
    system.generator.step_seconds = 0.0
    await system.start()
    assert (await system.finished(job_id)).state == pb.JOB_STATE_SUCCEEDED


async def test_jobs_that_waited_are_worked_on_after_a_restart(tmp_path: Path) -> None:
    async with running_system(tmp_path / "data", max_concurrent_jobs=1) as system:
        system.generator.gate = asyncio.Event()
        jobs = [await system.create(prompt=f"cat {number}", enhance=False) for number in range(3)]
        await until(lambda: len(system.generator.requests) == 1)
        await system.stop()
        system.generator.gate.set()
        await system.start(max_concurrent_jobs=1)
        for job in jobs:
            assert (await system.finished(job.id)).state == pb.JOB_STATE_SUCCEEDED
        prompts = [request.prompt for request in system.generator.requests]
        assert sorted(prompts) == ["cat 0", "cat 0", "cat 1", "cat 2"]


async def test_a_finished_job_survives_a_restart(system: System) -> None:
    job = await system.finished((await system.create()).id)
    await system.stop()
    await system.start()
    assert await system.get(job.id) == job
    request = pb.ReadArtifactRequest(job_id=job.id)
    data = b"".join([piece.data async for piece in system.stub.ReadArtifact(request)])
    assert data == system.generator.content
    assert (await system.watch(job.id))[-1].snapshot == job


@asynccontextmanager
async def killed_at_the_end(system: System, port_file: Path) -> AsyncIterator[None]:
    """A gateway as a process on the system's data folder, killed with SIGKILL when the block ends."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "WANWORKER_GATEWAY_PORT": "0",
        "WANWORKER_GATEWAY_PORT_FILE": str(port_file),
        "WANWORKER_GATEWAY_DATA_DIR": str(system.data_dir),
        "WANWORKER_GATEWAY_DATABASE_URL": system.database_url,
        "WANWORKER_GATEWAY_ENHANCER_ADDRESS": system.enhancer_peer.address,
        "WANWORKER_GATEWAY_GENERATOR_ADDRESS": system.generator_peer.address,
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "wanworker.gateway", env=environment)
    try:
        await until(port_file.exists, 30)
        port = (await asyncio.to_thread(port_file.read_text)).strip()
        system.channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        system.stub = gateway_pb2_grpc.GatewayServiceStub(system.channel)
        yield
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()


async def created_once_it_serves(system: System) -> pb.Job:
    """A job of a gateway that may still be starting."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await system.create(steps=100)
            except grpc.RpcError:
                await asyncio.sleep(0.1)


async def test_a_gateway_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    async with running_system(tmp_path / "data") as system:
        await system.stop()
        system.generator.step_seconds = 0.05
        async with killed_at_the_end(system, tmp_path / "port"):
            job = await created_once_it_serves(system)
            call = system.stub.WatchJob(pb.WatchJobRequest(job_id=job.id))
            await until(lambda: len(system.generator.requests) == 1)
            last = 0
            while last < 10:
                last = (await call.read()).event.sequence
        await until(lambda: system.generator.cancelled == [1])
        await system.stop()
        system.generator.step_seconds = 0.0
        await system.start()
        events = await system.watch(job.id, after=last)
        assert events[0].sequence > last
        final = events[-1].snapshot
        assert (final.state, final.attempts) == (pb.JOB_STATE_SUCCEEDED, 2)
        assert len(system.enhancer.requests) == 1
        assert len({(request.seed, request.prompt) for request in system.generator.requests}) == 1

"""Two gateways on one store: both serve, one works, and the other takes over."""

import asyncio
import copy
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import sqlalchemy as sa
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support import postgres
from tests.support.gateway import System, each_store, running_system, until
from wanworker.gateway.lock import ADVISORY_KEY
from wanworker.gateway.store import SqlJobStore
from wanworker.v1 import gateway_pb2 as pb
from wanworker.v1 import gateway_pb2_grpc


@pytest.fixture(params=["sqlite", "postgres"], autouse=True)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Every test is run on both databases."""
    for _ in each_store(request.param, tmp_path / "database"):
        yield request.param


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    """A gateway between two fakes, which works."""
    async with running_system(tmp_path / "data") as running:
        yield running


@pytest.fixture
async def other(system: System) -> AsyncIterator[System]:
    """A second gateway on the same store, which waits."""
    async with system.second() as second:
        yield second


@asynccontextmanager
async def process(system: System, folder: Path) -> AsyncIterator["asyncio.subprocess.Process"]:
    """A gateway as a process on the system's store; the system's calls go to it."""
    port_file = folder / "port"
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "WANWORKER_GATEWAY_PORT": "0",
        "WANWORKER_GATEWAY_PORT_FILE": str(port_file),
        "WANWORKER_GATEWAY_DATA_DIR": str(system.data_dir),
        "WANWORKER_GATEWAY_DATABASE_URL": system.database_url,
        "WANWORKER_GATEWAY_ENHANCER_ADDRESS": system.enhancer_peer.address,
        "WANWORKER_GATEWAY_GENERATOR_ADDRESS": system.generator_peer.address,
    }
    gateway = await asyncio.create_subprocess_exec(sys.executable, "-m", "wanworker.gateway", env=environment)
    try:
        await until(port_file.exists, 30)
        port = (await asyncio.to_thread(port_file.read_text)).strip()
        system.channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        system.stub = gateway_pb2_grpc.GatewayServiceStub(system.channel)
        health: Any = health_pb2_grpc.HealthStub(system.channel)
        async with asyncio.timeout(30):
            while (await health.Check(health_pb2.HealthCheckRequest())).status != 1:  # noqa: ASYNC110 - polled on purpose
                await asyncio.sleep(0.05)
        yield gateway
    finally:
        if gateway.returncode is None:
            gateway.send_signal(signal.SIGKILL)
        await gateway.wait()


def lose_the_lock() -> None:
    """Ends the session that holds the advisory lock."""
    key = f"classid = {ADVISORY_KEY >> 32} AND objid = {ADVISORY_KEY & 0xFFFFFFFF}"
    postgres.server().execute(f"SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND {key}")


async def test_a_second_gateway_serves_every_call(system: System, other: System) -> None:
    health: Any = health_pb2_grpc.HealthStub(other.channel)
    assert (await health.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
    gate = system.generator.gate = asyncio.Event()
    job = await other.create(prompt="from the second")
    assert job.state == pb.JOB_STATE_QUEUED
    watching = asyncio.create_task(other.watch(job.id))
    await until(lambda: len(system.generator.requests) == 1)
    assert (await other.get(job.id)).state == pb.JOB_STATE_RUNNING
    status = await other.stub.GetStatus(pb.GatewayServiceGetStatusRequest())
    assert (status.running, status.queued, status.generator_peer.reachable) == (1, 0, True)
    gate.set()
    events = await watching
    sequences = [event.sequence for event in events]
    assert sequences == sorted(set(sequences))
    assert events[0].HasField("snapshot")
    assert events[-1].snapshot.state == pb.JOB_STATE_SUCCEEDED
    assert events[-1].snapshot == await system.get(job.id) == await other.get(job.id)
    request = pb.ReadArtifactRequest(job_id=job.id)
    data = b"".join([piece.data async for piece in other.stub.ReadArtifact(request)])
    assert data == system.generator.content
    assert [row.id for row in (await other.stub.ListJobs(pb.ListJobsRequest())).jobs] == [job.id]
    estimate = await other.stub.EstimateJob(pb.EstimateJobRequest(spec=pb.JobSpec(prompt="a cat")))
    assert estimate.estimate.fits
    assert estimate.queue_wait.ToSeconds() == 0


async def test_gateways_that_start_at_the_same_moment_agree_who_works(tmp_path: Path) -> None:
    async with running_system(tmp_path / "data") as system:
        await system.stop()
        others = [copy.copy(system) for _ in range(3)]
        await asyncio.gather(*(other.start() for other in others))
        try:
            jobs = [await other.create() for other in others]
            for other, job in zip(others[::-1], jobs, strict=True):
                assert (await other.finished(job.id)).state == pb.JOB_STATE_SUCCEEDED
            assert len(system.generator.requests) == 3
        finally:
            for other in others:
                await other.stop()


async def test_a_job_is_cancelled_through_the_second_gateway(system: System, other: System) -> None:
    system.generator.step_seconds = 0.05
    job = await system.create(steps=100)
    await until(lambda: len(system.generator.requests) == 1)
    for _ in range(2):
        await other.stub.CancelJob(pb.CancelJobRequest(job_id=job.id))
    await until(lambda: system.generator.cancelled == [1], 2.0)
    assert (await other.finished(job.id)).state == pb.JOB_STATE_CANCELLED
    again = await other.stub.CancelJob(pb.CancelJobRequest(job_id=job.id))
    assert again.job.state == pb.JOB_STATE_CANCELLED


async def test_a_caller_of_the_second_gateway_takes_the_job_along(system: System, other: System) -> None:
    system.generator.step_seconds = 0.05
    call = other.stub.RunJob(pb.RunJobRequest(spec=pb.JobSpec(prompt="a cat", steps=100)))
    job_id = (await call.read()).event.snapshot.id
    await until(lambda: len(system.generator.requests) == 1)
    call.cancel()
    await until(lambda: system.generator.cancelled == [1], 2.0)
    assert (await system.finished(job_id)).state == pb.JOB_STATE_CANCELLED


async def test_run_job_on_the_second_gateway_ends_well(system: System, other: System) -> None:
    request = pb.RunJobRequest(spec=pb.JobSpec(prompt="a cat"))
    events = [response.event async for response in other.stub.RunJob(request)]
    assert events[-1].snapshot.state == pb.JOB_STATE_SUCCEEDED
    await asyncio.sleep(0.5)
    assert (await system.get(events[-1].snapshot.id)).state == pb.JOB_STATE_SUCCEEDED


async def test_a_request_id_means_one_job_on_both(system: System, other: System) -> None:
    request_id = "2f1ac2b4-0b7e-4a7e-9d53-0d5e4b1f1c11"
    jobs = await asyncio.gather(*(gateway.create(request_id=request_id) for gateway in (system, other) * 4))
    assert len({job.id for job in jobs}) == 1
    await other.finished(jobs[0].id)
    assert len(system.generator.requests) == 1


async def test_a_reader_changes_gateways_and_sequences_still_rise(system: System, other: System) -> None:
    system.generator.step_seconds = 0.02
    job = await system.create(steps=60)
    call = system.stub.WatchJob(pb.WatchJobRequest(job_id=job.id))
    await until(lambda: len(system.generator.requests) == 1)
    seen = [(await call.read()).event.sequence for _ in range(12)]
    call.cancel()
    events = await other.watch(job.id, after=seen[-1])
    sequences = [event.sequence for event in events]
    assert events[0].HasField("snapshot")
    assert sequences[0] >= seen[-1]
    assert sequences == sorted(set(sequences))
    assert all(event.snapshot.sequence == event.sequence for event in events if event.HasField("snapshot"))
    assert events[-1].snapshot.state == pb.JOB_STATE_SUCCEEDED
    assert events[-1].sequence == (await system.get(job.id)).sequence


async def test_the_second_takes_over_when_the_first_drains(system: System, other: System) -> None:
    system.generator.step_seconds = 0.05
    job = await system.create(steps=100)
    watching = asyncio.create_task(other.watch(job.id))
    await until(lambda: len(system.generator.requests) == 1)
    await system.stop()
    system.generator.step_seconds = 0.0
    events = await watching
    final = events[-1].snapshot
    assert (final.state, final.attempts) == (pb.JOB_STATE_SUCCEEDED, 2)
    assert len(system.enhancer.requests) == 1
    sequences = [event.sequence for event in events]
    assert sequences == sorted(set(sequences))


async def test_the_second_takes_over_within_seconds_of_a_kill(tmp_path: Path) -> None:
    async with running_system(tmp_path / "data") as system:
        await system.stop()
        system.generator.step_seconds = 0.05
        async with process(system, tmp_path) as first, system.second() as other:
            jobs = [await system.create(steps=100), await other.create(steps=100, enhance=False)]
            watching = [asyncio.create_task(other.watch(job.id)) for job in jobs]
            await until(lambda: len(system.generator.requests) == 2)
            first.send_signal(signal.SIGKILL)
            await until(lambda: len(system.generator.requests) == 4, 5.0)
            system.generator.step_seconds = 0.0
            for events in await asyncio.gather(*watching):
                # Its stream is not broken, and what it hears goes on rising.
                sequences = [event.sequence for event in events]
                assert sequences == sorted(set(sequences))
                assert (events[-1].snapshot.state, events[-1].snapshot.attempts) == (pb.JOB_STATE_SUCCEEDED, 2)
        assert len(system.enhancer.requests) == 1
        assert len({(request.seed, request.prompt) for request in system.generator.requests}) == 2


async def test_a_cancel_that_nobody_heard_yet_holds_after_a_kill(tmp_path: Path) -> None:
    async with running_system(tmp_path / "data", max_concurrent_jobs=1) as system:
        await system.stop()
        system.generator.gate = asyncio.Event()
        async with process(system, tmp_path) as first, system.second() as other:
            running, waiting = [await other.create(steps=100) for _ in range(2)]
            await until(lambda: len(system.generator.requests) >= 1)
            first.send_signal(signal.SIGKILL)
            for job in (running, waiting):
                await other.stub.CancelJob(pb.CancelJobRequest(job_id=job.id))
            for job in (running, waiting):
                assert (await other.finished(job.id)).state == pb.JOB_STATE_CANCELLED


@pytest.mark.parametrize("state", ["SUCCESS", "PENDING"])
async def test_work_that_a_gateway_without_the_lock_took_is_taken_back(tmp_path: Path, state: str) -> None:
    """Such a gateway ends the work as DBOS sees it, or leaves it lying: its job waits no longer for a restart."""
    async with running_system(tmp_path / "data", max_concurrent_jobs=1) as system:
        gate = system.generator.gate = asyncio.Event()
        first, second = [await system.create(enhance=False) for _ in range(2)]
        await until(lambda: len(system.generator.requests) == 1)
        await asyncio.sleep(0.3)
        engine = sa.create_engine(system.database_url)
        table = "workflow_status" if engine.dialect.name == "sqlite" else "dbos.workflow_status"
        statement = f"UPDATE {table} SET status = :state, owner_xid = 'another' WHERE workflow_uuid = :id"
        with engine.begin() as connection:
            taken = connection.execute(sa.text(statement), {"state": state, "id": second.id}).rowcount
        engine.dispose()
        assert taken == 1
        gate.set()
        async with asyncio.timeout(15):
            for job in (first, second):
                assert (await system.finished(job.id)).state == pb.JOB_STATE_SUCCEEDED
        assert len(system.generator.requests) == 2
        await system.stop()
        await system.start(max_concurrent_jobs=1)
        await asyncio.sleep(1.0)
        assert len(system.generator.requests) == 2


@pytest.mark.parametrize("store", ["postgres"], indirect=True)
async def test_a_gateway_that_slept_while_its_lock_was_lost_harms_nobody(tmp_path: Path) -> None:
    async with running_system(tmp_path / "data", max_concurrent_jobs=1) as system:
        await system.stop()
        system.generator.step_seconds = 0.05
        async with process(system, tmp_path) as first, system.second(max_concurrent_jobs=1) as other:
            jobs = [await other.create(steps=60, enhance=False) for _ in range(6)]
            await until(lambda: len(system.generator.requests) >= 1)
            first.send_signal(signal.SIGSTOP)
            taken_over = len(system.generator.requests)
            await asyncio.to_thread(lose_the_lock)
            await until(lambda: len(system.generator.requests) > taken_over, 10.0)
            # It does not know yet: it goes on with what it ran, and takes more work out of the queue.
            first.send_signal(signal.SIGCONT)
            system.generator.step_seconds = 0.0
            async with asyncio.timeout(30):
                for job in jobs:
                    assert (await other.finished(job.id)).state == pb.JOB_STATE_SUCCEEDED


async def test_who_may_not_write_to_a_job_leaves_its_parts_alone(system: System) -> None:
    system.generator.step_seconds = 0.05
    job = await system.create(enhance=False, steps=100)
    await until(lambda: len(system.generator.requests) == 1)
    part = system.data_dir / "artifacts" / "parts" / f"{job.id}.7"
    part.write_bytes(b"of the gateway that has taken over")
    taking_over = SqlJobStore(system.database_url)
    await taking_over.open()
    await taking_over.begin_epoch()
    await system.stub.CancelJob(pb.CancelJobRequest(job_id=job.id))
    await until(lambda: bool(system.generator.cancelled))
    await asyncio.sleep(0.3)
    assert part.exists()
    found = await taking_over.get(job.id)
    assert found is not None
    assert not found.state.final
    await taking_over.close()


@pytest.mark.parametrize("store", ["postgres"], indirect=True)
async def test_a_gateway_whose_lock_is_lost_stops_and_goes_on_when_it_has_it_again(system: System) -> None:
    system.generator.step_seconds = 0.05
    job = await system.create(steps=100)
    watching = asyncio.create_task(system.watch(job.id))
    await until(lambda: len(system.generator.requests) == 1)
    await asyncio.to_thread(lose_the_lock)
    await until(lambda: system.generator.cancelled == [1], 3.0)
    await until(lambda: len(system.generator.requests) == 2, 10.0)
    system.generator.step_seconds = 0.0
    final = (await watching)[-1].snapshot
    assert (final.state, final.attempts) == (pb.JOB_STATE_SUCCEEDED, 2)
    assert len(system.enhancer.requests) == 1


@pytest.mark.parametrize("store", ["postgres"], indirect=True)
async def test_a_database_that_comes_back_has_lost_nothing(system: System) -> None:
    system.generator.step_seconds = 0.05
    job = await system.create(steps=60)
    await until(lambda: len(system.generator.requests) == 1)
    await asyncio.to_thread(postgres.server().stop)
    with pytest.raises(grpc.RpcError) as caught:
        await system.create()
    assert isinstance(caught.value, grpc.aio.AioRpcError)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    await asyncio.sleep(1.0)
    await asyncio.to_thread(postgres.server().start)
    async with asyncio.timeout(60):
        final = await system.finished(job.id)
    assert final.state == pb.JOB_STATE_SUCCEEDED
    assert len(system.enhancer.requests) == 1
    assert (await system.finished((await system.create()).id)).state == pb.JOB_STATE_SUCCEEDED

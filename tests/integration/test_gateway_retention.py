"""Old jobs are deleted with all that belongs to them; younger and unfinished ones stay."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import sqlalchemy as sa

from tests.support.gateway import System, each_store, running_system, until
from wanworker.v1 import gateway_pb2 as pb

AGED = {"job_max_age_seconds": 1.0, "artifact_sweep_seconds": 0.2}


@pytest.fixture(params=["sqlite", "postgres"], autouse=True)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """Every test is run on both databases."""
    yield from each_store(request.param, tmp_path / "database")


def rows(system: System) -> dict[str, int]:
    """How many rows of jobs, and of DBOS's work and steps, there are."""
    engine = sa.create_engine(system.database_url)
    schema = "" if engine.dialect.name == "sqlite" else "dbos."
    tables = ("wanworker_jobs", f"{schema}workflow_status", f"{schema}operation_outputs")
    with engine.connect() as connection:
        counts = [connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one() for table in tables]
    engine.dispose()
    return dict(zip(("jobs", "work", "steps"), counts, strict=True))


async def gone(system: System, job_id: str) -> None:
    """Returns when nobody knows the job any more."""
    async with asyncio.timeout(20):
        while True:
            try:
                await system.get(job_id)
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.NOT_FOUND
                return
            await asyncio.sleep(0.1)


async def test_an_old_job_goes_with_its_file_and_its_work_and_a_running_one_stays(tmp_path: Path) -> None:
    async with running_system(tmp_path / "data", **AGED) as system:
        old = await system.finished((await system.create(request_id="2f1ac2b4-0b7e-4a7e-9d53-0d5e4b1f1c11")).id)
        assert old.state == pb.JOB_STATE_SUCCEEDED
        system.generator.gate = asyncio.Event()
        running = await system.create()
        await until(lambda: len(system.generator.requests) == 2)
        cancelled = await system.create()
        await system.stub.CancelJob(pb.CancelJobRequest(job_id=cancelled.id))
        for job in (old, cancelled):
            await gone(system, job.id)
        await asyncio.sleep(1.5)
        assert (await system.get(running.id)).state == pb.JOB_STATE_RUNNING
        left = await asyncio.to_thread(rows, system)
        assert (left["jobs"], left["work"]) == (1, 1)
        assert list((system.data_dir / "artifacts").glob("*.mp4")) == []
        # What was done for the running job is not done again: its steps were left alone.
        system.generator.gate.set()
        assert (await system.finished(running.id)).state == pb.JOB_STATE_SUCCEEDED
        await gone(system, running.id)
        assert await asyncio.to_thread(rows, system) == {"jobs": 0, "work": 0, "steps": 0}
        # Its request_id is free again.
        again = await system.create(request_id="2f1ac2b4-0b7e-4a7e-9d53-0d5e4b1f1c11")
        assert again.id != old.id


async def test_zero_keeps_jobs_for_ever_and_a_row_without_a_date_learns_it(tmp_path: Path) -> None:
    async with running_system(tmp_path / "data", job_max_age_seconds=0.0, artifact_sweep_seconds=0.2) as system:
        job = await system.finished((await system.create()).id)
        engine = sa.create_engine(system.database_url)
        with engine.begin() as connection:
            connection.execute(sa.text("UPDATE wanworker_jobs SET finished_at = NULL"))
        await asyncio.sleep(1.0)
        assert await system.get(job.id) == job
        await system.stop()
        await system.start(job_max_age_seconds=3600.0, artifact_sweep_seconds=0.2)

        def dated() -> bool:
            with engine.connect() as connection:
                return bool(connection.execute(sa.text("SELECT finished_at FROM wanworker_jobs")).scalar_one())

        await until(dated, 10)
        assert await system.get(job.id) == job
        engine.dispose()

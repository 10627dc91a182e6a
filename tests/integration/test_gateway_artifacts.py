"""Stored files: how they go, and a disk that is full."""

import asyncio
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support.gateway import System, running_system, until
from wanworker.client.status import status_details
from wanworker.gateway import service
from wanworker.gateway.artifacts import DirectoryArtifactStore, PartFile
from wanworker.gateway.database import StoreUnavailableError
from wanworker.gateway.model import Job
from wanworker.gateway.store import SqlJobStore
from wanworker.v1 import gateway_pb2 as pb


def files(system: System) -> list[str]:
    """Names of the stored files and parts."""
    return sorted(path.name for path in (system.data_dir / "artifacts").rglob("*") if path.is_file())


async def reading(system: System, job_id: str) -> Any:
    """What ReadArtifact fails with."""
    with pytest.raises(grpc.RpcError) as caught:
        _ = [piece async for piece in system.stub.ReadArtifact(pb.ReadArtifactRequest(job_id=job_id))]
    return status_details(caught.value)


async def test_an_old_file_is_deleted_and_its_job_stays(tmp_path: Path) -> None:
    values = {"artifact_max_age_seconds": 3600.0, "artifact_sweep_seconds": 0.1}
    async with running_system(tmp_path / "data", **values) as system:
        old, new = [await system.finished((await system.create()).id) for _ in range(2)]
        yesterday = time.time() - 86400
        os.utime(system.data_dir / "artifacts" / f"{old.id}.mp4", (yesterday, yesterday))
        await until(lambda: files(system) == [f"{new.id}.mp4"])
        job = await system.get(old.id)
        assert not job.HasField("artifact")
        assert (job.state, job.delivered) == (pb.JOB_STATE_SUCCEEDED, old.delivered)
        details = await reading(system, old.id)
        assert (details.code, details.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "ARTIFACT_EXPIRED")
        assert "deleted_at" in details.metadata
        assert (await system.watch(old.id))[-1].snapshot == job
        assert (await system.get(new.id)).HasField("artifact")


async def test_the_oldest_files_make_room_but_never_that_of_a_running_job(tmp_path: Path) -> None:
    values = {"artifact_max_total_bytes": 800_000, "artifact_sweep_seconds": 0.1}
    async with running_system(tmp_path / "data", **values) as system:
        system.generator.gate = asyncio.Event()
        running = await system.create()
        await until(lambda: len(system.generator.requests) == 1)
        # As it lies there between storing and the job's end.
        kept = system.data_dir / "artifacts" / f"{running.id}.mp4"
        kept.write_bytes(b"x" * 1_000_000)
        os.utime(kept, (0, 0))
        stranger = system.data_dir / "artifacts" / "0000.mp4"
        stranger.write_bytes(b"x")
        os.utime(stranger, (0, 0))
        await asyncio.sleep(0.6)
        assert kept.exists()
        assert stranger.exists()
        kept.unlink()
        system.generator.gate.set()
        await system.finished(running.id)
        later = await system.finished((await system.create()).id)
        await until(lambda: f"{running.id}.mp4" not in files(system))
        assert (await reading(system, running.id)).reason == "ARTIFACT_EXPIRED"
        assert f"{later.id}.mp4" in files(system)


class FullDisk(DirectoryArtifactStore):
    """A folder whose parts lead to /dev/full, which answers every write as a full disk does."""

    full = True

    def receive(self, job_id: str, attempt: int) -> PartFile:
        if self.full:
            self._part(job_id, attempt).symlink_to("/dev/full")
        return super().receive(job_id, attempt)


async def test_a_full_disk_fails_the_job_and_the_gateway_lives(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(service, "DirectoryArtifactStore", FullDisk)
    monkeypatch.setattr(FullDisk, "full", True)
    async with running_system(tmp_path / "data") as system:
        job = await system.finished((await system.create()).id)
        assert (job.state, job.failure.code) == (pb.JOB_STATE_FAILED, "RESOURCE_EXHAUSTED")
        assert job.failure.reason == "STORAGE_FULL"
        assert files(system) == []
        monkeypatch.setattr(FullDisk, "full", False)
        assert (await system.finished((await system.create()).id)).state == pb.JOB_STATE_SUCCEEDED


async def test_parts_that_nobody_will_finish_are_removed_at_the_start(tmp_path: Path) -> None:
    async with running_system(tmp_path / "data") as system:
        await system.stop()
        (system.data_dir / "artifacts/parts/gone.1").write_bytes(b"x")
        await system.start()
        assert files(system) == []
        await system.stop()
        # A gateway that only waits leaves the parts of the one that works alone.
        await system.start()
        part = system.data_dir / "artifacts/parts/at-work.1"
        part.write_bytes(b"x")
        async with system.second():
            assert part.exists()


async def test_a_file_that_vanished_before_it_was_stored_is_made_again(tmp_path: Path, monkeypatch: Any) -> None:
    commit = DirectoryArtifactStore.commit

    async def vanish(self: DirectoryArtifactStore, job_id: str, attempt: int, media_type: str) -> None:
        if attempt == 1:
            self.discard(job_id)
        await commit(self, job_id, attempt, media_type)

    monkeypatch.setattr(DirectoryArtifactStore, "commit", vanish)
    async with running_system(tmp_path / "data") as system:
        job = await system.finished((await system.create()).id)
        assert (job.state, job.attempts) == (pb.JOB_STATE_SUCCEEDED, 2)
        assert len(system.enhancer.requests) == 1


async def test_writes_that_fail_now_and_then_delay_a_job_and_lose_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    save = SqlJobStore.save
    calls = 0

    async def flaky(self: SqlJobStore, job: Job) -> bool:
        nonlocal calls
        calls += 1
        if calls % 2:
            raise StoreUnavailableError("gone for a moment", "STORE_UNAVAILABLE")
        return await save(self, job)

    monkeypatch.setattr(SqlJobStore, "save", flaky)
    async with running_system(tmp_path / "data") as system:
        jobs = [await system.create() for _ in range(3)]
        for job in jobs:
            final = await system.finished(job.id)
            assert (final.state, final.attempts) == (pb.JOB_STATE_SUCCEEDED, 1)
        assert len(system.generator.requests) == len(system.enhancer.requests) == 3


async def test_a_database_that_is_busy_delays_a_job_and_loses_nothing(tmp_path: Path) -> None:
    async with running_system(tmp_path / "data") as system:
        await system.stop()
        system.database_url = f"sqlite:///{system.data_dir / 'dbos.sqlite'}?timeout=0.1"
        await system.start()
        system.generator.gate = asyncio.Event()
        job = await system.create()
        await until(lambda: len(system.generator.requests) == 1)
        with sqlite3.connect(system.data_dir / "dbos.sqlite", isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            system.generator.gate.set()
            await asyncio.sleep(1.5)
            assert (await system.get(job.id)).state == pb.JOB_STATE_RUNNING
            other.execute("ROLLBACK")
        other.close()
        final = await system.finished(job.id)
        assert (final.state, final.attempts) == (pb.JOB_STATE_SUCCEEDED, 1)

"""What a job leaves behind in the metrics."""

import asyncio
import shutil
from pathlib import Path

import grpc

from tests.support.gateway import Failure, running_system, until
from tests.support.metrics import measured


async def test_a_job_that_succeeds(tmp_path: Path) -> None:
    counted = measured()
    async with running_system(tmp_path / "data") as system:
        system.generator.statistics.mean_luma = 0.0
        await system.finished((await system.create()).id)
    attributes = {"wanworker__job__type": "VIDEO_FAST", "wanworker__job__state": "SUCCEEDED", "wanworker__reason": ""}
    assert counted.of("wanworker.jobs", **attributes) == counted.of("wanworker.jobs") == 1
    assert counted.of("wanworker.job.duration", **attributes) == 1
    assert counted.of("wanworker.queue.wait", wanworker__job__type="VIDEO_FAST") == 1
    assert counted.of("wanworker.stage.duration", wanworker__stage="ENHANCING") == 1
    assert counted.of("wanworker.stage.duration", wanworker__stage="STORING") == 1
    assert counted.of("wanworker.artifact.size", wanworker__media_type="video/mp4") == 1
    assert counted.of("wanworker.warnings", wanworker__reason="BLACK_FRAMES") == 1


async def test_a_job_that_fails_is_counted_by_its_reason(tmp_path: Path) -> None:
    counted = measured()
    async with running_system(tmp_path / "data") as system:
        system.generator.failures = [Failure(grpc.StatusCode.INVALID_ARGUMENT, "BAD_SEED")]
        await system.finished((await system.create()).id)
    assert counted.of("wanworker.jobs", wanworker__job__state="FAILED", wanworker__reason="BAD_SEED") == 1
    assert counted.of("wanworker.artifact.size") == 0


async def test_rungs_are_counted_and_a_job_without_one_left_is_out_of_memory(tmp_path: Path) -> None:
    counted = measured()
    async with running_system(tmp_path / "data") as system:
        system.generator.fits = lambda settings: settings.memory.tiled_decode
        await system.finished((await system.create()).id)
        system.generator.fits = lambda settings: False
        await system.finished((await system.create()).id)
    assert counted.of("wanworker.degradations", rung="spare_memory") == 1
    assert counted.of("wanworker.jobs", wanworker__job__state="FAILED", wanworker__reason="GPU_OUT_OF_MEMORY") == 1


async def test_the_queue_and_the_disk_are_measured_when_somebody_asks(tmp_path: Path) -> None:
    counted = measured()
    async with running_system(tmp_path / "data", max_concurrent_jobs=1, queue_limit=7) as system:
        system.generator.gate = asyncio.Event()
        jobs = [await system.create() for _ in range(3)]
        await until(lambda: counted.now("wanworker.jobs.running") == 1)
        assert counted.now("wanworker.queue.length") == 2
        assert counted.now("wanworker.queue.limit") == 7
        system.generator.gate.set()
        for job in jobs:
            await system.finished(job.id)
        assert (counted.now("wanworker.jobs.running"), counted.now("wanworker.queue.length")) == (0, 0)
        total = counted.now("wanworker.disk.space")
        assert 0 < counted.now("wanworker.disk.space", state="free") < total
        assert total == shutil.disk_usage(tmp_path).total
    assert counted.of("wanworker.queue.wait") == 3


async def test_a_job_that_is_taken_up_again_has_waited_once(tmp_path: Path) -> None:
    counted = measured()
    async with running_system(tmp_path / "data") as system:
        system.generator.gate = asyncio.Event()
        job = await system.create()
        await until(lambda: len(system.generator.requests) == 1)
        await system.stop()
        system.generator.gate.set()
        await system.start()
        await system.finished(job.id)
    assert counted.of("wanworker.queue.wait") == counted.of("wanworker.jobs") == 1

"""The rungs of the ladder against a real generator's real torch.OutOfMemoryErrors.

The generator's estimate knows nothing of the budget here, as on a GPU that somebody else fills: it finds that every
rung fits, so that each is tried, and each but the last runs out of memory in the middle of its work.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.gateway import System, running_system
from tests.support.generator import RunningGenerator, running_generator
from wanworker.v1 import gateway_pb2 as pb
from wanworker.v1 import types_pb2

PLENTY = 2**40
SPARED = types_pb2.MemoryOptions(tiled_decode=True, evict_text_encoder=True, free_caches=True)


@dataclass
class Rig:
    """A gateway in front of a real generator whose memory can be made less."""

    system: System
    generator: RunningGenerator

    @property
    def live_bytes(self) -> int:
        budget = self.generator.engine.device.budget
        assert budget is not None
        return budget.live_bytes

    async def limit_to(self, **settings: Any) -> None:
        """Leaves little more memory than a clip needs with everything spared."""
        made = await self.generator.generate(**settings, memory=SPARED)
        budget = self.generator.engine.device.budget
        assert budget is not None
        budget.limit_bytes = made.completed.peak_memory_bytes * 101 // 100

    async def run(self, **spec: Any) -> pb.Job:
        job = await self.system.create(enhance=False, steps=1, guidance_scale=1.0, **spec)
        return await self.system.finished(job.id)


@asynccontextmanager
async def rig(folder: Path) -> AsyncIterator[Rig]:
    async with (
        running_generator(memory_budget_bytes=PLENTY, admission=False) as generator,
        running_system(folder, generator_address=generator.server.address) as system,
    ):
        yield Rig(system, generator)


def told(job: pb.Job) -> list[tuple[str, int]]:
    """The rungs, each with the attempt that ran out of memory."""
    return [(each.rung, each.attempt) for each in job.degradations]


async def test_a_lower_preset_is_tried_where_sparing_memory_is_not_enough(tmp_path: Path) -> None:
    async with rig(tmp_path) as found:
        await found.limit_to(width=512, height=256, frames=9, steps=1, guidance_scale=1.0)
        job = await found.run(width=512, height=256, fps=24, quality=pb.QUALITY_HIGH, duration={"nanos": 500_000_000})
        assert job.state == pb.JOB_STATE_SUCCEEDED, job.failure
        assert told(job) == [("spare_memory", 1), ("quality_balanced", 2)]
        steps_down = [(each.to.fps, each.to.frames) for each in job.degradations]
        assert steps_down == [(24, 13), (14, 9)]
        assert (job.delivered.settings.frames, job.attempts) == (9, 3)
        assert found.system.enhancer.unloads > 0


async def test_smaller_sizes_are_tried_one_after_the_other(tmp_path: Path) -> None:
    async with rig(tmp_path) as found:
        await found.limit_to(width=480, height=480, frames=1, steps=1, guidance_scale=1.0)
        job = await found.run(width=752, height=752, job_type=pb.JOB_TYPE_IMAGE_FAST)
        assert job.state == pb.JOB_STATE_SUCCEEDED, job.failure
        assert told(job) == [("spare_memory", 1), ("size_720", 2), ("size_480", 3)]
        assert (job.delivered.width, job.delivered.height, job.attempts) == (480, 480, 4)


async def test_when_no_rung_fits_the_job_fails_typed_and_the_next_small_one_succeeds(tmp_path: Path) -> None:
    async with rig(tmp_path) as found:
        small = {"width": 64, "height": 64, "job_type": pb.JOB_TYPE_IMAGE_FAST}
        await found.limit_to(width=64, height=64, frames=1, steps=1, guidance_scale=1.0)
        before = await found.run(**small, seed=1)
        live = found.live_bytes
        job = await found.run(width=256, height=144, duration={"nanos": 750_000_000}, fps=24)
        assert (job.state, job.failure.reason) == (pb.JOB_STATE_FAILED, "GPU_OUT_OF_MEMORY")
        assert job.failure.metadata["needed_bytes"]
        assert told(job)[-1][0] == "quality_fast"
        after = await found.run(**small, seed=1)
        assert (before.state, after.state) == (pb.JOB_STATE_SUCCEEDED, pb.JOB_STATE_SUCCEEDED)
        assert after.artifact.sha256 == before.artifact.sha256
        assert found.live_bytes == live

"""What stays in a device's memory between jobs: a table, and a pure choice by the device's size.

A plan is good for a device if the model's usual job (its default size, or 1280×720 where that is larger, at its
default length) fits by the formulas of `estimate` with `_SPARE` of the memory left for the CUDA context and the
allocator's gaps. The first good one in the table is taken, so the fastest; if none is, the last, and admission refuses
what does not fit.

For Wan2.1-T2V-1.3B (2.8 GB transformer, 11.4 GB text encoder in bf16) that means: all resident from 48 GB, the text
encoder offloaded between prompts on 24 GB. Then it is copied from main memory once a job, and not at all for prompts
whose embeddings are cached; see `offloading`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from wanworker.generator.estimate import peak_bytes
from wanworker.generator.registry import ModelRow
from wanworker.generator.request import Memory, Settings
from wanworker.generator.shapes import ModelShape

_SPARE = 0.12
_HD_WIDTH, _HD_HEIGHT = 1280, 704


@dataclass(frozen=True)
class MemoryPlan:
    """How a model lies on a device."""

    name: str
    """For logs and tables."""
    offload_text_encoder: bool
    """The text encoder waits in main memory between prompts."""
    tiled_decode: bool
    """Every decode goes tile by tile."""

    def applied_to(self, settings: Settings) -> Settings:
        """The settings as they cost under the plan: an offloaded text encoder is gone while others compute."""
        memory = replace(
            settings.memory,
            tiled_decode=settings.memory.tiled_decode or self.tiled_decode,
            evict_text_encoder=settings.memory.evict_text_encoder or self.offload_text_encoder,
        )
        return replace(settings, memory=memory)


PLANS: tuple[MemoryPlan, ...] = (
    MemoryPlan("resident", offload_text_encoder=False, tiled_decode=False),
    MemoryPlan("offload text encoder", offload_text_encoder=True, tiled_decode=False),
    MemoryPlan("offload text encoder, tiled decode", offload_text_encoder=True, tiled_decode=True),
)
"""Fastest first."""


def choose_plan(shape: ModelShape, row: ModelRow, device_bytes: int, dtype_bytes: int, vae_bytes: int) -> MemoryPlan:
    """The plan for a model on a device of that size."""
    limit = device_bytes * (1 - _SPARE)
    for plan in PLANS:
        peaks = (peak_bytes(shape, plan.applied_to(job), dtype_bytes, vae_bytes) for job in _usual_jobs(row))
        if max(peaks) <= limit:
            return plan
    return PLANS[-1]


def _usual_jobs(row: ModelRow) -> Iterator[Settings]:
    job = Settings(row.name, row.width, row.height, row.frames, row.fps, 25, row.guidance_scale, memory=Memory())
    yield job
    if row.repo:  # the demo is not made for it
        yield replace(job, width=_HD_WIDTH, height=_HD_HEIGHT)

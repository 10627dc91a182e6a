"""The degradation ladder: a table of rungs, each a pure function from settings to settings.

A rung gives None where it has nothing left to take. What it gives needs less memory at the peak, or the same:
whether it fits is the generator's word (`Estimate`), never guessed here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from wanworker.gateway.asked import DegradationPolicy, Quality
from wanworker.gateway.generation import GenerationSettings, MemoryOptions
from wanworker.gateway.presets import PRESETS
from wanworker.gateway.resolve import SIZE_STEP, nearest_frames

HEIGHTS = (720, 480)
"""Shorter sides to fall back to, largest first."""


@dataclass(frozen=True)
class Rung:
    """One way to need less memory."""

    name: str
    """As it is told, for example "tiled_decode"."""
    same_output: bool
    """Whether the result stays as it was asked for."""
    lower: Callable[[GenerationSettings], GenerationSettings | None]
    """The settings below; None where there are none."""


def spare_memory(settings: GenerationSettings) -> GenerationSettings | None:
    """Free caches, evict the text encoder, decode in tiles: slower, not different."""
    spared = MemoryOptions(tiled_decode=True, evict_text_encoder=True, free_caches=True)
    return None if settings.memory == spared else replace(settings, memory=spared)


def lower_quality(quality: Quality) -> Callable[[GenerationSettings], GenerationSettings | None]:
    """To a preset: fewer frames at the same length, fewer steps, less guidance; never more of any."""
    preset = PRESETS[quality]

    def lower(settings: GenerationSettings) -> GenerationSettings | None:
        if settings.frames == 1 or settings.fps <= preset.fps:
            return None
        return replace(
            settings,
            frames=min(settings.frames, nearest_frames(settings.frames / settings.fps, preset.fps)),
            fps=preset.fps,
            steps=min(settings.steps, preset.steps),
            guidance_scale=min(settings.guidance_scale, preset.guidance_scale),
        )

    return lower


def shrink(shorter_side: int) -> Callable[[GenerationSettings], GenerationSettings | None]:
    """To a smaller size of the same aspect, in multiples of 16."""

    def lower(settings: GenerationSettings) -> GenerationSettings | None:
        scale = shorter_side / min(settings.width, settings.height)
        if scale >= 1:
            return None
        width, height = (max(SIZE_STEP, round(side * scale / SIZE_STEP) * SIZE_STEP) for side in _size(settings))
        return replace(settings, width=width, height=height)

    return lower


LADDER = (
    Rung("spare_memory", True, spare_memory),
    Rung("quality_balanced", False, lower_quality(Quality.BALANCED)),
    Rung("quality_fast", False, lower_quality(Quality.FAST)),
    *(Rung(f"size_{height}", False, shrink(height)) for height in HEIGHTS),
)
"""From what costs nothing to what hurts most."""


def rungs_below(settings: GenerationSettings, policy: DegradationPolicy) -> Iterator[tuple[Rung, GenerationSettings]]:
    """The rungs that may be taken from here, one after the other, each with the settings it leads to."""
    if policy is DegradationPolicy.FORBIDDEN:
        return
    for rung in LADDER:
        if policy is DegradationPolicy.SAME_OUTPUT_ONLY and not rung.same_output:
            return
        lowered = rung.lower(settings)
        if lowered is not None:
            settings = lowered
            yield rung, settings


def _size(settings: GenerationSettings) -> tuple[int, int]:
    return settings.width, settings.height

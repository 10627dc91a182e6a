"""The degradation ladder, rung by rung."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wanworker.gateway.asked import DegradationPolicy, Quality
from wanworker.gateway.attempts import shares_host
from wanworker.gateway.generation import GenerationSettings, MemoryOptions
from wanworker.gateway.ladder import LADDER, lower_quality, rungs_below, shrink, spare_memory

HIGH = GenerationSettings("wan", 1920, 1088, 81, 16, 25, 7.5)
SPARED = MemoryOptions(tiled_decode=True, evict_text_encoder=True, free_caches=True)


def test_the_ladder_goes_from_free_to_painful() -> None:
    rungs = [(rung.name, settings) for rung, settings in rungs_below(HIGH, DegradationPolicy.ALLOWED)]
    names = [name for name, _ in rungs]
    assert names == ["spare_memory", "quality_balanced", "quality_fast", "size_720", "size_480"]
    last = rungs[-1][1]
    assert (last.width, last.height, last.frames, last.fps, last.steps) == (848, 480, 61, 12, 15)
    spared = rungs[0][1]
    assert replace(spared, memory=HIGH.memory) == HIGH


def test_sparing_memory_touches_nothing_but_memory_and_is_done_once() -> None:
    spared = spare_memory(HIGH)
    assert spared == replace(HIGH, memory=SPARED)
    assert spare_memory(spared) is None
    half = replace(HIGH, memory=MemoryOptions(tiled_decode=True))
    assert spare_memory(half) == replace(HIGH, memory=SPARED)


@pytest.mark.parametrize(
    ("quality", "before", "after"),
    [
        (Quality.BALANCED, HIGH, (69, 14, 20, 6.5)),
        (Quality.FAST, HIGH, (61, 12, 15, 5.0)),
        # What is below the preset already stays there.
        (Quality.BALANCED, replace(HIGH, steps=4, guidance_scale=1.0), (69, 14, 4, 1.0)),
    ],
)
def test_a_lower_preset_keeps_the_length_and_lowers_the_rest(
    quality: Quality, before: GenerationSettings, after: tuple[int, int, int, float]
) -> None:
    lowered = lower_quality(quality)(before)
    assert lowered is not None
    assert (lowered.frames, lowered.fps, lowered.steps, lowered.guidance_scale) == after
    assert lowered.frames / lowered.fps == pytest.approx(before.frames / before.fps, abs=2 / lowered.fps)
    assert (lowered.width, lowered.height, lowered.memory) == (before.width, before.height, before.memory)


@pytest.mark.parametrize(
    ("lower", "settings"),
    [
        (lower_quality(Quality.BALANCED), replace(HIGH, fps=14)),
        (lower_quality(Quality.FAST), replace(HIGH, fps=12)),
        # Fewer frames a second spare nothing where there is one frame.
        (lower_quality(Quality.FAST), replace(HIGH, frames=1)),
        (shrink(720), replace(HIGH, width=1280, height=720)),
        (shrink(480), replace(HIGH, width=832, height=480)),
        (shrink(480), replace(HIGH, width=256, height=144)),
    ],
)
def test_a_rung_that_would_spare_nothing_is_not_taken(
    lower: Callable[[GenerationSettings], GenerationSettings | None], settings: GenerationSettings
) -> None:
    assert lower(settings) is None


@pytest.mark.parametrize(
    ("size", "shorter", "expected"),
    [
        ((1920, 1088), 720, (1264, 720)),
        ((1280, 720), 480, (848, 480)),
        ((720, 1280), 480, (480, 848)),
        ((1088, 1088), 480, (480, 480)),
    ],
)
def test_a_smaller_size_keeps_the_aspect_in_multiples_of_16(
    size: tuple[int, int], shorter: int, expected: tuple[int, int]
) -> None:
    lowered = shrink(shorter)(replace(HIGH, width=size[0], height=size[1]))
    assert lowered is not None
    assert (lowered.width, lowered.height) == expected
    assert lowered == replace(HIGH, width=expected[0], height=expected[1])


@pytest.mark.parametrize(
    ("policy", "names"),
    [
        (DegradationPolicy.FORBIDDEN, []),
        (DegradationPolicy.SAME_OUTPUT_ONLY, ["spare_memory"]),
        (DegradationPolicy.ALLOWED, [rung.name for rung in LADDER]),
        (DegradationPolicy.UNSPECIFIED, [rung.name for rung in LADDER]),
    ],
)
def test_the_policy_bounds_the_ladder(policy: DegradationPolicy, names: list[str]) -> None:
    assert [rung.name for rung, _ in rungs_below(HIGH, policy)] == names


def test_below_480_there_is_only_less_of_the_rest() -> None:
    small = replace(HIGH, width=256, height=144, memory=SPARED, fps=12)
    assert list(rungs_below(small, DegradationPolicy.ALLOWED)) == []


@given(
    width=st.integers(4, 120),
    height=st.integers(4, 120),
    frames=st.integers(0, 40),
    fps=st.integers(12, 24),
    steps=st.integers(1, 100),
)
def test_no_rung_asks_for_more_and_all_are_valid(width: int, height: int, frames: int, fps: int, steps: int) -> None:
    before = GenerationSettings("wan", width * 16, height * 16, frames * 4 + 1, fps, steps, 5.0)
    for _, after in rungs_below(before, DegradationPolicy.ALLOWED):
        assert after != before
        assert after.width <= before.width
        assert after.height <= before.height
        assert after.frames <= before.frames
        assert after.steps <= before.steps
        assert after.guidance_scale <= before.guidance_scale
        assert after.width % 16 == after.height % 16 == 0
        assert after.frames % 4 == 1
        assert (after.frames == 1) == (before.frames == 1)
        before = after


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("127.0.0.1:50052", "localhost:50053", True),
        ("[::1]:50052", "127.0.0.1:50053", True),
        ("GPU-1:50052", "gpu-1:50053", True),
        ("enhancer:50052", "generator:50053", False),
        ("127.0.0.1:50052", "gpu-1:50053", False),
    ],
)
def test_who_is_co_located(one: str, other: str, same: bool) -> None:
    assert shares_host(one, other) is same

"""What a job says about how long such jobs take."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from wanworker.generator.estimate import ONCE, StageWork
from wanworker.generator.job import seconds_of
from wanworker.generator.request import Settings, Speed, Stage, StageSeconds

FORWARDS = StageWork(Stage.DENOISING, 8e12, 1e12)
SET_UP = StageWork(Stage.DENOISING, 1.0, 1e12, ONCE)
DECODING, TEXT = StageWork(Stage.DECODING, 1e12, 1e12), StageWork(Stage.ENCODING_TEXT, 1e12, 1e12)
SETTINGS = Settings("demo", 256, 144, 33, 16, 4, 5.0)


def told(piece: StageWork, *, settings: Settings = SETTINGS, compiled: bool = False, **job: Any) -> float | None:
    """By a job whose text took 1 s, denoising 20 s (10, 3, 3 and 3 of them in steps), decoding 5 s."""
    values = {"retiled": [], "known_prompts": [], "reread": [], "step_seconds": [10.0, 3.0, 3.0, 3.0], **job}
    stages = zip((Stage.ENCODING_TEXT, Stage.DENOISING, Stage.DECODING), (1.0, 20.0, 5.0), strict=True)
    result: Any = SimpleNamespace(settings=settings, stages=[StageSeconds(*each) for each in stages])
    fake_job: Any = SimpleNamespace(**values)
    return seconds_of(piece, fake_job, result, compiled=compiled)


def test_steps_after_the_first_stand_for_all() -> None:
    assert told(FORWARDS) == pytest.approx(12)
    assert told(FORWARDS, compiled=True) == pytest.approx(12)


def test_what_is_beside_the_steps_is_taken_once() -> None:
    assert told(SET_UP) == pytest.approx(1)
    assert told(SET_UP, step_seconds=[10.0, 10.0, 1.0]) == pytest.approx(0, abs=1e-3)


def test_a_step_without_guidance_is_half_a_step() -> None:
    settings = replace(SETTINGS, speed=Speed(guidance_cutoff=0.5))  # two forwards twice, then one twice
    assert told(FORWARDS, settings=settings, step_seconds=[10.0, 4.0, 2.0, 2.0]) == pytest.approx(12)


def test_a_single_step_counts_unless_it_compiles() -> None:
    single = replace(SETTINGS, steps=1)
    assert told(FORWARDS, settings=single, step_seconds=[4.0]) == 4
    assert told(FORWARDS, settings=single, step_seconds=[4.0], compiled=True) is None
    assert told(SET_UP, settings=single, step_seconds=[4.0], compiled=True) == 16


def test_skipped_forwards_say_nothing_of_forwards() -> None:
    assert told(FORWARDS, settings=replace(SETTINGS, speed=Speed(cache_threshold=0.1))) is None


def test_other_stages_count_as_they_were() -> None:
    assert told(DECODING) == 5
    assert told(DECODING, retiled=[True]) is None
    assert told(TEXT) == 1
    assert told(TEXT, known_prompts=["a ball"]) is None
    assert told(TEXT, reread=[True]) is None
    assert told(StageWork(Stage.LOADING_MODEL, 1e9, 1e9)) is None

"""Presets and resolving."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wanworker.gateway import asked, generation, model
from wanworker.gateway.asked import JobSpec, JobType, Quality, ReferenceImage
from wanworker.gateway.generation import Capability, ModelInfo
from wanworker.gateway.resolve import nearest_frames, resolve
from wanworker.runtime.errors import InvalidArgumentError
from wanworker.v1 import gateway_pb2, generator_pb2, types_pb2

EVERYTHING = frozenset({Capability.TEXT_TO_VIDEO, Capability.TEXT_TO_IMAGE, Capability.IMAGE_TO_VIDEO})
DEMO = ModelInfo("demo", EVERYTHING, 256, 144, 33, 16, 33, is_default=True)
WAN = ModelInfo("wan", frozenset({Capability.TEXT_TO_VIDEO}), 1280, 720, 81, 16, 121)
MODELS = (WAN, DEMO)


def settings_of(**values: Any) -> generation.GenerationSettings:
    """What a spec becomes."""
    return resolve(JobSpec("a cat", **values), MODELS).settings


@pytest.mark.parametrize(
    ("job_type", "quality", "guidance", "steps", "fps"),
    [
        (JobType.UNSPECIFIED, Quality.UNSPECIFIED, 5.0, 15, 12),
        (JobType.VIDEO_FAST, Quality.UNSPECIFIED, 5.0, 15, 12),
        (JobType.VIDEO_HIGH, Quality.UNSPECIFIED, 7.5, 25, 16),
        (JobType.VIDEO_HIGH, Quality.BALANCED, 6.5, 20, 14),
        (JobType.IMAGE_FAST, Quality.UNSPECIFIED, 5.0, 15, 12),
        (JobType.IMAGE_HIGH, Quality.UNSPECIFIED, 7.5, 25, 16),
        (JobType.IMAGE_HIGH, Quality.FAST, 5.0, 15, 12),
    ],
)
def test_presets(job_type: JobType, quality: Quality, guidance: float, steps: int, fps: int) -> None:
    settings = settings_of(job_type=job_type, quality=quality)
    assert (settings.guidance_scale, settings.steps, settings.fps) == (guidance, steps, fps)
    assert (settings.frames == 1) is job_type.still


def test_sizes_are_multiples_of_what_the_model_says() -> None:
    coarse = replace(WAN, size_multiple=32)
    resolved = resolve(JobSpec("a cat", model="wan"), (coarse, DEMO))
    assert (resolved.settings.width, resolved.settings.height) == (1280, 736)


@pytest.mark.parametrize(
    ("reference", "available", "job_type", "expected"),
    [
        (True, True, JobType.VIDEO_FAST, "i2v"),
        (False, True, JobType.VIDEO_FAST, "wan"),
        (False, True, JobType.IMAGE_FAST, "wan"),
    ],
)
def test_an_image_goes_to_a_model_at_hand_that_takes_one(
    reference: bool, available: bool, job_type: JobType, expected: str
) -> None:
    both = frozenset({Capability.TEXT_TO_VIDEO, Capability.TEXT_TO_IMAGE})
    default = replace(WAN, capabilities=both, is_default=True)
    absent = replace(DEMO, name="absent", is_default=False)
    capable = replace(absent, name="i2v", is_available=available)
    spec = JobSpec("a cat", job_type=job_type, reference=ReferenceImage(data=b"x") if reference else None)
    assert resolve(spec, (default, absent, capable)).settings.model == expected
    named = replace(spec, model="wan")
    if reference:
        with pytest.raises(InvalidArgumentError):
            resolve(named, (default, absent, capable))  # who names a model gets that one
        with pytest.raises(InvalidArgumentError):
            resolve(spec, (default, absent))


def test_what_the_spec_says_goes_before_the_preset() -> None:
    settings = settings_of(quality=Quality.HIGH, steps=3, guidance_scale=1.0, fps=24)
    assert (settings.steps, settings.guidance_scale, settings.fps) == (3, 1.0, 24)


@pytest.mark.parametrize(
    ("values", "size", "frames"),
    [
        ({}, (256, 144), 33),
        ({"model": "wan"}, (1280, 720), 61),
        ({"model": "wan", "quality": Quality.HIGH}, (1280, 720), 81),
        ({"model": "wan", "fps": 24}, (1280, 720), 81),
        ({"model": "wan", "duration": 5.0, "fps": 24}, (1280, 720), 121),
        ({"duration": 2.0}, (256, 144), 25),
        ({"duration": 0.25}, (256, 144), 5),
        ({"width": 1920, "height": 1080}, (1920, 1088), 33),
        ({"job_type": JobType.IMAGE_FAST, "width": 66, "height": 64}, (80, 64), 1),
    ],
)
def test_sizes_and_lengths(values: dict[str, Any], size: tuple[int, int], frames: int) -> None:
    settings = settings_of(**values)
    assert ((settings.width, settings.height), settings.frames) == (size, frames)


def test_rounding_is_reported_and_defaults_are_not() -> None:
    assert resolve(JobSpec("a cat"), MODELS).adjustments == ()
    resolved = resolve(JobSpec("a cat", width=1920, height=1080, duration=2.0), MODELS)
    assert resolved.crop == (1920, 1080)
    rows = [(row.field, row.asked, row.used) for row in resolved.adjustments]
    assert rows == [("height", "1080", "1088"), ("duration", "2 s", "2.083 s")]


@pytest.mark.parametrize(
    ("values", "path", "words"),
    [
        ({"model": "nope"}, "spec.model", ["nope", "wan, demo"]),
        ({"model": "wan", "job_type": JobType.IMAGE_FAST}, "spec.job_type", ["stills", "demo"]),
        ({"model": "wan", "reference": ReferenceImage(b"x")}, "spec.reference_image", ["demo"]),
        ({"duration": 5.0}, "spec.duration", ["at most 33", "2.75 s"]),
    ],
)
def test_the_impossible_is_rejected_with_what_is_possible(values: dict[str, Any], path: str, words: list[str]) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        settings_of(**values)
    (violation,) = caught.value.violations
    assert violation.field == path
    assert all(word in violation.description for word in words)


@given(
    seconds=st.floats(0.25, 30, allow_nan=False),
    fps=st.integers(12, 24),
)
def test_frames_are_the_nearest_4k_plus_1(seconds: float, fps: int) -> None:
    frames = nearest_frames(seconds, fps)
    assert frames % 4 == 1
    assert frames >= 5
    assert abs(frames - seconds * fps) <= 2 + 1e-6 or frames == 5


@given(
    width=st.integers(32, 960).map(lambda half: half * 2),
    height=st.integers(32, 960).map(lambda half: half * 2),
    seconds=st.none() | st.floats(0.25, 2.0),
    fps=st.none() | st.integers(12, 16),
)
def test_everything_resolved_is_valid_and_every_change_is_reported(
    width: int, height: int, seconds: float | None, fps: int | None
) -> None:
    resolved = resolve(JobSpec("a cat", width=width, height=height, duration=seconds, fps=fps), MODELS)
    settings = resolved.settings
    assert settings.width % 16 == settings.height % 16 == 0
    assert settings.frames % 4 == 1
    assert 0 <= settings.width - width < 16
    assert 0 <= settings.height - height < 16
    changed = {"width": settings.width != width, "height": settings.height != height}
    changed["duration"] = seconds is not None and abs(settings.frames / settings.fps - seconds) > 1e-6
    assert {row.field for row in resolved.adjustments} == {name for name, yes in changed.items() if yes}
    assert (resolved.crop is not None) is (changed["width"] or changed["height"])
    # A second look at what was resolved finds nothing to change.
    if seconds is not None:
        spec = JobSpec("a cat", width=settings.width, height=settings.height, fps=settings.fps)
        again = resolve(replace(spec, duration=settings.frames / settings.fps), MODELS)
        assert again.settings == settings
        assert not again.adjustments


@pytest.mark.parametrize(
    ("ours", "theirs", "prefix"),
    [
        (asked.JobType, gateway_pb2.JobType, "JOB_TYPE_"),
        (asked.Quality, gateway_pb2.Quality, "QUALITY_"),
        (asked.OnBadReference, gateway_pb2.OnBadReference, "ON_BAD_REFERENCE_"),
        (asked.DegradationPolicy, gateway_pb2.DegradationPolicy, "DEGRADATION_POLICY_"),
        (model.JobState, gateway_pb2.JobState, "JOB_STATE_"),
        (generation.Stage, types_pb2.Stage, "STAGE_"),
        (asked.OutputFormat, types_pb2.OutputFormat, "OUTPUT_FORMAT_"),
        (generation.Capability, generator_pb2.ModelCapability, "MODEL_CAPABILITY_"),
    ],
)
def test_enums_have_the_numbers_of_the_contract(ours: Any, theirs: Any, prefix: str) -> None:
    assert {prefix + member.name: member.value for member in ours} == dict(theirs.items())

"""From what was asked to what is generated: pure functions.

Rules, in the order in which they are applied:

- model: the spec's, or the registry's default. Unknown: rejected with the known names. With a reference image that the
  default does not take: the first in the registry's order that takes one and whose files are at hand.
- size: the spec's, or the model's own default. Generated at the model's next multiple (16, or 32), cropped back, and
  reported.
- preset: `quality`, or what the job type implies; `fps`, `steps` and `guidance_scale` of the spec go before
  it.
    - length: a still has one frame. A video has `duration` x fps frames, rounded to the nearest 4k + 1 and
      reported where that is another length. More than the model takes is rejected, not cut: half a video is
      not a rounding. Where the spec has no duration it is 5 s, or the model's own length (`default_frames`)
      if that has fewer frames; as nothing was asked, nothing is reported.
- what the model cannot do is rejected, naming the models that can.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from wanworker.gateway.asked import JobSpec
from wanworker.gateway.generation import Capability, GenerationSettings, ModelInfo
from wanworker.gateway.model import Adjustment
from wanworker.gateway.presets import DEFAULT_SECONDS, PRESETS, quality_of
from wanworker.runtime.errors import FieldViolation, InvalidArgumentError

SIZE_STEP = 16
"""Generated sizes are multiples of this: 8 by the autoencoder, 2 by the transformer's patches."""


@dataclass(frozen=True)
class Resolved:
    """A spec with nothing left open."""

    settings: GenerationSettings
    """What the generator gets."""
    crop: tuple[int, int] | None
    """Width and height of the result where they are not the generated ones."""
    adjustments: tuple[Adjustment, ...]
    """Everything that was rounded."""


def resolve(spec: JobSpec, models: Sequence[ModelInfo]) -> Resolved:
    """Fill and round a spec. InvalidArgumentError with every violation if no model can do it."""
    model = _model(spec, models)
    _check_capability(spec, model, models)
    preset = PRESETS[quality_of(spec)]
    fps = spec.fps or preset.fps
    width, height, crop, size_adjustments = _size(spec, model)
    frames, length_adjustments = _frames(spec, model, fps)
    settings = GenerationSettings(
        model=model.name,
        width=width,
        height=height,
        frames=frames,
        fps=fps,
        steps=spec.steps or preset.steps,
        guidance_scale=preset.guidance_scale if spec.guidance_scale is None else spec.guidance_scale,
    )
    return Resolved(settings, crop, size_adjustments + length_adjustments)


def nearest_frames(seconds: float, fps: int) -> int:
    """The frame count of the form 4k + 1, at least 5, whose length at `fps` is nearest to `seconds`; ties go
    up."""
    return 4 * max(1, int((seconds * fps - 1) / 4 + 0.5)) + 1


def _model(spec: JobSpec, models: Sequence[ModelInfo]) -> ModelInfo:
    if not spec.model:
        return _default_model(spec, models)
    for model in models:
        if model.name == spec.model:
            return model
    known = ", ".join(model.name for model in models)
    raise _rejection("spec.model", f"'{spec.model}' is not a model of the generator; known: {known}", "model.unknown")


def _default_model(spec: JobSpec, models: Sequence[ModelInfo]) -> ModelInfo:
    """The generator's default, or if that takes no image and there is one, the first at hand that does."""
    default = next((model for model in models if model.is_default), models[0])
    if spec.reference is None or spec.job_type.still or Capability.IMAGE_TO_VIDEO in default.capabilities:
        return default
    capable = (each for each in models if each.is_available and Capability.IMAGE_TO_VIDEO in each.capabilities)
    return next(capable, default)


def _check_capability(spec: JobSpec, model: ModelInfo, models: Sequence[ModelInfo]) -> None:
    wanted, path, what = Capability.TEXT_TO_VIDEO, "spec.job_type", "videos from text"
    if spec.job_type.still:
        wanted, path, what = Capability.TEXT_TO_IMAGE, "spec.job_type", "stills"
    elif spec.reference is not None:
        wanted, path, what = Capability.IMAGE_TO_VIDEO, "spec.reference_image", "videos from an image"
    if wanted in model.capabilities:
        return
    capable = ", ".join(other.name for other in models if wanted in other.capabilities) or "none"
    message = f"model '{model.name}' makes no {what}; models that do: {capable}"
    raise _rejection(path, message, "model.capability")


def _size(spec: JobSpec, model: ModelInfo) -> tuple[int, int, tuple[int, int] | None, tuple[Adjustment, ...]]:
    asked_width = spec.width or model.default_width
    asked_height = spec.height or model.default_height
    width, height = (_up(asked, model.size_multiple) for asked in (asked_width, asked_height))
    if (width, height) == (asked_width, asked_height):
        return width, height, None, ()
    adjustments = tuple(
        Adjustment(
            name, str(asked), str(used), f"generated at the next multiple of {model.size_multiple} and cropped back"
        )
        for name, asked, used in (("width", asked_width, width), ("height", asked_height, height))
        if asked != used
    )
    return width, height, (asked_width, asked_height), adjustments


def _frames(spec: JobSpec, model: ModelInfo, fps: int) -> tuple[int, tuple[Adjustment, ...]]:
    if spec.job_type.still:
        return 1, ()
    limit = model.max_frames or model.default_frames
    if spec.duration is None:
        return min(nearest_frames(DEFAULT_SECONDS, fps), model.default_frames or limit, limit), ()
    frames = nearest_frames(spec.duration, fps)
    if frames > limit:
        raise _rejection(
            "spec.duration",
            f"{_seconds(spec.duration)} at {fps} fps are {frames} frames; model '{model.name}' takes at most "
            f"{limit}, which are {_seconds(limit / fps)}",
            "model.max_frames",
        )
    if abs(frames / fps - spec.duration) < 1e-6:
        return frames, ()
    reason = f"{frames} frames at {fps} fps: the model makes 4k + 1 frames"
    return frames, (Adjustment("duration", _seconds(spec.duration), _seconds(frames / fps), reason),)


def _up(pixels: int, multiple: int) -> int:
    return -(-pixels // multiple) * multiple


def _seconds(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".") + " s"


def _rejection(path: str, message: str, reason: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"{path}: {message}", violations=(FieldViolation(path, message, reason),))

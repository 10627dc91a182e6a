"""What callers may pass for a job, and how it becomes a `JobSpec`. Values are judged by the service, types
here."""

import uuid
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypedDict, TypeVar

from wanworker.client.enums import Choice, DegradationPolicy, JobType, OnBadReference, OutputFormat, Quality
from wanworker.client.types import JobSpec

ChoiceT = TypeVar("ChoiceT", bound=Choice)


class SpecOptions(TypedDict, total=False):
    """Keyword arguments of `run`, `generate`, `create` and `estimate`. What is left out is up to the
    service."""

    negative_prompt: str
    """What to keep out."""
    job_type: JobType | str | None
    """`video-fast` (the default), `video-high`, `image-fast` or `image-high`."""
    quality: Quality | str | None
    """`fast`, `balanced` or `high`; overrides what the job type implies."""
    size: tuple[int, int] | None
    """Width and height in pixels, even."""
    duration: float | timedelta | None
    """Length of the video, in seconds if it is a number."""
    fps: int | None
    """Frames a second, 12 to 24."""
    steps: int | None
    """Denoising steps."""
    guidance_scale: float | None
    """Classifier-free guidance scale; 1 switches guidance off."""
    seed: int | None
    """Seed of the noise and of the enhancer. The same seed makes the same file on the same machine."""
    model: str
    """Name of a model of the generator's registry."""
    reference_image: bytes | str | Path | None
    """First frame of the video: the image's bytes, an https URL, or a `Path` to a file."""
    enhance: bool | None
    """Whether the prompt is rewritten first; True when left out."""
    on_bad_reference: OnBadReference | str | None
    """`text-to-video` (the default) or `reject`."""
    degradation: DegradationPolicy | str | None
    """`allowed` (the default), `same-output-only` or `forbidden`."""
    request_id: str
    """UUID of this request; drawn when left out."""
    format: OutputFormat | str | None
    """`mp4`, `png` or `webp`."""


def make_spec(prompt: str | JobSpec, options: SpecOptions) -> JobSpec:
    """Returns the spec of a prompt, or a spec with some values replaced; always with a request_id.

    TypeError for a value of a wrong type, ValueError for a word that is no choice, OSError for an unreadable
    image.
    """
    base = prompt if isinstance(prompt, JobSpec) else JobSpec(prompt=_text("prompt", prompt))
    if isinstance(prompt, JobSpec) and options and "request_id" not in options:
        # Another spec under the same id would be refused, rightly.
        base = replace(base, request_id="")
    unknown = options.keys() - SpecOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"unknown argument {', '.join(sorted(unknown))}; known are {', '.join(_KNOWN)}")
    spec = replace(base, **{name: _convert(name, value) for name, value in options.items()})
    return spec if spec.request_id else replace(spec, request_id=str(uuid.uuid4()))


_KNOWN = tuple(SpecOptions.__annotations__)
_CHOICES: dict[str, type[Choice]] = {
    "job_type": JobType,
    "quality": Quality,
    "on_bad_reference": OnBadReference,
    "degradation": DegradationPolicy,
    "format": OutputFormat,
}
_TEXTS = ("negative_prompt", "model", "request_id")
_INTEGERS = ("fps", "steps", "seed")


def _convert(name: str, value: object) -> Any:
    if name in _TEXTS:
        return _text(name, "" if value is None else value)
    if value is None:
        return None
    if name in _CHOICES:
        return _CHOICES[name].parse(value)  # type: ignore[arg-type]  # parse itself refuses other types
    if name in _INTEGERS:
        return _integer(name, value)
    if name == "size":
        return _size(value)
    if name == "enhance":
        return _expect(name, value, bool, "True, False or None")
    if name == "reference_image":
        return _image(value)
    return _number(name, value)


def _expect(name: str, value: object, kind: type | tuple[type, ...], what: str) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {what}, not {type(value).__name__}")
    return value


def _text(name: str, value: object) -> str:
    return str(_expect(name, value, str, "a str"))


def _integer(name: str, value: object) -> int:
    if isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not bool")
    number = int(_expect(name, value, int, "an int"))
    if not 0 <= number < 2 ** (64 if name == "seed" else 32):
        raise ValueError(f"{name} must be from 0 to 2**{64 if name == 'seed' else 32} - 1, not {number}")
    return number


def _number(name: str, value: object) -> float:
    if isinstance(value, timedelta) and name == "duration":
        return value.total_seconds()
    if isinstance(value, bool):
        raise TypeError(f"{name} must be a number, not bool")
    return float(_expect(name, value, (int, float), "a number"))


def _size(value: object) -> tuple[int, int]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(f"size must be (width, height), not {value!r}")
    return _integer("width", value[0]), _integer("height", value[1])


def _image(value: object) -> bytes | str:
    if isinstance(value, Path):
        return value.read_bytes()
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    image: bytes | str = _expect("reference_image", value, (bytes, str), "bytes, an https URL or a Path")
    return image

"""The choices of the API. Values are the words that people type; names are those of the protobuf enums."""

import enum
from typing import TypeVar

ChoiceT = TypeVar("ChoiceT", bound="Choice")


class Choice(enum.StrEnum):
    """A closed set of words. `parse` takes a member or its word, with `-` or `_`, in any case."""

    @classmethod
    def parse(cls: type[ChoiceT], value: "str | ChoiceT") -> ChoiceT:
        """Returns the member. ValueError names what is accepted, TypeError what was given."""
        if isinstance(value, cls):
            return value
        if not isinstance(value, str):
            raise TypeError(f"{cls.__name__} expected, not {type(value).__name__}")
        try:
            return cls(value.strip().lower().replace("_", "-"))
        except ValueError:
            accepted = ", ".join(member.value for member in cls)
            raise ValueError(f"{value!r} is not a {cls.__name__}; accepted are {accepted}") from None


class JobType(Choice):
    """What kind of result is wanted, and how much effort it is worth."""

    IMAGE_FAST = "image-fast"
    IMAGE_HIGH = "image-high"
    VIDEO_FAST = "video-fast"
    VIDEO_HIGH = "video-high"

    @property
    def is_still(self) -> bool:
        """Whether the result is one picture."""
        return self in (JobType.IMAGE_FAST, JobType.IMAGE_HIGH)


class Quality(Choice):
    """A preset: guidance scale, denoising steps and frames a second. Overrides what the job type implies."""

    FAST = "fast"
    BALANCED = "balanced"
    HIGH = "high"


class OnBadReference(Choice):
    """What to do when the reference image cannot be used."""

    TEXT_TO_VIDEO = "text-to-video"
    REJECT = "reject"


class DegradationPolicy(Choice):
    """How far quality may be lowered when the device runs out of memory."""

    ALLOWED = "allowed"
    SAME_OUTPUT_ONLY = "same-output-only"
    FORBIDDEN = "forbidden"


class OutputFormat(Choice):
    """The file formats that a job can end in."""

    MP4 = "mp4"
    PNG = "png"
    WEBP = "webp"


class Stage(Choice):
    """Where a job stands in its work."""

    UNSPECIFIED = "unknown"
    """Of a newer service than this client."""
    QUEUED = "queued"
    ENHANCING = "enhancing"
    LOADING_MODEL = "loading-model"
    ENCODING_TEXT = "encoding-text"
    DENOISING = "denoising"
    DECODING = "decoding"
    MUXING = "muxing"
    STORING = "storing"


class JobState(Choice):
    """Where a job is in its life. A job ends in exactly one of SUCCEEDED, FAILED and CANCELLED."""

    UNSPECIFIED = "unknown"
    """Of a newer service than this client."""
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing will happen to the job any more."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class ModelCapability(Choice):
    """What a model can be asked for."""

    UNSPECIFIED = "unknown"
    """Of a newer service than this client."""
    TEXT_TO_VIDEO = "text-to-video"
    TEXT_TO_IMAGE = "text-to-image"
    IMAGE_TO_VIDEO = "image-to-video"
    LAST_FRAME = "last-frame"
    SUBJECT_IMAGES = "subject-images"
    EXTEND_CLIP = "extend-clip"


class FinishReason(Choice):
    """Why the enhancer's model stopped writing."""

    UNSPECIFIED = "unknown"
    """Of a newer service than this client."""
    STOP = "stop"
    LENGTH = "length"

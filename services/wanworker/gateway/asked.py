"""What a caller asks for: frozen dataclasses, no gRPC and no protobuf.

Enums carry the numbers of the contract (`protos/wanworker/v1`), so that translating is a cast; a test compares
them.
"""

import hashlib
from dataclasses import dataclass, replace
from enum import IntEnum

from pydantic import ConfigDict, TypeAdapter

BYTES_AS_BASE64 = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
"""How dataclasses with bytes are written as JSON."""


class JobType(IntEnum):
    """Kind of result."""

    UNSPECIFIED = 0
    IMAGE_FAST = 1
    IMAGE_HIGH = 2
    VIDEO_FAST = 3
    VIDEO_HIGH = 4

    @property
    def still(self) -> bool:
        """Whether the result is one picture."""
        return self in (JobType.IMAGE_FAST, JobType.IMAGE_HIGH)


class Quality(IntEnum):
    """Preset of guidance, steps and frame rate."""

    UNSPECIFIED = 0
    FAST = 1
    BALANCED = 2
    HIGH = 3


class OnBadReference(IntEnum):
    """What to do with a reference image that cannot be used."""

    UNSPECIFIED = 0
    TEXT_TO_VIDEO = 1
    REJECT = 2


class DegradationPolicy(IntEnum):
    """How far quality may be lowered."""

    UNSPECIFIED = 0
    ALLOWED = 1
    SAME_OUTPUT_ONLY = 2
    FORBIDDEN = 3


class OutputFormat(IntEnum):
    """File format."""

    UNSPECIFIED = 0
    MP4 = 1
    PNG = 2
    WEBP = 3


@dataclass(frozen=True)
class ReferenceImage:
    """First frame of a video: bytes or an https URL."""

    data: bytes = b""
    """The image itself; empty in every copy of a spec but the one that CreateJob and GetJob answer with."""
    url: str = ""
    """Where to fetch it."""


@dataclass(frozen=True)
class JobSpec:
    """What a caller asks for; None and empty mean "not given"."""

    prompt: str
    """What to show."""
    negative_prompt: str = ""
    """What to keep out."""
    job_type: JobType = JobType.UNSPECIFIED
    """Video or still."""
    quality: Quality = Quality.UNSPECIFIED
    """Preset; overrides what the job type implies."""
    width: int | None = None
    """Pixels, even."""
    height: int | None = None
    """Pixels, even."""
    duration: float | None = None
    """Seconds."""
    fps: int | None = None
    """Frames a second."""
    steps: int | None = None
    """Denoising steps."""
    guidance_scale: float | None = None
    """Classifier-free guidance."""
    seed: int | None = None
    """Seed of noise and enhancer."""
    model: str = ""
    """Row of the generator's registry."""
    reference: ReferenceImage | None = None
    """First frame."""
    enhance: bool | None = None
    """Whether the prompt is rewritten; None means yes."""
    on_bad_reference: OnBadReference = OnBadReference.UNSPECIFIED
    """What to do when the reference cannot be used."""
    degradation: DegradationPolicy = DegradationPolicy.UNSPECIFIED
    """How far quality may be lowered."""
    request_id: str = ""
    """UUID that makes creation safe to repeat."""
    format: OutputFormat = OutputFormat.UNSPECIFIED
    """File format."""

    @property
    def wants_enhancement(self) -> bool:
        """On unless switched off."""
        return self.enhance is not False

    @property
    def rejects_bad_reference(self) -> bool:
        """Whether an unusable reference image fails the job."""
        return self.on_bad_reference is OnBadReference.REJECT

    def fingerprint(self) -> str:
        """Digest of everything asked, image bytes included: the same for the same spec."""
        return hashlib.sha256(TypeAdapter(_Specced).dump_json(_Specced(self))).hexdigest()

    def without_image_bytes(self) -> "JobSpec":
        """The same spec as it travels in lists, events and the job's row."""
        if self.reference is None or not self.reference.data:
            return self
        return replace(self, reference=ReferenceImage())


@dataclass(frozen=True)
class _Specced:
    __pydantic_config__ = BYTES_AS_BASE64
    spec: JobSpec

"""What the client takes and returns. Lengths of time are seconds as float, points in time are aware UTC
datetimes.

Top-level results keep the protobuf message that they were read from in `raw`, for fields newer than this
client.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from wanworker.client.enums import (
    DegradationPolicy,
    JobState,
    JobType,
    OnBadReference,
    OutputFormat,
    Quality,
    Stage,
)
from wanworker.client.errors import JobCancelledError, JobFailedError
from wanworker.v1 import gateway_pb2


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """What is asked for. None leaves a value to the service: job type, quality preset and model fill it."""

    prompt: str
    """What to show."""
    negative_prompt: str = ""
    """What to keep out."""
    job_type: JobType | None = None
    """Video or still, and the preset where `quality` is not given."""
    quality: Quality | None = None
    """The preset."""
    size: tuple[int, int] | None = None
    """Width and height of the result in pixels."""
    duration: float | None = None
    """Length of the video."""
    fps: int | None = None
    """Frames a second."""
    steps: int | None = None
    """Denoising steps."""
    guidance_scale: float | None = None
    """Classifier-free guidance scale; 1 switches guidance off."""
    seed: int | None = None
    """Seed of the noise and of the enhancer."""
    model: str = ""
    """Name of a model of the generator's registry; its default when empty."""
    reference_image: bytes | str | None = field(default=None, repr=False)
    """The first frame of the video: the image's bytes, or an https URL."""
    enhance: bool | None = None
    """Whether the prompt is rewritten first."""
    on_bad_reference: OnBadReference | None = None
    """What to do when the reference image cannot be used."""
    degradation: DegradationPolicy | None = None
    """How far quality may be lowered when memory runs out."""
    request_id: str = ""
    """UUID that makes a repeated call find the first one's job. The client draws one where it is empty."""
    format: OutputFormat | None = None
    """File format; must fit the job type."""


@dataclass(frozen=True)
class MemoryOptions:
    """How GPU memory is spared."""

    tiled_decode: bool
    """Latents are decoded tile by tile."""
    evict_text_encoder: bool
    """The text encoder is unloaded once the prompt is encoded."""
    free_caches: bool
    """Cached blocks are given back before the job starts."""


@dataclass(frozen=True)
class GenerationSettings:
    """What a spec was resolved to: everything that decides what a generation costs."""

    model: str
    """Name of the model."""
    width: int
    """Width of the generated frames in pixels, a multiple of 16."""
    height: int
    """Height of the generated frames in pixels, a multiple of 16."""
    frames: int
    """Frames, of the form 4k + 1."""
    fps: int
    """Frames a second."""
    steps: int
    """Denoising steps."""
    guidance_scale: float
    """Classifier-free guidance scale."""
    flow_shift: float | None
    """Timestep shift of the schedule; None where the model's own is used."""
    memory: MemoryOptions
    """How memory is spared."""


@dataclass(frozen=True)
class Progress:
    """How far a job is."""

    stage: Stage
    """The stage that it is in now."""
    fraction: float
    """Work done over the whole job, 0 to 1. Never falls inside an attempt."""
    step: int
    """Denoising steps finished."""
    total_steps: int
    """Denoising steps in all; 0 outside of denoising."""
    eta: float | None
    """Estimated time until the job is done; None while nothing is known."""
    queue_position: int | None
    """Jobs ahead of this one, while it waits."""
    attempt: int
    """Which attempt this is, from 1."""


@dataclass(frozen=True)
class StageDuration:
    """How long one stage took, or would take."""

    stage: Stage
    """The stage."""
    seconds: float
    """Wall-clock time in it."""


@dataclass(frozen=True)
class Adjustment:
    """One value that was changed from what was asked."""

    field: str
    """The field of the spec."""
    asked: str
    """What was asked for."""
    used: str
    """What is used instead."""
    reason: str
    """Why."""


@dataclass(frozen=True)
class JobWarning:
    """Something that went less well than asked, though the job went on."""

    reason: str
    """Machine-readable, for example "ENHANCER_UNAVAILABLE"."""
    message: str
    """One sentence for people."""
    time: datetime | None
    """When it was seen."""


@dataclass(frozen=True)
class Degradation:
    """One rung of the degradation ladder that was taken."""

    rung: str
    """Name of the rung."""
    before: GenerationSettings
    """Settings that ran out of memory."""
    after: GenerationSettings
    """Settings of the next attempt."""
    attempt: int
    """The attempt that ran out of memory."""
    time: datetime | None
    """When it was taken."""


@dataclass(frozen=True)
class JobFailure:
    """Why a job failed."""

    code: str
    """Name of a gRPC status code."""
    reason: str
    """Machine-readable, for example "MODEL_NOT_FOUND"."""
    message: str
    """One sentence for people."""
    metadata: Mapping[str, str]
    """What the reason goes with, for example `path`."""


@dataclass(frozen=True)
class FrameStatistics:
    """Measurements over the finished frames."""

    mean_luma: float
    """From 0 (black) to 1."""
    luma_deviation: float
    """From 0 (flat) to 0.5."""
    mean_frame_difference: float
    """From 0 (frozen, or a still) to 1."""


@dataclass(frozen=True)
class Delivered:
    """What was made, beside what was asked."""

    settings: GenerationSettings
    """Settings that the generator ran with."""
    model_revision: str
    """Revision of the model's weights."""
    width: int
    """Width of the file's frames in pixels."""
    height: int
    """Height of the file's frames in pixels."""
    frames: int
    """Frames in the file."""
    fps: int
    """Frames a second, 0 for a still."""
    duration: float | None
    """Length of the video; None for a still."""
    seed: int
    """Seed of the noise."""
    prompt: str
    """The prompt that the generator was given."""
    enhanced: bool
    """Whether that prompt is the enhancer's."""
    enhancer_model: str
    """The model that wrote it, empty if none did."""
    reference_image_used: bool
    """Whether the video begins with the reference image."""
    statistics: FrameStatistics
    """Measurements over the frames."""


@dataclass(frozen=True)
class Artifact:
    """A finished file."""

    media_type: str
    """`video/mp4`, `image/png` or `image/webp`."""
    size_bytes: int
    """Length."""
    sha256: bytes
    """SHA-256, 32 bytes."""
    file_name: str
    """A name to save it under."""


@dataclass(frozen=True)
class Job:
    """What was asked, where it is, what came of it."""

    id: str
    """Identity, given by the gateway."""
    spec: JobSpec
    """What was asked, untouched."""
    state: JobState
    """Where it is in its life."""
    progress: Progress
    """How far it is."""
    resolved: GenerationSettings | None
    """What the spec was resolved to; from the start of the first attempt."""
    adjustments: tuple[Adjustment, ...]
    """Values that were rounded or cut."""
    warnings: tuple[JobWarning, ...]
    """What went less well than asked, oldest first."""
    degradations: tuple[Degradation, ...]
    """Rungs of the ladder that were taken, oldest first."""
    enhanced_prompt: str
    """The prompt as the enhancer wrote it; empty until then, and where it was not used."""
    delivered: Delivered | None
    """What was made; of a job that succeeded."""
    artifact: Artifact | None
    """The file; of a job that succeeded, until it expires."""
    failure: JobFailure | None
    """Why it failed; of a job that failed."""
    stages: tuple[StageDuration, ...]
    """Where the time went, waiting included."""
    attempts: int
    """Attempts begun."""
    create_time: datetime | None
    """When it was made."""
    start_time: datetime | None
    """When work on it began."""
    finish_time: datetime | None
    """When it reached its final state."""
    trace_id: str
    """W3C trace id of the call that made it; empty if that was not traced."""
    sequence: int
    """Sequence of its last event."""
    raw: gateway_pb2.Job = field(repr=False, compare=False)
    """The message that this was read from."""

    def raise_for_state(self) -> None:
        """Raises JobFailedError or JobCancelledError if the job ended in that state; does nothing
        otherwise."""
        if self.state is JobState.FAILED:
            raise JobFailedError(self)
        if self.state is JobState.CANCELLED:
            raise JobCancelledError(self)


@dataclass(frozen=True)
class JobEstimate:
    """What a job would be resolved to and what it would cost."""

    settings: GenerationSettings
    """What the spec resolves to."""
    adjustments: tuple[Adjustment, ...]
    """Values that would be rounded or cut."""
    fits: bool
    """Whether it fits into the memory that the device would have."""
    needed_bytes: int
    """Device memory at the job's peak, weights included."""
    available_bytes: int
    """Device memory that the job could have, weights included."""
    duration: float
    """Time of work, without waiting for other jobs."""
    stages: tuple[StageDuration, ...]
    """The same, stage by stage."""
    queue_wait: float | None
    """Estimated wait before work would begin; None while nothing is known."""
    raw: gateway_pb2.EstimateJobResponse = field(repr=False, compare=False)
    """The message that this was read from."""


@dataclass(frozen=True)
class Result:
    """A job that succeeded, and its file on this machine."""

    path: Path
    """Where the file is."""
    job: Job
    """The job in its final state."""
    artifact: Artifact
    """What the file is."""
    delivered: Delivered
    """What was made."""

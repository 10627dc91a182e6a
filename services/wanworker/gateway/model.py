"""What the gateway talks about: frozen dataclasses, no gRPC and no protobuf.

Enums carry the numbers of the contract (`protos/wanworker/v1`), so that translating is a cast; a test
compares them. Durations are seconds, times are aware UTC datetimes, sizes are bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum

from pydantic import TypeAdapter

from wanworker.gateway.asked import BYTES_AS_BASE64, JobSpec
from wanworker.gateway.generation import FrameStatistics, GenerationSettings, Made, Stage, StageSeconds


class JobState(IntEnum):
    """Where a job is in its life."""

    UNSPECIFIED = 0
    QUEUED = 1
    RUNNING = 2
    SUCCEEDED = 3
    FAILED = 4
    CANCELLED = 5

    @property
    def final(self) -> bool:
        """Whether nothing changes any more."""
        return self in FINAL_STATES


ANONYMOUS = "anonymous"
"""Owner of the jobs that were made without an API key."""

FINAL_STATES = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)
"""A job ends in exactly one of these."""


@dataclass(frozen=True)
class Adjustment:
    """One value that is not used as it was asked for."""

    field: str
    """Path in the spec."""
    asked: str
    """What was asked."""
    used: str
    """What is used."""
    reason: str
    """Why."""


@dataclass(frozen=True)
class Warning:
    """Something that the caller should know."""

    reason: str
    """Machine-readable, in capitals."""
    message: str
    """One sentence for people."""
    time: datetime = field(default_factory=lambda: now())
    """When it was seen."""


@dataclass(frozen=True)
class Degradation:
    """One rung of the ladder that was taken."""

    rung: str
    """Its name."""
    before: GenerationSettings
    """Settings before."""
    after: GenerationSettings
    """Settings after."""
    attempt: int
    """The attempt that ran out of memory; 0 if none had begun."""
    time: datetime = field(default_factory=lambda: now())
    """When it was taken."""


@dataclass(frozen=True)
class JobFailure:
    """Why a job failed."""

    code: str
    """Name of a google.rpc.Code."""
    reason: str
    """Machine-readable, in capitals."""
    message: str
    """One sentence for people."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What the reason goes with."""


@dataclass(frozen=True)
class Delivered:
    """What was made, beside what was asked."""

    settings: GenerationSettings
    """As they were used."""
    model_revision: str
    """Revision of the weights."""
    width: int
    """Of the file."""
    height: int
    """Of the file."""
    seed: int
    """Of the noise."""
    prompt: str
    """As the generator got it."""
    enhanced: bool
    """Whether that prompt is the enhancer's."""
    enhancer_model: str
    """Who wrote it."""
    reference_image_used: bool
    """Whether the video begins with the image."""
    statistics: FrameStatistics
    """Over the frames."""


@dataclass(frozen=True)
class Artifact:
    """A stored file."""

    __pydantic_config__ = BYTES_AS_BASE64

    media_type: str
    """For example "video/mp4"."""
    size_bytes: int
    """Length."""
    sha256: bytes
    """32 bytes."""
    file_name: str
    """A name to save it under."""


@dataclass(frozen=True)
class Progress:
    """How far a job is."""

    stage: Stage
    """Where it is."""
    fraction: float = 0.0
    """0 to 1 over the whole job."""
    step: int = 0
    """Denoising steps finished."""
    total_steps: int = 0
    """Denoising steps in all."""
    eta: float | None = None
    """Seconds until done."""
    queue_position: int | None = None
    """Jobs ahead; in QUEUED only."""
    attempt: int = 0
    """From 1; 0 before the first."""


@dataclass(frozen=True)
class Inner:
    """What the gateway knows of a job and keeps to itself."""

    seed: int
    """Drawn at creation where the spec has none, so that a restart keeps it."""
    trace: Mapping[str, str] = field(default_factory=dict)
    """W3C headers of the call that made the job."""
    deadline: datetime | None = None
    """When a job bound to a call must have ended."""
    cancel_requested: bool = False
    """Set before anything is stopped: a restart in between stops it again."""
    crop: tuple[int, int] | None = None
    """Width and height to crop to."""
    enhance_done: bool = False
    """Whether the enhancer was asked, with whatever success."""
    enhancer_model: str = ""
    """Who wrote the enhanced prompt."""
    enhance_seconds: float = 0.0
    """Time spent on it."""
    reference_dropped: bool = False
    """Go on without the image."""
    made: Made | None = None
    """The generator's answer, once its file is on disk."""
    due: int = 1
    """Place in the queue: lower goes first (`queueing.due`)."""
    reloaded: bool = False
    """Whether the generator was asked again after it had not found the model."""
    artifact_expired: datetime | None = None
    """When the file was deleted to make room."""
    attempt_trace: Mapping[str, str] = field(default_factory=dict)
    """W3C headers of the last attempt's span, for the next one to link to."""
    owner: str = ANONYMOUS
    """Name of the API key that made it: nobody else gets to see it."""


@dataclass(frozen=True)
class Job:
    """A job: what was asked, where it is, what came of it."""

    __pydantic_config__ = BYTES_AS_BASE64

    id: str
    """A UUID."""
    spec: JobSpec
    """What was asked, without image bytes."""
    state: JobState
    """Where it is in its life."""
    create_time: datetime
    """When it was made."""
    inner: Inner
    """Kept inside."""
    progress: Progress = Progress(Stage.QUEUED)
    """How far it is."""
    resolved: GenerationSettings | None = None
    """What the spec became; lowered by the ladder."""
    adjustments: tuple[Adjustment, ...] = ()
    """What was rounded."""
    warnings: tuple[Warning, ...] = ()
    """Oldest first."""
    degradations: tuple[Degradation, ...] = ()
    """Oldest first."""
    enhanced_prompt: str = ""
    """As the enhancer wrote it."""
    delivered: Delivered | None = None
    """Set on success."""
    artifact: Artifact | None = None
    """Set on success."""
    failure: JobFailure | None = None
    """Set on failure."""
    stages: tuple[StageSeconds, ...] = ()
    """Where the time went."""
    attempts: int = 0
    """Attempts begun."""
    start_time: datetime | None = None
    """When work began."""
    finish_time: datetime | None = None
    """When it ended."""
    trace_id: str = ""
    """Of the call that made it."""
    sequence: int = 0
    """Of its last event."""

    @property
    def priority(self) -> int:
        """Lower goes first."""
        return self.inner.due


JOB_JSON: TypeAdapter[Job] = TypeAdapter(Job)
"""How a job is written to and read from its row."""


@dataclass(frozen=True)
class Snapshot:
    """The whole job."""

    job: Job
    """As it stands."""


@dataclass(frozen=True)
class PromptDelta:
    """More of the enhanced prompt."""

    text: str
    """The next characters."""


@dataclass(frozen=True)
class PromptEnhanced:
    """The enhanced prompt is finished."""

    prompt: str
    """Cleaned."""
    model: str
    """Who wrote it."""


@dataclass(frozen=True)
class Preview:
    """A strip of frames from the current latents."""

    webp: bytes
    """The picture."""
    width: int
    """Of the strip."""
    height: int
    """Of the strip."""
    frames: int
    """Pictures in it."""
    step: int
    """Where the latents are from."""


Happening = Snapshot | Progress | PromptDelta | PromptEnhanced | Warning | Degradation | Preview
"""What an event can say."""


@dataclass(frozen=True)
class JobEvent:
    """Something that happened to a job."""

    sequence: int
    """Rises from event to event."""
    time: datetime
    """When."""
    body: Happening
    """What."""


def now() -> datetime:
    """The present, aware."""
    return datetime.now(UTC)

"""What happens to a job, and to a prompt that is being enhanced: one class a kind of event."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from wanworker.client.enums import FinishReason
from wanworker.client.types import Degradation, Job, JobWarning, Progress
from wanworker.v1 import enhancer_pb2, gateway_pb2


@dataclass(frozen=True, kw_only=True)
class _Event:
    sequence: int
    """Rises from event to event of a job; events that were left out leave gaps."""
    time: datetime | None
    """When it happened."""
    raw: gateway_pb2.JobEvent = field(repr=False, compare=False)
    """The message that this was read from."""


@dataclass(frozen=True, kw_only=True)
class SnapshotEvent(_Event):
    """The whole job as it stands: first and last of every stream, and at every change of state."""

    job: Job
    """The job."""


@dataclass(frozen=True, kw_only=True)
class ProgressEvent(_Event):
    """How far the job is."""

    progress: Progress
    """Stage, fraction, step and estimate."""


@dataclass(frozen=True, kw_only=True)
class PromptDeltaEvent(_Event):
    """More of the enhanced prompt, as it is written."""

    text: str
    """The next characters."""


@dataclass(frozen=True, kw_only=True)
class PromptEnhancedEvent(_Event):
    """The enhanced prompt is finished."""

    prompt: str
    """The whole prompt, cleaned."""
    model: str
    """The model that wrote it."""


@dataclass(frozen=True, kw_only=True)
class WarningEvent(_Event):
    """Something went less well than asked."""

    warning: JobWarning
    """What."""


@dataclass(frozen=True, kw_only=True)
class DegradationEvent(_Event):
    """Quality was lowered."""

    degradation: Degradation
    """How."""


@dataclass(frozen=True, kw_only=True)
class PreviewEvent(_Event):
    """What the picture looks like by now."""

    webp: bytes = field(repr=False)
    """A WebP strip: `frames` pictures side by side."""
    width: int
    """Width of the strip in pixels."""
    height: int
    """Height of the strip in pixels."""
    frames: int
    """Pictures in the strip."""
    step: int
    """The denoising step that it is from."""


JobEvent: TypeAlias = (
    SnapshotEvent
    | ProgressEvent
    | PromptDeltaEvent
    | PromptEnhancedEvent
    | WarningEvent
    | DegradationEvent
    | PreviewEvent
)
"""Something that happened to a job."""


@dataclass(frozen=True)
class _EnhanceEvent:
    raw: enhancer_pb2.EnhanceResponse = field(repr=False, compare=False, kw_only=True)
    """The message that this was read from."""


@dataclass(frozen=True)
class EnhanceQueued(_EnhanceEvent):
    """The prompt waits."""

    position: int
    """Prompts ahead of it."""


@dataclass(frozen=True)
class EnhanceLoading(_EnhanceEvent):
    """The model is being read from disk."""

    model: str
    """Its name."""


@dataclass(frozen=True)
class EnhanceDelta(_EnhanceEvent):
    """More text, as it is written."""

    text: str
    """The next characters."""


@dataclass(frozen=True)
class EnhanceCompleted(_EnhanceEvent):
    """The rewritten prompt."""

    prompt: str
    """One paragraph, cleaned."""
    model: str
    """The model that wrote it."""
    seed: int
    """The seed that was used."""
    cached: bool
    """Whether it came from the cache."""
    prompt_tokens: int
    """Tokens read."""
    completion_tokens: int
    """Tokens written."""
    finish_reason: FinishReason
    """Why writing stopped."""
    time_to_first_token: float
    """From the start of reading to the first token."""
    duration: float
    """From the start of reading to the last token."""


EnhanceEvent: TypeAlias = EnhanceQueued | EnhanceLoading | EnhanceDelta | EnhanceCompleted
"""Something that happened to a prompt that is being enhanced."""

"""What the parts of the enhancer hand to each other. No gRPC, no llama.cpp."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from wanworker.enhancer.cancellation import Cancellation


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen."""

    max_tokens: int
    """Tokens to write at most."""
    temperature: float
    """0 always takes the likeliest token."""
    seed: int
    """Of the sampler, 0 to 2³²-1."""
    top_k: int
    """Sample from so many of the likeliest tokens; 0 is all."""
    top_p: float
    """Sample from the likeliest tokens of this joint probability."""
    min_p: float
    """Drop tokens less likely than this share of the likeliest."""
    repeat_penalty: float
    """Weakens tokens written lately; 1 is off."""


@dataclass(frozen=True)
class Request:
    """A prompt to be rewritten; None stands for the service's default."""

    prompt: str
    """The user's words."""
    max_tokens: int | None = None
    """Tokens to write at most."""
    temperature: float | None = None
    """Sampling temperature."""
    seed: int | None = None
    """Seed of the sampler; drawn when None."""


class FinishReason(Enum):
    """Why the model stopped. The values are those of gen_ai.response.finish_reasons."""

    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True)
class Written:
    """An answer as the model wrote it."""

    text: str
    """All deltas together."""
    prompt_tokens: int
    """Tokens of the instructions and the prompt."""
    reused_tokens: int
    """How many of those were in the context already, and not computed again."""
    completion_tokens: int
    """Tokens written, the one that ends the answer not counted."""
    finish_reason: FinishReason
    """Why writing stopped."""
    first_token_seconds: float
    """From the start of reading to the first token."""
    seconds: float
    """From the start of reading to the last token."""


class Writer(Protocol):
    """A model in memory. Not thread-safe: one call at a time."""

    @property
    def context_tokens(self) -> int:
        """Tokens that the context holds."""
        ...

    @property
    def is_chat(self) -> bool:
        """Whether it is talked to, or else goes on from examples."""
        ...

    def write(
        self, prompt: str, sampling: Sampling, cancellation: Cancellation, on_text: Callable[[str], None]
    ) -> Written:
        """Write an answer; raises WritingCancelled within a token of the cancellation."""
        ...

    def close(self) -> None:
        """Free the memory."""
        ...


@dataclass(frozen=True)
class Queued:
    """The prompt waits."""

    position: int
    """Prompts ahead of it, the running one counted."""


@dataclass(frozen=True)
class Loading:
    """The model is being loaded."""

    model: str
    """Its name."""


@dataclass(frozen=True)
class Delta:
    """More text."""

    text: str
    """Never empty, always whole characters."""


@dataclass(frozen=True)
class Completed:
    """The end."""

    prompt: str
    """The rewritten prompt, cleaned, never empty."""
    model: str
    """The model that wrote it."""
    seed: int
    """The seed that was used."""
    cached: bool
    """Whether it came from the cache."""
    written: Written
    """What the model wrote, and what that took."""


Event = Queued | Loading | Delta | Completed


@dataclass(frozen=True)
class Status:
    """How the enhancer is."""

    model: str
    """The model's name."""
    model_source: str
    """A path, or "repo/file" on the hub."""
    loaded: bool
    """Whether the model is in memory."""
    context_tokens: int
    """Tokens that the context holds."""
    queued: int
    """Prompts that wait."""
    queue_limit: int
    """Prompts that may wait."""
    busy: bool
    """Whether a prompt is being written."""

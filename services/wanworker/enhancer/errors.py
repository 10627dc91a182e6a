"""The enhancer's failures, each a `ServiceError` with a reason of its own::

ServiceError
├── InvalidArgumentError
│   └── PromptTooLongError      PROMPT_TOO_LONG    metadata: tokens, limit
├── PreconditionError
│   ├── ModelNotFoundError      MODEL_NOT_FOUND    metadata: path
│   └── ModelBrokenError        MODEL_BROKEN       metadata: path, detail
├── ExhaustedError
│   └── QueueFullError          QUEUE_FULL         with a time to retry
├── UnavailableError
│   └── DrainingError           DRAINING           with a time to retry
└── InternalError
    ├── EmptyAnswerError        EMPTY_ANSWER       metadata: seed
    └── ModelFailedError        MODEL_FAILED       metadata: path, detail

WritingCancelled                                   nobody wants the answer any more; stays inside
"""

from wanworker.runtime.errors import (
    ExhaustedError,
    FieldViolation,
    InternalError,
    InvalidArgumentError,
    PreconditionError,
    UnavailableError,
)


class WritingCancelled(Exception):  # noqa: N818 - an outcome, not an error
    """The caller went away, so writing stopped."""


class PromptTooLongError(InvalidArgumentError):
    """Instructions, prompt and `max_tokens` do not fit into the context."""

    def __init__(self, tokens: int, limit: int, context_tokens: int) -> None:
        described = (
            f"the prompt takes {tokens} tokens with its instructions; the context of {context_tokens} "
            f"tokens leaves {limit} beside max_tokens"
        )
        super().__init__(
            message=f"prompt is too long: {described}",
            reason="PROMPT_TOO_LONG",
            metadata={"tokens": str(tokens), "limit": str(limit)},
            violations=[FieldViolation("prompt", described, "PROMPT_TOO_LONG")],
        )


class ModelNotFoundError(PreconditionError):
    """There is no such file, here or on the hub."""

    def __init__(self, path: str, detail: str = "") -> None:
        super().__init__(
            message=f"model not found: {path}" + (f" ({detail})" if detail else ""),
            reason="MODEL_NOT_FOUND",
            metadata={"path": path},
            subject=path,
        )


class ModelBrokenError(PreconditionError):
    """The file is there and llama.cpp can't use it."""

    def __init__(self, path: str, detail: str) -> None:
        super().__init__(
            message=f"model is broken: {path} ({detail})",
            reason="MODEL_BROKEN",
            metadata={"path": path, "detail": detail},
            subject=path,
        )


class QueueFullError(ExhaustedError):
    """As many prompts wait as may wait."""

    def __init__(self, limit: int, retry_after_seconds: float) -> None:
        super().__init__(
            message=f"the queue is full: {limit} prompts wait already",
            reason="QUEUE_FULL",
            metadata={"limit": str(limit)},
            retry_after_seconds=retry_after_seconds,
        )


class DrainingError(UnavailableError):
    """The service is about to stop and takes no new prompts."""

    def __init__(self) -> None:
        super().__init__(message="the enhancer is shutting down", reason="DRAINING", retry_after_seconds=1.0)


class EmptyAnswerError(InternalError):
    """Nothing is left of the answer once it is cleaned."""

    def __init__(self, seed: int) -> None:
        super().__init__(
            message="the model's answer holds no text; another seed may do better",
            reason="EMPTY_ANSWER",
            metadata={"seed": str(seed)},
        )


class ModelFailedError(InternalError):
    """llama.cpp gave up in the middle of a prompt."""

    def __init__(self, path: str, detail: str) -> None:
        super().__init__(
            message=f"the model failed: {detail}",
            reason="MODEL_FAILED",
            metadata={"path": path, "detail": detail},
        )

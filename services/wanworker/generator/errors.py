"""Failures of the generator, as constructors of the shared tree::

ServiceError
├── InvalidArgumentError   MODEL_UNKNOWN, UNSUPPORTED, BAD_REFERENCE_IMAGE, BAD_FIELD
├── PreconditionError      MODEL_NOT_FOUND, MODEL_BROKEN
├── ExhaustedError         QUEUE_FULL, GPU_OUT_OF_MEMORY
├── UnavailableError       DRAINING, DEVICE_LOST
└── InternalError          NOT_A_NUMBER

JobCancelledError          never leaves the service: the caller is gone
"""

from collections.abc import Iterable
from pathlib import Path

from wanworker.runtime.errors import (
    ExhaustedError,
    FieldViolation,
    InternalError,
    InvalidArgumentError,
    PreconditionError,
    UnavailableError,
)


class JobCancelledError(Exception):
    """The caller left or the service stops; raised at the next checkpoint of the job's thread."""


def bad_field(field: str, description: str) -> InvalidArgumentError:
    """One field that is wrong for this model or this file."""
    return InvalidArgumentError(f"{field}: {description}", violations=[FieldViolation(field, description)])


def model_unknown(name: str, known: Iterable[str]) -> InvalidArgumentError:
    """No row of the registry has that name."""
    names = ", ".join(known)
    return InvalidArgumentError(
        f"There is no model {name!r}.",
        "MODEL_UNKNOWN",
        {"model": name, "known": names},
        violations=[FieldViolation("settings.model", f"{name!r} is not one of: {names}")],
    )


def unsupported(name: str, what: str, field: str, capable: Iterable[str]) -> InvalidArgumentError:
    """The model cannot do that; `capable` names those that can."""
    names = ", ".join(capable)
    instead = f"models that can: {names}" if names else "no model here can"
    return InvalidArgumentError(
        f"Model {name!r} cannot make {what}; {instead}.",
        "UNSUPPORTED",
        {"model": name, "capable": names},
        violations=[FieldViolation(field, f"{name!r} cannot make {what}; {instead}")],
    )


def bad_reference_image(description: str, field: str = "reference_image") -> InvalidArgumentError:
    """A picture or clip of the request cannot be read or is too large."""
    return InvalidArgumentError(
        f"{field} cannot be used: {description}.",
        "BAD_REFERENCE_IMAGE",
        violations=[FieldViolation(field, description)],
    )


def model_not_found(name: str, path: Path | str, detail: str = "") -> PreconditionError:
    """There are no such files; `path` is what was tried."""
    hint = f" ({detail})" if detail else ""
    return PreconditionError(
        f"Model {name!r} was not found at {path}{hint}.",
        "MODEL_NOT_FOUND",
        {"model": name, "path": str(path)},
        subject=str(path),
    )


def model_broken(name: str, path: Path | str, detail: str) -> PreconditionError:
    """The checkpoint is there but cannot be used; `path` is the file at fault."""
    return PreconditionError(
        f"Model {name!r} is broken at {path}: {detail}.",
        "MODEL_BROKEN",
        {"model": name, "path": str(path)},
        subject=str(path),
    )


def queue_full(limit: int, retry_after_seconds: float) -> ExhaustedError:
    """As many jobs wait as may wait."""
    return ExhaustedError(
        f"{limit} jobs wait already.",
        "QUEUE_FULL",
        {"limit": str(limit)},
        retry_after_seconds=retry_after_seconds,
    )


def out_of_memory(needed_bytes: int, free_bytes: int) -> ExhaustedError:
    """The job does not fit, by estimate or by trial. Waiting does not help."""
    return ExhaustedError(
        f"The job needs {needed_bytes / 2**30:.2f} GiB of device memory and could have {free_bytes / 2**30:.2f} GiB.",
        "GPU_OUT_OF_MEMORY",
        {"needed_bytes": str(needed_bytes), "free_bytes": str(free_bytes)},
    )


def draining() -> UnavailableError:
    """The service is shutting down."""
    return UnavailableError("The generator is shutting down.", "DRAINING", retry_after_seconds=2.0)


def device_lost(detail: str) -> UnavailableError:
    """The device failed in a way that only a new process can mend."""
    return UnavailableError(f"The device failed: {detail}", "DEVICE_LOST", retry_after_seconds=10.0)


def not_a_number(step: int) -> InternalError:
    """The latents hold NaN or infinity after that step (from 1)."""
    return InternalError(f"The latents are not finite after step {step}.", "NOT_A_NUMBER", {"step": str(step)})

"""Errors that leave a service as a gRPC status.

Logic raises these; the error interceptor alone knows how they travel (`wanworker.runtime.status`)::

    ServiceError
    ├── InvalidArgumentError     INVALID_ARGUMENT      BadRequest, one entry a violation
    ├── NotFoundError            NOT_FOUND             ResourceInfo
    ├── AlreadyExistsError       ALREADY_EXISTS        ResourceInfo
    ├── PreconditionError        FAILED_PRECONDITION   PreconditionFailure
    ├── OutOfRangeError          OUT_OF_RANGE
    ├── ExhaustedError           RESOURCE_EXHAUSTED    RetryInfo, if waiting helps
    ├── UnavailableError         UNAVAILABLE           RetryInfo
    ├── UnauthenticatedError     UNAUTHENTICATED
    ├── PermissionDeniedError    PERMISSION_DENIED
    ├── DeadlineError            DEADLINE_EXCEEDED
    └── InternalError            INTERNAL              failures that we know by name

Every other exception is a bug: the caller sees INTERNAL with a trace id, the log sees the rest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

DOMAIN = "wanworker"
"""`google.rpc.ErrorInfo.domain` of every error of this system."""


@dataclass(frozen=True)
class FieldViolation:
    """One field that is not as it should be."""

    field: str
    """Path of the field from the request, for example `spec.fps`."""
    description: str
    """What was given and what would be accepted."""
    reason: str = ""
    """Machine-readable rule, for example `uint32.gte_lte`."""


@dataclass(eq=False)
class ServiceError(Exception):
    """An expected failure, with what a caller needs to act on it."""

    code: ClassVar[str] = "UNKNOWN"
    """Name of the google.rpc.Code."""

    message: str
    """One sentence for people."""
    reason: str
    """Machine-readable, in capitals: `google.rpc.ErrorInfo.reason`."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What the reason goes with, for example `path`: `google.rpc.ErrorInfo.metadata`."""

    def __str__(self) -> str:
        return self.message


@dataclass(eq=False)
class InvalidArgumentError(ServiceError):
    """The request is wrong whatever the state of the system."""

    code: ClassVar[str] = "INVALID_ARGUMENT"
    reason: str = "BAD_FIELD"
    violations: Sequence[FieldViolation] = ()
    """All violations at once."""


@dataclass(eq=False)
class NotFoundError(ServiceError):
    """There is no such thing, or it is not the caller's."""

    code: ClassVar[str] = "NOT_FOUND"
    resource_type: str = ""
    resource_name: str = ""


@dataclass(eq=False)
class AlreadyExistsError(ServiceError):
    """The name is taken by something else."""

    code: ClassVar[str] = "ALREADY_EXISTS"
    resource_type: str = ""
    resource_name: str = ""


@dataclass(eq=False)
class PreconditionError(ServiceError):
    """The system is not in the state that the request needs."""

    code: ClassVar[str] = "FAILED_PRECONDITION"
    subject: str = ""
    """What is in the wrong state, for example a job's id or a path."""


@dataclass(eq=False)
class OutOfRangeError(ServiceError):
    """A read past the end."""

    code: ClassVar[str] = "OUT_OF_RANGE"


@dataclass(eq=False)
class ExhaustedError(ServiceError):
    """A queue, a quota or the device's memory is full."""

    code: ClassVar[str] = "RESOURCE_EXHAUSTED"
    retry_after_seconds: float | None = None
    """When to try again; None if waiting does not help."""


@dataclass(eq=False)
class UnavailableError(ServiceError):
    """Not now: loading, draining, or a peer is down."""

    code: ClassVar[str] = "UNAVAILABLE"
    retry_after_seconds: float | None = 1.0


@dataclass(eq=False)
class UnauthenticatedError(ServiceError):
    """The caller did not say who it is."""

    code: ClassVar[str] = "UNAUTHENTICATED"


@dataclass(eq=False)
class PermissionDeniedError(ServiceError):
    """The caller may not do that."""

    code: ClassVar[str] = "PERMISSION_DENIED"


@dataclass(eq=False)
class DeadlineError(ServiceError):
    """The time that was given is over."""

    code: ClassVar[str] = "DEADLINE_EXCEEDED"


@dataclass(eq=False)
class InternalError(ServiceError):
    """A failure of ours that we know by name."""

    code: ClassVar[str] = "INTERNAL"

"""What can go wrong, one class a status code::

    WanworkerError
    ├── CallError                         a call failed; `.rpc_error` has what gRPC raised
    │   ├── CallCancelledError            CANCELLED            by the server; our own cancels are asyncio's
    │   ├── UnknownError                  UNKNOWN
    │   ├── InvalidArgumentError          INVALID_ARGUMENT     `.violations` has every field
    │   ├── DeadlineExceededError         DEADLINE_EXCEEDED
    │   ├── NotFoundError                 NOT_FOUND
    │   ├── AlreadyExistsError            ALREADY_EXISTS       the request_id belongs to another spec
    │   ├── PermissionDeniedError         PERMISSION_DENIED
    │   ├── ResourceExhaustedError        RESOURCE_EXHAUSTED   `.retry_after` if waiting helps
    │   ├── FailedPreconditionError       FAILED_PRECONDITION
    │   ├── AbortedError                  ABORTED
    │   ├── OutOfRangeError               OUT_OF_RANGE
    │   ├── UnimplementedError            UNIMPLEMENTED        the server is older than this client
    │   ├── InternalError                 INTERNAL             `.metadata["trace_id"]`
    │   ├── UnavailableError              UNAVAILABLE          nobody there, loading or draining
    │   ├── DataLossError                 DATA_LOSS
    │   └── UnauthenticatedError          UNAUTHENTICATED
    ├── JobFailedError                    the job of which a result was wanted has failed; `.job`
    ├── JobCancelledError                 ... was cancelled; `.job`
    └── CorruptArtifactError              the file that came is not the file that the job says

Every one has `code`, `message`, `reason`, `metadata`, `retry_after` and `violations`. They pickle.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import grpc

from wanworker.client.status import FieldViolation, status_details

if TYPE_CHECKING:
    from wanworker.client.types import Job

_NOTHING: Mapping[str, str] = MappingProxyType({})


class WanworkerError(Exception):
    """Base of everything that this client raises on purpose."""

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode = grpc.StatusCode.UNKNOWN,
        reason: str = "",
        metadata: Mapping[str, str] = _NOTHING,
        retry_after: float | None = None,
        violations: tuple[FieldViolation, ...] = (),
        rpc_error: grpc.RpcError | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        """One sentence for people."""
        self.code = code
        """The status code: of the call, or of what made the job fail."""
        self.reason = reason
        """Machine-readable, in capitals, for example `QUEUE_FULL`; empty if the server gave none."""
        self.metadata = dict(metadata)
        """What the reason goes with, for example `path`."""
        self.retry_after = retry_after
        """Seconds after which another try makes sense; None if the server did not say."""
        self.violations = violations
        """Every field that is not as it should be."""
        self.rpc_error = rpc_error
        """What gRPC raised; None if no call failed."""

    def __str__(self) -> str:
        parts = [self.message, *(f"{v.field}: {v.description}" for v in self.violations)]
        return "\n  ".join(parts)

    def __reduce__(self) -> tuple[object, ...]:
        # A live gRPC error holds locks; what it says is in the other attributes.
        return _rebuild, (type(self), self.args, {**self.__dict__, "rpc_error": None})


def _rebuild(kind: type[WanworkerError], args: tuple[object, ...], state: dict[str, object]) -> WanworkerError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class CallError(WanworkerError):
    """A call ended with a status other than OK."""


class CallCancelledError(CallError):
    """The server cancelled the call."""


class UnknownError(CallError):
    """The server failed without saying how."""


class InvalidArgumentError(CallError):
    """The request is wrong whatever the state of the system."""


class DeadlineExceededError(CallError):
    """The call took longer than its timeout."""


class NotFoundError(CallError):
    """There is no such job."""


class AlreadyExistsError(CallError):
    """The request_id was used with another spec."""


class PermissionDeniedError(CallError):
    """The caller may not do that."""


class ResourceExhaustedError(CallError):
    """A queue, a quota, a message limit or the device's memory is full."""


class FailedPreconditionError(CallError):
    """The system is not in the state that the call needs."""


class AbortedError(CallError):
    """The call lost against another one."""


class OutOfRangeError(CallError):
    """A read past the end."""


class UnimplementedError(CallError):
    """The server does not know the call."""


class InternalError(CallError):
    """A failure on the server that is nobody's fault but its own."""


class UnavailableError(CallError):
    """Nobody there, or not now: loading, draining, or a peer is down."""


class DataLossError(CallError):
    """The server lost data for good."""


class UnauthenticatedError(CallError):
    """The caller did not say who it is."""


class JobFailedError(WanworkerError):
    """The job of which a result was wanted has failed."""

    def __init__(self, job: "Job") -> None:
        failure = job.failure
        super().__init__(
            failure.message if failure else f"job {job.id} failed",
            code=_code(failure.code) if failure else grpc.StatusCode.UNKNOWN,
            reason=failure.reason if failure else "",
            metadata=failure.metadata if failure else _NOTHING,
        )
        self.job = job
        """The job in its final state."""


class JobCancelledError(WanworkerError):
    """The job of which a result was wanted was cancelled."""

    def __init__(self, job: "Job") -> None:
        super().__init__(f"job {job.id} was cancelled", code=grpc.StatusCode.CANCELLED, reason="JOB_CANCELLED")
        self.job = job
        """The job in its final state."""


class CorruptArtifactError(WanworkerError):
    """The file that came is not the one that the job describes. Nothing was kept of it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code=grpc.StatusCode.DATA_LOSS, reason="ARTIFACT_CORRUPT")


_BY_CODE: Mapping[grpc.StatusCode, type[CallError]] = {
    grpc.StatusCode.CANCELLED: CallCancelledError,
    grpc.StatusCode.UNKNOWN: UnknownError,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgumentError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExistsError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhaustedError,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPreconditionError,
    grpc.StatusCode.ABORTED: AbortedError,
    grpc.StatusCode.OUT_OF_RANGE: OutOfRangeError,
    grpc.StatusCode.UNIMPLEMENTED: UnimplementedError,
    grpc.StatusCode.INTERNAL: InternalError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DATA_LOSS: DataLossError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
}


def from_rpc_error(error: grpc.RpcError) -> CallError:
    """Returns the exception of a failed call's status."""
    details = status_details(error)
    return _BY_CODE.get(details.code, UnknownError)(
        details.message or details.code.name,
        code=details.code,
        reason=details.reason,
        metadata=details.metadata,
        retry_after=details.retry_after_seconds,
        violations=details.violations,
        rpc_error=error,
    )


def _code(name: str) -> grpc.StatusCode:
    try:
        return grpc.StatusCode[name]
    except KeyError:
        return grpc.StatusCode.UNKNOWN

"""What a failed call says: the code, the reason, and the details of `google.rpc.Status`.

Needs grpcio, protobuf and googleapis-common-protos only, so that services and clients share it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

DETAILS_KEY: Final = "grpc-status-details-bin"
"""Trailing metadata that carries a serialized `google.rpc.Status`."""

_Detail = TypeVar("_Detail", bound=Message)


@dataclass(frozen=True)
class FieldViolation:
    """One field of the request that is not as it should be."""

    field: str
    """Path of the field from the request, for example `spec.fps`."""
    description: str
    """What was given and what would be accepted."""
    reason: str = ""
    """Machine-readable rule, for example `uint32.gte_lte`."""


@dataclass(frozen=True)
class StatusDetails:
    """Everything that a failed call says. What the server did not say is empty."""

    code: grpc.StatusCode
    """The status code."""
    message: str
    """One sentence for people."""
    reason: str = ""
    """Machine-readable, in capitals, for example `GPU_OUT_OF_MEMORY`; from the ErrorInfo."""
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """What the reason goes with, for example `path`; from the ErrorInfo."""
    retry_after_seconds: float | None = None
    """When to try again; from the RetryInfo."""
    violations: tuple[FieldViolation, ...] = ()
    """Every field that is wrong; from the BadRequest."""
    status: status_pb2.Status | None = None
    """The status as it came, with details that have no field here."""


def status_details(error: grpc.RpcError) -> StatusDetails:
    """Reads an error of a synchronous or an asynchronous call.

    Never fails: details that are missing or garbled come back empty, and an error that is no finished call's
    is UNKNOWN.
    """
    code = _call(error, "code")
    message = _call(error, "details")
    details = StatusDetails(
        code=code if isinstance(code, grpc.StatusCode) else grpc.StatusCode.UNKNOWN,
        message=message if isinstance(message, str) else str(error),
    )
    status = _received_status(_call(error, "trailing_metadata"))
    return details if status is None else _with_status(details, status)


def _with_status(details: StatusDetails, status: status_pb2.Status) -> StatusDetails:
    info = _unpack(status, error_details_pb2.ErrorInfo)
    retry = _unpack(status, error_details_pb2.RetryInfo)
    bad_request = _unpack(status, error_details_pb2.BadRequest)
    return StatusDetails(
        code=details.code,
        message=details.message or status.message,
        reason=info.reason if info else "",
        metadata=MappingProxyType(dict(info.metadata) if info else {}),
        retry_after_seconds=retry.retry_delay.ToMicroseconds() / 1e6 if retry else None,
        violations=tuple(_violations(bad_request)) if bad_request else (),
        status=status,
    )


def _violations(bad_request: error_details_pb2.BadRequest) -> Iterable[FieldViolation]:
    for violation in bad_request.field_violations:
        # Older googleapis-common-protos have no `reason` there.
        yield FieldViolation(violation.field, violation.description, getattr(violation, "reason", ""))


def _received_status(metadata: Iterable[tuple[str, str | bytes]] | None) -> status_pb2.Status | None:
    for key, value in metadata or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None
    return None


def _unpack(status: status_pb2.Status, kind: type[_Detail]) -> _Detail | None:
    for packed in status.details:
        message = kind()
        try:
            if packed.Unpack(message):
                return message
        except DecodeError:
            continue
    return None


def _call(error: grpc.RpcError, name: str) -> Any:
    """An accessor that errors of finished calls have and others do not."""
    accessor = getattr(error, name, None)
    return accessor() if callable(accessor) else None

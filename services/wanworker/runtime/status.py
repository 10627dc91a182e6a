"""How an error travels: `ServiceError` to `google.rpc.Status`.

Every status carries one `ErrorInfo` and at most one of each other detail. The other way is
`wanworker.client.status.status_details`.
"""

from collections.abc import Iterable
from functools import singledispatch

import grpc
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from wanworker.runtime.errors import (
    DOMAIN,
    AlreadyExistsError,
    ExhaustedError,
    FieldViolation,
    InvalidArgumentError,
    NotFoundError,
    PreconditionError,
    ServiceError,
    UnavailableError,
)
from wanworker.runtime.transport import MAX_STATUS_BYTES

_LONGEST_TEXT = 500
"""UTF-8 bytes of a message or a metadata value that are sent; statuses travel in trailers, which are small, and the
message is there percent-encoded as well."""


def to_status(error: ServiceError) -> status_pb2.Status:
    """Returns the status that an expected failure leaves the service with, `MAX_STATUS_BYTES` long at
    most."""
    status = status_pb2.Status(code=code_pb2.Code.Value(error.code), message=_short(error.message))
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    info.metadata.update({key: _short(str(value)) for key, value in error.metadata.items()})
    status.details.add().Pack(info)
    for detail in _details(error):
        status.details.add().Pack(detail)
    return status


def internal_status(trace_id: str) -> status_pb2.Status:
    """Returns the status of a bug: nothing of it is told but the id under which the log has the rest."""
    status = status_pb2.Status(code=code_pb2.INTERNAL, message=f"internal error, trace id {trace_id}")
    info = error_details_pb2.ErrorInfo(reason="INTERNAL", domain=DOMAIN, metadata={"trace_id": trace_id})
    status.details.add().Pack(info)
    return status


def status_code(status: status_pb2.Status) -> grpc.StatusCode:
    """Returns gRPC's enum for the number that a `google.rpc.Status` has."""
    return grpc.StatusCode[code_pb2.Code.Name(status.code)]


@singledispatch
def _details(error: ServiceError) -> Iterable[Message]:
    """What goes along with the ErrorInfo."""
    return ()


@_details.register
def _(error: InvalidArgumentError) -> Iterable[Message]:
    if error.violations:
        yield _bad_request(error.violations)


@_details.register(NotFoundError)
@_details.register(AlreadyExistsError)
def _(error: NotFoundError | AlreadyExistsError) -> Iterable[Message]:
    yield error_details_pb2.ResourceInfo(
        resource_type=error.resource_type,
        resource_name=_short(error.resource_name),
        description=_short(error.message),
    )


@_details.register
def _(error: PreconditionError) -> Iterable[Message]:
    detail = error_details_pb2.PreconditionFailure()
    detail.violations.add(type=error.reason, subject=_short(error.subject), description=_short(error.message))
    yield detail


@_details.register(ExhaustedError)
@_details.register(UnavailableError)
def _(error: ExhaustedError | UnavailableError) -> Iterable[Message]:
    if error.retry_after_seconds is not None:
        detail = error_details_pb2.RetryInfo()
        detail.retry_delay.FromMicroseconds(round(error.retry_after_seconds * 1e6))
        yield detail


def _bad_request(violations: Iterable[FieldViolation]) -> error_details_pb2.BadRequest:
    """All violations, as far as they fit into a trailer; the last entry then says how many are left out."""
    detail = error_details_pb2.BadRequest()
    left_out = 0
    for violation in violations:
        entry = error_details_pb2.BadRequest.FieldViolation(
            field=violation.field, description=_short(violation.description), reason=violation.reason
        )
        if left_out or detail.ByteSize() + entry.ByteSize() > MAX_STATUS_BYTES * 3 // 4:
            left_out += 1
        else:
            detail.field_violations.append(entry)
    if left_out:
        detail.field_violations.add(description=f"and {left_out} more")
    return detail


def _short(text: str) -> str:
    """Cuts a text to what a trailer can carry."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= _LONGEST_TEXT:
        return text
    return encoded[: _LONGEST_TEXT - len("…".encode())].decode(errors="ignore") + "…"

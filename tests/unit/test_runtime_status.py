"""Errors to statuses and back."""

from urllib.parse import quote

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc.aio import AioRpcError, Metadata

from wanworker.client.status import DETAILS_KEY, FieldViolation, StatusDetails, status_details
from wanworker.runtime import errors
from wanworker.runtime.status import internal_status, status_code, to_status

EVERY_ERROR: list[errors.ServiceError] = [
    errors.InvalidArgumentError(
        "two fields are wrong",
        violations=(
            errors.FieldViolation("spec.fps", "must be at most 24, got 99", "uint32.lte"),
            errors.FieldViolation("spec.steps", "must be at least 1, got 0"),
        ),
    ),
    errors.NotFoundError("no such job", "JOB_NOT_FOUND", resource_type="job", resource_name="j1"),
    errors.AlreadyExistsError("taken", "REQUEST_ID_TAKEN", resource_type="job", resource_name="j2"),
    errors.PreconditionError("no model", "MODEL_NOT_FOUND", {"path": "/models/x"}, subject="/models/x"),
    errors.OutOfRangeError("past the end", "OFFSET", {"size_bytes": "10"}),
    errors.ExhaustedError("full", "QUEUE_FULL", retry_after_seconds=2.5),
    errors.ExhaustedError("too big", "GPU_OUT_OF_MEMORY", {"needed_bytes": "9", "free_bytes": "1"}),
    errors.UnavailableError("draining", "DRAINING"),
    errors.UnavailableError("gone", "DEVICE_LOST", retry_after_seconds=None),
    errors.UnauthenticatedError("who are you?", "NO_TOKEN"),
    errors.PermissionDeniedError("not yours", "NOT_OWNER"),
    errors.DeadlineError("too late", "TIMED_OUT"),
    errors.InternalError("not a number", "NOT_A_NUMBER", {"step": "3"}),
]


def _subclasses(kind: type[errors.ServiceError]) -> set[type[errors.ServiceError]]:
    return {kind, *(grandchild for child in kind.__subclasses__() for grandchild in _subclasses(child))}


def received(status: status_pb2.Status) -> StatusDetails:
    """What a client reads from a status that came over the wire."""
    metadata = Metadata((DETAILS_KEY, status.SerializeToString()))
    return status_details(AioRpcError(status_code(status), Metadata(), metadata, status.message))


def test_every_class_of_error_is_here() -> None:
    ours = {kind for kind in _subclasses(errors.ServiceError) if kind.__module__ == errors.__name__}
    assert {type(error) for error in EVERY_ERROR} == ours - {errors.ServiceError}


@pytest.mark.parametrize("error", EVERY_ERROR, ids=lambda e: f"{type(e).__name__}-{e.reason}")
def test_an_error_comes_back_as_it_went(error: errors.ServiceError) -> None:
    details = received(to_status(error))
    assert details.code is grpc.StatusCode[error.code]
    assert (details.message, details.reason) == (error.message, error.reason)
    assert dict(details.metadata) == dict(error.metadata)
    assert details.retry_after_seconds == getattr(error, "retry_after_seconds", None)
    violations = getattr(error, "violations", ())
    assert details.violations == tuple(FieldViolation(v.field, v.description, v.reason) for v in violations)


@pytest.mark.parametrize("error", EVERY_ERROR, ids=lambda e: f"{type(e).__name__}-{e.reason}")
def test_there_is_one_error_info_and_one_of_each_other_detail(error: errors.ServiceError) -> None:
    urls = [detail.type_url for detail in to_status(error).details]
    assert urls[0].endswith("google.rpc.ErrorInfo")
    assert len(set(urls)) == len(urls)


def test_details_of_the_table() -> None:
    missing = to_status(EVERY_ERROR[1]).details[1]
    resource = error_details_pb2.ResourceInfo()
    assert missing.Unpack(resource)
    assert (resource.resource_type, resource.resource_name) == ("job", "j1")
    unmet = to_status(EVERY_ERROR[3]).details[1]
    failure = error_details_pb2.PreconditionFailure()
    assert unmet.Unpack(failure)
    assert (failure.violations[0].type, failure.violations[0].subject) == ("MODEL_NOT_FOUND", "/models/x")


def test_a_bug_tells_its_trace_id_only() -> None:
    details = received(internal_status("ab12"))
    assert details.code is grpc.StatusCode.INTERNAL
    assert details.message == "internal error, trace id ab12"
    assert (details.reason, dict(details.metadata)) == ("INTERNAL", {"trace_id": "ab12"})


def test_a_status_fits_into_a_trailer() -> None:
    many = tuple(errors.FieldViolation(f"field_{i}", "€" * 2000, "rule") for i in range(100))
    error = errors.InvalidArgumentError("€" * 9000, metadata={"value": "€" * 9000}, violations=many)
    status = to_status(error)
    # The message is sent again beside the details, percent-encoded; clients take 8 KiB.
    assert status.ByteSize() + len(quote(status.message)) < 7 * 1024
    details = received(status)
    assert details.message.endswith("…")
    assert 0 < len(details.violations) < 100
    assert details.violations[-1].description == f"and {100 - len(details.violations) + 1} more"


def test_details_that_are_missing_are_empty() -> None:
    error = AioRpcError(grpc.StatusCode.UNAVAILABLE, Metadata(), Metadata(), "connection refused")
    assert status_details(error) == StatusDetails(grpc.StatusCode.UNAVAILABLE, "connection refused")


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff", b"", b"\x12\x04abc"])
def test_garbled_details_are_no_error(garbage: bytes) -> None:
    metadata = Metadata((DETAILS_KEY, garbage))
    details = status_details(AioRpcError(grpc.StatusCode.ABORTED, Metadata(), metadata, "so so"))
    assert (details.code, details.message, details.reason) == (grpc.StatusCode.ABORTED, "so so", "")


def test_a_garbled_detail_does_not_hide_the_others() -> None:
    status = to_status(EVERY_ERROR[5])
    status.details[0].value = b"\xff\xff"
    assert received(status).retry_after_seconds == 2.5
    assert received(status).reason == ""


def test_an_error_of_no_call_is_unknown() -> None:
    details = status_details(grpc.RpcError("channel closed"))
    assert (details.code, details.message) == (grpc.StatusCode.UNKNOWN, "channel closed")

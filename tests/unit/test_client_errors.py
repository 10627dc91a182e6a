"""One exception class a status code, with all that the server said."""

import pickle

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2

from tests.support.client import job
from wanworker.client import errors
from wanworker.client.conversions import job_from_proto
from wanworker.client.errors import CallError, JobCancelledError, JobFailedError, from_rpc_error


def rpc_error(code: grpc.StatusCode, *details: bytes) -> grpc.aio.AioRpcError:
    trailing = grpc.aio.Metadata(*(("grpc-status-details-bin", detail) for detail in details))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details="it went wrong")


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_code_has_a_class_of_its_own(code: grpc.StatusCode) -> None:
    raw = rpc_error(code)
    error = from_rpc_error(raw)
    assert type(error) is not CallError
    assert error.code is code
    assert error.message == str(error) == "it went wrong"
    assert error.rpc_error is raw
    words = code.name.replace("CANCELLED", "CALL_CANCELLED").split("_")
    assert type(error).__name__ == "".join(word.capitalize() for word in words) + "Error"
    assert type(error).__name__ in (errors.__doc__ or "")


def test_details_are_attributes() -> None:
    status = status_pb2.Status(code=3, message="two fields are wrong")
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(reason="BAD_FIELD", domain="wanworker", metadata={"known": "demo"})
    )
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="spec.fps", description="99 is not from 12 to 24")
    bad.field_violations.add(field="spec.steps", description="0 is not from 1 to 100")
    status.details.add().Pack(bad)
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(1500)
    status.details.add().Pack(retry)
    error = from_rpc_error(rpc_error(grpc.StatusCode.INVALID_ARGUMENT, status.SerializeToString()))
    assert isinstance(error, errors.InvalidArgumentError)
    assert error.reason == "BAD_FIELD"
    assert error.metadata == {"known": "demo"}
    assert error.retry_after == 1.5
    assert [v.field for v in error.violations] == ["spec.fps", "spec.steps"]
    assert "spec.fps: 99 is not from 12 to 24" in str(error)


def test_errors_pickle() -> None:
    error = pickle.loads(pickle.dumps(from_rpc_error(rpc_error(grpc.StatusCode.NOT_FOUND))))
    assert isinstance(error, errors.NotFoundError)
    assert error.message == "it went wrong"
    assert error.rpc_error is None
    failed = pickle.loads(pickle.dumps(JobFailedError(job_from_proto(job("FAILED")))))
    assert failed.job.failure.reason == failed.reason == "GPU_OUT_OF_MEMORY"


def test_final_states_raise() -> None:
    failed = job_from_proto(job("FAILED"))
    with pytest.raises(JobFailedError) as caught:
        failed.raise_for_state()
    assert caught.value.job is failed
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.metadata == {"needed_bytes": "123"}
    with pytest.raises(JobCancelledError):
        job_from_proto(job("CANCELLED")).raise_for_state()
    job_from_proto(job("SUCCEEDED")).raise_for_state()
    job_from_proto(job("RUNNING")).raise_for_state()

"""The protos' rules, as a caller sees them."""

import math

import pytest
from google.protobuf import empty_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from wanworker.runtime.errors import FieldViolation, InvalidArgumentError
from wanworker.runtime.validation import validate
from wanworker.v1 import gateway_pb2, generator_pb2, types_pb2
from wanworker.v1.gateway_pb2 import JobSpec, ReferenceImage, RunJobRequest, WatchJobRequest


def violations(message: Message) -> dict[str, FieldViolation]:
    with pytest.raises(InvalidArgumentError) as caught:
        validate(message)
    return {violation.field: violation for violation in caught.value.violations}


def one(spec: JobSpec) -> FieldViolation:
    (found,) = violations(RunJobRequest(spec=spec)).values()
    return found


def test_a_good_request_passes() -> None:
    validate(RunJobRequest(spec=JobSpec(prompt="a fox", width=256, height=144, fps=16)))


def test_a_type_without_rules_passes() -> None:
    validate(empty_pb2.Empty())


def test_the_number_given_and_the_numbers_accepted_are_named() -> None:
    found = one(JobSpec(prompt="a fox", fps=99))
    assert found.field == "spec.fps"
    assert found.description == "must be greater than or equal to 12 and less than or equal to 24, got 99"
    assert found.reason == "uint32.gte_lte"


def test_every_violation_is_found_at_once() -> None:
    spec = JobSpec(prompt=" ", fps=99, quality=77, request_id="x", duration=Duration(seconds=99), steps=0)  # type: ignore[arg-type]
    found = violations(RunJobRequest(spec=spec))
    assert set(found) == {f"spec.{name}" for name in ("prompt", "fps", "quality", "request_id", "duration", "steps")}
    assert found["spec.duration"].description.endswith("got 99s")


def test_a_missing_message_is_named() -> None:
    assert violations(RunJobRequest()) == {"spec": FieldViolation("spec", "is required, got nothing", "required")}


def test_an_enum_names_its_values() -> None:
    found = one(JobSpec(prompt="a fox", quality=77))  # type: ignore[arg-type]
    assert "QUALITY_FAST, QUALITY_BALANCED, QUALITY_HIGH" in found.description
    assert found.description.endswith("got 77")


def test_an_enum_value_that_is_refused_is_not_offered() -> None:
    request = generator_pb2.GenerateRequest(prompt="a fox", settings=_settings())
    found = violations(request)["format"]
    offered, given = found.description.split(", got ")
    assert offered == "must be one of OUTPUT_FORMAT_MP4, OUTPUT_FORMAT_PNG, OUTPUT_FORMAT_WEBP"
    assert given == "OUTPUT_FORMAT_UNSPECIFIED"


def test_items_of_lists_have_an_index() -> None:
    request = gateway_pb2.ListJobsRequest(states=[gateway_pb2.JOB_STATE_QUEUED, 99])  # type: ignore[list-item]
    assert set(violations(request)) == {"states[1]"}


def test_a_rule_over_fields_is_told_with_what_they_hold() -> None:
    found = one(JobSpec(prompt="a fox", width=640))
    assert found.field == "spec"
    assert found.description == "width and height must be given together, got width 640 and no height"
    still = one(JobSpec(prompt="a fox", job_type=gateway_pb2.JOB_TYPE_IMAGE_FAST, fps=16))
    assert "job_type JOB_TYPE_IMAGE_FAST" in still.description
    assert "fps 16" in still.description


def test_long_values_are_cut_and_bytes_are_counted() -> None:
    prompt = one(JobSpec(prompt="x" * 5000))
    assert prompt.description.endswith("(5000 characters)")
    assert len(prompt.description) < 150
    image = one(JobSpec(prompt="a fox", reference_image=ReferenceImage(data=b"\x00" * 3_200_000)))
    assert image.field == "spec.reference_image.data"
    assert image.description == "must be at most 3145728 bytes, got 3200000 bytes"


def test_an_empty_oneof_is_named() -> None:
    found = one(JobSpec(prompt="a fox", reference_image=ReferenceImage()))
    assert found.field == "spec.reference_image.source"


def test_not_a_number_is_refused() -> None:
    found = violations(RunJobRequest(spec=JobSpec(prompt="a fox", guidance_scale=math.nan)))
    assert found["spec.guidance_scale"].description.endswith("got nan")


def test_the_message_counts_the_fields_and_names_them() -> None:
    with pytest.raises(InvalidArgumentError, match=r"^2 fields are wrong: spec\.fps, spec\.model$"):
        validate(RunJobRequest(spec=JobSpec(prompt="a fox", fps=99, model="a b")))


def _settings() -> types_pb2.GenerationSettings:
    return types_pb2.GenerationSettings(
        model="demo", width=256, height=144, frames=33, fps=16, steps=8, guidance_scale=5
    )


def test_a_sequence_that_no_job_can_reach_is_refused() -> None:
    assert set(violations(WatchJobRequest(job_id="a", after_sequence=2**64 - 1))) == {"after_sequence"}
    validate(WatchJobRequest(job_id="a", after_sequence=2**63 - 1))

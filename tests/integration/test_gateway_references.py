"""Which model a reference image goes to, and what comes of a job without it. The faults of images are in
`test_gateway_faults.py`."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from PIL import Image

from tests.support.gateway import Failure, System, model, running_system
from wanworker.v1 import gateway_pb2 as pb

TEXT_ONLY = model("demo", [1, 2], is_default=True)
IMAGE_ONLY = model("from-image", [3], default_width=128, default_height=128)
MODELS = [TEXT_ONLY, model("absent", [1, 3], available=False), IMAGE_ONLY]


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    """A gateway between two fakes."""
    async with running_system(tmp_path / "data") as running:
        running.generator.models = MODELS
        yield running


def png() -> bytes:
    """A picture."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 36), "red").save(buffer, "PNG")
    return buffer.getvalue()


async def test_a_reference_image_goes_to_a_model_that_takes_one(system: System) -> None:
    job = await system.finished((await system.create(reference_image={"data": png()})).id)
    assert (job.delivered.settings.model, job.delivered.reference_image_used) == ("from-image", True)
    assert system.generator.requests[0].settings.model == "from-image"
    text = await system.finished((await system.create()).id)
    assert text.delivered.settings.model == "demo"


@pytest.mark.parametrize("judge", ["gateway", "generator"])
async def test_without_its_bad_reference_image_a_job_goes_back_to_the_default_model(system: System, judge: str) -> None:
    if judge == "generator":
        system.generator.failures = [Failure(grpc.StatusCode.INVALID_ARGUMENT, "BAD_REFERENCE_IMAGE")]
    image = png()[:60] if judge == "gateway" else png()
    job = await system.finished((await system.create(reference_image={"data": image})).id)
    assert job.state == pb.JOB_STATE_SUCCEEDED
    assert [warning.reason for warning in job.warnings] == ["BAD_REFERENCE_IMAGE"]
    settings = job.delivered.settings
    assert (settings.model, settings.width, settings.height) == ("demo", 256, 144)
    last = system.generator.requests[-1]
    assert (last.settings.model, last.HasField("reference_image")) == ("demo", False)


async def test_a_bad_reference_image_for_a_model_that_makes_nothing_else(system: System) -> None:
    job = await system.finished((await system.create(reference_image={"data": png()[:60]}, model="from-image")).id)
    assert (job.state, job.failure.reason) == (pb.JOB_STATE_FAILED, "BAD_REFERENCE_IMAGE")
    assert "models that do: demo" in job.failure.message
    assert not system.generator.requests

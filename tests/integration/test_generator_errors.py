"""What cannot be served is refused with a reason that a caller can act on."""

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
import torch
from PIL import Image

from tests.support.generator import (
    RunningGenerator,
    copied_checkpoint,
    failure,
    generate_request,
    generation_settings,
    picture,
    running_generator,
    watched_forwards,
)
from wanworker.v1 import generator_pb2, types_pb2

P, VACE = picture(), "wan2.1-vace-1.3b"
MP4, PNG = types_pb2.OUTPUT_FORMAT_MP4, types_pb2.OUTPUT_FORMAT_PNG


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def generator() -> AsyncIterator[RunningGenerator]:
    async with running_generator(max_reference_pixels=10_000) as running:
        yield running


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"model": "sora"}, "MODEL_UNKNOWN", "settings.model"),
        ({"model": "wan2.2-ti2v-5b", "height": 64, "reference_image": P, "last_frame": P}, "UNSUPPORTED", "last_frame"),
        ({"reference_image": P, "last_frame": P}, "UNSUPPORTED", "last_frame"),
        ({"subject_images": [P]}, "UNSUPPORTED", "subject_images"),
        ({"extended_clip": b"x"}, "UNSUPPORTED", "extended_clip"),
        ({"model": VACE, "last_frame": P}, "BAD_FIELD", "last_frame"),
        ({"model": VACE, "reference_image": P, "extended_clip": b"x"}, "BAD_FIELD", "extended_clip"),
        ({"model": VACE, "frames": 1, "subject_images": [P, P]}, "BAD_FIELD", "subject_images"),
        ({"model": VACE, "subject_images": [P, P, P]}, "BAD_FIELD", "subject_images"),
        ({"model": VACE, "speed": {"step_cache_threshold": 0.1}}, "BAD_FIELD", "settings.speed.step_cache_threshold"),
        ({"model": VACE, "subject_images": [P] * 5, "frames": 33}, None, "subject_images"),
        ({"speed": {"guidance_cutoff": 1.5}}, None, "settings.speed.guidance_cutoff"),
        ({"model": "wan2.1-t2v-1.3b", "reference_image": picture()}, "UNSUPPORTED", "reference_image"),
        ({"model": "wan2.1-i2v-14b-480p"}, "UNSUPPORTED", "reference_image"),
        ({"model": "wan2.1-i2v-14b-480p", "frames": 1}, "UNSUPPORTED", "settings.frames"),
        ({"model": "wan2.2-ti2v-5b", "height": 720}, "BAD_FIELD", "settings.height"),
        ({"frames": 85}, "BAD_FIELD", "settings.frames"),
        ({"format": PNG}, "BAD_FIELD", "format"),
        ({"frames": 1, "format": MP4}, "BAD_FIELD", "format"),
        ({"crop_width": 63}, "BAD_FIELD", "crop_width"),
        ({"crop_height": 50}, "BAD_FIELD", "crop_height"),
        ({"frames": 1, "reference_image": picture()}, "BAD_FIELD", "reference_image"),
        ({"reference_image": b"GIF89a nonsense"}, "BAD_REFERENCE_IMAGE", "reference_image"),
        ({"reference_image": picture()[:60]}, "BAD_REFERENCE_IMAGE", "reference_image"),
        ({"reference_image": picture(size=(200, 200))}, "BAD_REFERENCE_IMAGE", "reference_image"),
        ({"reference_image": picture(file_format="BMP")}, "BAD_REFERENCE_IMAGE", "reference_image"),
        ({"fps": 99}, None, "settings.fps"),
        ({"prompt": ""}, None, "prompt"),
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_bad_requests(generator: RunningGenerator, changes: Any, reason: str | None, field: str) -> None:
    found = await failure(generator.stub.Generate(generate_request(**changes)))

    assert found.code is grpc.StatusCode.INVALID_ARGUMENT
    assert reason is None or found.reason == reason
    assert [each.field for each in found.violations] == [field]


@pytest.mark.asyncio(loop_scope="module")
async def test_unknown_and_incapable_models_come_with_those_that_would_do(generator: RunningGenerator) -> None:
    unknown = await failure(generator.stub.Generate(generate_request(model="sora")))
    image = generate_request(model="wan2.1-t2v-14b", reference_image=picture())
    incapable = await failure(generator.stub.Generate(image))

    assert "demo" in unknown.metadata["known"].split(", ")
    assert "wan2.1-i2v-14b-720p" in incapable.metadata["capable"].split(", ")
    assert "wan2.1-t2v-1.3b" not in incapable.metadata["capable"].split(", ")


@pytest.mark.asyncio(loop_scope="module")
async def test_a_model_that_is_not_there_names_where_it_was_looked_for(generator: RunningGenerator) -> None:
    found = await failure(generator.stub.Generate(generate_request(model="wan2.1-t2v-1.3b")))

    assert (found.code, found.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_NOT_FOUND")
    assert found.metadata["path"] == "Wan-AI/Wan2.1-T2V-1.3B-Diffusers@main"


@pytest.mark.parametrize("method", ["Generate", "Estimate"])
async def test_a_missing_folder_is_named(method: str) -> None:
    async with running_generator(demo_path=Path("/nowhere/wan")) as generator:
        request = generate_request()
        if method == "Generate":
            found = await failure(generator.stub.Generate(request))
        else:
            found = await failure(generator.stub.Estimate(generator_pb2.EstimateRequest(settings=request.settings)))

    assert (found.code, found.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_NOT_FOUND")
    assert found.metadata["path"] == "/nowhere/wan"


async def test_a_broken_checkpoint_names_the_file_and_can_be_mended() -> None:
    folder = copied_checkpoint()
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    async with running_generator(demo_path=folder) as generator:
        weights.write_bytes(whole[:-1000])
        cut = await failure(generator.stub.Generate(generate_request()))
        weights.unlink()
        missing = await failure(generator.stub.Generate(generate_request()))
        weights.write_bytes(whole)
        mended = await generator.generate()

    for found in (cut, missing):
        assert (found.code, found.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_BROKEN")
        assert found.metadata["path"].startswith(str(folder / "transformer"))
    assert mended.completed.size_bytes


@pytest.mark.asyncio(loop_scope="module")
async def test_out_of_memory_is_typed_and_the_next_job_is_untouched(generator: RunningGenerator) -> None:
    expected = await generator.file()

    def explode(number: int) -> None:
        if number == 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with watched_forwards(generator.engine, explode) as forwards:
        found = await failure(generator.stub.Generate(generate_request()))

    assert (found.code, found.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "GPU_OUT_OF_MEMORY")
    assert int(found.metadata["needed_bytes"]) > 0
    assert int(found.metadata["free_bytes"]) > 0
    assert found.retry_after_seconds is None
    assert forwards.count == 3
    assert await generator.file() == expected


@pytest.mark.asyncio(loop_scope="module")
async def test_what_cannot_fit_is_refused_before_it_starts(
    generator: RunningGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    await generator.generate()
    monkeypatch.setattr(generator.engine.device, "available_bytes", lambda _: 1_000_000)

    with watched_forwards(generator.engine) as forwards:
        found = await failure(generator.stub.Generate(generate_request()))
    request = generator_pb2.EstimateRequest(settings=generation_settings())
    estimate = (await generator.stub.Estimate(request)).estimate

    assert found.reason == "GPU_OUT_OF_MEMORY"
    assert found.metadata["free_bytes"] == "1000000"
    assert forwards.count == 0
    assert not estimate.fits
    assert estimate.needed_bytes == int(found.metadata["needed_bytes"])


@pytest.mark.asyncio(loop_scope="module")
async def test_latents_that_are_no_numbers_fail_at_their_step(generator: RunningGenerator) -> None:
    expected = await generator.file()
    transformer = generator.engine._models["demo"].modules["transformer"]
    forwards = 0

    def poison(_: object, __: object, output: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        nonlocal forwards
        forwards += 1
        return (output[0] * float("nan"),) if forwards == 3 else output

    hook = transformer.register_forward_hook(poison)
    found = await failure(generator.stub.Generate(generate_request()))
    hook.remove()

    assert (found.code, found.reason) == (grpc.StatusCode.INTERNAL, "NOT_A_NUMBER")
    assert found.metadata["step"] == "2"
    assert forwards == 4
    assert await generator.file() == expected


@pytest.mark.asyncio(loop_scope="module")
async def test_a_bug_shows_a_trace_id_and_nothing_else(generator: RunningGenerator) -> None:
    expected = await generator.file()

    def bug(_: int) -> None:
        raise RuntimeError("secret")

    with watched_forwards(generator.engine, bug):
        found = await failure(generator.stub.Generate(generate_request()))

    assert found.code is grpc.StatusCode.INTERNAL
    assert "secret" not in found.message
    assert await generator.file() == expected


@pytest.mark.asyncio(loop_scope="module")
async def test_a_sideways_photo_is_turned_upright(generator: RunningGenerator) -> None:
    image = Image.new("RGB", (40, 80), "red")
    image.paste("blue", (0, 0, 40, 40))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90°, so that blue is on the right
    sideways, upright = io.BytesIO(), io.BytesIO()
    image.save(sideways, "PNG", exif=exif)
    image.rotate(-90, expand=True).save(upright, "PNG")

    turned = await generator.file(reference_image=sideways.getvalue())
    assert turned == await generator.file(reference_image=upright.getvalue())

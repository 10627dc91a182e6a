"""Every row of the registry loads a checkpoint of its layout and runs on it; tiny random weights, real pipelines."""

import io
from typing import Any

import grpc
import pytest
from PIL import Image

from tests.support.generator import (
    RunningGenerator,
    failure,
    generate_request,
    picture,
    random_checkpoint,
    read_video,
    running_generator,
)
from wanworker.generator.conditions import Conditions, control_video
from wanworker.generator.registry import ROWS
from wanworker.v1 import generator_pb2

VACE, TI2V, I2V = "wan2.1-vace-1.3b", "wan2.2-ti2v-5b", "wan2.1-i2v-14b-720p"


def checkpoints() -> dict[str, Any]:
    return {
        VACE: random_checkpoint(control=True),
        TI2V: random_checkpoint(folded=True),
        I2V: random_checkpoint(from_image=True),
        "wan2.1-i2v-14b-480p": random_checkpoint(from_image=True),
        "wan2.1-t2v-1.3b": random_checkpoint(expand_timesteps=False),
        "wan2.1-t2v-14b": random_checkpoint(expand_timesteps=False),
    }


def family(**changes: Any) -> Any:
    return running_generator(model_paths=checkpoints(), **changes)


async def first_steps(generator: RunningGenerator, **changes: Any) -> list[Any]:
    """The denoiser's inputs of a call's first forward."""
    seen: list[Any] = []
    transformer = generator.engine._models[changes["model"]].modules["transformer"]
    hook = transformer.register_forward_pre_hook(lambda *given: seen.append(given[2]), with_kwargs=True)
    try:
        await generator.generate(**changes)
    finally:
        hook.remove()
    return seen


@pytest.mark.parametrize("name", ["wan2.1-t2v-1.3b", "wan2.1-t2v-14b", VACE, TI2V])
async def test_rows_make_videos_and_stills_from_text(name: str) -> None:
    async with family() as generator:
        video = await generator.generate(model=name, height=64)
        still = await generator.generate(model=name, height=64, frames=1)
    assert read_video(video.file).frames == 5
    assert Image.open(io.BytesIO(still.file)).size == (64, 64)


@pytest.mark.parametrize("name", [TI2V, I2V, "wan2.1-i2v-14b-480p", VACE])
async def test_rows_make_videos_from_an_image(name: str) -> None:
    async with family() as generator:
        red = await generator.generate(model=name, height=64, reference_image=picture("red"))
        blue = await generator.generate(model=name, height=64, reference_image=picture("blue"))
    assert read_video(red.file).frames == 5
    assert red.file != blue.file


async def test_vace_takes_last_frames_subjects_and_clips() -> None:
    red, green, blue = picture("red"), picture("green", (30, 90)), picture("blue")
    async with family() as generator:
        one = await generator.generate(model=VACE, frames=1, subject_images=[green])
        clip = await generator.file(model=VACE, frames=9, reference_image=red)
        calls: list[dict[str, Any]] = [
            {"reference_image": red},
            {"reference_image": red, "last_frame": blue},
            {"reference_image": red, "last_frame": green},
            {"reference_image": red, "subject_images": [green]},
            {"reference_image": red, "subject_images": [green, blue]},
            {"extended_clip": clip},
            {"extended_clip": clip, "last_frame": blue},
        ]
        controls = [await first_steps(generator, model=VACE, frames=9, **call) for call in calls]
        subjects = await generator.generate(model=VACE, frames=9, preview_interval_steps=1, **calls[4])
    states = [forwards[0]["control_hidden_states"] for forwards in controls]
    # A latent frame more for each subject; it is gone from the file.
    assert [state.shape[2] for state in states] == [3, 3, 3, 4, 5, 3, 3]
    assert [forwards[0]["hidden_states"].shape[2] for forwards in controls] == [3, 3, 3, 4, 5, 3, 3]
    assert len({state.numpy().tobytes() for state in states}) == 7
    video = read_video(subjects.file)
    assert (video.width, video.height, video.frames) == (64, 48, 9)
    assert [preview.frames for preview in subjects.previews] == [3, 3]
    assert Image.open(io.BytesIO(one.file)).size == (64, 48)


async def test_vace_gets_the_given_frames_and_a_mask_of_the_others() -> None:
    red, blue = (Image.new("RGB", (64, 48), colour) for colour in ("red", "blue"))
    control = control_video(Conditions(first=red, last=blue), 5, (64, 48))
    assert [each.getpixel((0, 0)) for each in control["mask"]] == [0, 255, 255, 255, 0]
    assert (control["video"][0], control["video"][-1]) == (red, blue)
    clip = control_video(Conditions(clip=(red,) * 5), 9, (64, 48))
    assert [each.getpixel((0, 0)) for each in clip["mask"]] == [0] * 5 + [255] * 4
    with pytest.raises(ValueError, match="does not fit"):
        control_video(Conditions(first=Image.new("RGB", (32, 32))), 5, (64, 48))


async def test_ti2v_holds_the_first_frame_with_a_timestep_of_its_own() -> None:
    async with family() as generator:
        await generator.generate(model=TI2V, height=64, frames=1)
        forwards = await first_steps(generator, model=TI2V, height=64, reference_image=picture("red"))
    times = forwards[0]["timestep"]
    tokens = 2 * 2  # of one latent frame
    assert times.shape == (1, 2 * tokens)
    assert (times[0, :tokens] == 0).all()
    assert (times[0, tokens:] > 0).all()


async def test_what_ti2v_would_drop_silently_is_refused_with_what_can() -> None:
    async with family() as generator:
        request = generate_request(model=TI2V, height=64, reference_image=picture(), last_frame=picture())
        found = await failure(generator.stub.Generate(request))
    assert found.reason == "UNSUPPORTED"
    assert found.metadata["capable"] == VACE


@pytest.mark.parametrize("clip", [b"no mp4", b"\0\0\0\x18ftypisom" + b"\0" * 60])
async def test_a_clip_that_cannot_be_read_names_its_field(clip: bytes) -> None:
    async with family() as generator:
        found = await failure(generator.stub.Generate(generate_request(model=VACE, extended_clip=clip)))
        image = await failure(
            generator.stub.Generate(generate_request(model=VACE, subject_images=[picture(), b"GIF89a"]))
        )
    assert (found.code, found.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "BAD_REFERENCE_IMAGE")
    assert [each.field for each in found.violations] == ["extended_clip"]
    assert [each.field for each in image.violations] == ["subject_images[1]"]


async def test_guidance_can_end_early_and_the_result_says_so() -> None:
    async with running_generator(preload=True, warm_up_job=False) as generator:
        forwards = await first_steps(generator, model="demo", steps=4, speed={"guidance_cutoff": 0.5})
        assert len(forwards) == 2 * 2 + 2
        cut = await generator.generate(steps=4, speed={"guidance_cutoff": 0.5})
        none = await generator.generate(steps=4, speed={"guidance_cutoff": 1.0})
        plain = await generator.generate(steps=4)
        assert none.file == await generator.file(steps=4, guidance_scale=1)
    assert len({cut.file, none.file, plain.file}) == 3
    assert cut.completed.settings.speed.guidance_cutoff == 0.5
    assert not plain.completed.settings.HasField("speed")


async def test_a_step_cache_is_named_in_the_result() -> None:
    async with running_generator(preload=True, warm_up_job=False) as generator:
        plain = await generator.generate(steps=8)
        cached = await generator.generate(steps=8, speed={"step_cache_threshold": 1.0})
        assert await generator.file(steps=8) == plain.file
    assert cached.file != plain.file
    assert cached.completed.settings.speed.step_cache_threshold == 1.0


async def test_the_registry_says_what_sizes_and_efforts_it_wants() -> None:
    async with family() as generator:
        status = await generator.stub.GetStatus(generator_pb2.GeneratorServiceGetStatusRequest())
    models = {model.name: model for model in status.models}
    assert (models["demo"].size_multiple, models[TI2V].size_multiple) == (16, 32)
    assert (models["wan2.1-t2v-14b-4step"].default_steps, models["demo"].default_steps) == (4, 0)
    assert models["wan2.1-t2v-14b-4step"].default_guidance_scale == 1
    assert generator_pb2.MODEL_CAPABILITY_LAST_FRAME in models[VACE].capabilities
    assert len(models) == len(ROWS)

"""Generate over the wire: what comes, in which order, and what the file is."""

import hashlib
import io
from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio
from PIL import Image

from tests.support.generator import (
    DEMO_FOLDER,
    RunningGenerator,
    boxes,
    copied_checkpoint,
    picture,
    random_checkpoint,
    read_video,
    running_generator,
    watched_forwards,
)
from wanworker.v1 import types_pb2


@pytest_asyncio.fixture
async def generator() -> AsyncIterator[RunningGenerator]:
    async with running_generator(preload=True, warm_up_job=False) as running:
        yield running


async def test_events_come_in_order_and_the_file_is_what_was_asked(generator: RunningGenerator) -> None:
    generation = await generator.generate(preview_interval_steps=1)

    kinds = [kind for at, kind in enumerate(generation.kinds) if at == 0 or generation.kinds[at - 1] != kind]
    assert kinds[:2] == ["queued", "progress"]
    assert kinds[-2:] == ["chunk", "completed"]
    assert set(kinds[2:-2]) == {"progress", "preview"}
    completed = generation.completed
    assert hashlib.sha256(generation.file).digest() == completed.sha256
    assert len(generation.file) == completed.size_bytes
    assert completed.media_type == "video/mp4"
    assert completed.settings.flow_shift == 3.0
    assert completed.model_revision.startswith("sha256:")
    video = read_video(generation.file)
    assert (video.codec, video.pixel_format) == ("h264", "yuv420p")
    assert (video.width, video.height, video.frames, video.fps) == (64, 48, 5, 16.0)
    assert video.seconds == 5 / 16
    order = boxes(generation.file)
    assert order.index("moov") < order.index("mdat")


async def test_statistics_describe_the_file(generator: RunningGenerator) -> None:
    generation = await generator.generate()

    pictures = np.stack(read_video(generation.file).pictures).astype(float) / 255
    statistics = generation.completed.statistics
    luma = pictures @ [0.2126, 0.7152, 0.0722]
    assert statistics.mean_luma == pytest.approx(luma.mean(), abs=0.02)
    assert statistics.luma_deviation == pytest.approx(luma.std(), abs=0.03)
    assert statistics.mean_frame_difference == pytest.approx(np.abs(np.diff(pictures, axis=0)).mean(), abs=0.03)


@pytest.mark.parametrize(
    ("file_format", "media_type", "pillow"),
    [(types_pb2.OUTPUT_FORMAT_PNG, "image/png", "PNG"), (types_pb2.OUTPUT_FORMAT_WEBP, "image/webp", "WEBP")],
)
async def test_one_frame_makes_a_still(
    generator: RunningGenerator, file_format: types_pb2.OutputFormat, media_type: str, pillow: str
) -> None:
    generation = await generator.generate(frames=1, format=file_format)

    image = Image.open(io.BytesIO(generation.file))
    assert (image.format, image.size) == (pillow, (64, 48))
    assert generation.completed.media_type == media_type
    assert generation.completed.statistics.mean_frame_difference == 0


async def test_frames_are_cropped_about_their_centre(generator: RunningGenerator) -> None:
    whole = await generator.file(frames=1)
    video = await generator.generate(crop_width=62, crop_height=42)
    still = await generator.generate(frames=1, crop_width=61, crop_height=41)

    assert (video.completed.width, video.completed.height) == (62, 42)
    assert (read_video(video.file).width, read_video(video.file).height) == (62, 42)
    pixels = np.asarray(Image.open(io.BytesIO(whole)))
    cropped = np.asarray(Image.open(io.BytesIO(still.file)))
    assert (cropped == pixels[3:44, 1:62]).all()


async def test_the_same_request_gives_the_same_bytes(generator: RunningGenerator) -> None:
    first = await generator.file()
    other = await generator.file(seed=8, frames=9, reference_image=picture())
    again = await generator.file()

    assert first == again
    assert first != other
    assert first != await generator.file(seed=2**64 - 1)


async def test_a_restarted_generator_gives_the_same_bytes(generator: RunningGenerator) -> None:
    first = await generator.file()

    async with running_generator() as restarted:
        assert await restarted.file() == first


async def test_guidance_doubles_the_forwards(generator: RunningGenerator) -> None:
    with watched_forwards(generator.engine) as forwards:
        await generator.generate(guidance_scale=4)
        with_guidance = forwards.count
        await generator.generate(guidance_scale=1)

    assert (with_guidance, forwards.count - with_guidance) == (6, 3)


async def test_negative_prompt_counts_only_with_guidance(generator: RunningGenerator) -> None:
    assert await generator.file() != await generator.file(negative_prompt="blue")
    assert await generator.file(guidance_scale=1) == await generator.file(guidance_scale=1, negative_prompt="blue")


async def test_flow_shift_can_be_chosen(generator: RunningGenerator) -> None:
    default = await generator.file()

    assert await generator.file(flow_shift=3.0) == default
    assert await generator.file(flow_shift=8.0) != default


async def test_progress_never_falls_and_reaches_one_only_at_the_end(generator: RunningGenerator) -> None:
    for _ in range(2):
        progress = (await generator.generate()).progress
        fractions = [each.fraction for each in progress]
        assert fractions == sorted(fractions)
        assert fractions[-1] < 1

    stages = list(dict.fromkeys(each.stage for each in progress))
    assert stages == [
        types_pb2.STAGE_ENCODING_TEXT,
        types_pb2.STAGE_DENOISING,
        types_pb2.STAGE_DECODING,
        types_pb2.STAGE_MUXING,
    ]
    steps = [(each.step, each.total_steps) for each in progress if each.stage == types_pb2.STAGE_DENOISING]
    assert steps == [(0, 3), (1, 3), (2, 3), (3, 3)]
    decoding = [each.fraction for each in progress if each.stage == types_pb2.STAGE_DECODING]
    assert len(set(decoding)) == 3  # the start and two latent frames: it moves inside of the one long call
    assert all(each.HasField("eta") for each in progress)


async def test_the_first_job_loads_the_model_and_knows_no_eta_yet() -> None:
    async with running_generator() as generator:
        progress = (await generator.generate()).progress

    assert progress[0].stage == types_pb2.STAGE_LOADING_MODEL
    assert not progress[0].HasField("eta")
    assert progress[-1].HasField("eta")


async def test_previews_are_webp_strips(generator: RunningGenerator) -> None:
    generation = await generator.generate(preview_interval_steps=2, steps=5, frames=13)

    assert [preview.step for preview in generation.previews] == [2, 4]
    for preview in generation.previews:
        image = Image.open(io.BytesIO(preview.webp))
        assert (image.format, image.size) == ("WEBP", (preview.width, preview.height))
        assert preview.frames == 4
        assert preview.width / 4 / preview.height == pytest.approx(64 / 48)
        assert len(preview.webp) < 20_000


async def test_previews_change_nothing_and_can_be_left_out(generator: RunningGenerator) -> None:
    plain = await generator.generate(preview_interval_steps=0)

    assert plain.previews == []
    assert (await generator.generate(preview_interval_steps=1)).file == plain.file


async def test_a_checkpoint_without_a_colour_map_learns_one_from_its_results() -> None:
    folder = copied_checkpoint()
    (folder / "latent_rgb.json").unlink()
    async with running_generator(demo_path=folder) as generator:
        first = await generator.generate(preview_interval_steps=1)
        second = await generator.generate(preview_interval_steps=1)

    assert len(first.previews) == 0
    assert len(second.previews) == 2


async def test_memory_options_keep_the_picture(generator: RunningGenerator) -> None:
    plain = await generator.file(frames=1, width=320, height=64)

    tiled = await generator.generate(frames=1, width=320, height=64, memory={"tiled_decode": True})
    others = {"evict_text_encoder": True, "free_caches": True}
    evicted = await generator.generate(frames=1, width=320, height=64, memory=others)

    assert generator.engine._models["demo"].modules["text_encoder"] is None
    assert evicted.file == plain
    assert tiled.completed.settings.memory.tiled_decode
    one, other = (np.asarray(Image.open(io.BytesIO(file)), dtype=float) for file in (plain, tiled.file))
    assert np.abs(one - other).mean() < 4
    # The next prompt that is not known yet brings the text encoder back; tiling was for one job.
    assert await generator.file(frames=1, width=320, height=64, prompt="a blue ball") != plain
    assert await generator.file(frames=1, width=320, height=64) == plain


async def test_a_reference_image_becomes_the_first_frame(generator: RunningGenerator) -> None:
    text = await generator.file()
    red = await generator.generate(reference_image=picture("red"))
    blue = await generator.generate(reference_image=picture("blue", (40, 200), "JPEG"))

    assert read_video(red.file).frames == 5
    assert len({text, red.file, blue.file}) == 3


async def test_a_model_made_for_images_takes_one() -> None:
    name = "wan2.1-i2v-14b-480p"
    async with running_generator(model_paths={name: random_checkpoint(from_image=True)}) as generator:
        red = await generator.generate(model=name, reference_image=picture("red"))
        blue = await generator.generate(model=name, reference_image=picture("blue"))

    assert read_video(red.file).frames == 5
    assert red.file != blue.file
    assert red.completed.settings.flow_shift == 3.0


async def test_the_demo_checkpoint_makes_a_still() -> None:
    async with running_generator(demo_path=DEMO_FOLDER, dtype="auto") as generator:
        still = await generator.generate(frames=1, steps=4, preview_interval_steps=2)

    assert Image.open(io.BytesIO(still.file)).size == (64, 48)
    assert len(still.previews) == 1

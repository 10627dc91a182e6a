"""The ML core without a server: files, images, frames, latents."""

import io
import shutil
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.generator import boxes, copied_checkpoint, generator_settings, picture, random_checkpoint, read_video
from wanworker.generator import device as device_module
from wanworker.generator import sources
from wanworker.generator.conditions import Conditions
from wanworker.generator.decoding import Frames, Piece, decode, to_frames
from wanworker.generator.denoising import Embeddings, PromptCache, Step, Task, denoise, encode_text
from wanworker.generator.device import Device, is_device_lost, is_out_of_memory, usable_cores
from wanworker.generator.loading import LoadedModel, load
from wanworker.generator.memory import MemoryBudget
from wanworker.generator.muxing import EncoderOptions, crop_centre, encode_still, encode_video
from wanworker.generator.pipelines import new_pipeline, resolve_flow_shift
from wanworker.generator.plans import PLANS
from wanworker.generator.previews import LatentRgb, LatentRgbFit, make_preview, parse_latent_rgb, read_latent_rgb
from wanworker.generator.reference_image import read_reference_image
from wanworker.generator.registry import find_row
from wanworker.generator.request import FileFormat, Settings
from wanworker.generator.shapes import read_shape
from wanworker.generator.statistics import measure
from wanworker.runtime.errors import InvalidArgumentError, PreconditionError

DEMO = find_row("demo")
SMALL = Settings("demo", 64, 48, 5, 16, 2, 4.0)


def loaded(name: str = "demo", **changes: Any) -> LoadedModel:
    row = find_row(name)
    source = sources.locate(row, generator_settings(model_paths={name: random_checkpoint(**changes)}))
    return load(row, source, Device("cpu", "float32"))


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return loaded()


def decoded_whole(model: LoadedModel, latents: torch.Tensor, *, tiled: bool = False) -> Frames:
    """As diffusers decodes, which keeps all frames on the device until the last one is there."""
    mean, deviation = (
        torch.tensor(values).view(1, -1, 1, 1, 1)
        for values in (model.vae.config.latents_mean, model.vae.config.latents_std)
    )
    model.vae.use_tiling = tiled
    try:
        with torch.no_grad():
            return to_frames(model.vae.decode(latents * deviation + mean, return_dict=False)[0])
    finally:
        model.vae.use_tiling = False


def embeddings(model: LoadedModel) -> Embeddings:
    cache = PromptCache(2)
    return Embeddings(encode_text(model, "a fox", cache), encode_text(model, "", cache))


def task(model: LoadedModel, **changes: Any) -> Task:
    return replace(Task(SMALL, 3.0, embeddings(model), 1), **changes)


class TestSources:
    def test_a_local_folder(self) -> None:
        settings = generator_settings()
        source = sources.locate(DEMO, settings)
        assert source.folder == random_checkpoint()
        assert sources.is_available(DEMO, settings)
        assert sources.describe(DEMO, settings) == str(random_checkpoint())

    def test_model_paths_win_over_models_dir_and_that_over_the_hub(self, tmp_path: Path) -> None:
        row = find_row("wan2.1-t2v-1.3b")
        shutil.copytree(random_checkpoint(), tmp_path / row.name)
        by_dir = generator_settings(models_dir=tmp_path)
        by_name = generator_settings(models_dir=tmp_path, model_paths={row.name: random_checkpoint()})
        assert sources.locate(row, by_dir).folder == tmp_path / row.name
        assert sources.locate(row, by_name).folder == random_checkpoint()
        assert sources.describe(row, generator_settings()) == row.repo

    def test_a_snapshot_in_the_hubs_cache(self, tmp_path: Path) -> None:
        row = find_row("wan2.1-t2v-1.3b")
        commit = "0123456789abcdef0123456789abcdef01234567"
        root = tmp_path / "models--Wan-AI--Wan2.1-T2V-1.3B-Diffusers"
        shutil.copytree(random_checkpoint(), root / "snapshots" / commit)
        (root / "refs").mkdir()
        (root / "refs" / "main").write_text(commit)
        settings = generator_settings(hub_cache=tmp_path)
        source = sources.locate(row, settings, download=True)
        assert sources.revision(source) == commit
        pinned = generator_settings(hub_cache=tmp_path, model_revisions={row.name: commit})
        assert sources.locate(row, pinned).folder == source.folder
        other = generator_settings(hub_cache=tmp_path, model_revisions={row.name: "v2"})
        with pytest.raises(PreconditionError) as caught:
            sources.locate(row, other)
        assert caught.value.metadata["path"] == f"{row.repo}@v2"

    @pytest.mark.parametrize(
        ("damage", "reason", "at"),
        [
            ("model_index.json", "MODEL_NOT_FOUND", ""),
            ("vae/config.json", "MODEL_BROKEN", "vae/config.json"),
            ("scheduler/scheduler_config.json", "MODEL_BROKEN", "scheduler/scheduler_config.json"),
            ("text_encoder/model.safetensors", "MODEL_BROKEN", "text_encoder"),
        ],
    )
    def test_missing_files(self, damage: str, reason: str, at: str) -> None:
        folder = copied_checkpoint()
        (folder / damage).unlink()
        settings = generator_settings(demo_path=folder)
        with pytest.raises(PreconditionError) as caught:
            sources.locate(DEMO, settings)
        assert caught.value.reason == reason
        assert caught.value.metadata["path"] == str(folder / at)
        assert not sources.is_available(DEMO, settings)

    @pytest.mark.parametrize("content", [b"", b"garbage", b"\xff" * 100, b"[]"])
    def test_files_that_are_not_what_they_should_be(self, content: bytes) -> None:
        for name in ("model_index.json", "transformer/config.json", "vae/diffusion_pytorch_model.safetensors"):
            folder = copied_checkpoint()
            (folder / name).write_bytes(content)
            with pytest.raises(PreconditionError) as caught:
                read_shape(sources.locate(DEMO, generator_settings(demo_path=folder)), DEMO)
            assert (caught.value.reason, caught.value.metadata["path"]) == ("MODEL_BROKEN", str(folder / name))

    def test_shards_are_found_by_their_index(self) -> None:
        folder = copied_checkpoint()
        index = folder / "transformer" / "diffusion_pytorch_model.safetensors.index.json"
        index.write_text('{"weight_map": {"a": "one.safetensors"}}')
        with pytest.raises(PreconditionError) as caught:
            sources.locate(DEMO, generator_settings(demo_path=folder))
        assert caught.value.metadata["path"] == str(folder / "transformer" / "one.safetensors")

    def test_the_revision_changes_with_the_weights(self) -> None:
        folder = copied_checkpoint()
        source = sources.locate(DEMO, generator_settings(demo_path=folder))
        before = sources.revision(source)
        assert before == sources.revision(sources.locate(DEMO, generator_settings()))
        weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(data)
        assert sources.revision(source) != before


class TestLoading:
    def test_shape_counts_what_is_loaded(self, model: LoadedModel) -> None:
        transformer = sum(p.numel() for p in model.modules["transformer"].parameters())
        assert model.shape.transformer_parameters == transformer
        assert model.shape.tokens(64, 48, 5) == 2 * 4 * 3
        assert model.resident_bytes() >= 4 * transformer

    def test_text_encoder_comes_back_as_it_was(self, model: LoadedModel) -> None:
        before = embeddings(model).positive
        model.evict_text_encoder()
        assert model.modules["text_encoder"] is None
        assert torch.equal(embeddings(model).positive, before)

    def test_an_offloaded_text_encoder_waits_in_main_memory_also_when_evicted(self) -> None:
        model = loaded()
        before, weight = embeddings(model).positive, next(model.modules["text_encoder"].parameters())
        model.plan = PLANS[1]
        for rest in (model.rest_text_encoder, model.evict_text_encoder):
            rest()
            assert model.modules["text_encoder"] is not None
            assert model.offloaded is not None
            assert not model.offloaded.present
            at_home = weight.data_ptr()
            assert torch.equal(embeddings(model).positive, before)
            assert model.offloaded.present
            rest()
            assert weight.data_ptr() == at_home  # nothing was copied back

    def test_nothing_else_is_read_again(self, model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise AssertionError("the transformer was read")

        model.evict_text_encoder()
        monkeypatch.setattr("diffusers.WanTransformer3DModel.from_pretrained", refuse)
        model.ensure_text_encoder()
        assert model.modules["text_encoder"] is not None

    def test_a_text_encoder_that_cannot_be_read_again_is_named(self, tmp_path: Path) -> None:
        folder = tmp_path / "demo"
        shutil.copytree(random_checkpoint(), folder)
        settings = generator_settings(demo_path=folder)
        loaded = load(DEMO, sources.locate(DEMO, settings), Device("cpu", "float32"))
        loaded.evict_text_encoder()
        (folder / "text_encoder" / "model.safetensors").unlink()
        with pytest.raises(PreconditionError, match="text_encoder"):
            loaded.ensure_text_encoder()

    def test_norms_stay_in_fp32_when_loading_bf16(self) -> None:
        source = sources.locate(DEMO, generator_settings())
        loaded = load(DEMO, source, Device("cpu", "bfloat16"))
        transformer = loaded.modules["transformer"]
        assert transformer.blocks[0].ffn.net[2].weight.dtype is torch.bfloat16
        assert transformer.condition_embedder.time_embedder.linear_1.weight.dtype is torch.float32
        assert transformer.scale_shift_table.dtype is torch.float32
        assert loaded.vae.dtype is torch.float32

    def test_a_checkpoint_of_another_kind_is_refused(self) -> None:
        source = sources.locate(DEMO, generator_settings())
        with pytest.raises(PreconditionError, match="not a WanImageToVideoPipeline"):
            load(find_row("wan2.1-i2v-14b-480p"), source, Device("cpu", "float32"))
        plain = generator_settings(demo_path=random_checkpoint(expand_timesteps=False))
        with pytest.raises(PreconditionError, match="expand_timesteps"):
            load(DEMO, sources.locate(DEMO, plain), Device("cpu", "float32"))

    def test_jobs_share_modules_but_not_schedulers(self, model: LoadedModel) -> None:
        parts = {"transformer": model.modules["transformer"], "vae": model.vae}
        text = new_pipeline(model, 3.0, parts, from_image=False)
        image = new_pipeline(model, 5.0, parts, from_image=True)
        assert text.transformer is image.transformer is model.modules["transformer"]
        assert text.scheduler is not image.scheduler
        assert (text.scheduler.config.flow_shift, image.scheduler.config.flow_shift) == (3.0, 5.0)
        assert image.config.expand_timesteps

    def test_flow_shift_is_resolved_request_then_row_then_checkpoint(self, model: LoadedModel) -> None:
        assert resolve_flow_shift(model, SMALL) == 3.0
        assert resolve_flow_shift(model, replace(SMALL, flow_shift=7.5)) == 7.5


class TestDenoising:
    def test_the_reference_image_is_the_first_latent_frame(self, model: LoadedModel) -> None:
        image = Image.new("RGB", (64, 48), "red")
        latents = denoise(model, task(model, conditions=Conditions(first=image)), lambda _: None)
        pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 127.5 - 1
        with torch.no_grad():
            encoded = model.vae.encode(pixels[None, :, None]).latent_dist.mode()
        mean = torch.tensor(model.vae.config.latents_mean).view(1, -1, 1, 1, 1)
        deviation = torch.tensor(model.vae.config.latents_std).view(1, -1, 1, 1, 1)
        assert torch.allclose(latents[:, :, :1], (encoded - mean) / deviation, atol=1e-5)

    def test_one_step_works_and_its_guess_is_the_result(self, model: LoadedModel) -> None:
        seen: list[Step] = []
        latents = denoise(model, task(model, settings=replace(SMALL, steps=1)), seen.append)
        assert [step.number for step in seen] == [1]
        assert torch.allclose(seen[0].clean, latents, atol=1e-4)

    def test_an_interrupted_run_leaves_no_trace(self, model: LoadedModel) -> None:
        def interrupt(_: Step) -> None:
            raise KeyError("stop")

        expected = denoise(model, task(model), lambda _: None)
        with pytest.raises(KeyError):
            denoise(model, task(model, seed=2), interrupt)
        assert torch.equal(denoise(model, task(model), lambda _: None), expected)

    def test_prompt_cache_drops_the_oldest(self) -> None:
        cache = PromptCache(2)
        for name in "abc":
            cache.put("r", name, torch.ones(1))
            cache.get("r", "a")
        assert cache.get("r", "b") is None
        assert cache.get("r", "a") is not None
        assert cache.get("other", "a") is None

    def test_padding_is_zero(self, model: LoadedModel) -> None:
        embedding = embeddings(model).positive
        assert embedding.shape == (1, 64, 32)
        assert embedding[0, 6:].abs().max() == 0
        assert embedding[0, :6].abs().min() > 0


class TestDecoding:
    def test_values_become_bytes(self) -> None:
        video = torch.tensor([-1.0, 0.0, 1.0]).view(1, 3, 1, 1, 1).expand(1, 3, 9, 2, 4)
        frames = to_frames(video)
        assert frames.shape == (9, 2, 4, 3)
        assert frames[8, 1, 3].tolist() == [0, 128, 255]

    def test_tiles_are_counted(self, model: LoadedModel) -> None:
        done: list[float] = []
        latents = torch.zeros(1, 16, 2, 4, 40)  # 32 × 320 pixels: two tiles
        pieces: list[Piece] = []
        decode(model, latents, tiled=True, on_frames=pieces.append, on_piece=done.append)
        assert done == pytest.approx([0.25, 0.5, 0.75, 1.0])
        assert [piece.frames.shape for piece in pieces] == [(5, 32, 320, 3)]
        assert (pieces[0].frames == decoded_whole(model, latents, tiled=True)).all()
        assert not model.vae.use_tiling
        assert not model.vae.decoder._forward_hooks

    @pytest.mark.parametrize(("name", "folded"), [("demo", False), ("wan2.2-ti2v-5b", True)])
    @pytest.mark.parametrize("tiled", [False, True])  # they are no larger than a tile
    def test_frames_come_piece_by_piece_and_are_those_of_the_whole(self, name: str, folded: bool, tiled: bool) -> None:
        model = loaded(name, folded=folded)
        with torch.no_grad():
            model.vae.decoder.conv_out.weight.mul_(30)
        latents = torch.randn((1, model.vae.config.z_dim, 3, 4, 6), generator=torch.Generator().manual_seed(3))
        pieces: list[Piece] = []
        decode(model, latents, tiled=tiled, on_frames=pieces.append, on_piece=lambda _: None)
        assert [len(piece.frames) for piece in pieces] == [1, 4, 4]
        frames = np.concatenate([piece.frames for piece in pieces])
        assert (frames == decoded_whole(model, latents)).all()
        assert (frames == 0).any()  # some were beyond what a byte can say
        assert (frames == 255).any()

    def test_finished_frames_do_not_gather_on_the_device(self, model: LoadedModel) -> None:
        def peak(latent_frames: int) -> int:
            latents = torch.zeros(1, 16, latent_frames, 6, 8)
            budget = MemoryBudget(2**40)
            with budget:
                decode(model, latents, tiled=False, on_frames=lambda _: None, on_piece=lambda _: None)
            return budget.peak_bytes

        more = peak(12) - peak(4)
        assert 0 < more < 8 * 4 * 3 * 48 * 64  # even in one byte a value, the frames would take that much

    def test_what_hears_of_pieces_may_stop_the_decoding(self, model: LoadedModel) -> None:
        pieces: list[Piece] = []

        def stop(_: float) -> None:
            raise KeyError

        with pytest.raises(KeyError):
            decode(model, torch.zeros(1, 16, 3, 6, 8), tiled=False, on_frames=pieces.append, on_piece=stop)
        assert len(pieces) == 1


class TestMuxing:
    OPTIONS = EncoderOptions(preset="veryfast")

    def frames(self, count: int = 9, height: int = 48, width: int = 64) -> Any:
        ramp = np.linspace(0, 255, width).astype(np.uint8)
        frames = np.zeros((count, height, width, 3), np.uint8)
        frames[..., 0] = ramp
        frames[..., 1] = np.linspace(40, 200, count).astype(np.uint8)[:, None, None]
        frames[..., 2] = 90
        return frames

    @pytest.mark.parametrize("fps", [12, 15, 16, 24])
    def test_video_is_what_it_says(self, fps: int) -> None:
        frames = self.frames()
        data = encode_video(frames, fps, self.OPTIONS, lambda _: None)
        video = read_video(data)
        assert (video.codec, video.pixel_format, video.frames, video.fps) == ("h264", "yuv420p", 9, fps)
        assert video.seconds == pytest.approx(9 / fps, abs=1e-4)
        assert np.abs(np.stack(video.pictures).astype(int) - frames).mean() < 6
        assert boxes(data).index("moov") < boxes(data).index("mdat")

    def test_colours_are_tagged(self) -> None:
        data = encode_video(self.frames(), 16, self.OPTIONS, lambda _: None)
        with av.open(io.BytesIO(data), "r") as container:
            context = container.streams.video[0].codec_context
            assert (int(context.colorspace), int(context.color_range)) == (1, 1)
            assert (int(context.color_primaries), int(context.color_trc)) == (1, 1)

    def test_same_frames_same_bytes(self) -> None:
        files = {encode_video(self.frames(33), 16, EncoderOptions(threads=2), lambda _: None) for _ in range(3)}
        assert len(files) == 1

    def test_progress_and_stopping(self) -> None:
        done: list[float] = []
        encode_video(self.frames(3), 16, self.OPTIONS, done.append)
        assert done == pytest.approx([1 / 3, 2 / 3, 1])

        def stop(_: float) -> None:
            raise KeyError

        with pytest.raises(KeyError):
            encode_video(self.frames(), 16, self.OPTIONS, stop)

    def test_crop_is_central(self) -> None:
        frames = self.frames(1, 1088, 1920)
        assert (crop_centre(frames, 1920, 1080) == frames[:, 4:1084]).all()

    @pytest.mark.parametrize("file_format", [FileFormat.PNG, FileFormat.WEBP])
    def test_stills(self, file_format: FileFormat) -> None:
        frames = self.frames(1)
        image = Image.open(io.BytesIO(encode_still(frames, file_format)))
        assert image.get_format_mimetype() == file_format.value
        difference = np.abs(np.asarray(image.convert("RGB")).astype(int) - frames[0])
        assert difference.mean() < (4 if file_format is FileFormat.WEBP else 1e-9)


class TestStatistics:
    def test_black_white_and_change(self) -> None:
        black = measure(np.zeros((3, 4, 4, 3), np.uint8))
        assert (black.mean_luma, black.luma_deviation, black.mean_frame_difference) == (0, 0, 0)
        blink = np.zeros((2, 4, 4, 3), np.uint8)
        blink[1] = 255
        measured = measure(blink)
        assert measured.mean_luma == pytest.approx(0.5)
        assert measured.luma_deviation == pytest.approx(0.5)
        assert measured.mean_frame_difference == pytest.approx(1)


class TestReferenceImage:
    def test_scaled_and_cropped_about_the_centre(self) -> None:
        image = Image.new("RGB", (300, 100), "red")
        image.paste("blue", (100, 0, 200, 100))
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        result = read_reference_image(buffer.getvalue(), 64, 64, 10**6)
        assert result.size == (64, 64)
        assert result.getpixel((32, 32)) == (0, 0, 255)

    @pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "I;16", "1"])
    def test_any_mode_becomes_rgb(self, mode: str) -> None:
        buffer = io.BytesIO()
        Image.new(mode, (20, 20)).save(buffer, "JPEG" if mode == "CMYK" else "PNG")
        assert read_reference_image(buffer.getvalue(), 16, 16, 10**6).mode == "RGB"

    def test_transparency_becomes_white(self) -> None:
        buffer = io.BytesIO()
        Image.new("RGBA", (20, 20), (255, 0, 0, 0)).save(buffer, "WEBP", lossless=True)
        assert read_reference_image(buffer.getvalue(), 16, 16, 10**6).getpixel((8, 8)) == (255, 255, 255)

    @pytest.mark.parametrize("cut", [0, 1, 10, 40, 70])
    @pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
    def test_damaged_files(self, file_format: str, cut: int) -> None:
        data = picture("green", (64, 64), file_format)[:cut]
        with pytest.raises(InvalidArgumentError) as caught:
            read_reference_image(data, 16, 16, 10**6)
        assert caught.value.reason == "BAD_REFERENCE_IMAGE"

    def test_bombs_are_refused_unopened(self) -> None:
        header = bytearray(picture())
        header[16:24] = (60_000).to_bytes(4, "big") * 2  # the size in a PNG's first chunk
        header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
        with pytest.raises(InvalidArgumentError) as caught:
            read_reference_image(bytes(header), 16, 16, 64_000_000)
        assert caught.value.reason == "BAD_REFERENCE_IMAGE"


class TestPreviews:
    def test_colours_and_layout(self) -> None:
        mapping = LatentRgb(np.eye(16)[:, :3] * 0.5, np.full(3, 0.5))
        latents = torch.zeros(1, 16, 9, 6, 8)
        latents[:, 0, :, :, :4] = 1.0
        preview = make_preview(mapping, latents, 7)
        image = Image.open(io.BytesIO(preview.webp)).convert("RGB")
        assert (preview.frames, preview.step, image.size) == (4, 7, (preview.width, preview.height))
        assert preview.width == 4 * preview.height * 8 // 6
        pixels = np.asarray(image).astype(int)
        left, right = pixels[36, 8], pixels[36, preview.width - 8]
        assert np.abs(left - (255, 128, 128)).max() < 12
        assert np.abs(right - (128, 128, 128)).max() < 12

    def test_a_still_is_one_picture(self) -> None:
        preview = make_preview(LatentRgb(np.zeros((16, 3)), np.zeros(3)), torch.zeros(1, 16, 1, 6, 8), 1)
        assert preview.frames == 1

    def test_raw_maps_are_converted(self) -> None:
        vae = {"z_dim": 2, "latents_mean": [1.0, -1.0], "latents_std": [2.0, 3.0]}
        data = {"factors": [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]], "bias": [0.0, 0.0, 0.1]}
        normalised = np.array([0.3, -0.2])
        raw = normalised * [2.0, 3.0] + [1.0, -1.0]
        mapping = parse_latent_rgb({**data, "space": "raw latents"}, vae)
        expected = raw @ np.array(data["factors"]) + data["bias"]
        assert normalised @ mapping.factors + mapping.bias == pytest.approx(expected)
        assert parse_latent_rgb(data, vae).factors.tolist() == data["factors"]

    def test_a_map_of_the_wrong_size_is_a_broken_model(self) -> None:
        folder = copied_checkpoint()
        (folder / "latent_rgb.json").write_text('{"factors": [[1, 2, 3]], "bias": [0, 0, 0]}')
        with pytest.raises(PreconditionError) as caught:
            read_latent_rgb(sources.locate(DEMO, generator_settings(demo_path=folder)))
        assert caught.value.metadata["path"] == str(folder / "latent_rgb.json")

    def test_a_map_is_learnt_from_results_and_kept(self, tmp_path: Path) -> None:
        generator = np.random.default_rng(0)
        factors, bias = generator.normal(size=(16, 3)) * 0.03, np.full(3, 0.5)
        latents = torch.from_numpy(generator.normal(size=(1, 16, 3, 6, 8)).astype(np.float32))
        small = LatentRgb(factors, bias).colours(latents[0])
        frames = small[[0, 1, 1, 1, 1, 2, 2, 2, 2]].repeat(8, axis=1).repeat(8, axis=2)
        fit = LatentRgbFit(tmp_path)
        assert fit.mapping("sha256:1") is None
        fit.add("sha256:1", latents, frames)
        learnt = LatentRgbFit(tmp_path).mapping("sha256:1")
        assert learnt is not None
        assert np.abs(learnt.factors - factors).max() < 0.005
        assert learnt.bias == pytest.approx(bias, abs=0.01)


class TestDevice:
    def test_cpu(self) -> None:
        device = Device("cpu", "auto")
        assert not device.is_cuda
        assert 0 < device.free_bytes() < device.total_bytes()
        assert device.available_bytes(10**6) > 10**6
        assert device.peak_bytes() == 0
        assert device.label == "cpu"

    @pytest.mark.parametrize("name", ["tpu", "mps", "cuda:99"])
    def test_devices_that_are_not_there(self, name: str) -> None:
        if name.startswith("cuda") and torch.cuda.is_available():
            pytest.skip("there is a GPU")
        with pytest.raises((ValueError, RuntimeError)):
            Device(name)

    @pytest.mark.parametrize(("flags", "dtype"), [({"avx2"}, torch.float32), ({"amx_bf16"}, torch.bfloat16)])
    def test_bf16_only_where_the_cpu_multiplies_it(
        self, monkeypatch: pytest.MonkeyPatch, flags: set[str], dtype: torch.dtype
    ) -> None:
        monkeypatch.setattr(device_module, "_cpu_flags", lambda: flags)
        assert Device("cpu").dtype is dtype

    def test_errors_are_told_apart(self) -> None:
        assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
        assert is_out_of_memory(MemoryError())
        assert is_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"))
        assert not is_out_of_memory(RuntimeError("other"))
        assert not is_device_lost(torch.OutOfMemoryError("CUDA out of memory"))

    def test_cores(self) -> None:
        assert usable_cores() >= 1

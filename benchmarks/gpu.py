"""Plain diffusers beside ours at full size on a GPU, estimates beside measurements, and jobs that share the device.

Weights are random and made on the device, in the true configuration of Wan2.1-T2V-1.3B (UMT5-XXL and the whole
autoencoder included); speed and memory do not depend on their values. No service runs: the generator's engine is called
in this process, from an order to the bytes of the file.

    python -m benchmarks.gpu                        everything; about 20 minutes on an H100
    python -m benchmarks.gpu --part compare --only high-720p --plain-steps 5
    python -m benchmarks.gpu --part predict
    python -m benchmarks.gpu --part share
    python -m benchmarks.gpu --toy                  tiny networks and sizes, any device: tries the script itself

`compare`: each preset at 480p and 720p, five seconds. *plain* is `WanPipeline` on eager torch as its documentation has
it, fp32 autoencoder, then our encoder of H.264, with the same embeddings; with `--plain-steps N` it does N steps, and
the rest is reckoned from those (marked ~). The floor is the forward's FLOPs at the device's matmul speed, measured
first. `predict`: bytes and seconds before each of twelve jobs, and after. `share`: four jobs at once and in turn; a
still behind four videos. Every table is also printed as JSON, one line each, for plots.
"""

import argparse
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import diffusers
import torch

from benchmarks._full_size import ROW, TOY, Sizes, build
from wanworker.generator.acceleration import lay_out_channels_last
from wanworker.generator.conditions import Conditions
from wanworker.generator.decoding import to_frames
from wanworker.generator.engine import Engine
from wanworker.generator.estimate import forward_flops
from wanworker.generator.loading import LoadedModel
from wanworker.generator.muxing import encode_video
from wanworker.generator.pipelines import new_scheduler
from wanworker.generator.request import Event, FileFormat, Memory, Order, Result, Settings, Stage
from wanworker.generator.settings import GeneratorSettings
from wanworker.generator.warm_up import warm_up_orders

_DIFFUSERS: Any = diffusers
PRESETS = {"fast": (5.0, 15, 12), "balanced": (6.5, 20, 14), "high": (7.5, 25, 16)}
SIZES = {"480p": (832, 480), "720p": (1280, 720)}
PREDICTED = [
    (size, frames, tiled, evicted)
    for size in ((832, 480), (1280, 720), (1920, 1088))
    for frames, tiled, evicted in ((1, False, False), (33, False, True), (81, False, False), (81, True, True))
]
PROMPT = "A red fox runs through fresh snow, morning light, slow pan"
GIB = 2**30


@dataclass(frozen=True)
class Row:
    """A line of a table."""

    name: str
    """Which job."""
    values: dict[str, float | str]
    """Columns, in order."""


def main() -> None:
    """Runs the parts that were asked for."""
    options = _options()
    if not options.toy and not torch.cuda.is_available():
        print("skipped: this needs a CUDA device (try --toy without one)")
        return
    engine = _engine(options)
    device = engine.device
    print(f"{device.label}, torch {torch.__version__}, diffusers {_DIFFUSERS.__version__}, toy={options.toy}")
    model = build(device, TOY if options.toy else Sizes())
    engine.adopt(model)
    print(f"weights {model.resident_bytes() / GIB:.2f} GiB, plan: {model.plan.name}")
    _run(engine, _order(_job(options, (832, 480), 5, steps=2)))  # warms up
    for name, part in (("compare", _compare), ("predict", _predict), ("share", _share)):
        if options.part in ("all", name):
            _print(name, part(engine, model, options))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["all", "compare", "predict", "share"], default="all")
    parser.add_argument("--only", default="", help="of compare: names that contain this, such as high-720p")
    parser.add_argument("--plain-steps", type=int, default=0, help="steps of the plain side; 0: all, -1: no plain side")
    parser.add_argument("--compile", action="store_true", help="compile modules on our side")
    parser.add_argument("--vae", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--attention", choices=["auto", "native", "cudnn"], default="auto")
    parser.add_argument("--memory", type=int, help="GiB of the device that may be used, to play a smaller card")
    parser.add_argument("--toy", action="store_true")
    return parser.parse_args()


def _engine(options: argparse.Namespace) -> Engine:
    values: dict[str, Any] = {
        "cache_dir": Path(mkdtemp(prefix="wanworker-bench-")),
        "device": "auto",
        "vae_dtype": options.vae,
        "attention": options.attention,
        "compile_modules": options.compile,
        "memory_budget_bytes": options.memory * GIB if options.memory else None,
        "default_model": ROW.name,
        "admission": False,
    }
    return Engine(GeneratorSettings(**values))


def _job(options: argparse.Namespace, size: tuple[int, int], frames: int, **changes: Any) -> Settings:
    """A job; a toy's is a thirteenth as wide and high, and at most nine frames long."""
    if options.toy:
        size, frames = (max(16, size[0] // 208 * 16), max(16, size[1] // 208 * 16)), min(frames, 9)
    return replace(Settings(ROW.name, *size, frames, 16, 25, 5.0), **changes)


def _order(settings: Settings, seed: int = 1) -> Order:
    return Order(settings, PROMPT, "", seed, FileFormat.PNG if settings.is_still else FileFormat.MP4)


def _run(engine: Engine, order: Order, emit: Callable[[Event], None] = lambda _: None, priority: int = 1) -> Result:
    return engine.generate(order, Conditions(), engine.control(emit, priority))


def _compare(engine: Engine, model: LoadedModel, options: argparse.Namespace) -> Iterator[Row]:
    speed = _matmul_flops(engine)
    print(f"matmul: {speed / 1e12:.0f} TFLOP/s")
    for preset, (guidance, steps, fps) in PRESETS.items():
        for size_name, size in SIZES.items():
            name = f"{preset}-{size_name}"
            if options.only not in name:
                continue
            frames = 4 * round(5 * fps / 4) + 1
            steps_here = min(steps, 3) if options.toy else steps
            settings = _job(options, size, frames, guidance_scale=guidance, steps=steps_here, fps=fps)
            flops = forward_flops(model.shape, settings)
            floor = flops * settings.forwards / speed
            if options.compile:
                _run(engine, _order(replace(settings, steps=1)))  # compiles for the size
            sides = {"ours": partial(_ours, engine, settings)}
            if options.plain_steps >= 0:
                sides["plain"] = partial(_plain, engine, model, settings, options.plain_steps)
            for side, measure in sides.items():
                measured = measure()
                forward = float(measured["denoise s"]) / settings.forwards
                tflops = flops / forward / 1e12
                yield Row(f"{name} {side}", {"forward s": forward, "TFLOP/s": tflops, **measured, "floor s": floor})


def _ours(engine: Engine, settings: Settings) -> dict[str, float | str]:
    engine._prompts.clear()
    first: list[float] = []
    began = time.perf_counter()

    def heard(_: Event) -> None:
        if not first:
            first.append(time.perf_counter() - began)

    result = _run(engine, _order(settings), heard)
    whole = time.perf_counter() - began
    seconds = {each.stage: each.seconds for each in result.stages}
    return {
        "denoise s": seconds[Stage.DENOISING],
        "decode s": seconds[Stage.DECODING],
        "encode s": seconds[Stage.ENCODING_TEXT],
        "mux s": seconds[Stage.MUXING],
        "end to end s": whole,
        "first event s": first[0],
        "peak GiB": result.peak_memory_bytes / GIB,
    }


def _plain(engine: Engine, model: LoadedModel, settings: Settings, most_steps: int) -> dict[str, float | str]:
    """`WanPipeline` as it comes: eager blocks, torch's own attention, an fp32 autoencoder, everything resident."""
    device, vae = engine.device, model.vae
    model.ensure_text_encoder()
    dtype, steps = vae.dtype, min(most_steps or settings.steps, settings.steps)
    names = ("tokenizer", "text_encoder", "transformer", "vae")
    pipeline = _DIFFUSERS.WanPipeline(**{name: model.modules[name] for name in names}, scheduler=new_scheduler(5.0))
    pipeline.set_progress_bar_config(disable=True)
    vae.to(torch.float32)
    try:
        with _eager(model):
            device.reset_peak()
            marks = [device.mark()]
            embeddings = pipeline.encode_prompt(PROMPT, "", max_sequence_length=model.shape.prompt_tokens)
            marks.append(device.mark())
            latents = pipeline(
                prompt_embeds=embeddings[0],
                negative_prompt_embeds=embeddings[1],
                width=settings.width,
                height=settings.height,
                num_frames=settings.frames,
                num_inference_steps=steps,
                guidance_scale=settings.guidance_scale,
                generator=torch.Generator("cpu").manual_seed(1),
                output_type="latent",
            ).frames
            marks.append(device.mark())
            with torch.no_grad():
                video = vae.decode(latents.to(vae.dtype), return_dict=False)[0]
            marks.append(device.mark())
            marks[-1].wait()
            peak = device.peak_bytes()
            frames = to_frames(video)
            before_mux = time.perf_counter()
            encode_video(frames, settings.fps, engine._encoder, lambda _: None)
            mux = time.perf_counter() - before_mux
    finally:
        vae.to(dtype)
    encode, denoise, decode = (later.seconds_since(earlier) for earlier, later in itertools.pairwise(marks))
    denoise *= settings.steps / steps
    sign = "~" if steps < settings.steps else ""
    return {
        "denoise s": denoise,
        "decode s": decode,
        "encode s": encode,
        "mux s": mux,
        "end to end s": encode + denoise + decode + mux,
        "first event s": sign or "-",
        "peak GiB": peak / GIB,
    }


class _eager:  # noqa: N801 - read as a statement
    """The model without what our side compiles and lays out. Attention is whatever this torch takes."""

    def __init__(self, model: LoadedModel) -> None:
        self._vae = model.vae
        modules = [*model.modules["transformer"].modules(), *model.vae.modules()]
        self._compiled = [(each, each._compiled_call_impl) for each in modules]

    def __enter__(self) -> None:
        for module, _ in self._compiled:
            module._compiled_call_impl = None
        for parameter in self._vae.parameters():
            parameter.data = parameter.data.contiguous()

    def __exit__(self, *_: object) -> None:
        for module, compiled in self._compiled:
            module._compiled_call_impl = compiled
        if self._vae.device.type == "cuda":
            lay_out_channels_last(self._vae)


def _predict(engine: Engine, model: LoadedModel, options: argparse.Namespace) -> Iterator[Row]:
    """What is known before each job, from those of warming up and those before it, and what it then took."""
    for order in warm_up_orders(ROW, engine._settings, engine):
        _run(engine, order)
    for size, frames, tiled, evicted in PREDICTED:
        memory = Memory(tiled_decode=tiled, evict_text_encoder=evicted, free_caches=True)
        settings = _job(options, size, frames, steps=3, memory=memory)
        name = f"{size[0]}x{size[1]}x{frames}{' tiled' if tiled else ''}{' evicted' if evicted else ''}"
        # Every job is to encode its text, and to find the encoder where the plan has it.
        engine._prompts.clear()
        model.ensure_text_encoder()
        model.rest_text_encoder()
        cost = engine.cost(settings)
        try:
            result = _run(engine, _order(settings))
        except Exception as error:  # a table with a hole says more than none
            yield Row(
                name, {"predicted GiB": cost.needed_bytes / GIB, "failed": f"{type(error).__name__}: {error}"[:60]}
            )
            continue
        seconds = sum(each.seconds for each in result.stages if each.stage is not Stage.LOADING_MODEL)
        peak = result.peak_memory_bytes
        yield Row(
            name,
            {
                "predicted GiB": cost.needed_bytes / GIB,
                "peak GiB": peak / GIB,
                "off by %": 100 * (cost.needed_bytes / peak - 1) if peak else "-",
                "predicted s": cost.prediction.seconds,
                "took s": seconds,
                "time off by %": 100 * (cost.prediction.seconds / seconds - 1),
            },
        )


def _share(engine: Engine, _: LoadedModel, options: argparse.Namespace) -> Iterator[Row]:
    settings = _job(options, (832, 480), 33, steps=6)
    orders = [_order(settings, seed) for seed in range(4)]
    _run(engine, orders[0])
    began = time.perf_counter()
    alone = [_run(engine, order).file for order in orders]
    in_turn = time.perf_counter() - began
    with ThreadPoolExecutor(4) as pool:
        began = time.perf_counter()
        together = list(pool.map(lambda order: _run(engine, order).file, orders))
        at_once = time.perf_counter() - began
    yield Row("four 480p x 33, 6 steps", {"in turn s": in_turn, "at once s": at_once, "ratio": at_once / in_turn})
    yield Row("the same bytes", {"of four": sum(one == other for one, other in zip(alone, together, strict=True))})
    yield _still_behind_videos(engine, options)


def _still_behind_videos(engine: Engine, options: argparse.Namespace) -> Row:
    still = _order(_job(options, SIZES["720p"], 1, steps=25))
    _run(engine, still, priority=0)
    began = time.perf_counter()
    _run(engine, still, priority=0)
    alone = time.perf_counter() - began
    videos = [_order(_job(options, SIZES["720p"], 81, steps=6), seed) for seed in range(4)]
    controls = [engine.control(lambda _: None, 1) for _ in videos]
    stepping = threading.Event()
    step_seconds: list[float] = []

    def heard(event: Event) -> None:
        if getattr(event, "step", 0) == 1:
            stepping.set()

    first = _run(engine, replace(videos[0], settings=replace(videos[0].settings, steps=2)))
    step_seconds.append(next(each.seconds for each in first.stages if each.stage is Stage.DENOISING) / 2)
    controls[0] = engine.control(heard, 1)
    with ThreadPoolExecutor(5) as pool:
        running = [
            pool.submit(engine.generate, order, Conditions(), control)
            for order, control in zip(videos, controls, strict=True)
        ]
        stepping.wait()
        began = time.perf_counter()
        _run(engine, still, priority=0)
        took = time.perf_counter() - began
        for control in controls:
            control.cancel()
        for each in running:
            each.exception()
    bar = 2 * step_seconds[0] + 1.2 * alone
    return Row("720p still behind four 720p videos", {"alone s": alone, "behind s": took, "bar s": bar})


def _matmul_flops(engine: Engine) -> float:
    """The device's speed at a large multiplication, the best of three."""
    device = engine.device
    size = 8192 if device.is_cuda else 256
    one = torch.randn(size, size, device=device.torch, dtype=device.dtype)
    best = float("inf")
    for _ in range(3):
        began = device.mark()
        for _ in range(10):
            one @ one
        ended = device.mark()
        ended.wait()
        best = min(best, ended.seconds_since(began) / 10)
    return 2 * size**3 / best


def _print(part: str, rows: Iterator[Row]) -> None:
    print(f"\n{part}")
    for row in rows:
        cells = (f"{key} {_cell(value)}" for key, value in row.values.items())
        print(f"  {row.name:34}  " + "  ".join(cells), flush=True)
        print("  " + json.dumps({"part": part, "name": row.name, **row.values}), flush=True)


def _cell(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"


if __name__ == "__main__":
    main()

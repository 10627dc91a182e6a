"""Plain diffusers beside ours at full size on a GPU, estimates beside measurements, and jobs that share the device.

Weights are random and made on the device, in the true configuration of Wan2.1-T2V-1.3B (UMT5-XXL and the whole
autoencoder included); speed and memory do not depend on their values. The generator's real service runs in this
process.

    python -m benchmarks.gpu                        everything; about half an hour on an H100
    python -m benchmarks.gpu --part compare --only high-720p --plain-steps 5
    python -m benchmarks.gpu --part predict
    python -m benchmarks.gpu --part share
    python -m benchmarks.gpu --toy                  tiny networks and sizes, any device: tries the script itself

`compare`: each preset at 480p and 720p, five seconds, and 50 steps at 480p. *ours* is a call to the service over gRPC,
modules compiled, each size warmed up by a job of one step. *plain* is `WanPipeline` on eager torch as its
documentation has it, fp32 autoencoder, then our encoder of H.264, with the same embeddings; with `--plain-steps N` it
does N steps, and the rest is reckoned from those (marked ~). The floor is the forwards' FLOPs at the device's matmul
speed, measured first. `share`: four calls at once and in turn; a still behind four videos. `predict`: bytes and seconds
before each of twelve jobs, and after. Every line is also printed as JSON, for `scripts/plot_benchmarks.py`.
"""

import argparse
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import diffusers
import torch

from benchmarks._bench import PROMPT, SIZES, Bench, order
from benchmarks._full_size import ROW, TOY, Sizes, build
from benchmarks._served import Served
from benchmarks._sharing import share
from benchmarks._table import GIB, Row, print_row, print_rows
from wanworker.generator.acceleration import lay_out_channels_last
from wanworker.generator.attention import NATIVE, chosen_attention, use_attention
from wanworker.generator.conditions import Conditions
from wanworker.generator.decoding import to_frames
from wanworker.generator.engine import Engine
from wanworker.generator.estimate import forward_flops
from wanworker.generator.loading import LoadedModel
from wanworker.generator.muxing import encode_video
from wanworker.generator.pipelines import new_scheduler
from wanworker.generator.request import Memory, Result, Settings, Speed, Stage, StageSeconds
from wanworker.generator.settings import GeneratorSettings
from wanworker.generator.warm_up import warm_up_orders

_DIFFUSERS: Any = diffusers
PRESETS = {"fast": (5.0, 15, 12), "balanced": (6.5, 20, 14), "high": (7.5, 25, 16)}
"""Guidance scale, denoising steps and frames a second."""
COMPARED = {
    **{f"{preset}-{size}": (SIZES[size], *values) for preset, values in PRESETS.items() for size in SIZES},
    "50-steps-480p": (SIZES["480p"], 5.0, 50, 16),  # as Wan's own examples have it
}
CUTOFF = 0.4
"""Share of the steps without guidance in the row that trades quality for speed."""
_SHORT_SECONDS, _LONG_SECONDS = 3.0, 50.0
PREDICTED = [
    (size, frames, tiled, evicted)
    for size in ((832, 480), (1280, 720), (1920, 1088))
    for frames, tiled, evicted in ((1, False, False), (33, False, True), (81, False, False), (81, True, True))
]


def main() -> None:
    """Runs the parts that were asked for."""
    options = _options()
    if not options.toy and not torch.cuda.is_available():
        print("skipped: this needs a CUDA device (try --toy without one)")
        return
    logging.basicConfig(format="%(message)s")
    logging.getLogger("wanworker.generator.attention").setLevel(logging.INFO)
    settings = _settings(options)
    engine = Engine(settings)
    model = build(engine.device, TOY if options.toy else Sizes())
    engine.adopt(model)
    with Served(engine, settings) as served:
        bench = Bench(engine, model, served, _matmul_flops(engine), options)
        print_row("machine", _machine(bench))
        bench.run(bench.job((832, 480), 5, steps=2))  # warms up
        for name in options.part:
            print_rows(name, PARTS[name](bench))


def _machine(bench: Bench) -> Row:
    toy = ", toy" if bench.options.toy else ""
    values: dict[str, float | str] = {
        "torch": str(torch.__version__),
        "diffusers": _DIFFUSERS.__version__,
        "attention": chosen_attention(),
        "modules": "eager" if bench.options.eager else "compiled",
        "matmul TFLOP/s": bench.matmul_flops / 1e12,
        "weights GiB": bench.model.resident_bytes() / GIB,
        "plan": bench.model.plan.name,
    }
    return Row(bench.engine.device.label + toy, values)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=[*PARTS], nargs="+", default=[*PARTS], help="all when absent")
    parser.add_argument("--only", nargs="+", default=[""], help="of compare: names that contain one, such as high-720p")
    parser.add_argument("--predicted", default="", help="of predict: names that contain this, such as tiled")
    parser.add_argument("--plain-steps", type=int, default=0, help="steps of the plain side; 0: all, -1: no plain side")
    parser.add_argument("--eager", action="store_true", help="compile nothing on our side either")
    parser.add_argument("--vae", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--attention", choices=["auto", "native", "cudnn", "flash4"], default="auto")
    parser.add_argument("--memory", type=int, help="GiB of the device that may be used, to play a smaller card")
    parser.add_argument("--toy", action="store_true")
    return parser.parse_args()


def _settings(options: argparse.Namespace) -> GeneratorSettings:
    values: dict[str, Any] = {
        "port": 0,
        "cache_dir": Path(mkdtemp(prefix="wanworker-bench-")),
        "vae_dtype": options.vae,
        "attention": options.attention,
        "compile_modules": not options.eager,
        "memory_budget_bytes": options.memory * GIB if options.memory else None,
        "default_model": ROW.name,
        "preload": False,
        "admission": False,
        "drain_pause_seconds": 0.0,
    }
    return GeneratorSettings(**values)


def _compare(bench: Bench) -> Iterator[Row]:
    model, options = bench.model, bench.options
    for name, (size, guidance, steps, fps) in COMPARED.items():
        if not any(each in name for each in options.only):
            continue
        frames = 4 * round(5 * fps / 4) + 1
        settings = bench.job(size, frames, guidance_scale=guidance, steps=steps, fps=fps)
        flops = forward_flops(model.shape, settings)
        if not options.eager:
            bench.run(replace(settings, steps=1))  # compiles for the size
        sides = {"ours": (settings, partial(_ours, bench))}
        if name == "high-480p":
            unguided = replace(settings, speed=Speed(guidance_cutoff=CUTOFF))
            sides[f"ours, {CUTOFF:.0%} of the steps without guidance"] = unguided, partial(_ours, bench)
        if options.plain_steps >= 0:
            sides["plain"] = settings, partial(_plain, bench)
        for side, (asked, measure) in sides.items():
            measured = measure(asked)
            forward = float(measured["denoise s"]) / asked.forwards
            beside = 100 * (1 - float(measured["denoise s"]) / float(measured["end to end s"]))
            speeds = {"forward s": forward, "TFLOP/s": flops / forward / 1e12}
            floor = flops * asked.forwards / bench.matmul_flops
            yield Row(f"{name} {side}", {**speeds, **measured, "not denoising %": beside, "floor s": floor})


def _ours(bench: Bench, settings: Settings) -> dict[str, float | str]:
    """Through the service: from the request to the last byte of the file."""
    bench.engine._prompts.clear()
    made = bench.served.generate(order(settings))
    return {
        "denoise s": made.stages[Stage.DENOISING],
        "decode s": made.stages[Stage.DECODING],
        "encode s": made.stages[Stage.ENCODING_TEXT],
        "mux s": made.stages[Stage.MUXING],
        "end to end s": made.seconds,
        "first progress s": made.first_progress_seconds,
        "peak GiB": made.peak_bytes / GIB,
        "file MB": len(made.file) / 1e6,
    }


def _plain(bench: Bench, settings: Settings) -> dict[str, float | str]:
    """`WanPipeline` as it comes: eager blocks, torch's own attention, an fp32 autoencoder, everything resident."""
    model, most_steps = bench.model, bench.options.plain_steps
    device, vae = bench.engine.device, model.vae
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
            encode_video(frames, settings.fps, bench.engine._encoder, lambda _: None)
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
        "first progress s": sign or "-",
        "peak GiB": peak / GIB,
    }


class _eager:  # noqa: N801 - read as a statement
    """The model without what our side compiles, lays out and puts in the place of torch's own attention."""

    def __init__(self, model: LoadedModel) -> None:
        self._vae = model.vae
        modules = [*model.modules["transformer"].modules(), *model.vae.modules()]
        self._compiled = [(each, each._compiled_call_impl) for each in modules]

    def __enter__(self) -> None:
        self._attention = use_attention(NATIVE)
        for module, _ in self._compiled:
            module._compiled_call_impl = None
        for parameter in self._vae.parameters():
            parameter.data = parameter.data.contiguous()

    def __exit__(self, *_: object) -> None:
        use_attention(self._attention)
        for module, compiled in self._compiled:
            module._compiled_call_impl = compiled
        if self._vae.device.type == "cuda":
            lay_out_channels_last(self._vae)


def _predict(bench: Bench) -> Iterator[Row]:
    """What is known before the first job of each size, from those of warming up and of other sizes, and what it took.

    What is timed is the second job of the size, for the first loads kernels, and only of jobs of minutes the first; of
    short ones the median of three, for then the host decides, which does other things too.
    """
    engine, model = bench.engine, bench.model
    for each in warm_up_orders(ROW, engine._settings, engine):
        engine.generate(each, Conditions(), engine.control(lambda _: None))
    for size, frames, tiled, evicted in PREDICTED:
        memory = Memory(tiled_decode=tiled, evict_text_encoder=evicted)
        settings = bench.job(size, frames, steps=2, memory=memory)
        name = f"{size[0]}x{size[1]}x{frames}{' tiled' if tiled else ''}{' evicted' if evicted else ''}"
        if bench.options.predicted not in name:
            continue
        _forget_text(engine, model)
        cost = engine.cost(settings)
        try:
            if cost.prediction.seconds < _LONG_SECONDS:
                bench.run(replace(settings, steps=1))  # loads the kernels for the size
            result = _median_run(bench, settings)
        except Exception as error:  # a table with a hole says more than none
            yield Row(
                name, {"predicted GiB": cost.needed_bytes / GIB, "failed": f"{type(error).__name__}: {error}"[:60]}
            )
            continue
        seconds = _seconds(result)
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
                **_stages("predicted", cost.prediction.stages),
                **_stages("took", result.stages),
            },
        )


def _median_run(bench: Bench, settings: Settings) -> Result:
    """The job with its text encoded anew; if it was short, the middle one of three."""
    results: list[Result] = []
    while len(results) < 3 and (not results or _seconds(results[0]) < _SHORT_SECONDS):
        _forget_text(bench.engine, bench.model)
        results.append(bench.run(settings))
    return sorted(results, key=_seconds)[len(results) // 2]


def _seconds(result: Result) -> float:
    return sum(each.seconds for each in result.stages if each.stage is not Stage.LOADING_MODEL)


def _stages(name: str, stages: Iterable[StageSeconds]) -> dict[str, str]:
    return {f"{name}, s by stage": " ".join(f"{each.stage.name.lower()}={each.seconds:.3g}" for each in stages)}


def _forget_text(engine: Engine, model: LoadedModel) -> None:
    """The next job is to encode its text, and to find the encoder where the plan has it."""
    engine._prompts.clear()
    model.ensure_text_encoder()
    model.rest_text_encoder()


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


PARTS: dict[str, Callable[[Bench], Iterator[Row]]] = {"compare": _compare, "share": share, "predict": _predict}
"""In this order when all are asked for."""


if __name__ == "__main__":
    main()

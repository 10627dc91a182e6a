"""Each model of the family in its true configuration with random weights: every way to use it, a few steps.

    python -m benchmarks.family                     about 3 minutes on an H100
    python -m benchmarks.family --only vace
    python -m benchmarks.family --toy               tiny networks, any device: tries the script itself

What a model makes is noise. That it runs, in which memory and time, and that its frames are numbers, is what this
shows.
A line that ends in `failed` makes the exit code 1.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from PIL import Image

from benchmarks._full_size import FAMILY, TOY_FAMILY, Sizes, build
from benchmarks._table import GIB, Row, print_row
from wanworker.generator.conditions import Conditions
from wanworker.generator.engine import Engine
from wanworker.generator.registry import PipelineKind, find_row
from wanworker.generator.request import FileFormat, Order, Settings, Stage
from wanworker.generator.settings import GeneratorSettings

STEPS = 2


@dataclass(frozen=True)
class Use:
    """A way to use a model."""

    name: str
    """For the table."""
    frames: int
    """Length."""
    conditions: Conditions
    """Pictures that it is given."""


def main() -> None:
    """Runs every model's uses, one model after the other."""
    options = _options()
    if not options.toy and not torch.cuda.is_available():
        print("skipped: this needs a CUDA device (try --toy without one)")
        return
    failed, text_encoder = False, None
    for sizes in TOY_FAMILY if options.toy else FAMILY:
        if options.only not in sizes.row:
            continue
        engine = _engine(sizes)
        began = time.perf_counter()
        model = build(engine.device, sizes, text_encoder)
        engine.adopt(model)
        text_encoder = model.modules["text_encoder"]
        made = time.perf_counter() - began
        size = _size(sizes, toy=options.toy)
        print(f"{sizes.row}: {model.resident_bytes() / GIB:.1f} GiB made in {made:.1f} s, plan: {model.plan.name}")
        for use in _uses(sizes, size):
            values = _run(engine, sizes, use, size)
            failed = failed or "failed" in values
            print_row("family", Row(f"{sizes.row} {use.name}", values))
        del model
        engine.close()
    sys.exit(int(failed))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="models whose names contain this")
    parser.add_argument("--toy", action="store_true")
    return parser.parse_args()


def _engine(sizes: Sizes) -> Engine:
    values: dict[str, Any] = {
        "cache_dir": Path(mkdtemp(prefix="wanworker-bench-")),
        "default_model": sizes.row,
        "admission": False,
    }
    return Engine(GeneratorSettings(**values))


def _size(sizes: Sizes, *, toy: bool) -> tuple[int, int]:
    row = find_row(sizes.row)
    multiple = row.size_multiple
    return (2 * multiple, 2 * multiple) if toy else (row.width, row.height)


def _uses(sizes: Sizes, size: tuple[int, int]) -> Iterator[Use]:
    row = find_row(sizes.row)
    first, last, *more = (
        _picture(size, colour) for colour in ("red", "green", "blue", "white", "black", "grey", "tan")
    )
    if row.kind is not PipelineKind.IMAGE:
        yield Use("text", 17, Conditions())
    if row.kind is PipelineKind.TEXT:
        yield Use("text, a still", 1, Conditions())
    if row.kind in (PipelineKind.IMAGE, PipelineKind.TEXT_OR_IMAGE, PipelineKind.CONTROL):
        yield Use("first frame", 17, Conditions(first=first))
    if row.kind is PipelineKind.CONTROL:
        yield Use("first and last frame", 17, Conditions(first=first, last=last))
        yield Use("two subjects", 17, Conditions(subjects=(first, last)))
        yield Use("a clip to go on from", 17, Conditions(clip=(first, last, *more[:3])))


def _picture(size: tuple[int, int], colour: str) -> Image.Image:
    return Image.new("RGB", size, colour)


def _run(engine: Engine, sizes: Sizes, use: Use, size: tuple[int, int]) -> dict[str, float | str]:
    row = find_row(sizes.row)
    settings = Settings(row.name, *size, use.frames, row.fps, STEPS, 5.0)
    order = Order(settings, "A fox in the snow", "", 1, FileFormat.PNG if settings.is_still else FileFormat.MP4)
    predicted = engine.cost(settings).needed_bytes
    began = time.perf_counter()
    try:
        result = engine.generate(order, use.conditions, engine.control(lambda _: None))
    except Exception as error:  # the other lines are worth having
        return {"failed": f"{type(error).__name__}: {error}"[:200]}
    whole = time.perf_counter() - began
    seconds = {each.stage: each.seconds for each in result.stages}
    peak = result.peak_memory_bytes
    return {
        "size": f"{size[0]}x{size[1]}x{use.frames}",
        "step s": seconds[Stage.DENOISING] / STEPS,
        "decode s": seconds[Stage.DECODING],
        "end to end s": whole,
        "peak GiB": peak / GIB,
        "predicted GiB": predicted / GIB,
        "off by %": 100 * (predicted / peak - 1) if peak else "-",
        "file KB": len(result.file) / 1e3,
        "mean luma": result.statistics.mean_luma,
    }


if __name__ == "__main__":
    main()

"""A card of 24, 48 or 80 GB played on a larger one: 720p × 81 under the memory plan that the card gets.

    python -m benchmarks.plans                      about 2 minutes on an H100 of 80 GB
    python -m benchmarks.plans --toy                tiny networks, any device: tries the script itself

The allocator may take no more than the card has, less 0.5 GiB for the CUDA context, which lies outside of it. Full-size
Wan2.1-T2V-1.3B, random weights; two steps with guidance, for memory does not depend on their number.
"""

import argparse
import sys
import time
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch

from benchmarks._full_size import ROW, TOY, Sizes, build
from benchmarks._table import GIB, Row, print_row
from wanworker.generator.conditions import Conditions
from wanworker.generator.engine import Engine
from wanworker.generator.request import FileFormat, Order, Settings, Stage
from wanworker.generator.settings import GeneratorSettings

CARDS_GIB = (24, 48, 80)
CONTEXT_GIB = 0.5


def main() -> None:
    """Runs the job once for each card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true")
    toy = parser.parse_args().toy
    if not toy and not torch.cuda.is_available():
        print("skipped: this needs a CUDA device (try --toy without one)")
        return
    failed = False
    for card in CARDS_GIB:
        values = _run(card, toy=toy)
        failed = failed or "failed" in values
        print_row("plans", Row(f"{card} GB", {"card GB": card, **values}))
    sys.exit(int(failed))


def _run(card: int, *, toy: bool) -> dict[str, float | str]:
    values: dict[str, Any] = {
        "cache_dir": Path(mkdtemp(prefix="wanworker-bench-")),
        "memory_budget_bytes": int((card - CONTEXT_GIB) * GIB),
        "default_model": ROW.name,
    }
    engine = Engine(GeneratorSettings(**values))
    device = engine.device
    model = build(device, TOY if toy else Sizes())
    model.plan = plan = engine._plan(ROW, model.shape)
    engine.adopt(model)
    device.free_caches()
    size, frames = ((64, 32), 9) if toy else ((1280, 720), 81)
    settings = Settings(ROW.name, *size, frames, 16, 2, 5.0)
    cost, resting = engine.cost(settings), device.memory().allocated
    if device.is_cuda:
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    try:
        order = Order(settings, "A fox in the snow", "", 1, FileFormat.MP4)
        result = engine.generate(order, Conditions(), engine.control(lambda _: None))
    except Exception as error:  # the other cards are worth having
        return {"plan": plan.name, "failed": f"{type(error).__name__}: {error}"[:200]}
    finally:
        del model
        engine.close()
    whole = time.perf_counter() - began
    seconds = {each.stage: each.seconds for each in result.stages}
    return {
        "plan": plan.name,
        "between jobs GiB": resting / GIB,
        "peak GiB": result.peak_memory_bytes / GIB,
        "predicted GiB": cost.needed_bytes / GIB,
        "reserved GiB": (torch.cuda.max_memory_reserved() if device.is_cuda else 0) / GIB,
        "text s": seconds[Stage.ENCODING_TEXT],
        "step s": seconds[Stage.DENOISING] / 2,
        "decode s": seconds[Stage.DECODING],
        "end to end s": whole,
    }


if __name__ == "__main__":
    main()

"""What a generator makes before it serves: kernels are warm, modules compiled, and the device's speeds known.

On a GPU the speeds are measured at sizes from a small still to a long HD clip; `costs` reckons those between them. They
are kept in a file, so that the next start of the same model on the same device measures nothing.
"""

import itertools
import logging
from collections.abc import Iterator
from dataclasses import replace

from wanworker.generator.engine import Engine
from wanworker.generator.registry import ModelRow
from wanworker.generator.request import FileFormat, Memory, Order, Settings
from wanworker.generator.settings import GeneratorSettings

_LOGGER = logging.getLogger("wanworker.generator.warm_up")
_HD = 1280, 704
_LONGEST_SECONDS = 60.0
_FEWEST_RUNS, _MOST_RUNS = 3, 5
_CONFIRMED = 0.95  # a run that makes a size no faster than this of what was known ends the measuring of it


def warm_up_orders(row: ModelRow, settings: GeneratorSettings, engine: Engine) -> Iterator[Order]:
    """A still; on a GPU the default clip too if modules are to be compiled, and whatever has not been measured yet.

    One after the other: whether the next one is worth its time is decided once those before it are done. The model
    must be loaded.
    """
    # Before the still, whose speeds are those of a device that has just begun.
    measure = settings.calibrate and engine.device.is_cuda
    unknown = [job for job in calibration_jobs(row) if measure and not engine.calibrated(job)]
    still = Settings(row.name, row.width, row.height, 1, row.fps, 2, row.guidance_scale)
    yield _order(still)
    if not engine.device.is_cuda:
        return
    if settings.compile_modules:
        yield _order(replace(still, frames=row.frames, steps=1))
    numbers = itertools.count()
    for job in unknown:
        cost = engine.cost(job)
        if not cost.fits or cost.prediction.seconds > _LONGEST_SECONDS:
            _LOGGER.info("Not measured: %d x %d x %d frames", job.width, job.height, job.frames)
            continue
        # The first time at a size warms it up, others' work slows any, and what was fastest counts: see `costs`.
        for run in range(_MOST_RUNS):
            before = engine.cost(job).prediction.seconds
            yield _order(job, next(numbers))
            if run + 1 >= _FEWEST_RUNS and engine.cost(job).prediction.seconds > _CONFIRMED * before:
                break


def calibration_jobs(row: ModelRow) -> Iterator[Settings]:
    """Few steps without guidance each: a step is a forward, and the first is not counted."""
    job = Settings(row.name, row.width, row.height, 1, row.fps, 2, 1.0)
    lengths = sorted({min(row.frames, 4 * (row.frames // part // 4) + 1) for part in (1, 4)})
    for width, height in dict.fromkeys([(row.width, row.height), _HD]):
        for frames in (1, *lengths):
            yield replace(job, width=width, height=height, frames=frames, steps=8 if frames == 1 else 2)
    yield replace(job, frames=lengths[-1], memory=Memory(tiled_decode=True))


def _order(settings: Settings, number: int = 0) -> Order:
    """Each with a prompt of its own, for one that is known would not be encoded."""
    file_format = FileFormat.PNG if settings.is_still else FileFormat.MP4
    return Order(settings, f"a red ball on a table, {number}", f"blurred, {number}", 0, file_format)

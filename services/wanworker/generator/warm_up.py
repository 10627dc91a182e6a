"""What a generator makes before it serves: kernels are warm, modules compiled, and the device's speeds known.

On a GPU the speeds are measured at sizes from a small still to a long HD clip; `costs` reckons those between them. They
are kept in a file, so that the next start of the same model on the same device measures nothing.
"""

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


def warm_up_orders(row: ModelRow, settings: GeneratorSettings, engine: Engine) -> Iterator[Order]:
    """A still; with modules to be compiled the default clip too; on a GPU whatever has not been measured yet.

    One after the other: whether the next one is worth its time is decided once those before it are done. The model
    must be loaded.
    """
    still = Settings(row.name, row.width, row.height, 1, row.fps, 2, row.guidance_scale)
    yield _order(still)
    if settings.compile_modules:
        yield _order(replace(still, frames=row.frames, steps=1))
    if not (settings.calibrate and engine.device.is_cuda):
        return
    for number, job in enumerate(calibration_jobs(row)):
        cost = engine.cost(job)
        if engine.calibrated(job):
            continue
        if not cost.fits or cost.prediction.seconds > _LONGEST_SECONDS:
            _LOGGER.info("Not measured: %d x %d x %d frames", job.width, job.height, job.frames)
            continue
        # Twice, for the first time at a size warms it up, and the faster one counts.
        yield _order(job, 2 * number)
        yield _order(job, 2 * number + 1)


def calibration_jobs(row: ModelRow) -> Iterator[Settings]:
    """Two steps without guidance each: a step is a forward, and of two the second is counted."""
    job = Settings(row.name, row.width, row.height, 1, row.fps, 2, 1.0)
    lengths = sorted({min(row.frames, 4 * (row.frames // part // 4) + 1) for part in (1, 4)})
    for width, height in dict.fromkeys([(row.width, row.height), _HD]):
        for frames in (1, *lengths):
            yield replace(job, width=width, height=height, frames=frames)
    yield replace(job, frames=lengths[0], memory=Memory(tiled_decode=True))


def _order(settings: Settings, number: int = 0) -> Order:
    """Each with a prompt of its own, for one that is known would not be encoded."""
    file_format = FileFormat.PNG if settings.is_still else FileFormat.MP4
    return Order(settings, f"a red ball on a table, {number}", f"blurred, {number}", 0, file_format)

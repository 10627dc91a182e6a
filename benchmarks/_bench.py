"""What the parts of `benchmarks.gpu` work with."""

import argparse
from dataclasses import dataclass, replace
from typing import Any

from benchmarks._full_size import ROW
from benchmarks._served import Served
from wanworker.generator.conditions import Conditions
from wanworker.generator.engine import Engine
from wanworker.generator.loading import LoadedModel
from wanworker.generator.request import FileFormat, Order, Result, Settings

SIZES = {"480p": (832, 480), "720p": (1280, 720)}
PROMPT = "A red fox runs through fresh snow, morning light, slow pan"


@dataclass(frozen=True)
class Bench:
    """What is measured."""

    engine: Engine
    """The generator without its service."""
    model: LoadedModel
    """Loaded in there."""
    served: Served
    """The service around it."""
    matmul_flops: float
    """What the device does of a large multiplication in a second."""
    options: argparse.Namespace
    """The command line."""

    def job(self, size: tuple[int, int], frames: int, **changes: Any) -> Settings:
        """A job; a toy's is a thirteenth as wide and high, and at most nine frames and three steps long."""
        settings = replace(Settings(ROW.name, *size, frames, 16, 25, 5.0), **changes)
        if not self.options.toy:
            return settings
        width, height = (max(16, side // 208 * 16) for side in size)
        return replace(settings, width=width, height=height, frames=min(frames, 9), steps=min(settings.steps, 3))

    def run(self, settings: Settings, seed: int = 1) -> Result:
        """A job without the service, alone."""
        return self.engine.generate(order(settings, seed), Conditions(), self.engine.control(lambda _: None, 1))


def order(settings: Settings, seed: int = 1) -> Order:
    """That job, of noise."""
    return Order(settings, PROMPT, "", seed, FileFormat.PNG if settings.is_still else FileFormat.MP4)

"""A generator whose device fails for good in a job of width 96: `python -m tests.support.losing_generator`."""

from typing import Any

import torch

from wanworker.generator.engine import Engine
from wanworker.generator.registry import ModelRow
from wanworker.generator.runner import Runner
from wanworker.generator.service import define_service
from wanworker.generator.settings import GeneratorSettings
from wanworker.runtime.process import run_main
from wanworker.runtime.server import ServiceDefinition


class LosingEngine(Engine):
    """Its transformer fails as a GPU does that made an illegal access, at the third forward of a width of 96."""

    def load_model(self, row: ModelRow) -> Any:
        model = super().load_model(row)
        forwards = 0

        def fail(_: object, __: object, kwargs: dict[str, Any]) -> None:
            nonlocal forwards
            forwards += kwargs["hidden_states"].shape[-1] == 96 // 8
            if forwards >= 3:
                raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nmore lines")

        model.modules["transformer"].register_forward_pre_hook(fail, with_kwargs=True)
        return model


def build(settings: GeneratorSettings) -> ServiceDefinition:
    return define_service(settings, Runner(settings, LosingEngine(settings)))


if __name__ == "__main__":
    run_main("losing-generator", GeneratorSettings, build)

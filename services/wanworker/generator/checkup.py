"""What the generator finds out about itself: `python -m wanworker.generator.checkup`."""

import shutil
from collections.abc import Iterator

from wanworker.generator import sources
from wanworker.generator.registry import find_row
from wanworker.generator.settings import GeneratorSettings
from wanworker.runtime import checkup
from wanworker.runtime.checkup import Finding, Verdict
from wanworker.runtime.errors import PreconditionError


def _packages(settings: GeneratorSettings) -> Iterator[Finding]:
    yield checkup.packages("generator", ("wanworker", "grpcio", "torch", "diffusers", "transformers", "av"))


def _gpu(settings: GeneratorSettings) -> Iterator[Finding]:
    try:
        import torch

        from wanworker.generator.device import Device
    except (ImportError, OSError) as error:
        yield Finding("gpu", "torch", Verdict.BROKEN, f"cannot be loaded: {str(error).splitlines()[0]}")
        return
    built = f"torch for CUDA {torch.version.cuda}" if torch.version.cuda else "torch for the CPU"
    try:
        device = Device(settings.device)
    except (ValueError, RuntimeError) as error:
        yield Finding("gpu", "torch", Verdict.BROKEN, f"{error} ({built})", "check WANWORKER_GENERATOR_DEVICE")
        return
    if not device.is_cuda and settings.device == "auto" and shutil.which("nvidia-smi"):
        hint = "install a build of torch for the driver's CUDA, or set WANWORKER_GENERATOR_DEVICE=cpu"
        text = f"there is a driver of NVIDIA's, but torch sees no GPU ({built})"
        yield Finding("gpu", "torch", Verdict.WARNING, text, hint)
        return
    if not device.is_cuda:
        yield Finding("gpu", "torch", Verdict.NOTE, f"the generator computes on the CPU ({built})")
        return
    free, total = torch.cuda.mem_get_info(device.torch)
    memory = f"{free / 1024**3:.1f} of {total / 1024**3:.1f} GiB free"
    yield Finding("gpu", "torch", Verdict.OK, f"{device.label}, {memory} ({built})")


def _model(settings: GeneratorSettings) -> Iterator[Finding]:
    row = find_row(settings.default_model)
    try:
        source = sources.locate(row, settings)
    except PreconditionError as error:
        fetched = bool(row.repo) and not settings.offline and sources.describe(row, settings) == row.repo
        if fetched and error.reason == "MODEL_NOT_FOUND":
            hint = "the generator fetches it from the hub as it starts"
            yield Finding("models", row.name, Verdict.WARNING, f"{row.repo} is not on this machine yet", hint)
        else:
            yield Finding("models", row.name, Verdict.BROKEN, str(error))
        return
    yield Finding("models", row.name, Verdict.OK, str(source.folder))


def _port(settings: GeneratorSettings) -> Iterator[Finding]:
    yield checkup.port("generator", settings)


def _disk(settings: GeneratorSettings) -> Iterator[Finding]:
    yield checkup.folder("speeds", settings.cache_dir, "WANWORKER_GENERATOR_CACHE_DIR", needed=False)


if __name__ == "__main__":
    checkup.run_checkup("generator", "torch", GeneratorSettings, (_packages, _gpu, _model, _port, _disk))

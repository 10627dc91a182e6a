"""What the enhancer finds out about itself: `python -m wanworker.enhancer.checkup`."""

from collections.abc import Iterator

from wanworker.enhancer.errors import ModelNotFoundError
from wanworker.enhancer.settings import EnhancerSettings
from wanworker.enhancer.sources import HubSource, source_from
from wanworker.runtime import checkup
from wanworker.runtime.checkup import Finding, Verdict


def _packages(settings: EnhancerSettings) -> Iterator[Finding]:
    yield checkup.packages("enhancer", ("wanworker", "grpcio", "llama-cpp-python", "huggingface-hub"))


def _gpu(settings: EnhancerSettings) -> Iterator[Finding]:
    try:
        from llama_cpp import llama_cpp as lib
    except (ImportError, OSError, RuntimeError) as error:
        yield Finding("gpu", "llama.cpp", Verdict.BROKEN, f"cannot be loaded: {str(error).splitlines()[0]}")
        return
    if lib.llama_supports_gpu_offload():
        yield Finding("gpu", "llama.cpp", Verdict.OK, "compiled for a GPU")
    else:
        hint = "" if settings.gpu_layers == 0 else "CMAKE_ARGS=-DGGML_CUDA=on when llama-cpp-python is installed"
        yield Finding("gpu", "llama.cpp", Verdict.NOTE, "compiled for the CPU only", hint)


def _model(settings: EnhancerSettings) -> Iterator[Finding]:
    source = source_from(settings)
    try:
        source.check()
        files = source.files_here() if isinstance(source, HubSource) else source.fetch()
    except ModelNotFoundError as error:
        if isinstance(source, HubSource):
            text = f"{source.describe()} is not on this machine yet"
            yield Finding("models", "enhancer", Verdict.WARNING, text, "the first prompt fetches it from the hub")
        else:
            hint = "WANWORKER_ENHANCER_MODEL_PATH names a GGUF file"
            yield Finding("models", "enhancer", Verdict.BROKEN, str(error), hint)
        return
    size = sum(part.stat().st_size for part in files.parts)
    yield Finding("models", "enhancer", Verdict.OK, f"{files.first}, {size / 1024**2:.0f} MiB")


def _port(settings: EnhancerSettings) -> Iterator[Finding]:
    yield checkup.port("enhancer", settings)


if __name__ == "__main__":
    checkup.run_checkup("enhancer", "llama-cpp-python", EnhancerSettings, (_packages, _gpu, _model, _port))

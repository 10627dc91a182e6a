"""How fast the enhancer writes beside bare llama.cpp, and how soon its first token comes.

In one run, on the same GGUF file, threads and GPU layers, in turns (bare, engine, bare, service, bare, …):

- *bare*: what llama-bench does for `tg`: `llama_decode` of one token after the other and nothing else, the next token
  being a fixed one. No sampling, no text, no stop, no cancel;
- *with sampling*: the same with the token chosen by the enhancer's own sampler, at temperature 0;
- *engine*: `LlamaEngine.write` called in this process, with each piece of text put into a list;
- *service*: the real process, `Enhance` over gRPC, read by a stub in this process.

Tokens a second are those after the first, at the same place in the context: all read the same prompt before. A round's
ratio is against the mean of the bare runs right before and right after, and the medians are of those ratios.
Times to the first token: *cold* is the first prompt of a loaded model, *reused* a later one, which finds the
instructions in the context; for the service *cold* begins after `Unload` and loads the model too.

    python -m benchmarks.enhancer                    the demo model, and a random Qwen2 of 0.5b
    python -m benchmarks.enhancer --gguf PATH        a file of yours
    python -m benchmarks.enhancer --size 1.5b        random weights of that size

Bar: engine and service at 0.95 of bare or more, for models of 0.5b and up; exit code 1 if it is missed. Other programs
on the machine move the rates of all in a round alike, and the ratios less.
"""

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import grpc.aio
from llama_cpp import llama_cpp as lib
from rich.console import Console
from rich.table import Table

from benchmarks._random_qwen import SHAPES, build
from tests.support.ports import free_port
from wanworker.enhancer.cancellation import Cancellation
from wanworker.enhancer.engine import LlamaEngine
from wanworker.enhancer.model import Sampling
from wanworker.enhancer.sampler import Sampler
from wanworker.enhancer.service import engine_options
from wanworker.enhancer.settings import EnhancerSettings
from wanworker.v1 import enhancer_pb2, enhancer_pb2_grpc

DEMO = Path("models/qwen-demo/qwen-demo.gguf")
PROMPT = "a red fox runs through fresh snow, morning light"
BAR, BAR_FROM_BYTES = 0.95, 100 * 10**6
PATIENCE_SECONDS = 300.0


@dataclass(frozen=True)
class Plan:
    """What is measured."""

    gguf: Path
    """The model."""
    settings: EnhancerSettings
    """As the engine and the service get them."""
    rounds: int
    """Rounds that count."""

    @property
    def sampling(self) -> Sampling:
        """The service's, at temperature 0."""
        chosen = self.settings
        return Sampling(chosen.max_tokens, 0.0, 0, chosen.top_k, chosen.top_p, chosen.min_p, chosen.repeat_penalty)


@dataclass
class Measured:
    """Numbers of one model, a list entry a round."""

    rates: dict[str, list[float]] = field(default_factory=dict)
    """Tokens a second, by who wrote them."""
    ratios: dict[str, list[float]] = field(default_factory=dict)
    """The same over the mean of the bare runs right before and right after."""
    first: dict[str, list[float]] = field(default_factory=dict)
    """Milliseconds to the first token, by which."""
    resident: dict[str, list[float]] = field(default_factory=dict)
    """MiB of the service's process that are in memory, by when."""

    def rate(self, name: str, rate: float, before: float, after: float) -> None:
        """Note a rate, and its ratio to the bare ones right before and right after."""
        add(self.rates, name, rate)
        add(self.ratios, name, rate / ((before + after) / 2))
        self.rates.setdefault("bare", []).extend((before, after))


def bare(engine: LlamaEngine, tokens: int, sampling: Sampling | None = None) -> float:
    """Tokens a second after the first, on the engine's own context and without the engine."""
    context = engine._context
    engine._likeliest_on_gpu.close()
    prompt = engine._prompt_tokens(PROMPT)
    lib.llama_memory_clear(lib.llama_get_memory(context), True)
    engine._opening_kept = False
    read = (lib.llama_token * len(prompt))(*prompt)
    token = (lib.llama_token * 1)(prompt[-1])
    batch = lib.llama_batch_get_one(token, 1)
    with contextlib.ExitStack() as stack:
        sampler = sampling and stack.enter_context(closing(Sampler(engine._vocab, sampling, engine._path)))
        if sampler and engine._computes_alone:
            engine._likeliest_on_gpu.find(sampler.likeliest)
        lib.llama_decode(context, lib.llama_batch_get_one(read, len(prompt)))
        lib.llama_synchronize(context)
        started = time.perf_counter()
        for _ in range(tokens - 1):
            if sampler:
                token[0] = sampler.sample(context)
            lib.llama_decode(context, batch)
            lib.llama_synchronize(context)
        return (tokens - 1) / (time.perf_counter() - started)


def through_engine(engine: LlamaEngine, sampling: Sampling) -> tuple[float, float, int]:
    """Milliseconds to the first text, tokens a second after it, and the tokens."""
    moments: list[float] = []
    texts: list[str] = []

    def on_text(text: str) -> None:
        texts.append(text)
        if not moments:
            moments.append(time.perf_counter())

    began = time.perf_counter()
    written = engine.write(PROMPT, sampling, Cancellation(), on_text)
    ended = time.perf_counter()
    rate = (written.completion_tokens - 1) / (ended - moments[0])
    return 1e3 * (moments[0] - began), rate, written.completion_tokens


async def through_service(stub: Any, plan: Plan) -> tuple[float, float]:
    """Milliseconds to the first text and tokens a second after it, as a client sees them."""
    request = enhancer_pb2.EnhanceRequest(prompt=PROMPT, temperature=0.0)
    began, first, tokens = time.perf_counter(), 0.0, 0
    async for response in stub.Enhance(request, timeout=PATIENCE_SECONDS):
        if response.HasField("delta"):
            first = first or time.perf_counter()
        elif response.HasField("completed"):
            tokens = response.completed.completion_tokens
    return 1e3 * (first - began), (tokens - 1) / (time.perf_counter() - first)


@contextlib.contextmanager
def service(plan: Plan, log: Path) -> Iterator[tuple[str, int]]:
    """The enhancer's process: its address and its id."""
    port, settings = free_port(), plan.settings
    chosen = {
        "PORT": port,
        "MODEL_PATH": plan.gguf,
        "MAX_TOKENS": settings.max_tokens,
        "CONTEXT_TOKENS": settings.context_tokens,
        "GPU_LAYERS": settings.gpu_layers,
        "CACHE_ENTRIES": 0,
        "DRAIN_PAUSE_SECONDS": 0,
        **({} if settings.threads is None else {"THREADS": settings.threads}),
    }
    environment = os.environ | {f"WANWORKER_ENHANCER_{name}": str(value) for name, value in chosen.items()}
    with log.open("wb") as output:
        command = [sys.executable, "-m", "wanworker.enhancer"]
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            yield f"127.0.0.1:{port}", process.pid
        finally:
            process.terminate()
            process.wait(30)


def resident_mib(process: int) -> float:
    """What the process has in memory, in MiB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def measure(plan: Plan, folder: Path) -> Measured:
    """All rounds; what comes before them warms up and does not count."""
    measured = Measured()
    with (
        service(plan, folder / "log") as (address, process),
        closing(LlamaEngine(plan.gguf, engine_options(plan.settings))) as engine,
    ):
        async with grpc.aio.insecure_channel(address) as channel:
            await asyncio.wait_for(channel.channel_ready(), PATIENCE_SECONDS)
            stub: Any = enhancer_pb2_grpc.EnhancerServiceStub(channel)
            await through_service(stub, plan)
            tokens = through_engine(engine, plan.sampling)[2]
            bare(engine, tokens)
            for _ in range(plan.rounds):
                round_of_engine(plan, engine, tokens, measured)
                await round_of_service(plan, engine, tokens, stub, process, measured)
    return measured


def round_of_engine(plan: Plan, engine: LlamaEngine, tokens: int, measured: Measured) -> None:
    """bare, engine (twice, the second counts), bare; then with sampling, and bare once more."""
    before = bare(engine, tokens)
    add(measured.first, "engine, cold", through_engine(engine, plan.sampling)[0])
    reused, rate, _ = through_engine(engine, plan.sampling)
    add(measured.first, "engine, reused", reused)
    between = bare(engine, tokens)
    sampled = bare(engine, tokens, plan.sampling)
    after = bare(engine, tokens)
    measured.rate("engine", rate, before, between)
    measured.rate("with sampling", sampled, between, after)


async def round_of_service(
    plan: Plan, engine: LlamaEngine, tokens: int, stub: Any, process: int, measured: Measured
) -> None:
    """Unload, a prompt; then bare, service, bare."""
    add(measured.resident, "loaded", resident_mib(process))
    await stub.Unload(enhancer_pb2.UnloadRequest(), timeout=PATIENCE_SECONDS)
    add(measured.resident, "after Unload", resident_mib(process))
    add(measured.first, "service, after Unload", (await through_service(stub, plan))[0])
    before = bare(engine, tokens)
    reused, rate = await through_service(stub, plan)
    after = bare(engine, tokens)
    add(measured.first, "service, reused", reused)
    measured.rate("service", rate, before, after)


def add(lists: dict[str, list[float]], name: str, value: float) -> None:
    """Append to the list of that name."""
    lists.setdefault(name, []).append(value)


def report(plan: Plan, measured: Measured) -> bool:
    """Prints the tables; whether the bar is kept."""
    size = plan.gguf.stat().st_size
    title = f"{plan.gguf.name}, {size / 1e6:.0f} MB, {plan.rounds} rounds"
    rates = Table("", "tokens/s", "ratio to bare", "lowest", "highest", title=title)
    for name in ("bare", "with sampling", "engine", "service"):
        values = measured.rates[name]
        ratios = measured.ratios.get(name)
        shown = [f"{value:.3f}" for value in (median(ratios), min(ratios), max(ratios))] if ratios else [""] * 3
        rates.add_row(name, f"{median(values):.1f}", *shown)
    others = Table("", "median", "lowest", "highest")
    for name, values in measured.first.items():
        others.add_row(f"ms to the first token: {name}", *(f"{each(values):.1f}" for each in (median, min, max)))
    for name, values in measured.resident.items():
        others.add_row(f"MiB of the service: {name}", *(f"{each(values):.0f}" for each in (median, min, max)))
    console = Console()
    console.print(rates, others)
    if size < BAR_FROM_BYTES:
        return True
    worst = min(median(measured.ratios[name]) for name in ("engine", "service"))
    console.print(f"ratio {worst:.3f}, bar {BAR}", highlight=False)
    return worst >= BAR


def run(gguf: Path, folder: Path, options: argparse.Namespace) -> bool:
    """Measures one model."""
    settings = EnhancerSettings(model_path=gguf, max_tokens=options.tokens, threads=options.threads)
    plan = Plan(gguf, settings, options.rounds)
    return report(plan, asyncio.run(measure(plan, folder)))


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description="The enhancer beside bare llama.cpp")
    parser.add_argument("--gguf", type=Path, help="a model's file")
    parser.add_argument("--size", choices=sorted(SHAPES), help="random weights of that size")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=48, help="tokens to write at most, 16 to 1024")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads; the enhancer's own choice when absent")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wanworker-enhancer-") as name:
        folder = Path(name)
        models = [options.gguf] if options.gguf else []
        if options.size or not models:
            models += [] if options.size or options.gguf else [DEMO]
            size = options.size or "0.5b"
            models.append(build(folder / f"qwen-random-{size}.gguf", SHAPES[size], DEMO))
        kept = [run(gguf, folder, options) for gguf in models]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())

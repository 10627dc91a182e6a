"""How much later a watcher hears of a denoising step through the gateway than through a bare relay.

Measured in one run, with a process for each part, all on one machine and one clock:

- *generator*: a GeneratorService that streams 100 steps, one every 20 ms, and writes down when it sent each;
- *gateway*: the real one, on SQLite, with its durability, sequences and fan-out; watched by the client's `watch`;
- *relay*: the least that can stand between the two: a grpc.aio server whose one method reads the same Generate stream
  and passes each message on as it comes; watched by a bare grpc.aio stub.

Latency is from the generator's note to the moment when the watcher's loop has the event in hand. Runs through the
gateway and the relay alternate, so that both share the machine's moods. Bar: the gateway's median is at most 5 ms above
the relay's. `python -m benchmarks.relay [ROUNDS]`; exit code 1 if the bar is missed.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
from rich.console import Console
from rich.table import Table

from tests.support.gateway import FakeGenerator
from tests.support.ports import free_port
from wanworker.client import AsyncClient, ProgressEvent, Stage
from wanworker.v1 import generator_pb2, generator_pb2_grpc, types_pb2

STEPS, INTERVAL_SECONDS, ROUNDS = 100, 0.02, 5
BAR_MS = 5.0
PATIENCE_SECONDS = 30.0


class NotingGenerator(FakeGenerator):
    """Streams steps at a steady pace and notes when it sent each: a line `seed step nanoseconds`."""

    def __init__(self, notes: Path) -> None:
        super().__init__()
        self.content = bytes(1024)
        self._notes = notes.open("a", buffering=1)

    async def _work(self, request: Any) -> AsyncIterator[generator_pb2.GenerateResponse]:
        yield generator_pb2.GenerateResponse(queued=generator_pb2.GenerateQueued(position=0))
        for step in range(1, STEPS + 1):
            await asyncio.sleep(INTERVAL_SECONDS)
            progress = types_pb2.Progress(
                stage=types_pb2.STAGE_DENOISING, fraction=0.9 * step / STEPS, step=step, total_steps=STEPS
            )
            self._notes.write(f"{request.seed} {step} {time.time_ns()}\n")
            yield generator_pb2.GenerateResponse(progress=progress)
        yield generator_pb2.GenerateResponse(chunk=generator_pb2.GenerateChunk(data=self.content))
        yield generator_pb2.GenerateResponse(completed=self._completed(request))


class Relay(FakeGenerator):
    """Passes Generate on, message by message."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._stub: Any = generator_pb2_grpc.GeneratorServiceStub(grpc.aio.insecure_channel(address))

    async def Generate(self, request: Any, context: Any) -> AsyncIterator[generator_pb2.GenerateResponse]:  # noqa: N802
        """The generator's answers."""
        async for response in self._stub.Generate(request):
            yield response


async def serve(part: str, port: str, argument: str) -> None:
    """The process of the generator (`argument`: its notes) or of the relay (`argument`: the generator's address)."""
    server = grpc.aio.server()
    servicer = NotingGenerator(Path(argument)) if part == "generator" else Relay(argument)
    generator_pb2_grpc.add_GeneratorServiceServicer_to_server(servicer, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


@dataclass
class Parts:
    """The running processes' addresses, and what was noted."""

    folder: Path
    """For notes, data and logs."""
    generator: str = field(default_factory=lambda: f"127.0.0.1:{free_port()}")
    """host:port."""
    relay: str = field(default_factory=lambda: f"127.0.0.1:{free_port()}")
    """host:port."""
    gateway: str = field(default_factory=lambda: f"127.0.0.1:{free_port()}")
    """host:port."""

    def sent(self) -> dict[tuple[int, int], int]:
        """When each step was sent, in nanoseconds, by seed and step."""
        lines = (self.folder / "notes").read_text().splitlines()
        return {(int(seed), int(step)): int(moment) for seed, step, moment in map(str.split, lines)}


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Parts]:
    """Starts generator, relay and gateway; the callers wait until they answer."""
    parts = Parts(folder)
    environment = {
        **os.environ,
        "WANWORKER_GATEWAY_PORT": parts.gateway.rpartition(":")[2],
        "WANWORKER_GATEWAY_DATA_DIR": str(folder / "gateway"),
        "WANWORKER_GATEWAY_GENERATOR_ADDRESS": parts.generator,
        "WANWORKER_GATEWAY_ENHANCER_ADDRESS": f"127.0.0.1:{free_port()}",
        "WANWORKER_GATEWAY_DRAIN_PAUSE_SECONDS": "0",
    }
    commands = (
        ("benchmarks.relay", "generator", parts.generator.rpartition(":")[2], str(folder / "notes")),
        ("benchmarks.relay", "relay", parts.relay.rpartition(":")[2], parts.generator),
        ("wanworker.gateway",),
    )
    with (folder / "log").open("wb") as log:
        processes = [
            subprocess.Popen([sys.executable, "-m", *command], env=environment, stdout=log, stderr=log)
            for command in commands
        ]
        try:
            yield parts
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(30)


async def through_gateway(client: AsyncClient, seed: int) -> dict[tuple[int, int], int]:
    """When each step of a job was in the watcher's hand."""
    seen: dict[tuple[int, int], int] = {}
    job = await client.create("a ball", seed=seed, enhance=False, size=(64, 64), steps=STEPS, timeout=PATIENCE_SECONDS)
    async for event in client.watch(job.id):
        if isinstance(event, ProgressEvent) and event.progress.stage is Stage.DENOISING:
            seen.setdefault((seed, event.progress.step), time.time_ns())
    return seen


async def through_relay(stub: Any, seed: int) -> dict[tuple[int, int], int]:
    """The same for a bare call."""
    settings = types_pb2.GenerationSettings(
        model="demo", width=64, height=64, frames=5, fps=16, steps=STEPS, guidance_scale=5.0
    )
    request = generator_pb2.GenerateRequest(settings=settings, prompt="a ball", seed=seed, format="OUTPUT_FORMAT_MP4")
    seen: dict[tuple[int, int], int] = {}
    async for response in stub.Generate(request, wait_for_ready=True, timeout=PATIENCE_SECONDS):
        if response.HasField("progress"):
            seen[seed, response.progress.step] = time.time_ns()
    return seen


async def measure(parts: Parts, rounds: int) -> dict[str, list[float]]:
    """Latencies in milliseconds; a first round of each warms up and does not count."""
    seen: dict[str, dict[tuple[int, int], int]] = {"gateway": {}, "relay": {}}
    async with AsyncClient(parts.gateway) as client, grpc.aio.insecure_channel(parts.relay) as channel:
        stub: Any = generator_pb2_grpc.GeneratorServiceStub(channel)
        await asyncio.wait_for(channel.channel_ready(), PATIENCE_SECONDS)
        async with grpc.aio.insecure_channel(parts.gateway) as probe:
            await asyncio.wait_for(probe.channel_ready(), PATIENCE_SECONDS)
        for number in range(rounds + 1):
            by_gateway = await through_gateway(client, 2 * number)
            by_relay = await through_relay(stub, 2 * number + 1)
            if number:
                seen["gateway"] |= by_gateway
                seen["relay"] |= by_relay
    sent = parts.sent()
    return {name: sorted((at - sent[key]) / 1e6 for key, at in moments.items()) for name, moments in seen.items()}


def percentile(values: list[float], share: float) -> float:
    """Of sorted values, the nearest rank."""
    return values[min(len(values) - 1, int(share * len(values)))]


def report(latencies: dict[str, list[float]]) -> bool:
    """Prints the table; whether the bar is kept."""
    table = Table("ms", "p50", "p99", "max", "steps", title="from the generator's step to the watcher's hand")
    rows = {name: [percentile(values, share) for share in (0.5, 0.99, 1.0)] for name, values in latencies.items()}
    for name, row in rows.items():
        table.add_row(name, *(f"{value:.2f}" for value in row), str(len(latencies[name])))
    table.add_row("difference", *(f"{mine - bare:.2f}" for mine, bare in zip(*rows.values(), strict=True)), "")
    console = Console()
    console.print(table)
    difference = rows["gateway"][0] - rows["relay"][0]
    console.print(f"p50 difference {difference:.2f} ms, bar {BAR_MS:.0f} ms", highlight=False)
    return difference <= BAR_MS


def main() -> int:
    """Returns the exit code."""
    if len(sys.argv) > 2:
        asyncio.run(serve(*sys.argv[1:]))
        return 0
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with tempfile.TemporaryDirectory(prefix="wanworker-relay-") as folder, running(Path(folder)) as parts:
        latencies = asyncio.run(measure(parts, rounds))
    return 0 if report(latencies) else 1


if __name__ == "__main__":
    sys.exit(main())

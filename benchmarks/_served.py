"""A generator's real service in this process, around an engine whose weights came from nowhere, and calls to it."""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import grpc

from wanworker.generator.engine import Engine
from wanworker.generator.request import Order, Stage
from wanworker.generator.runner import Runner
from wanworker.generator.service import define_service
from wanworker.generator.settings import GeneratorSettings
from wanworker.generator.translate import settings_to_proto
from wanworker.runtime.server import ServiceServer
from wanworker.v1 import generator_pb2, generator_pb2_grpc, types_pb2

_START_SECONDS = 60.0


@dataclass(frozen=True)
class Made:
    """What a call brought."""

    file: bytes
    """All chunks."""
    seconds: float
    """From the request to the last of them."""
    first_progress_seconds: float
    """From the request to the first progress event."""
    stages: dict[Stage, float]
    """Seconds, as the service says."""
    peak_bytes: int
    """Memory of the device, as the service says."""


class Served:
    """The service on loopback while it is entered. Its event loop has a thread of its own, as callers block."""

    def __init__(self, engine: Engine, settings: GeneratorSettings) -> None:
        """The settings must not ask for anything to be loaded at the start."""
        self._engine, self._settings = engine, settings
        self._port = 0
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="service")

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._up.wait(_START_SECONDS):
            raise TimeoutError("the service did not start")
        self._channel = grpc.insecure_channel(f"127.0.0.1:{self._port}")
        self._stub: Any = generator_pb2_grpc.GeneratorServiceStub(self._channel)
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join()

    def call(self, order: Order) -> Any:
        """A call under way: an iterator of responses, to be cancelled or read."""
        still = order.settings.is_still
        request = generator_pb2.GenerateRequest(
            settings=settings_to_proto(order.settings),
            prompt=order.prompt,
            negative_prompt=order.negative_prompt,
            seed=order.seed,
            format=types_pb2.OUTPUT_FORMAT_PNG if still else types_pb2.OUTPUT_FORMAT_MP4,
        )
        return self._stub.Generate(request)

    def generate(self, order: Order, on_step: Callable[[int], None] = lambda _: None) -> Made:
        """A call to its end; `on_step` hears the number of each denoising step."""
        began, first, chunks = time.perf_counter(), 0.0, []
        for response in self.call(order):
            if response.HasField("progress"):
                first = first or time.perf_counter() - began
                on_step(response.progress.step)
            elif response.HasField("chunk"):
                chunks.append(response.chunk.data)
        seconds, done = time.perf_counter() - began, response.completed
        stages = {Stage(types_pb2.Stage.Name(each.stage)): each.duration.ToNanoseconds() / 1e9 for each in done.stages}
        return Made(b"".join(chunks), seconds, first, stages, done.peak_memory_bytes)

    async def _serve(self) -> None:
        self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
        server = ServiceServer(define_service(self._settings, Runner(self._settings, self._engine)), self._settings)
        try:
            self._port = await server.start()
            self._up.set()
            await self._done.wait()
        finally:
            await server.stop()

"""`wanworker.v1.GeneratorService`: messages in, messages out, all thinking elsewhere."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc.aio

from wanworker.generator import sources
from wanworker.generator.registry import ROWS
from wanworker.generator.runner import Runner
from wanworker.generator.settings import GeneratorSettings
from wanworker.generator.translate import (
    cost_to_proto,
    event_to_protos,
    order_from_proto,
    row_to_proto,
    settings_from_proto,
)
from wanworker.v1 import generator_pb2, generator_pb2_grpc

_Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class GeneratorServicer(generator_pb2_grpc.GeneratorServiceServicer):
    """Translates between gRPC and the runner."""

    def __init__(self, settings: GeneratorSettings, runner: Runner, version: str) -> None:
        self._settings = settings
        self._runner = runner
        self._version = version

    async def Generate(
        self, request: generator_pb2.GenerateRequest, context: _Context
    ) -> AsyncIterator[generator_pb2.GenerateResponse]:
        """A generation's events. gRPC cancels this coroutine when the caller leaves or its deadline passes."""
        async with aclosing(self._runner.generate(order_from_proto(request))) as events:
            async for event in events:
                for message in event_to_protos(event):
                    yield message

    async def Estimate(
        self, request: generator_pb2.EstimateRequest, context: _Context
    ) -> generator_pb2.EstimateResponse:
        """What a generation would cost."""
        cost = await self._runner.estimate(settings_from_proto(request.settings))
        return generator_pb2.EstimateResponse(estimate=cost_to_proto(cost))

    async def GetStatus(
        self, request: generator_pb2.GeneratorServiceGetStatusRequest, context: _Context
    ) -> generator_pb2.GeneratorServiceGetStatusResponse:
        """Device, load and models."""
        engine, queue = self._runner.engine, self._runner.queue
        return generator_pb2.GeneratorServiceGetStatusResponse(
            version=self._version,
            device=engine.device.label,
            total_memory_bytes=engine.device.total_bytes(),
            free_memory_bytes=engine.device.free_bytes(),
            running=queue.running,
            queued=queue.waiting,
            queue_limit=queue.limit,
            models=await asyncio.to_thread(self._models),
        )

    def _models(self) -> list[generator_pb2.ModelInfo]:
        loaded = self._runner.engine.loaded()
        return [
            row_to_proto(
                row,
                source=sources.describe(row, self._settings),
                revision=loaded.get(row.name, ""),
                loaded=row.name in loaded,
                available=row.name in loaded or sources.is_available(row, self._settings),
                is_default=row.name == self._settings.default_model,
            )
            for row in ROWS
        ]

"""Fakes of the gateway's peers, which speak the contract over real sockets and do what a test tells them to."""

import asyncio
import copy
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2

from tests.support.postgres import database_url
from wanworker.gateway.references import ReferenceFetcher
from wanworker.gateway.service import build_service
from wanworker.gateway.settings import GatewaySettings
from wanworker.runtime.server import ServiceServer
from wanworker.v1 import (
    enhancer_pb2,
    enhancer_pb2_grpc,
    gateway_pb2,
    gateway_pb2_grpc,
    generator_pb2,
    generator_pb2_grpc,
    types_pb2,
)

stores = [""]
"""The database that systems use which are given none: the last one; `each_store` appends."""


def each_store(kind: str, folder: Path) -> Iterator[None]:
    """Has the systems of a test use a new database of a kind, "sqlite" or "postgres"."""
    for url in database_url(kind, folder):
        stores.append(url)
        yield
        stores.remove(url)


MEDIA_TYPES = {1: "video/mp4", 2: "image/png", 3: "image/webp"}


@dataclass
class Failure:
    """A status for a fake to answer with."""

    code: grpc.StatusCode
    reason: str
    message: str = "the fake was told to fail"
    metadata: dict[str, str] = field(default_factory=dict)

    async def abort(self, context: Any) -> None:
        """Answers a call with it."""
        info = error_details_pb2.ErrorInfo(reason=self.reason, domain="wanworker", metadata=self.metadata)
        status = status_pb2.Status(code=self.code.value[0], message=self.message)
        status.details.add().Pack(info)
        metadata = (("grpc-status-details-bin", status.SerializeToString()),)
        await context.abort(self.code, self.message, trailing_metadata=metadata)


class FakeEnhancer(enhancer_pb2_grpc.EnhancerServiceServicer):
    """Answers `answer(prompt)` in pieces."""

    def __init__(self) -> None:
        self.requests: list[enhancer_pb2.EnhanceRequest] = []
        self.answer: Callable[[str], str] = lambda prompt: f"{prompt}, cinematic, slow pan"
        self.delay = 0.0
        self.unloads = 0
        self.failure: Failure | None = None

    async def Enhance(self, request: Any, context: Any) -> AsyncIterator[enhancer_pb2.EnhanceResponse]:  # noqa: N802
        """Streams deltas, then the answer."""
        self.requests.append(request)
        if self.failure is not None:
            await self.failure.abort(context)
        await asyncio.sleep(self.delay)
        text = self.answer(request.prompt)
        for start in range(0, len(text), 10):
            delta = enhancer_pb2.EnhanceDelta(text=text[start : start + 10])
            yield enhancer_pb2.EnhanceResponse(delta=delta)
            await asyncio.sleep(0)
        done = enhancer_pb2.EnhanceCompleted(prompt=text, model="fake-qwen", seed=request.seed)
        yield enhancer_pb2.EnhanceResponse(completed=done)

    async def Unload(self, request: Any, context: Any) -> enhancer_pb2.UnloadResponse:  # noqa: N802
        """Counts how often it is asked."""
        self.unloads += 1
        return enhancer_pb2.UnloadResponse(unloaded=True)

    async def GetStatus(self, request: Any, context: Any) -> enhancer_pb2.EnhancerServiceGetStatusResponse:  # noqa: N802
        """Says that it is well."""
        return enhancer_pb2.EnhancerServiceGetStatusResponse(version="fake", model="fake-qwen", loaded=True)


def model(name: str, capabilities: Any, **values: Any) -> generator_pb2.ModelInfo:
    """A row of a registry, by default the demo's."""
    row: dict[str, Any] = {
        "default_width": 256,
        "default_height": 144,
        "default_frames": 33,
        "default_fps": 16,
        "max_frames": 33,
        "available": True,
    }
    return generator_pb2.ModelInfo(name=name, capabilities=capabilities, **(row | values))


class FakeGenerator(generator_pb2_grpc.GeneratorServiceServicer):
    """Takes `steps` steps of `step_seconds` and gives `content`."""

    def __init__(self) -> None:
        self.requests: list[generator_pb2.GenerateRequest] = []
        self.cancelled: list[int] = []
        self.timeouts: list[float | None] = []
        self.models = [
            model("demo", [1, 2, 3], is_default=True),
            model("big", [1], default_width=1280, default_height=720, default_frames=81, max_frames=121),
        ]
        self.step_seconds = 0.0
        self.content = bytes(range(256)) * 3000
        self.failures: list[Failure] = []
        self.fits: Callable[[types_pb2.GenerationSettings], bool] = lambda settings: True
        self.gate: asyncio.Event | None = None
        self.statistics = types_pb2.FrameStatistics(mean_luma=0.5, luma_deviation=0.2, mean_frame_difference=0.01)
        self.promised_sha256: bytes | None = None
        self.metadata: list[dict[str, str]] = []

    async def Generate(self, request: Any, context: Any) -> AsyncIterator[generator_pb2.GenerateResponse]:  # noqa: N802
        """Streams what the contract says."""
        self.requests.append(request)
        self.timeouts.append(context.time_remaining())
        self.metadata.append(dict(context.invocation_metadata()))
        number = len(self.requests)
        if self.failures:
            await self.failures.pop(0).abort(context)
        try:
            async for response in self._work(request):
                yield response
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled.append(number)
            raise

    async def _work(self, request: Any) -> AsyncIterator[generator_pb2.GenerateResponse]:
        steps = request.settings.steps
        yield generator_pb2.GenerateResponse(queued=generator_pb2.GenerateQueued(position=0))
        for step in range(1, steps + 1):
            progress = types_pb2.Progress(
                stage=types_pb2.STAGE_DENOISING, fraction=0.9 * step / steps, step=step, total_steps=steps
            )
            yield generator_pb2.GenerateResponse(progress=progress)
            if request.preview_interval_steps and step % request.preview_interval_steps == 0:
                preview = types_pb2.Preview(webp=b"RIFF", width=64, height=16, frames=4, step=step)
                yield generator_pb2.GenerateResponse(preview=preview)
            await asyncio.sleep(self.step_seconds)
        if self.gate is not None:
            await self.gate.wait()
        for start in range(0, len(self.content), 262144):
            chunk = generator_pb2.GenerateChunk(data=self.content[start : start + 262144])
            yield generator_pb2.GenerateResponse(chunk=chunk)
        yield generator_pb2.GenerateResponse(completed=self._completed(request))

    def _completed(self, request: Any) -> generator_pb2.GenerateCompleted:
        return generator_pb2.GenerateCompleted(
            settings=request.settings,
            model_revision="fake-1",
            width=request.crop_width or request.settings.width,
            height=request.crop_height or request.settings.height,
            media_type=MEDIA_TYPES[request.format],
            size_bytes=len(self.content),
            sha256=self.promised_sha256 or hashlib.sha256(self.content).digest(),
            statistics=self.statistics,
            stages=[types_pb2.StageDuration(stage=types_pb2.STAGE_DENOISING)],
        )

    async def Estimate(self, request: Any, context: Any) -> generator_pb2.EstimateResponse:  # noqa: N802
        """Says whether it fits."""
        fits = self.fits(request.settings)
        estimate = types_pb2.Estimate(fits=fits, needed_bytes=10, available_bytes=20 if fits else 5)
        estimate.duration.FromMilliseconds(2000)
        return generator_pb2.EstimateResponse(estimate=estimate)

    async def GetStatus(self, request: Any, context: Any) -> generator_pb2.GeneratorServiceGetStatusResponse:  # noqa: N802
        """Gives the registry."""
        return generator_pb2.GeneratorServiceGetStatusResponse(version="fake", device="cpu", models=self.models)


class Peer:
    """A fake behind a port that stays the same when it goes down and comes back."""

    def __init__(self, add: Callable[[grpc.aio.Server], None]) -> None:
        self._add = add
        self._server: grpc.aio.Server | None = None
        self.port = 0

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

    async def up(self) -> None:
        """Serve."""
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        self._add(self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def down(self) -> None:
        """Vanish."""
        if self._server is not None:
            await self._server.stop(0)
            self._server = None


class System:
    """Two fakes and real gateways on one data folder, one at a time."""

    def __init__(self, data_dir: Path, database_url: str = "") -> None:
        self.enhancer = FakeEnhancer()
        self.generator = FakeGenerator()
        self.enhancer_peer = Peer(
            lambda server: enhancer_pb2_grpc.add_EnhancerServiceServicer_to_server(self.enhancer, server)
        )
        self.generator_peer = Peer(
            lambda server: generator_pb2_grpc.add_GeneratorServiceServicer_to_server(self.generator, server)
        )
        self.data_dir = data_dir
        self.database_url = database_url
        self.fetcher: ReferenceFetcher | None = None
        self.server: ServiceServer | None = None
        self.channel: grpc.aio.Channel | None = None
        self.stub: Any = None

    async def start(self, **values: Any) -> None:
        """Start a gateway."""
        self.server = await self._serve(**values)
        self.channel = grpc.aio.insecure_channel(self.server.address)
        self.stub = gateway_pb2_grpc.GatewayServiceStub(self.channel)

    async def _serve(self, **values: Any) -> ServiceServer:
        settings = GatewaySettings(
            **{
                "port": 0,
                "data_dir": self.data_dir,
                "database_url": self.database_url,
                "enhancer_address": self.enhancer_peer.address,
                "generator_address": self.generator_peer.address,
                "drain_pause_seconds": 0.0,
                "shutdown_grace_seconds": 3.0,
                "retry_initial_seconds": 0.1,
                "retry_max_seconds": 0.3,
                **values,
            }
        )
        server = ServiceServer(build_service(settings, self.fetcher), settings)
        await server.start()
        return server

    @asynccontextmanager
    async def second(self, **values: Any) -> AsyncIterator["System"]:
        """Another gateway on the same store, with the same peers; `start` has come first, so that it waits."""
        other = copy.copy(self)
        await other.start(**values)
        try:
            yield other
        finally:
            await other.stop()

    async def stop(self) -> None:
        """Stop the gateway as SIGTERM does."""
        if self.server is not None:
            await self.server.stop()
            self.server = None
        if self.channel is not None:
            await self.channel.close()
            self.channel = None

    async def watch(self, job_id: str, after: int = 0) -> list[gateway_pb2.JobEvent]:
        """All events of a job, to its end."""
        request = gateway_pb2.WatchJobRequest(job_id=job_id, after_sequence=after)
        return [response.event async for response in self.stub.WatchJob(request)]

    async def create(self, **spec: Any) -> gateway_pb2.Job:
        """Make a job."""
        request = gateway_pb2.CreateJobRequest(spec=gateway_pb2.JobSpec(**({"prompt": "a cat"} | spec)))
        job: gateway_pb2.Job = (await self.stub.CreateJob(request)).job
        return job

    async def finished(self, job_id: str) -> gateway_pb2.Job:
        """A job when it has ended."""
        return (await self.watch(job_id))[-1].snapshot

    async def get(self, job_id: str) -> gateway_pb2.Job:
        """A job as it stands."""
        job: gateway_pb2.Job = (await self.stub.GetJob(gateway_pb2.GetJobRequest(job_id=job_id))).job
        return job


@asynccontextmanager
async def running_system(data_dir: Path, **values: Any) -> AsyncIterator[System]:
    """Both fakes and a gateway."""
    system = System(data_dir, stores[-1])
    await system.enhancer_peer.up()
    await system.generator_peer.up()
    try:
        await system.start(**values)
        yield system
    finally:
        await system.stop()
        await system.generator_peer.down()
        await system.enhancer_peer.down()


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - conditions are plain functions
            await asyncio.sleep(0.01)

"""A generator with a tiny random model in a real server."""

import io
import shutil
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import av
import grpc.aio
import torch
from PIL import Image

from models.random_wan import RandomWanConfig, build
from wanworker.client.status import StatusDetails, status_details
from wanworker.generator.engine import Engine
from wanworker.generator.runner import Runner
from wanworker.generator.service import define_service
from wanworker.generator.settings import GeneratorSettings
from wanworker.runtime.channel import open_channel
from wanworker.runtime.server import ServiceServer
from wanworker.v1 import generator_pb2 as pb
from wanworker.v1 import generator_pb2_grpc as pb_grpc
from wanworker.v1 import types_pb2

DEMO_FOLDER = Path(__file__).parents[2] / "models" / "wan-demo"


@cache
def random_checkpoint(**changes: Any) -> Path:
    """A tiny random checkpoint, built once a process."""
    return build(Path(mkdtemp(prefix="random-wan-")), RandomWanConfig(**changes))


def generator_settings(**changes: Any) -> GeneratorSettings:
    """Settings for tests: any port, tiny model, nothing kept on disk, nothing done at start."""
    values: dict[str, Any] = {
        "port": 0,
        "demo_path": random_checkpoint(),
        "cache_dir": Path(mkdtemp(prefix="generator-cache-")),
        "threads": 2,
        "preload": False,
        "offline": True,
        "device": "cpu",
        "dtype": "float32",
        "drain_pause_seconds": 0.0,
        "shutdown_grace_seconds": 5.0,
    }
    return GeneratorSettings(**{**values, **changes})


def generation_settings(**changes: Any) -> types_pb2.GenerationSettings:
    """A clip of 64 × 48 × 5 in three steps."""
    values: dict[str, Any] = {
        "model": "demo",
        "width": 64,
        "height": 48,
        "frames": 5,
        "fps": 16,
        "steps": 3,
        "guidance_scale": 4.0,
    }
    return types_pb2.GenerationSettings(**{**values, **changes})


_SETTINGS = set(types_pb2.GenerationSettings.DESCRIPTOR.fields_by_name)


def generate_request(**changes: Any) -> pb.GenerateRequest:
    """A request for that clip; `changes` go to the request or its settings, by name."""
    settings = generation_settings(**{name: value for name, value in changes.items() if name in _SETTINGS})
    still = settings.frames == 1
    values: dict[str, Any] = {
        "settings": settings,
        "prompt": "a red ball",
        "seed": 7,
        "format": types_pb2.OUTPUT_FORMAT_PNG if still else types_pb2.OUTPUT_FORMAT_MP4,
    }
    return pb.GenerateRequest(**{**values, **{name: v for name, v in changes.items() if name not in _SETTINGS}})


@dataclass
class Generation:
    """The events of one call."""

    events: list[pb.GenerateResponse] = field(default_factory=list)

    @property
    def kinds(self) -> list[str]:
        return [str(event.WhichOneof("event")) for event in self.events]

    @property
    def progress(self) -> list[types_pb2.Progress]:
        return [event.progress for event in self.events if event.HasField("progress")]

    @property
    def previews(self) -> list[types_pb2.Preview]:
        return [event.preview for event in self.events if event.HasField("preview")]

    @property
    def file(self) -> bytes:
        return b"".join(event.chunk.data for event in self.events)

    @property
    def completed(self) -> pb.GenerateCompleted:
        assert self.events[-1].HasField("completed")
        return self.events[-1].completed


@dataclass
class RunningGenerator:
    """A generator that serves, and a stub for it."""

    server: ServiceServer
    runner: Runner
    channel: grpc.aio.Channel
    stub: Any

    @property
    def engine(self) -> Engine:
        return self.runner.engine

    async def generate(self, **changes: Any) -> Generation:
        """A whole call."""
        generation = Generation()
        async for event in self.stub.Generate(generate_request(**changes), timeout=60):
            generation.events.append(event)
        return generation

    async def file(self, **changes: Any) -> bytes:
        """A whole call's file."""
        return (await self.generate(**changes)).file


@asynccontextmanager
async def running_generator(**changes: Any) -> AsyncIterator[RunningGenerator]:
    """Runs a generator on a free port; `changes` are settings."""
    settings = generator_settings(**changes)
    runner = Runner(settings, Engine(settings))
    server = ServiceServer(define_service(settings, runner), settings)
    try:
        await server.start()
        async with open_channel(server.address) as channel:
            yield RunningGenerator(server, runner, channel, pb_grpc.GeneratorServiceStub(channel))
    finally:
        await server.stop()


@dataclass
class Forwards:
    """Transformer forwards that were begun."""

    count: int = 0
    latents: list[Any] = field(default_factory=list)
    """Weak references to their inputs."""


@contextmanager
def watched_forwards(engine: Engine, action: Callable[[int], None] | None = None) -> Iterator[Forwards]:
    """Counts the loaded demo model's transformer forwards; `action` runs before each, with its number."""
    forwards = Forwards()

    def before(_: torch.nn.Module, __: Any, kwargs: dict[str, Any]) -> None:
        forwards.count += 1
        forwards.latents.append(weakref.ref(kwargs["hidden_states"]))
        if action is not None:
            action(forwards.count)

    transformer = engine._models["demo"].modules["transformer"]
    hook = transformer.register_forward_pre_hook(before, with_kwargs=True)
    try:
        yield forwards
    finally:
        hook.remove()


@dataclass(frozen=True)
class Video:
    """What PyAV says about a file."""

    codec: str
    pixel_format: str
    width: int
    height: int
    frames: int
    fps: float
    seconds: float
    pictures: list[Any]


def read_video(data: bytes) -> Video:
    """Opens and decodes an MP4."""
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.video[0]
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        rate, base, duration = stream.average_rate, stream.time_base, stream.duration
        assert rate is not None
        assert base is not None
        assert duration is not None
        context = stream.codec_context
        return Video(
            codec=context.name,
            pixel_format=str(context.pix_fmt),
            width=context.width,
            height=context.height,
            frames=len(pictures),
            fps=float(rate),
            seconds=float(duration * base),
            pictures=pictures,
        )


def boxes(data: bytes) -> list[str]:
    """The top-level boxes of an MP4, in order."""
    found, position = [], 0
    while position < len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        found.append(data[position + 4 : position + 8].decode())
        position += size
    return found


def picture(colour: str = "red", size: tuple[int, int] = (90, 60), file_format: str = "PNG") -> bytes:
    """An encoded picture of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, file_format)
    return buffer.getvalue()


async def failure(call: Any) -> StatusDetails:
    """Awaits a call that must fail."""
    try:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return status_details(error)
    raise AssertionError("the call succeeded")


def copied_checkpoint() -> Path:
    """A copy of the tiny checkpoint that a test may damage."""
    folder = Path(mkdtemp(prefix="random-wan-copy-")) / "checkpoint"
    shutil.copytree(random_checkpoint(), folder)
    return folder

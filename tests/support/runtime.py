"""A service of fakes in a real server, for tests of the runtime."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import grpc
import grpc.aio
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from wanworker.runtime.channel import open_channel
from wanworker.runtime.server import ServiceDefinition, ServiceServer
from wanworker.runtime.settings import ServiceSettings
from wanworker.v1 import enhancer_pb2 as pb
from wanworker.v1 import enhancer_pb2_grpc as pb_grpc

SERVICE = "wanworker.v1.EnhancerService"
STREAMS = "wanworker.test.Streams"

Kind = Literal["unary", "generator", "writer", "stream_unary", "stream_stream"]
KINDS: tuple[Kind, ...] = ("unary", "generator", "writer", "stream_unary", "stream_stream")
METHODS: dict[Kind, str] = {
    "unary": f"{SERVICE}/GetStatus",
    "generator": f"{SERVICE}/Enhance",
    "writer": f"{STREAMS}/Write",
    "stream_unary": f"{STREAMS}/Join",
    "stream_stream": f"{STREAMS}/Chat",
}

Action = Callable[[Any], Awaitable[None]]


async def nothing(_: object = None) -> None:
    """Does nothing."""


class FakeEnhancer(pb_grpc.EnhancerServiceServicer):
    """Answers every kind of call, and does `action` in the handler before the last answer."""

    def __init__(self, action: Action = nothing) -> None:
        self.action = action

    async def GetStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self.action(context)
        return pb.EnhancerServiceGetStatusResponse(model="fake")

    async def Unload(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.UnloadResponse()

    async def Enhance(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        yield _delta("one")
        await self.action(context)
        yield _delta("two")

    async def write(self, request: Any, context: Any) -> None:
        await context.write(_delta("one"))
        await self.action(context)
        await context.write(_delta("two"))

    async def join(self, requests: Any, context: Any) -> Any:
        prompts = [request.prompt async for request in requests]
        await self.action(context)
        return _delta(" ".join(prompts))

    async def chat(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            yield _delta(request.prompt)
        await self.action(context)

    def add_to(self, server: grpc.aio.Server) -> None:
        pb_grpc.add_EnhancerServiceServicer_to_server(self, server)
        wire: dict[str, Any] = {
            "request_deserializer": pb.EnhanceRequest.FromString,
            "response_serializer": pb.EnhanceResponse.SerializeToString,
        }
        handlers: dict[str, Any] = {
            "Write": grpc.unary_stream_rpc_method_handler(self.write, **wire),
            "Join": grpc.stream_unary_rpc_method_handler(self.join, **wire),
            "Chat": grpc.stream_stream_rpc_method_handler(self.chat, **wire),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(STREAMS, handlers),))


def _delta(text: str) -> pb.EnhanceResponse:
    return pb.EnhanceResponse(delta=pb.EnhanceDelta(text=text))


def start_call(
    channel: grpc.aio.Channel,
    kind: Kind,
    prompt: str = "a fox",
    requests: int | None = None,
    **options: Any,
) -> Any:
    """Starts a call of a kind.

    Args:
        channel: Where to.
        kind: Which kind.
        prompt: What every request says.
        requests: Of streamed requests, send so many and leave the stream open: gRPC's own client fails with
            INTERNAL if the server ends a call that it is just writing to. None sends two and ends the stream.
        options: gRPC's own: timeout, metadata.
    """
    request = pb.EnhanceRequest(prompt=prompt)
    stub: Any = pb_grpc.EnhancerServiceStub(channel)
    wire: dict[str, Any] = {
        "request_serializer": pb.EnhanceRequest.SerializeToString,
        "response_deserializer": pb.EnhanceResponse.FromString,
    }
    method = "/" + METHODS[kind]
    match kind:
        case "unary":
            return stub.GetStatus(pb.EnhancerServiceGetStatusRequest(), **options)
        case "generator":
            return stub.Enhance(request, **options)
        case "writer":
            return channel.unary_stream(method, **wire)(request, **options)
        case "stream_unary":
            return channel.stream_unary(method, **wire)(_stream(request, requests), **options)
        case "stream_stream":
            return channel.stream_stream(method, **wire)(_stream(request, requests), **options)


async def _stream(request: pb.EnhanceRequest, count: int | None) -> AsyncIterator[pb.EnhanceRequest]:
    for _ in range(2 if count is None else count):
        yield request
    if count is not None:
        await asyncio.Event().wait()


async def finish_call(call: Any) -> list[str]:
    """Awaits a call's end; returns the texts of its answers."""
    if hasattr(call, "__aiter__"):
        return [response.delta.text async for response in call]
    response = await call
    return [response.model if hasattr(response, "model") else response.delta.text]


async def call(channel: grpc.aio.Channel, kind: Kind, **options: Any) -> list[str]:
    """Makes a whole call."""
    return await finish_call(start_call(channel, kind, **options))


@dataclass
class FakeService:
    """A definition whose hooks can be changed, and what was called of it."""

    servicer: FakeEnhancer = field(default_factory=FakeEnhancer)
    warm_up: Callable[[], Awaitable[None]] = nothing
    drain: Callable[[], Awaitable[None]] = nothing
    close: Callable[[], Awaitable[None]] = nothing
    called: list[str] = field(default_factory=list)

    def definition(self) -> ServiceDefinition:
        return ServiceDefinition(
            name=SERVICE,
            add_to_server=self.servicer.add_to,
            warm_up=lambda: self._hook("warm_up"),
            drain=lambda: self._hook("drain"),
            close=lambda: self._hook("close"),
        )

    async def _hook(self, name: str) -> None:
        self.called.append(name)
        await getattr(self, name)()


@dataclass
class Running:
    """A server that runs, and a channel to it."""

    server: ServiceServer
    channel: grpc.aio.Channel
    service: FakeService


def settings(**values: Any) -> ServiceSettings:
    """Settings for tests: any port, no pause."""
    return ServiceSettings(**{"drain_pause_seconds": 0.0, "shutdown_grace_seconds": 5.0, **values})


@asynccontextmanager
async def running(
    service: FakeService | None = None,
    *,
    interceptors: Sequence[grpc.aio.ServerInterceptor] | None = None,
    **values: Any,
) -> AsyncIterator[Running]:
    """Runs a service on a free port; `values` are settings."""
    service = service or FakeService()
    server = ServiceServer(service.definition(), settings(**values), interceptors=interceptors)
    try:
        await server.start()
        async with open_channel(server.address) as channel:
            yield Running(server, channel, service)
    finally:
        await server.stop()


@contextmanager
def recorded_spans() -> Iterator[InMemorySpanExporter]:
    """Records the spans of this process; sets the global provider, or joins the one that is there."""
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider(shutdown_on_exit=False)
        trace.set_tracer_provider(provider)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    try:
        yield exporter
    finally:
        # There is no way to take a processor out again; a stopped exporter drops what it is given.
        exporter.shutdown()

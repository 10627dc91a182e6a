"""The enhancer and the generator as the gateway sees them: what they say comes back as dataclasses, what
fails as PeerError.

The only place besides the servicer that knows gRPC.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar, cast

import grpc
import grpc.aio

from wanworker.client.status import status_details
from wanworker.gateway import convert_peer as convert
from wanworker.gateway.asked import OutputFormat
from wanworker.gateway.generation import CostEstimate, GenerationSettings, Made, ModelInfo
from wanworker.gateway.model import Preview, Progress
from wanworker.runtime.channel import PeerChannel
from wanworker.runtime.tls import TlsFiles
from wanworker.v1 import enhancer_pb2, enhancer_pb2_grpc, generator_pb2, generator_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wanworker.v1.enhancer_pb2_grpc import EnhancerServiceAsyncStub
    from wanworker.v1.generator_pb2_grpc import GeneratorServiceAsyncStub

Status = TypeVar("Status")


@dataclass(eq=False)
class PeerError(Exception):
    """A call to a peer failed."""

    code: str
    """Name of the google.rpc.Code."""
    reason: str
    """Machine-readable; the code's name where the peer gave none."""
    message: str
    """One sentence for people."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What the reason goes with."""
    retry_after_seconds: float | None = None
    """When the peer wants to be asked again."""

    def __str__(self) -> str:
        return self.message

    @property
    def passing(self) -> bool:
        """Whether waiting helps: the peer is away, restarting, draining or full."""
        return self.code == "UNAVAILABLE" or self.reason == "QUEUE_FULL"


@dataclass(frozen=True)
class PeerReport(Generic[Status]):
    """How a peer is."""

    address: str
    """As configured."""
    status: Status | None
    """What it says of itself, as it came; None if it did not answer."""
    error: str = ""
    """Why not."""


@dataclass(frozen=True)
class Enhanced:
    """The enhancer's answer."""

    prompt: str
    """Cleaned."""
    model: str
    """Who wrote it."""


@dataclass(frozen=True)
class Waiting:
    """The generator has the job in its queue."""

    position: int
    """Jobs ahead."""


@dataclass(frozen=True)
class Order:
    """What the generator is asked for."""

    settings: GenerationSettings
    """Everything that decides the cost."""
    prompt: str
    """What to show."""
    negative_prompt: str
    """What to keep out."""
    seed: int
    """Of the noise."""
    image: bytes
    """First frame; empty for none."""
    format: OutputFormat
    """Of the file."""
    crop: tuple[int, int] | None
    """Width and height of the file where they differ."""
    preview_interval_steps: int
    """0 for none."""


class EnhancerPeer:
    """The enhancer."""

    def __init__(self, address: str, tls: TlsFiles | None = None) -> None:
        self.address = address
        """As configured."""
        self._channel = PeerChannel(address, retryable=("wanworker.v1.EnhancerService/GetStatus",), tls=tls)

    @property
    def _stub(self) -> "EnhancerServiceAsyncStub":
        return cast("EnhancerServiceAsyncStub", enhancer_pb2_grpc.EnhancerServiceStub(self._channel.current()))

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def enhance(self, prompt: str, seed: int, timeout: float) -> AsyncGenerator[str | Enhanced, None]:
        """Pieces of text as they are written, then the answer. PeerError if it fails."""
        request = enhancer_pb2.EnhanceRequest(prompt=prompt, seed=seed)
        with _peer_errors("enhancer"):
            call = self._stub.Enhance(request, timeout=timeout)
            try:
                async for response in call:
                    if response.HasField("delta"):
                        yield response.delta.text
                    elif response.HasField("completed"):
                        yield Enhanced(response.completed.prompt, response.completed.model)
            finally:
                call.cancel()

    async def unload(self, timeout: float) -> bool:
        """Free the model's memory; whether it was loaded. PeerError if it fails."""
        with _peer_errors("enhancer"):
            return (await self._stub.Unload(enhancer_pb2.UnloadRequest(), timeout=timeout)).unloaded

    async def report(self, timeout: float) -> PeerReport[enhancer_pb2.EnhancerServiceGetStatusResponse]:
        """How it is. Never fails."""
        try:
            with _peer_errors("enhancer"):
                status = await self._stub.GetStatus(enhancer_pb2.EnhancerServiceGetStatusRequest(), timeout=timeout)
        except PeerError as error:
            return PeerReport(self.address, None, error.message)
        return PeerReport(self.address, status)


class GeneratorPeer:
    """The generator."""

    def __init__(self, address: str, tls: TlsFiles | None = None) -> None:
        self.address = address
        """As configured."""
        self._channel = PeerChannel(
            address,
            retryable=("wanworker.v1.GeneratorService/GetStatus", "wanworker.v1.GeneratorService/Estimate"),
            tls=tls,
        )

    @property
    def _stub(self) -> "GeneratorServiceAsyncStub":
        return cast("GeneratorServiceAsyncStub", generator_pb2_grpc.GeneratorServiceStub(self._channel.current()))

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def generate(
        self, order: Order, timeout: float | None
    ) -> AsyncGenerator[Waiting | Progress | Preview | bytes | Made, None]:
        """What happens, the file's bytes, then what was made. Leaving the iterator stops the device within a
        step."""
        with _peer_errors("generator"):
            call = self._stub.Generate(_generate_request(order), timeout=timeout)
            try:
                async for response in call:
                    event = _generate_event(response)
                    if event is not None:
                        yield event
            finally:
                call.cancel()

    async def estimate(self, settings: GenerationSettings, timeout: float) -> CostEstimate:
        """What a generation would cost. PeerError if it fails."""
        with _impatient(timeout), _peer_errors("generator"):
            request = generator_pb2.EstimateRequest(settings=convert.settings_to_proto(settings))
            response = await self._stub.Estimate(request, timeout=timeout)
        return convert.estimate_from_proto(response.estimate)

    async def models(self, timeout: float) -> tuple[ModelInfo, ...]:
        """The registry. PeerError if it fails."""
        with _impatient(timeout), _peer_errors("generator"):
            response = await self._stub.GetStatus(generator_pb2.GeneratorServiceGetStatusRequest(), timeout=timeout)
        return tuple(convert.model_from_proto(row) for row in response.models)

    async def report(self, timeout: float) -> PeerReport[generator_pb2.GeneratorServiceGetStatusResponse]:
        """How it is. Never fails."""
        try:
            with _peer_errors("generator"):
                request = generator_pb2.GeneratorServiceGetStatusRequest()
                status = await self._stub.GetStatus(request, timeout=timeout)
        except PeerError as error:
            return PeerReport(self.address, None, error.message)
        return PeerReport(self.address, status)


def _generate_request(order: Order) -> generator_pb2.GenerateRequest:
    width, height = order.crop or (None, None)
    return generator_pb2.GenerateRequest(
        settings=convert.settings_to_proto(order.settings),
        prompt=order.prompt,
        negative_prompt=order.negative_prompt,
        seed=order.seed,
        reference_image=order.image or None,
        format=convert.number(order.format),
        crop_width=width,
        crop_height=height,
        preview_interval_steps=order.preview_interval_steps,
    )


def _generate_event(
    response: generator_pb2.GenerateResponse,
) -> Waiting | Progress | Preview | bytes | Made | None:
    match response.WhichOneof("event"):
        case "queued":
            return Waiting(response.queued.position)
        case "progress":
            return convert.progress_from_proto(response.progress)
        case "preview":
            return convert.preview_from_proto(response.preview)
        case "chunk":
            return response.chunk.data
        case "completed":
            return convert.made_from_proto(response.completed)
    # An event of a newer generator.
    return None


@contextmanager
def _peer_errors(peer: str) -> "Iterator[None]":
    try:
        yield
    except grpc.RpcError as error:
        details = status_details(error)
        code = details.code.name
        # A peer that dies ends its streams with any of these, and with no reason: what our services say has
        # one.
        if code in ("CANCELLED", "UNKNOWN", "INTERNAL") and not details.reason:
            code = "UNAVAILABLE"
        raise PeerError(
            code,
            details.reason or code,
            details.message or f"the {peer} failed with {code}",
            dict(details.metadata),
            details.retry_after_seconds,
        ) from error
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise PeerError("UNAVAILABLE", "UNAVAILABLE", f"the {peer} ended the call") from None


@contextmanager
def _impatient(seconds: float) -> "Iterator[None]":
    """For questions that are asked under our own short timeout: that one ended is not the job's deadline, and the peer
    may answer later."""
    try:
        yield
    except PeerError as error:
        if error.code != "DEADLINE_EXCEEDED":
            raise
        message = f"the generator did not answer within {seconds:g} s"
        raise PeerError("UNAVAILABLE", "GENERATOR_SLOW", message) from error

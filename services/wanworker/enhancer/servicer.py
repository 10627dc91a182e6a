"""protobuf ↔ dataclass, and nothing else."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from google.protobuf.duration_pb2 import Duration

from wanworker.enhancer.enhancer import Enhancer
from wanworker.enhancer.model import Completed, Delta, Event, FinishReason, Loading, Queued, Request
from wanworker.v1 import enhancer_pb2 as pb
from wanworker.v1 import enhancer_pb2_grpc as pb_grpc

_FINISH_REASONS = {
    FinishReason.STOP: pb.FINISH_REASON_STOP,
    FinishReason.LENGTH: pb.FINISH_REASON_LENGTH,
}


class EnhancerServicer(pb_grpc.EnhancerServiceServicer):
    """wanworker.v1.EnhancerService."""

    def __init__(self, enhancer: Enhancer) -> None:
        self._enhancer = enhancer

    async def Enhance(self, request: pb.EnhanceRequest, context: Any) -> AsyncGenerator[pb.EnhanceResponse, None]:
        """Stream what happens to a prompt. When the caller goes away, gRPC closes this generator."""
        async with aclosing(self._enhancer.enhance(_request(request))) as events:
            async for event in events:
                yield _response(event)

    async def Unload(self, request: pb.UnloadRequest, context: Any) -> pb.UnloadResponse:
        """Free the model's memory."""
        return pb.UnloadResponse(unloaded=await self._enhancer.unload())

    async def GetStatus(
        self, request: pb.EnhancerServiceGetStatusRequest, context: Any
    ) -> pb.EnhancerServiceGetStatusResponse:
        """Say how the enhancer is."""
        status = self._enhancer.status()
        return pb.EnhancerServiceGetStatusResponse(
            version=_version(),
            model=status.model,
            model_source=status.model_source,
            loaded=status.loaded,
            context_tokens=status.context_tokens,
            queued=status.queued,
            queue_limit=status.queue_limit,
            busy=status.busy,
        )


def _request(message: pb.EnhanceRequest) -> Request:
    return Request(
        prompt=message.prompt,
        max_tokens=message.max_tokens if message.HasField("max_tokens") else None,
        temperature=message.temperature if message.HasField("temperature") else None,
        seed=message.seed if message.HasField("seed") else None,
    )


def _response(event: Event) -> pb.EnhanceResponse:
    match event:
        case Queued(position):
            return pb.EnhanceResponse(queued=pb.EnhanceQueued(position=position))
        case Loading(model):
            return pb.EnhanceResponse(loading=pb.EnhanceLoading(model=model))
        case Delta(text):
            return pb.EnhanceResponse(delta=pb.EnhanceDelta(text=text))
        case Completed():
            return pb.EnhanceResponse(completed=_completed(event))


def _completed(event: Completed) -> pb.EnhanceCompleted:
    written = event.written
    return pb.EnhanceCompleted(
        prompt=event.prompt,
        model=event.model,
        seed=event.seed,
        cached=event.cached,
        prompt_tokens=written.prompt_tokens,
        completion_tokens=written.completion_tokens,
        finish_reason=_FINISH_REASONS[written.finish_reason],
        time_to_first_token=_duration(written.first_token_seconds),
        duration=_duration(written.seconds),
    )


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=seconds))
    return duration


def _version() -> str:
    try:
        return version("wanworker")
    except PackageNotFoundError:
        return "0+unknown"

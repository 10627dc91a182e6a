"""One channel to one service: its options, its retries, and calls that raise this package's exceptions."""

import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self, TypeVar

import grpc
import grpc.aio

from wanworker.client.errors import from_rpc_error
from wanworker.client.tracing import trace_metadata

AnswerT = TypeVar("AnswerT", covariant=True)

DEFAULT_GATEWAY: Final = "127.0.0.1:50051"
DEFAULT_ENHANCER: Final = "127.0.0.1:50052"
DEFAULT_TIMEOUT: Final = 30.0
"""Seconds that a unary call may take, its retries included."""
RETRIED: Final = {
    # Only what changes nothing, and CreateJob, which always goes out with a request_id. WatchJob resumes by
    # itself.
    "wanworker.v1.GatewayService": (
        "CreateJob",
        "EstimateJob",
        "GetJob",
        "GetStatus",
        "ListJobs",
        "ReadArtifact",
    ),
    "wanworker.v1.EnhancerService": ("GetStatus",),
}
"""Methods that are tried again while the service is UNAVAILABLE."""

_MAX_MESSAGE = 16 * 1024 * 1024
"""A job carries its spec with a reference image of up to 3 MiB, a page of jobs up to 500 prompts of 4,000
characters."""


class StreamCall(Protocol[AnswerT]):
    """What of a running server-streaming call is used here."""

    def __aiter__(self) -> AsyncIterator[AnswerT]: ...

    def cancel(self) -> bool:
        """Ends the call on both sides."""


ResponseT = TypeVar("ResponseT")


@dataclass(frozen=True)
class Endpoint:
    """Where a service is and how to talk to it."""

    address: str
    """`host:port`, or any other target that gRPC takes."""
    credentials: grpc.ChannelCredentials | None = None
    """TLS credentials; plain text without."""
    api_key: str | None = None
    """Sent as `authorization: Bearer …`."""
    timeout: float = DEFAULT_TIMEOUT
    """Seconds that a unary call may take."""
    options: Sequence[tuple[str, Any]] = ()
    """Channel options; they win over ours."""

    @classmethod
    def of(cls, address: str | None, variable: str, default: str, **rest: Any) -> Self:
        """An endpoint whose address comes from the caller, the environment or a default, in this order."""
        return cls(address or os.environ.get(variable) or default, **rest)


def service_config() -> str:
    """Returns gRPC's service config: at most 4 tries with growing pauses, on UNAVAILABLE, of `RETRIED`
    only."""
    names = [{"service": service, "method": method} for service, methods in RETRIED.items() for method in methods]
    policy = {
        "maxAttempts": 4,
        "initialBackoff": "0.2s",
        "maxBackoff": "2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return json.dumps({"methodConfig": [{"name": names, "retryPolicy": policy}]})


def channel_options(extra: Sequence[tuple[str, Any]] = ()) -> list[tuple[str, Any]]:
    """Returns the options of every channel of this client; `extra` wins."""
    options: dict[str, Any] = {
        "grpc.enable_retries": 1,
        "grpc.service_config": service_config(),
        # Behind NATs and load balancers a silent connection dies silently: a watch may say nothing for
        # minutes.
        "grpc.keepalive_time_ms": 60_000,
        "grpc.keepalive_timeout_ms": 20_000,
        "grpc.http2.max_pings_without_data": 0,
        # gRPC's own pause after a refused connection grows to two minutes; a restarted gateway is back
        # sooner.
        "grpc.initial_reconnect_backoff_ms": 200,
        "grpc.min_reconnect_backoff_ms": 200,
        "grpc.max_reconnect_backoff_ms": 3_000,
        "grpc.max_receive_message_length": _MAX_MESSAGE,
        "grpc.max_send_message_length": _MAX_MESSAGE,
        **dict(extra),
    }
    return list(options.items())


class Connection:
    """A channel that opens at the first call, inside the event loop that makes it, and belongs to that
    loop."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._channel: grpc.aio.Channel | None = None
        self._closed = False

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel. RuntimeError after `close`."""
        if self._closed:
            raise RuntimeError("this client is closed")
        if self._channel is None:
            options = channel_options(self.endpoint.options)
            if self.endpoint.credentials is None:
                self._channel = grpc.aio.insecure_channel(self.endpoint.address, options=options)
            else:
                self._channel = grpc.aio.secure_channel(
                    self.endpoint.address, self.endpoint.credentials, options=options
                )
        return self._channel

    async def close(self) -> None:
        """Cancels what still runs and closes the channel. Closing twice is fine."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close()

    async def unary(
        self, method: Callable[..., Awaitable[ResponseT]], request: object, timeout: float | None
    ) -> ResponseT:
        """Makes a unary call; `timeout` None is the endpoint's."""
        limit = self.endpoint.timeout if timeout is None else timeout
        try:
            return await method(request, timeout=limit, metadata=self._metadata())
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def stream(
        self, method: Callable[..., StreamCall[ResponseT]], request: object, timeout: float | None
    ) -> AsyncGenerator[ResponseT, None]:
        """Makes a server-streaming call; `timeout` None is no limit. Closing the iterator cancels the
        call."""
        call = method(request, timeout=timeout, metadata=self._metadata())
        try:
            async for message in call:
                yield message
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        finally:
            call.cancel()

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        key = self.endpoint.api_key
        return (*((("authorization", f"Bearer {key}"),) if key else ()), *trace_metadata())

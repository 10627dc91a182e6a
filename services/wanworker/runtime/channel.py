"""Channels to other services."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import grpc
import grpc.aio
from opentelemetry import propagate, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from wanworker.runtime import names
from wanworker.runtime.tls import TlsFiles, channel_credentials
from wanworker.runtime.transport import (
    IDLE_SECONDS,
    KEEPALIVE_SECONDS,
    KEEPALIVE_TIMEOUT_SECONDS,
    MAX_MESSAGE_BYTES,
    host_of,
    is_loopback,
)

_DEADLINE_MARGIN_SECONDS = 0.5
"""What a service keeps of its caller's time, so that it can still answer when the call it made has timed
out."""


def open_channel(
    address: str, *, retryable: Sequence[str] = (), credentials: grpc.ChannelCredentials | None = None
) -> grpc.aio.Channel:
    """Returns a channel that traces its calls, notices dead peers, and retries what may be repeated.

    Nothing is connected before the first call. Open one channel a peer and keep it: calls share its
    connection.

    Args:
        address: `host:port`, or another gRPC target.
        retryable: Full names of idempotent methods, for example `wanworker.v1.GeneratorService/Estimate`.
            They, and no others, are tried up to four times while the peer is UNAVAILABLE.
        credentials: TLS; plaintext without.
    """
    options = _options(address, retryable)
    interceptors = [_TracedUnaryUnary(), _TracedUnaryStream(), _TracedStreamUnary(), _TracedStreamStream()]
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=options, interceptors=interceptors)
    return grpc.aio.secure_channel(address, credentials, options=options, interceptors=interceptors)


class PeerChannel:
    """A channel that follows its TLS files: when they change, calls go over a new one.

    gRPC's Python channels cannot be given other certificates. The old channel stays until `close`, so that its calls
    come to their end; it drops its connection when it has been idle.
    """

    def __init__(self, address: str, *, retryable: Sequence[str] = (), tls: TlsFiles | None = None) -> None:
        """Args: tls: where certificates are; plaintext when None. PreconditionError if they cannot be used."""
        self._open = partial(open_channel, address, retryable=retryable)
        self._credentials = None if tls is None else channel_credentials(tls)
        self._in_use: grpc.ChannelCredentials | None = None
        self._channels: list[grpc.aio.Channel] = []

    def current(self) -> grpc.aio.Channel:
        """The channel for a call that begins now."""
        credentials = None if self._credentials is None else self._credentials.current()
        if not self._channels or credentials is not self._in_use:
            self._channels.append(self._open(credentials=credentials))
            self._in_use = credentials
        return self._channels[-1]

    async def close(self) -> None:
        """Close all connections."""
        for channel in self._channels:
            await channel.close()


def remaining_seconds(
    context: "grpc.aio.ServicerContext[Any, Any]", margin: float = _DEADLINE_MARGIN_SECONDS
) -> float | None:
    """Returns the timeout for calls that serve this one: what is left of its deadline, less `margin`, never
    negative.

    None if the caller set no deadline.
    """
    remaining = context.time_remaining()
    return None if remaining is None else max(0.0, remaining - margin)


def _options(address: str, retryable: Sequence[str]) -> list[tuple[str, Any]]:
    options: list[tuple[str, Any]] = [
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1000),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_SECONDS * 1000),
        # A stream may be silent for minutes while a model loads: pings go on without data.
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.client_idle_timeout_ms", IDLE_SECONDS * 1000),
        # A restarted peer is found again within seconds; gRPC's own pace goes up to two minutes.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 1000),
        ("grpc.max_reconnect_backoff_ms", 5000),
        ("grpc.service_config", json.dumps(_service_config(retryable))),
        ("grpc.service_config_disable_resolution", 1),
    ]
    if is_loopback(host_of(address)):
        # A proxy of the environment is never meant for this machine, and gRPC has no such exception of its
        # own.
        options.append(("grpc.enable_http_proxy", 0))
    return options


def _service_config(retryable: Sequence[str]) -> dict[str, Any]:
    if not retryable:
        return {}
    services_and_methods = (full_name.removeprefix("/").split("/") for full_name in retryable)
    return {
        "methodConfig": [
            {
                "name": [{"service": service, "method": method} for service, method in services_and_methods],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.2s",
                    "maxBackoff": "2s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }


async def _traced(
    proceed: Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]],
    details: grpc.aio.ClientCallDetails,
    request: Any,
) -> Any:
    """Makes a call inside a client span that ends, with the call's status, when the call does."""
    method = details.method.decode() if isinstance(details.method, bytes) else details.method
    method = method.removeprefix("/")
    tracer = trace.get_tracer("wanworker.runtime")
    span = tracer.start_span(
        method, kind=SpanKind.CLIENT, attributes={names.RPC_SYSTEM: "grpc", names.RPC_METHOD: method}
    )
    metadata = grpc.aio.Metadata(*(details.metadata or ()))
    propagate.inject(metadata, context=trace.set_span_in_context(span))
    traced = grpc.aio.ClientCallDetails(
        details.method, details.timeout, metadata, details.credentials, details.wait_for_ready
    )
    try:
        call = await proceed(traced, request)
    except BaseException:
        span.end()
        raise
    loop = asyncio.get_running_loop()
    # Callbacks of a call cannot wait for its code, though it is known by then: a task can.
    call.add_done_callback(lambda done: _KEPT.add(loop.create_task(_finish(span, done))))
    return call


_KEPT: set[asyncio.Task[None]] = set()
"""Tasks that end spans: the loop itself holds tasks weakly."""


async def _finish(span: Span, call: Any) -> None:
    try:
        code: grpc.StatusCode = await call.code()
        span.set_attribute(names.RPC_STATUS, code.name)
        span.set_attribute(names.RPC_GRPC_STATUS, code.value[0])
        if code is not grpc.StatusCode.OK:
            span.set_attribute(names.ERROR_TYPE, code.name)
            span.set_status(Status(StatusCode.ERROR, await call.details() or code.name))
    finally:
        span.end()
        task = asyncio.current_task()
        if task is not None:
            _KEPT.discard(task)


class _TracedUnaryUnary(grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self, continuation: Any, client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return await _traced(continuation, client_call_details, request)


class _TracedUnaryStream(grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self, continuation: Any, client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return await _traced(continuation, client_call_details, request)


class _TracedStreamUnary(grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self, continuation: Any, client_call_details: grpc.aio.ClientCallDetails, request_iterator: Any
    ) -> Any:
        return await _traced(continuation, client_call_details, request_iterator)


class _TracedStreamStream(grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(
        self, continuation: Any, client_call_details: grpc.aio.ClientCallDetails, request_iterator: Any
    ) -> Any:
        return await _traced(continuation, client_call_details, request_iterator)

"""One way to wrap a call, whatever its kind.

gRPC has four kinds of handlers and, for streamed answers, two styles of writing them (async generators, and
coroutines that use `context.write`). An interceptor of ours sees none of that: it is one coroutine around
`proceed`.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

_INFRASTRUCTURE = ("/grpc.health.", "/grpc.reflection.")
"""Services that answer probes and tools: no interceptor of ours touches them."""
_SLACK_SECONDS = 0.1
_SLACK_SHARE = 0.02
"""A cancel that comes this close to the deadline is taken for the deadline. The client's clock runs out first:
the request took time to get here, and gRPC sends timeouts rounded up, by 1 % at most (100 s arrive as 101 s)."""

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]
else:
    Handler = grpc.RpcMethodHandler

_KINDS: Mapping[tuple[bool, bool], tuple[str, Callable[..., Handler]]] = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}


@dataclass(frozen=True)
class Call:
    """One call that is being served."""

    method: str
    """Full name with service, without a leading slash: `wanworker.v1.GatewayService/GetJob`."""
    metadata: Mapping[str, str | bytes]
    """Metadata of the request; the first value of a key that is there twice."""
    request: Any
    """The request message, or an async iterator of them."""
    context: "grpc.aio.ServicerContext[Any, Any]"
    """gRPC's own context."""
    timeout_seconds: float | None = None
    """Time that there was for the call when it arrived; None if there was no deadline."""


Proceed = Callable[[Any], Awaitable[Any]]
"""The rest of the chain: takes the request, returns the answer (None if answers are streamed)."""


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Base of our interceptors: calls of all kinds go through `around`; health and reflection pass by."""

    @abstractmethod
    async def around(self, call: Call, proceed: Proceed) -> Any:
        """Serves the call by awaiting `proceed` with the request, and returns what that returned."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Wraps the handler of a call. Called by gRPC once a call."""
        handler = await continuation(handler_call_details)
        if handler is None or is_infrastructure(handler_call_details.method):
            return handler
        method = handler_call_details.method.removeprefix("/")
        metadata = _first_values(handler_call_details.invocation_metadata)

        def wrapped(behaviour: Callable[..., Any]) -> Callable[..., Any]:
            async def intercepted(request: Any, context: "grpc.aio.ServicerContext[Any, Any]") -> Any:
                async def proceed(request: Any) -> Any:
                    return await serve(behaviour, request, context)

                call = Call(method, metadata, request, context, context.time_remaining())
                return await self.around(call, proceed)

            return intercepted

        return rebuilt(handler, wrapped, handler.request_deserializer)


def is_infrastructure(method: str) -> bool:
    """Whether a method (with its leading slash) is one that no interceptor of ours touches."""
    return method.startswith(_INFRASTRUCTURE)


def rebuilt(
    handler: Handler,
    wrapped: Callable[[Callable[..., Any]], Callable[..., Any]],
    request_deserializer: Callable[[bytes], Any] | None,
) -> Handler:
    """The handler with its behaviour, whatever its kind, replaced by `wrapped(behaviour)`."""
    kind, rebuild = _KINDS[handler.request_streaming, handler.response_streaming]
    return rebuild(
        wrapped(getattr(handler, kind)),
        request_deserializer=request_deserializer,
        response_serializer=handler.response_serializer,
    )


async def serve(behaviour: Callable[..., Any], request: Any, context: Any) -> Any:
    """Runs a handler of either style; a generator's answers are written here.

    Unlike gRPC's own loop this closes the generator at once when the call ends early, so that its `finally`
    runs in the call's own task and before the call counts as done.
    """
    result = behaviour(request, context)
    if not hasattr(result, "__aiter__"):
        return await result
    async with aclosing(result) as responses:
        async for response in responses:
            await context.write(response)
    return None


def _first_values(metadata: Any) -> dict[str, str | bytes]:
    values: dict[str, str | bytes] = {}
    for key, value in metadata or ():
        values.setdefault(key, value)
    return values


def is_cancelled(error: BaseException | None) -> bool:
    """Whether the call itself was cancelled, rather than something that its handler waited for."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def final_code(call: Call, error: BaseException | None) -> grpc.StatusCode:
    """Returns the code that a call ends with, seen from the outside of its handler.

    Args:
        call: The call.
        error: What the handler raised, None if it returned.
    """
    if error is None or isinstance(error, grpc.aio.AbortError):
        return _code_from_number(call.context.code())
    # The client left: we were cancelled, or found out by writing to it.
    if is_cancelled(error) or is_disconnect(error):
        return grpc.StatusCode.DEADLINE_EXCEEDED if _is_late(call) else grpc.StatusCode.CANCELLED
    return grpc.StatusCode.UNKNOWN


def is_disconnect(error: BaseException) -> bool:
    """Whether gRPC itself failed to reach the client, or aborted the call; it knows already, then."""
    return isinstance(error, grpc.aio.BaseError) and not isinstance(error, grpc.aio.UsageError)


def _is_late(call: Call) -> bool:
    remaining = call.context.time_remaining()
    if remaining is None or call.timeout_seconds is None:
        return False
    return remaining < _SLACK_SECONDS + _SLACK_SHARE * call.timeout_seconds


def _code_from_number(code: Any) -> grpc.StatusCode:
    if isinstance(code, grpc.StatusCode):
        return code
    number = code or 0
    return next((known for known in grpc.StatusCode if known.value[0] == number), grpc.StatusCode.UNKNOWN)

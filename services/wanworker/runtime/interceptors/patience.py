"""Calls whose request never comes are answered without it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from grpc_status import rpc_status

from wanworker.runtime.errors import DeadlineError, InvalidArgumentError
from wanworker.runtime.interceptors._call import Handler, serve
from wanworker.runtime.status import to_status


class PatienceInterceptor(grpc.aio.ServerInterceptor):
    """Ends a call whose one request has not arrived some time after its headers.

    gRPC waits for it without limit and before any handler runs, so that a client could hold thousands of calls open
    without ever saying who it is. To gRPC, calls of one request become calls of streamed ones, of which it hands over
    the call at once; the request is read here. Health is no exception. Streamed requests may be as slow as they like:
    their handlers run, behind authentication.
    """

    def __init__(self, seconds: float) -> None:
        """Args: seconds: how long a request may take."""
        self._seconds = seconds

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Wraps the handler of a call. Called by gRPC once a call, when the headers are here."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_streaming:
            return handler
        behaviour: Any = handler.unary_stream if handler.response_streaming else handler.unary_unary

        async def read_and_serve(_: Any, context: Any) -> Any:
            return await serve(behaviour, await self._read(context), context)

        rebuild: Callable[..., Handler] = (
            grpc.stream_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.stream_unary_rpc_method_handler
        )
        return rebuild(read_and_serve, handler.request_deserializer, handler.response_serializer)

    async def _read(self, context: "grpc.aio.ServicerContext[Any, Any]") -> Any:
        try:
            async with asyncio.timeout(self._seconds):
                request = await context.read()
        except TimeoutError:
            message = f"the request did not arrive within {self._seconds:g} s of its headers"
            await context.abort_with_status(rpc_status.to_status(to_status(DeadlineError(message, "REQUEST_LATE"))))
        if request is grpc.aio.EOF:
            error = InvalidArgumentError("the call ended without a request", "BAD_MESSAGE")
            await context.abort_with_status(rpc_status.to_status(to_status(error)))
        return request

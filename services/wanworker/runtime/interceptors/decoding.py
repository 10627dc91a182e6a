"""Bytes become request messages inside of the error mapping.

gRPC itself would do it before any interceptor's handler runs, and answer UNKNOWN with a Python class's name to bytes
that are no message.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from wanworker.runtime.errors import InvalidArgumentError
from wanworker.runtime.interceptors._call import Handler, is_infrastructure, rebuilt

_Decode = Callable[[bytes], Any]


class DecodingInterceptor(grpc.aio.ServerInterceptor):
    """Decodes requests; what is no message of the method's type is INVALID_ARGUMENT (reason BAD_MESSAGE).

    Interceptors outside of it see bytes in place of the request.
    """

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Takes the decoding out of gRPC's hands. Called by gRPC once a call."""
        handler = await continuation(handler_call_details)
        if handler is None or is_infrastructure(handler_call_details.method):
            return handler
        decode: _Decode | None = handler.request_deserializer
        if decode is None:
            return handler
        read = _decoded_stream if handler.request_streaming else _decoded

        def around(behaviour: Callable[..., Any]) -> Callable[..., Any]:
            return lambda request, context: behaviour(read(request, decode), context)

        return rebuilt(handler, around, request_deserializer=None)


def _decoded(data: bytes, decode: _Decode) -> Any:
    try:
        return decode(data)
    except DecodeError as error:
        message = f"the request's {len(data)} bytes are no message of the method's request type"
        raise InvalidArgumentError(message, "BAD_MESSAGE") from error


async def _decoded_stream(items: AsyncIterator[bytes], decode: _Decode) -> AsyncIterator[Any]:
    async for data in items:
        yield _decoded(data, decode)

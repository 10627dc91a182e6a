"""Requests are checked before a handler sees them."""

from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.message import Message

from wanworker.runtime.interceptors._call import Call, CallInterceptor, Proceed
from wanworker.runtime.validation import validate


class ValidationInterceptor(CallInterceptor):
    """Applies the protos' rules to each request message.

    Of a streamed request every message is checked when the handler takes it from the iterator; `context.read`
    is not covered, so handlers of streamed requests use the iterator.
    """

    async def around(self, call: Call, proceed: Proceed) -> Any:
        """Serves the call if its request is in order.

        Raises:
            InvalidArgumentError: It is not; every violation is named.
        """
        if hasattr(call.request, "__aiter__"):
            return await proceed(_validated(call.request))
        validate(call.request)
        return await proceed(call.request)


async def _validated(requests: AsyncIterator[Message]) -> AsyncIterator[Message]:
    async for request in requests:
        validate(request)
        yield request

"""The asynchronous client of an enhancer, for those who want a better prompt and no video."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Self, cast

import grpc

from wanworker.client.connection import DEFAULT_ENHANCER, DEFAULT_TIMEOUT, Connection, Endpoint
from wanworker.client.conversions import enhance_event_from_proto, enhancer_status_from_proto
from wanworker.client.events import EnhanceEvent
from wanworker.client.peers import EnhancerStatus
from wanworker.v1 import enhancer_pb2, enhancer_pb2_grpc

if TYPE_CHECKING:
    from wanworker.v1.enhancer_pb2_grpc import EnhancerServiceAsyncStub


class AsyncEnhancer:
    """A connection to an enhancer. One serves any number of tasks of one event loop."""

    def __init__(
        self,
        address: str | None = None,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        api_key: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        channel_options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        """Takes an address, by default WANWORKER_ENHANCER_ADDRESS or 127.0.0.1:50052; the rest is as in
        AsyncClient."""
        self._connection = Connection(
            Endpoint.of(
                address,
                "WANWORKER_ENHANCER_ADDRESS",
                DEFAULT_ENHANCER,
                credentials=credentials,
                api_key=api_key,
                timeout=timeout,
                options=channel_options,
            )
        )

    @property
    def address(self) -> str:
        """The enhancer's address."""
        return self._connection.endpoint.address

    @property
    def _stub(self) -> "EnhancerServiceAsyncStub":
        return cast("EnhancerServiceAsyncStub", enhancer_pb2_grpc.EnhancerServiceStub(self._connection.channel))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection; what still runs on it is cancelled."""
        await self._connection.close()

    async def enhance(
        self,
        prompt: str,
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        timeout: float | None = None,
    ) -> AsyncGenerator[EnhanceEvent, None]:
        """Rewrites a prompt and yields it as it is written; the last event is an EnhanceCompleted.

        Closing the iterator stops the writing within one token.
        """
        request = enhancer_pb2.EnhanceRequest(prompt=prompt, max_tokens=max_tokens, temperature=temperature, seed=seed)
        async with aclosing(self._connection.stream(self._stub.Enhance, request, timeout)) as stream:
            async for response in stream:
                event = enhance_event_from_proto(response)
                if event is not None:
                    yield event

    async def status(self, *, timeout: float | None = None) -> EnhancerStatus:
        """Says what is loaded and how busy the enhancer is."""
        request = enhancer_pb2.EnhancerServiceGetStatusRequest()
        return enhancer_status_from_proto(await self._connection.unary(self._stub.GetStatus, request, timeout))

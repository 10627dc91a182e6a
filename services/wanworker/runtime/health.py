"""The standard health service, which lets go of its watchers when the server shuts down."""

import asyncio
from typing import Any

from grpc_health.v1 import health
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

_ServingStatus = HealthCheckResponse.ServingStatus


class Health(health.aio.HealthServicer):  # type: ignore[misc]
    """Answers for the whole server ("") and for its service by name; NOT_SERVING until told otherwise.

    grpcio's own servicer never ends a Watch, so that one idle watcher would hold up a graceful stop for all
    its grace.
    """

    def __init__(self, service: str) -> None:
        """Args: service: Full name of the service, for example `wanworker.v1.GatewayService`."""
        super().__init__()
        self._services = ("", service)
        self._closing = asyncio.Event()

    async def tell(self, *, serving: bool) -> None:
        """Changes what both names answer, and tells the watchers."""
        status = _ServingStatus.SERVING if serving else _ServingStatus.NOT_SERVING
        for service in self._services:
            await self.set(service, status)

    async def close(self) -> None:
        """Answers NOT_SERVING for good and ends every Watch."""
        await self.enter_graceful_shutdown()
        self._closing.set()

    async def Watch(self, request: HealthCheckRequest, context: Any) -> None:  # noqa: N802 - gRPC's names
        """Streams changes until the client leaves or the server closes."""
        watching = asyncio.ensure_future(super().Watch(request, context))
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait((watching, closing), return_when=asyncio.FIRST_COMPLETED)
            # One turn for the last status to be sent.
            await asyncio.sleep(0)
        finally:
            closing.cancel()
            watching.cancel()
            await asyncio.wait((watching,))

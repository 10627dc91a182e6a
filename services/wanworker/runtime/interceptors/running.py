"""Which calls are still being served."""

import asyncio
from typing import Any

from wanworker.runtime.interceptors._call import Call, CallInterceptor, Proceed


class RunningInterceptor(CallInterceptor):
    """Counts running calls. Outermost, so that a call counts until its span and its log line are out.

    gRPC's own `stop` returns when calls that outlast the grace have been cancelled, not when they have cleaned
    up.
    """

    def __init__(self) -> None:
        """Starts at none."""
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def count(self) -> int:
        """Calls that are running now."""
        return self._running

    async def idle(self) -> None:
        """Waits until no call is running."""
        await self._idle.wait()

    async def around(self, call: Call, proceed: Proceed) -> Any:
        """Serves the call and counts it."""
        self._running += 1
        self._idle.clear()
        try:
            return await proceed(call.request)
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

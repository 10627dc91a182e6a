"""Calls that come too early or too late are refused in a way that clients try again."""

from typing import Any

from wanworker.runtime.errors import UnavailableError
from wanworker.runtime.interceptors._call import Call, CallInterceptor, Proceed


class GateInterceptor(CallInterceptor):
    """Answers UNAVAILABLE with RetryInfo for a service that is not ready yet (STARTING) or not any more
    (DRAINING)."""

    def __init__(self) -> None:
        """Starts closed."""
        self._refusal: tuple[str, str] | None = ("STARTING", "the service is starting")

    @property
    def is_open(self) -> bool:
        """Whether calls get through."""
        return self._refusal is None

    def open(self) -> None:
        """Lets calls through."""
        self._refusal = None

    def drain(self) -> None:
        """Refuses new calls for good; those that are running go on."""
        self._refusal = ("DRAINING", "the service is shutting down")

    async def around(self, call: Call, proceed: Proceed) -> Any:
        """Serves the call if the gate is open."""
        if self._refusal is not None:
            reason, message = self._refusal
            raise UnavailableError(message, reason)
        return await proceed(call.request)

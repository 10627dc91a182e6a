"""How much each caller may ask for."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wanworker.runtime.errors import ExhaustedError
from wanworker.runtime.interceptors._call import Call, CallInterceptor, Proceed
from wanworker.runtime.interceptors.auth import CallLimits, current_principal

_BUSY_RETRY_SECONDS = 1.0
"""When a caller that has too many calls running should try again; nobody knows when one of them ends."""


@dataclass
class _Account:
    """What one caller has left."""

    tokens: float
    """Calls that may begin now."""
    filled_at: float
    """When that was so."""
    running: int = 0
    """Calls that run now."""


class LimitInterceptor(CallInterceptor):
    """Answers RESOURCE_EXHAUSTED with RetryInfo to callers that are over their limits.

    Calls a minute are counted by a bucket that holds a minute's worth: a caller may use it at once, then as it fills.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Args: clock: seconds that never go back."""
        self._clock = clock
        self._accounts: dict[str, _Account] = {}

    async def around(self, call: Call, proceed: Proceed) -> Any:
        """Serves the call if its caller has something left."""
        principal = current_principal()
        if principal is None or principal.limits is None:
            return await proceed(call.request)
        account = self._begin(principal.name, principal.limits)
        try:
            return await proceed(call.request)
        finally:
            account.running -= 1

    def _begin(self, name: str, limits: CallLimits) -> _Account:
        moment = self._clock()
        # As many accounts as there are names in the file of keys.
        account = self._accounts.setdefault(name, _Account(float(limits.calls_per_minute), moment))
        rate = limits.calls_per_minute / 60
        filled = account.tokens + (moment - account.filled_at) * rate
        account.tokens, account.filled_at = min(float(limits.calls_per_minute), filled), moment
        if account.running >= limits.concurrent_calls:
            raise ExhaustedError(
                f"'{name}' has {account.running} calls running, as many as it may",
                "TOO_MANY_CALLS",
                {"concurrent_calls": str(limits.concurrent_calls)},
                _BUSY_RETRY_SECONDS,
            )
        if account.tokens < 1:
            raise ExhaustedError(
                f"'{name}' may make {limits.calls_per_minute} calls a minute",
                "TOO_MANY_CALLS",
                {"calls_per_minute": str(limits.calls_per_minute)},
                (1 - account.tokens) / rate,
            )
        account.tokens -= 1
        account.running += 1
        return account

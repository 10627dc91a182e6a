"""Who makes a call."""

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

from opentelemetry import trace

from wanworker.runtime import names
from wanworker.runtime.interceptors._call import Call, CallInterceptor, Proceed
from wanworker.runtime.logging import bind


@dataclass(frozen=True)
class CallLimits:
    """How much a caller may ask for."""

    calls_per_minute: int
    """Calls that may begin, over any minute and a burst of as many."""
    concurrent_calls: int
    """Calls that may run at once."""


@dataclass(frozen=True)
class Principal:
    """Who makes a call."""

    name: str
    """Identity, for logs and ownership."""
    claims: Mapping[str, str] = field(default_factory=dict)
    """What else the authenticator knows of it."""
    limits: CallLimits | None = None
    """No limits when None."""


class Authenticator(Protocol):
    """Finds out who makes a call."""

    async def authenticate(self, metadata: Mapping[str, str | bytes], method: str) -> Principal:
        """Returns the caller.

        Args:
            metadata: The call's metadata, keys in lower case.
            method: Full name of the method, for example `wanworker.v1.GatewayService/GetJob`.

        Raises:
            UnauthenticatedError: The caller did not say who it is, or lied.
            PermissionDeniedError: The caller may not call this method.
        """


_principal: ContextVar[Principal | None] = ContextVar("wanworker_principal", default=None)


def current_principal() -> Principal | None:
    """Returns who makes the call that is being served; None if nobody asked."""
    return _principal.get()


class AuthInterceptor(CallInterceptor):
    """Asks an authenticator before the handler sees anything of the call."""

    def __init__(self, authenticator: Authenticator) -> None:
        """Args: authenticator: is asked once a call."""
        self._authenticator = authenticator

    async def around(self, call: Call, proceed: Proceed) -> Any:
        """Serves the call with `current_principal` set, its name in the call's log lines and span."""
        principal = await self._authenticator.authenticate(call.metadata, call.method)
        bind(caller=principal.name)
        trace.get_current_span().set_attribute(names.ENDUSER_ID, principal.name)
        token = _principal.set(principal)
        try:
            return await proceed(call.request)
        finally:
            _principal.reset(token)

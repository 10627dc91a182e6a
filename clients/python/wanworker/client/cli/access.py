"""What the command line shows of itself to a service: API key and certificates."""

import os
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import grpc

from wanworker.client.tls import tls_credentials


@dataclass(frozen=True)
class Access:
    """The options before the command."""

    tls: bool = False
    """Whether to use TLS with the authorities that gRPC brings."""
    ca: Path | None = None
    """Authorities to trust instead; switches TLS on."""
    certificate: Path | None = None
    """Our own certificate; switches TLS on."""
    key: Path | None = None
    """Its key."""

    @property
    def api_key(self) -> str | None:
        """From the environment only: other users of the machine can read options."""
        return os.environ.get("WANWORKER_API_KEY") or None

    @property
    def credentials(self) -> grpc.ChannelCredentials | None:
        """TLS credentials; None for plaintext."""
        if not (self.tls or self.ca or self.certificate or self.key):
            return None
        return tls_credentials(self.ca, self.certificate, self.key)


_NOTHING = Access()
_access: ContextVar[Access] = ContextVar("wanworker_cli_access", default=_NOTHING)


def show(given: Access) -> None:
    """Keeps what was given before the command, for the connections that it makes."""
    _access.set(given)


def access() -> Access:
    """Returns what was given before the command that runs."""
    return _access.get()

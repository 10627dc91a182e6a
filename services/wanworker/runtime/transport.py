"""Numbers that the server's and the channels' ends of a connection must agree on."""

import ipaddress
from typing import Final

MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""Longest message that is sent, and that a channel of ours takes. Above the 4 MiB that a server takes by
default, because an answer repeats the request (a job carries its spec, reference image and all) and adds to
it."""

CHUNK_BYTES: Final = 256 * 1024
"""Longest piece of a file in one message: short enough not to hold up other calls on the connection."""

KEEPALIVE_SECONDS: Final = 60
"""How often either end asks whether the other still lives: a client that lost its network frees the GPU that
soon."""

KEEPALIVE_TIMEOUT_SECONDS: Final = 20
"""How long the answer may take before the connection counts as dead."""

MIN_PING_INTERVAL_SECONDS: Final = 30
"""Clients that ping more often are told GOAWAY (too_many_pings). Below `KEEPALIVE_SECONDS`, or our own
clients would be; gRPC's default of 300 s is above it."""

IDLE_SECONDS: Final = 30 * 60
"""Connections without calls are closed after this; the next call opens a new one by itself."""

MAX_STATUS_BYTES: Final = 4 * 1024
"""Longest status details: clients refuse trailers over 8 KiB, and the message travels beside the details once
more."""

MAX_METADATA_BYTES: Final = 8 * 1024
"""Longest metadata of a call, names and 32 bytes for each entry included. Beyond it calls fail, at random up to
`ABSOLUTE_MAX_METADATA_BYTES` and always above."""

ABSOLUTE_MAX_METADATA_BYTES: Final = 16 * 1024
"""Where gRPC's random refusal ends."""

MAX_STREAMS: Final = 256
"""Calls at once on one connection; a client's further ones wait on its side. One watcher is one call."""

HANDSHAKE_SECONDS: Final = 10
"""How long a connection may take to say what it wants before it is dropped; gRPC's default is two minutes."""

REQUEST_SECONDS: Final = 30.0
"""How long a call's request may take to arrive after its headers."""


def is_loopback(host: str) -> bool:
    """Whether a host, as it stands in an address, is this machine and nobody else's."""
    name = host.strip("[]")
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def host_of(address: str) -> str:
    """The host of host:port."""
    return address.rpartition(":")[0].strip("[]")

"""Numbers that the server's and the channels' ends of a connection must agree on."""

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

"""A service's life: bind, warm up, serve, drain, stop.

::

    start()    bind → NOT_SERVING → warm_up() → SERVING
    stop()     NOT_SERVING → pause → drain() → running calls end, within the grace → close()

Calls that come before warm-up is over or after draining began are answered UNAVAILABLE (reason STARTING or
DRAINING) with RetryInfo; health and reflection answer at any time.
"""

import asyncio
import contextlib
import errno
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
from grpc_health.v1 import health as health_service
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from wanworker.runtime.errors import (
    DeadlineError,
    ExhaustedError,
    ServiceError,
    UnavailableError,
)
from wanworker.runtime.health import Health
from wanworker.runtime.interceptors import (
    Authenticator,
    GateInterceptor,
    PatienceInterceptor,
    RunningInterceptor,
    default_interceptors,
)
from wanworker.runtime.settings import ServiceSettings
from wanworker.runtime.tls import TlsFiles, server_credentials
from wanworker.runtime.transport import (
    ABSOLUTE_MAX_METADATA_BYTES,
    HANDSHAKE_SECONDS,
    IDLE_SECONDS,
    KEEPALIVE_SECONDS,
    KEEPALIVE_TIMEOUT_SECONDS,
    MAX_MESSAGE_BYTES,
    MAX_METADATA_BYTES,
    MAX_STREAMS,
    MIN_PING_INTERVAL_SECONDS,
    REQUEST_SECONDS,
    is_loopback,
)

_LOG = logging.getLogger("wanworker.runtime")
_FIRST_WARM_UP_PAUSE_SECONDS = 1.0
_LONGEST_WARM_UP_PAUSE_SECONDS = 30.0
_CLEAN_UP_SECONDS = 5.0
"""How long calls that were cancelled at the end of the grace may take to clean up."""
_HEALING = (UnavailableError, ExhaustedError, DeadlineError)
"""Failures of warm-up that time heals: a peer that is not up yet, memory that somebody else still holds."""


class StartError(Exception):
    """The service cannot start, and trying again would not help. The message is one line for the operator."""


@dataclass(frozen=True)
class ServiceDefinition:
    """What makes a service, apart from the server around it. All callables run in the server's event loop."""

    name: str
    """Full name, for example `wanworker.v1.GatewayService`."""
    add_to_server: Callable[[grpc.aio.Server], None]
    """Registers the servicer."""
    warm_up: Callable[[], Awaitable[None]]
    """Makes the service ready, after the port is bound; health is NOT_SERVING until it has returned. It may
    be called again after it raised UnavailableError, ExhaustedError or DeadlineError; anything else ends the
    process."""
    drain: Callable[[], Awaitable[None]]
    """Refuses or hands back work, when no new calls come any more and before running ones are waited for.
    Only called if warm-up had succeeded; cut off by a cancel when the grace is over."""
    close: Callable[[], Awaitable[None]]
    """Releases everything, after the last call has ended. Called exactly once, also if warm-up failed or
    was cut short."""
    authenticator: Authenticator | None = None
    """Who decides who may call; everybody may when None."""
    broken: Callable[[], Awaitable[None]] | None = None
    """Returns once only a new process can serve again; this one then stops, with an exit code of its own."""


class ServiceServer:
    """A service on a port, with health, reflection, limits and the interceptors that all services share."""

    def __init__(
        self,
        definition: ServiceDefinition,
        settings: ServiceSettings,
        *,
        interceptors: Sequence[grpc.aio.ServerInterceptor] | None = None,
    ) -> None:
        """Prepares a server; nothing is bound yet. Needs a running event loop.

        Args:
            definition: The service.
            settings: Where to listen, limits and times.
            interceptors: Instead of `default_interceptors(definition.authenticator)`, outermost first.
        """
        self._definition = definition
        self._settings = settings
        self._gate = GateInterceptor()
        self._running = RunningInterceptor()
        self._health = Health(definition.name)
        chain = default_interceptors(definition.authenticator) if interceptors is None else list(interceptors)
        chain = [PatienceInterceptor(REQUEST_SECONDS), self._running, *chain, self._gate]
        self._server = grpc.aio.server(interceptors=chain, options=_options(settings))
        self._port = 0
        self._stopping: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The bound port; 0 before `listen`."""
        return self._port

    @property
    def address(self) -> str:
        """Where clients on this machine find the server, for example `127.0.0.1:50051`."""
        host = self._settings.host
        if host in ("0.0.0.0", "::", "[::]", ""):
            host = "127.0.0.1"
        return _join(host, self._port)

    async def start(self) -> int:
        """Binds, warms up, and returns the port once the service is SERVING.

        Raises:
            StartError: The address cannot be bound, or warm-up failed for good. `stop` must still be called.
        """
        port = await self.listen()
        await self.warm_up()
        return port

    async def listen(self) -> int:
        """Binds and answers health checks with NOT_SERVING; returns the port.

        Raises:
            StartError: The address cannot be bound, the TLS files cannot be used or are missing where they are needed,
                or the port file cannot be written.
        """
        credentials = _credentials(self._settings)
        await self._health.tell(serving=False)
        self._definition.add_to_server(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if self._settings.reflection:
            names = (self._definition.name, health_service.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)
        self._port = _bind(self._server, self._settings.host, self._settings.port, credentials)
        await self._server.start()
        if self._settings.port_file is not None:
            _write_port(self._settings.port_file, self._port)
        security = "without TLS" if credentials is None else "with TLS"
        if self._settings.tls_client_ca is not None:
            security += " and client certificates"
        _LOG.info("%s listens on %s %s", self._definition.name, _join(self._settings.host, self._port), security)
        return self._port

    async def warm_up(self) -> None:
        """Makes the service ready, trying again for as long as waiting may help.

        Raises:
            StartError: Warm-up failed for good.
        """
        pause = _FIRST_WARM_UP_PAUSE_SECONDS
        while True:
            try:
                await self._definition.warm_up()
                break
            except _HEALING as error:
                asked = getattr(error, "retry_after_seconds", None) or 0.0
                wait = min(max(pause, asked), _LONGEST_WARM_UP_PAUSE_SECONDS)
                _LOG.warning("not ready yet, next try in %.0f s: %s (%s)", wait, error, error.reason)
                await asyncio.sleep(wait)
                pause *= 2
            except ServiceError as error:
                raise StartError(f"{self._definition.name} cannot start: {error} ({error.reason})") from error
        self._gate.open()
        await self._health.tell(serving=True)
        _LOG.info("%s is serving", self._definition.name)

    async def stop(self) -> None:
        """Drains and stops, within `shutdown_grace_seconds`, the drain pause and 5 s for cancelled calls.

        Calling it again waits for the first.
        """
        if self._stopping is None:
            self._stopping = asyncio.ensure_future(self._stop())
        await asyncio.shield(self._stopping)

    async def _stop(self) -> None:
        try:
            if self._port:
                await self._drain()
        finally:
            if self._settings.port_file is not None and self._port:
                with contextlib.suppress(OSError):
                    self._settings.port_file.unlink()
            await self._definition.close()

    async def _drain(self) -> None:
        grace = self._settings.shutdown_grace_seconds
        was_serving = self._gate.is_open
        await self._health.close()
        if was_serving:
            pause = self._settings.drain_pause_seconds
            _LOG.info("draining: no longer serving, %.1f s for the news to spread", pause)
            await asyncio.sleep(pause)
        self._gate.drain()
        deadline = time.monotonic() + grace
        if was_serving:
            await self._drain_definition(grace)
        await self._server.stop(max(0.0, deadline - time.monotonic()))
        await self._wait_for_clean_up()
        _LOG.info("%s has stopped", self._definition.name)

    async def _wait_for_clean_up(self) -> None:
        """Gives calls that were cut off the time to free what they hold, before `close` takes it away."""
        try:
            async with asyncio.timeout(_CLEAN_UP_SECONDS):
                await self._running.idle()
        except TimeoutError:
            _LOG.warning("%d calls did not end when they were cancelled", self._running.count)

    async def _drain_definition(self, grace: float) -> None:
        try:
            async with asyncio.timeout(grace):
                await self._definition.drain()
        except TimeoutError:
            _LOG.warning("draining took longer than the %.1f s of grace", grace)
        except Exception:
            _LOG.exception("draining failed")


def _options(settings: ServiceSettings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_receive_bytes),
        ("grpc.max_send_message_length", max(MAX_MESSAGE_BYTES, settings.max_receive_bytes)),
        # Both ways: a client that vanished without a word must not hold the device.
        ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1000),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_SECONDS * 1000),
        ("grpc.http2.min_ping_interval_without_data_ms", MIN_PING_INTERVAL_SECONDS * 1000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.max_connection_idle_ms", IDLE_SECONDS * 1000),
        # A stranger can only hold so much: no half-open connection, no endless metadata, no thousand calls on one.
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_SECONDS * 1000),
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", ABSOLUTE_MAX_METADATA_BYTES),
        ("grpc.max_concurrent_streams", MAX_STREAMS),
        # Otherwise Linux lets two servers share a port, and calls go to either.
        ("grpc.so_reuseport", 0),
    ]


def _credentials(settings: ServiceSettings) -> grpc.ServerCredentials | None:
    """TLS as the settings have it; None for plaintext where that is allowed."""
    named = settings.variable
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        raise StartError(f"{named('tls_certificate')} and {named('tls_key')} go together: one of them is not set")
    if settings.tls_certificate is not None:
        try:
            return server_credentials(TlsFiles(settings.tls_certificate, settings.tls_key, settings.tls_client_ca))
        except ServiceError as error:
            raise StartError(str(error)) from error
    if settings.tls_client_ca is not None:
        raise StartError(f"{named('tls_client_ca')} needs {named('tls_certificate')} and {named('tls_key')}")
    if not is_loopback(settings.host) and not settings.allow_plaintext:
        raise StartError(
            f"{named('host')}={settings.host} is not loopback and there is no TLS: set {named('tls_certificate')} "
            f"and {named('tls_key')}, or {named('allow_plaintext')}=true where the network is safe"
        )
    return None


def _bind(server: grpc.aio.Server, host: str, port: int, credentials: grpc.ServerCredentials | None) -> int:
    address = _join(host, port)
    # Asked of the system first, because gRPC's own failure neither says why nor leaves standard error alone.
    reason = unbindable(host, port)
    if reason:
        raise StartError(f"cannot listen on {address}: {reason}")
    try:
        if credentials is None:
            return int(server.add_insecure_port(address))
        return int(server.add_secure_port(address, credentials))
    except RuntimeError as error:
        raise StartError(f"cannot listen on {address}: {error}") from error


def unbindable(host: str, port: int) -> str:
    """Why the system would refuse this address; empty if it would not."""
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        return error.strerror or str(error)
    family, kind, protocol, _, where = found[0]
    with contextlib.closing(socket.socket(family, kind, protocol)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(where)
            probe.listen(1)
        except OSError as error:
            return os.strerror(error.errno or errno.EIO)
    return ""


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def _write_port(path: Path, port: int) -> None:
    """Writes a file that readers see whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(f"{port}\n")
        temporary.replace(path)
    except OSError as error:
        raise StartError(f"cannot write the port file {path}: {error.strerror}") from error

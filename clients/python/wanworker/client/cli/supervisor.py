"""Starts the services, waits until they serve, notices when one dies, and stops them in order."""

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import grpc
import grpc.aio

from wanworker.client.cli.stack import SERVICES, StackError, StackOptions, check_installed, environment

_POLL_SECONDS: Final = 0.1
_LINE_LIMIT: Final = 1024 * 1024
_GUARD: Final = Path(__file__).with_name("orphan_guard.py")
_SERVING: Final = b"\x08\x01"
"""grpc.health.v1.HealthCheckResponse{status: SERVING}; its one field is too little to depend on a package
for."""

LogLine = Callable[[str, str], None]
"""Takes a service's name and a line that it wrote."""


class ServiceDiedError(StackError):
    """A service ended though nobody asked it to."""

    def __init__(self, service: str, code: int) -> None:
        how = f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
        super().__init__(f"the {service} died ({how})")
        self.service = service
        self.code = code


@dataclass(frozen=True)
class Child:
    """One running service."""

    name: str
    """Name of the service."""
    process: asyncio.subprocess.Process
    """Its process."""
    log: asyncio.Task[None]
    """Hands on what it writes."""
    port_file: Path
    """Where it writes its port once it listens: proof that the port is this process's."""


class Supervisor:
    """The three services as children. `async with` starts them and stops them."""

    def __init__(self, options: StackOptions, log: LogLine) -> None:
        self._options = options
        self._log = log
        self._children: list[Child] = []
        self._folder = tempfile.TemporaryDirectory(prefix="wanworker-up-")
        self.ports: dict[str, int] = {}
        """Ports of the services that serve."""

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def gateway_address(self) -> str:
        """Where the gateway serves."""
        return f"127.0.0.1:{self.ports['gateway']}"

    async def start(self) -> None:
        """Starts enhancer and generator, then the gateway, each held back until those before it serve.

        StackError if they are not installed or one dies on the way.
        """
        check_installed()
        peers = [await self._spawn(name) for name in SERVICES[:-1]]
        await self._until_serving(peers)
        await self._until_serving([await self._spawn(SERVICES[-1])])

    async def first_death(self) -> ServiceDiedError:
        """Returns once a service has ended by itself."""
        waits = {asyncio.ensure_future(child.process.wait()): child for child in self._children}
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        dead = next(iter(done))
        return ServiceDiedError(waits[dead].name, dead.result())

    async def stop(self) -> None:
        """Sends SIGTERM and waits: the gateway first, whose jobs need its peers while it drains. Cancelled,
        it kills."""
        try:
            for group in (self._children[2:], self._children[:2]):
                for child in group:
                    _signal(child, signal.SIGTERM)
                for child in group:
                    await child.process.wait()
        except asyncio.CancelledError:
            for child in self._children:
                _signal(child, signal.SIGKILL)
            raise
        finally:
            await asyncio.gather(*(child.log for child in self._children), return_exceptions=True)
            self._folder.cleanup()

    async def _spawn(self, name: str) -> Child:
        port_file = Path(self._folder.name) / name
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(_GUARD), str(os.getpid()), f"wanworker.{name}"),
            env=environment(name, self._options, port_file, self.ports),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=_LINE_LIMIT,
            # Out of the terminal's foreground group: Ctrl-C reaches us alone, and a child sees one signal,
            # not two.
            process_group=0,
        )
        child = Child(name, process, asyncio.ensure_future(self._hand_on(name, process)), port_file)
        self._children.append(child)
        return child

    async def _hand_on(self, name: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # longer than the limit; the rest of it follows as the next line
                line = b"(a line too long to show)"
            if not line:
                return
            self._log(name, line.decode(errors="replace").rstrip())

    async def _until_serving(self, children: list[Child]) -> None:
        waiting = asyncio.ensure_future(self._all_serve(children))
        death = asyncio.ensure_future(self.first_death())
        try:
            await asyncio.wait({waiting, death}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                raise death.result()
            await waiting
        finally:
            for task in (waiting, death):
                task.cancel()
                with suppress(asyncio.CancelledError, StackError):
                    await task

    async def _all_serve(self, children: list[Child]) -> None:
        for child in children:
            port = await _written_port(child.port_file)
            await _serving(f"127.0.0.1:{port}")
            self.ports[child.name] = port


async def _written_port(file: Path) -> int:
    while True:
        if (port := _read_port(file)) is not None:
            return port
        await asyncio.sleep(_POLL_SECONDS)


def _read_port(file: Path) -> int | None:
    with suppress(FileNotFoundError, ValueError):
        return int(file.read_text())
    return None


async def _serving(address: str) -> None:
    """Returns once the standard health service says SERVING."""
    async with grpc.aio.insecure_channel(address) as channel:
        check: Callable[..., Awaitable[bytes]] = channel.unary_unary("/grpc.health.v1.Health/Check")
        while True:
            with suppress(grpc.aio.AioRpcError):
                if await check(b"", timeout=2.0) == _SERVING:
                    return
            await asyncio.sleep(_POLL_SECONDS)


def _signal(child: Child, number: signal.Signals) -> None:
    if child.process.returncode is None:
        with suppress(ProcessLookupError):
            child.process.send_signal(number)

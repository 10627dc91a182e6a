"""Kills services and starts them again."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable

from tests.chaos.plan import PlannedKill
from tests.support.system import System

_LOOK_SECONDS = 0.05


class Monkey:
    """Carries out the planned kills; also starts again whatever ends by itself, and remembers that it did."""

    def __init__(self, system: System, kills: tuple[PlannedKill, ...], finished: Callable[[], int]) -> None:
        """`finished` says how many jobs have ended."""
        self._system = system
        self._plan = kills
        self._finished = finished
        self._lock = asyncio.Lock()
        self.kills: Counter[str] = Counter()
        """Kills by service."""
        self.exits: list[str] = []
        """Services that ended without having been killed, with their exit codes."""
        self.last = ""
        """What happened last, for the display."""

    async def run(self) -> None:
        """Returns when all kills are done."""
        for kill in self._plan:
            while self._finished() < kill.after_finished:  # noqa: ASYNC110 - a count, not an event
                await asyncio.sleep(_LOOK_SECONDS)
            await asyncio.sleep(kill.delay)
            await self.kill(kill.service, kill.down)

    async def kill(self, service: str, down: float) -> None:
        """kill -9, a pause, a start; returns before the service serves again."""
        async with self._lock:
            process = self._system.processes[service]
            process.kill()
            await asyncio.to_thread(process.wait)
            self.kills[service] += 1
            self.last = f"killed {service}"
            await asyncio.sleep(down)
            self._system.start(service)

    async def babysit(self) -> None:
        """Starts again what ended by itself, as a supervisor would; runs until cancelled."""
        while True:
            await asyncio.sleep(0.5)
            async with self._lock:
                for service in self._system.ports:
                    code = self._system.processes[service].poll()
                    if code is not None:
                        self.exits.append(f"{service} exited with {code}")
                        self.last = self.exits[-1]
                        self._system.start(service)

    async def all_serve(self) -> None:
        """Waits until all serve."""
        for service in self._system.ports:
            for _ in range(3):
                # One that ended by itself meanwhile is started again by `babysit`.
                with contextlib.suppress(AssertionError):
                    await asyncio.to_thread(self._system.wait_until_serving, service)
                    break
                await asyncio.sleep(1)

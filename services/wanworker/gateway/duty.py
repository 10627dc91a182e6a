"""Which gateway works: any number serve the calls, the one that holds the lock runs the jobs.

::

    standby ── the lock is free ──▶ active: takes over the jobs that have not ended, runs them
       ▲                              │
       └──── the lock is lost ────────┘    stops what it runs at once; another may be at it already
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from wanworker.gateway.book import JobBook
from wanworker.gateway.lock import ActiveLock
from wanworker.gateway.runner import JobRunner
from wanworker.runtime.errors import UnavailableError

_LOG = logging.getLogger("wanworker.gateway.duty")

LOOK_SECONDS = 0.2
"""How late the active gateway sees a job or a cancel that another one has left in the store."""

TAKE_BACK_SECONDS = 1.0
"""How often it looks for work that another gateway has taken out of the queue, not knowing that it may not."""

LOCK_SECONDS = 0.5
"""How often the lock is tried, or checked."""

LOCK_TIMEOUT_SECONDS = 3.0
"""A database that does not answer for so long has taken the lock away."""


class Duty:
    """Takes over when it can, steps down when it must."""

    def __init__(
        self, lock: ActiveLock, book: JobBook, runner: JobRunner, housekeeping: Callable[[], Awaitable[None]]
    ) -> None:
        self._lock = lock
        self._book = book
        self._runner = runner
        self._housekeeping = housekeeping
        self._task: asyncio.Task[None] | None = None
        self._looked_at_lock = float("-inf")
        self._took_back = float("-inf")

    async def start(self) -> None:
        """Try to become active now, and keep trying."""
        await self._look_at_lock()
        self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Change no more; what runs goes on running."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def close(self) -> None:
        """Let another gateway take over."""
        await self.stop()
        await self._runner.close()
        await self._lock.release()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                if time.monotonic() - self._looked_at_lock > LOCK_SECONDS:
                    await self._look_at_lock()
                if self._book.active:
                    await self._look_after()
            except UnavailableError as error:
                _LOG.warning("%s; trying again", error)
            except Exception:
                # Whatever it is, the next round may do better; giving up would leave the jobs lying.
                _LOG.exception("looking after the jobs failed; trying again")

    async def _look_at_lock(self) -> None:
        self._looked_at_lock = time.monotonic()
        if not self._book.active:
            if await self._answered(self._lock.acquire()):
                await self._take_over()
        elif not await self._answered(self._lock.held()):
            _LOG.warning("the lock is lost: another gateway may be working, so this one stops")
            await self._step_down()

    async def _answered(self, question: Awaitable[bool]) -> bool:
        try:
            async with asyncio.timeout(LOCK_TIMEOUT_SECONDS):
                return await question
        except TimeoutError:
            return False

    async def _take_over(self) -> None:
        try:
            jobs = await self._book.activate(self._lock.grace_seconds)
            await self._housekeeping()
            await self._runner.start(jobs)
        except BaseException:
            await self._step_down()
            raise
        _LOG.info("this gateway works now; %d jobs taken over", len(jobs))

    async def _step_down(self) -> None:
        # The work first: a step that finds its job gone would take it for ended.
        await self._runner.drain()
        self._book.deactivate()
        await self._runner.close()
        await self._lock.release()

    async def _look_after(self) -> None:
        await self._book.look_for_word()
        for job in self._book.all_live():
            await self._runner.submit(job)
        if time.monotonic() - self._took_back > TAKE_BACK_SECONDS:
            self._took_back = time.monotonic()
            # DBOS asks a database that is away again and again; the lock must be looked at meanwhile.
            async with asyncio.timeout(LOCK_TIMEOUT_SECONDS):
                await self._runner.take_back()
        await self._housekeeping()

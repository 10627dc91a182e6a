"""Who works: exactly one gateway of those that share a database holds its lock.

SQLite: a lock on a file beside the database. The kernel gives it back when its holder dies, however that happens.
Postgres: an advisory lock, which lives as long as the connection that took it.
"""

import asyncio
import contextlib
import fcntl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Protocol

import sqlalchemy as sa

from wanworker.gateway.database import POSTGRES_CONNECT

ADVISORY_KEY = 0x77616E776F726B65
"""Key of the advisory lock, the same in every database: "wanworke" in ASCII."""

_QUICK_TO_NOTICE = (
    # A holder that vanished from the network must not hold the lock for two hours, which is TCP's default.
    "SET tcp_keepalives_idle = 2",
    "SET tcp_keepalives_interval = 1",
    "SET tcp_keepalives_count = 2",
)


class ActiveLock(Protocol):
    """Held by the one gateway that works."""

    grace_seconds: float
    """How long its last holder may go on without noticing that it has lost it."""

    async def acquire(self) -> bool:
        """Try to take it, without waiting; whether this process holds it now."""

    async def held(self) -> bool:
        """Whether this process still holds it."""

    async def release(self) -> None:
        """Give it back. Doing it twice is fine."""


class FileLock:
    """`ActiveLock` on a file."""

    grace_seconds = 0.0
    """Who has lost it is dead."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    async def acquire(self) -> bool:
        """Try to take it, without waiting; whether this process holds it now."""
        if self._file is not None:
            return True
        file = self._path.open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return False
        self._file = file
        return True

    async def held(self) -> bool:
        """Whether this process still holds it: nobody can take it away."""
        return self._file is not None

    async def release(self) -> None:
        """Give it back. Doing it twice is fine."""
        if self._file is not None:
            self._file.close()
            self._file = None


class AdvisoryLock:
    """`ActiveLock` on a connection to Postgres, which serves for nothing else."""

    grace_seconds = 1.0
    """It is asked for more often than that; who cannot ask cannot write either."""

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args=POSTGRES_CONNECT)
        self._connection: sa.Connection | None = None
        # One thread: a connection is not for two.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="active-lock")

    async def acquire(self) -> bool:
        """Try to take it, without waiting; whether this process holds it now. False if the database is away."""
        return await self._run(self._acquire)

    async def held(self) -> bool:
        """Whether this process still holds it."""
        return await self._run(self._held)

    async def release(self) -> None:
        """Give it back. Doing it twice is fine."""
        await self._run(self._drop)

    async def _run(self, work: Callable[[], bool]) -> bool:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _acquire(self) -> bool:
        if self._connection is not None:
            return self._held()
        try:
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        except sa.exc.DBAPIError:
            return False
        self._connection = connection
        try:
            for statement in _QUICK_TO_NOTICE:
                connection.execute(sa.text(statement))
            if connection.execute(sa.select(sa.func.pg_try_advisory_lock(ADVISORY_KEY))).scalar():
                return True
        except sa.exc.DBAPIError:
            pass
        self._drop()
        return False

    def _held(self) -> bool:
        if self._connection is None:
            return False
        try:
            # The session that answers is the session that holds the lock.
            self._connection.execute(sa.select(1))
        except sa.exc.SQLAlchemyError:
            self._drop()
            return False
        return True

    def _drop(self) -> bool:
        connection, self._connection = self._connection, None
        if connection is not None:
            # The lock ends with the session; nothing must be left of it in a pool.
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                connection.invalidate()
                connection.close()
        return False


def lock_for(url: str, data_dir: Path) -> ActiveLock:
    """The lock that belongs to a database, whichever gateway asks."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return AdvisoryLock(url)
    if not parsed.database or parsed.database == ":memory:":
        return FileLock(data_dir / "active.lock")
    database = Path(parsed.database)
    return FileLock(database.with_name(f"{database.name}.active"))

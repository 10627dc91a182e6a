"""The database under the job store: threads to call it on, and patience while it is away."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from wanworker.runtime.errors import UnavailableError

T = TypeVar("T")

_LOG = logging.getLogger("wanworker.gateway.database")

_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds between tries while the database is away; then the caller is told."""

POSTGRES_CONNECT = {
    "connect_timeout": 3, "keepalives_idle": 2, "keepalives_interval": 1, "keepalives_count": 2,
    "tcp_user_timeout": 5000,
}  # fmt: skip
"""A server that vanished from the network is noticed within seconds, not minutes."""


class StoreUnavailableError(UnavailableError):
    """The database is away, busy or full. A write may have been done or not: writes are made to be repeated."""


class Database:
    """One database. Its few threads are its own, so that nobody else's work delays a job's."""

    def __init__(self, url: str, tables: sa.MetaData) -> None:
        self._url = url
        self._tables = tables
        self._engine: sa.Engine | None = None
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="job-store")

    async def open(self) -> None:
        """Connect, and make what is missing of the tables."""
        if self._engine is None:
            engine = _engine(self._url)
            try:
                await self._run(lambda: _make_tables(engine, self._tables))
            except StoreUnavailableError as error:
                where = engine.url.render_as_string(hide_password=True)
                raise replace(error, message=f"the job database {where} cannot be reached") from error
            self._engine = engine

    async def close(self) -> None:
        """Disconnect."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await asyncio.get_running_loop().run_in_executor(self._threads, engine.dispose)
        self._threads.shutdown(wait=False)

    async def read(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        """All rows. StoreUnavailableError if the database stays away."""

        def work() -> Sequence[sa.Row[Any]]:
            with self._connected().connect() as connection:
                return connection.execute(query).all()

        return await self._run(work)

    async def write(self, statement: sa.Insert | sa.Update | sa.Delete, alone: int | None = None) -> int:
        """How many rows it changed. StoreUnavailableError if the database stays away; it may have been done
        nevertheless, and it may have been done twice. Writes with the same key `alone` come one after the other, so
        that each sees what those before have done."""

        def work() -> int:
            with self._connected().begin() as connection:
                if alone is not None and connection.dialect.name != "sqlite":  # SQLite has one writer anyway
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(alone)))
                return connection.execute(statement).rowcount

        return await self._run(work)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: _patiently(work))

    def _connected(self) -> sa.Engine:
        if self._engine is None:
            raise StoreUnavailableError("the job database is closed", "STORE_UNAVAILABLE")
        return self._engine


def _patiently(work: Callable[[], T]) -> T:
    for pause in (*_PAUSES, None):
        try:
            return work()
        except (DBAPIError, PoolTimeoutError) as error:
            if not _passing(error):
                raise
            if pause is None:
                raise StoreUnavailableError(
                    "the job database cannot be reached", "STORE_UNAVAILABLE", retry_after_seconds=1.0
                ) from error
            _LOG.warning("database: %s; trying again", str(error).splitlines()[0])
            time.sleep(pause)
    raise AssertionError("unreachable")


def _passing(error: DBAPIError | PoolTimeoutError) -> bool:
    """Whether the same statement may well succeed later."""
    return isinstance(error, OperationalError | InterfaceError | PoolTimeoutError) or error.connection_invalidated


def _engine(url: str) -> sa.Engine:
    if sa.make_url(url).get_backend_name() != "sqlite":
        return sa.create_engine(url, connect_args=POSTGRES_CONNECT)
    engine = sa.create_engine(url)

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:
        connection.isolation_level = "IMMEDIATE"
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA busy_timeout=30000")
        connection.execute("PRAGMA synchronous=FULL")

    return engine


def _make_tables(engine: sa.Engine, tables: sa.MetaData) -> None:
    try:
        _make_missing(engine, tables)
    except DBAPIError:
        # Another gateway was making them at the same moment; now they are there, or it fails for good.
        _make_missing(engine, tables)


def _make_missing(engine: sa.Engine, tables: sa.MetaData) -> None:
    tables.create_all(engine)
    found = sa.inspect(engine)
    for table in tables.sorted_tables:
        there = {column["name"] for column in found.get_columns(table.name)}
        for column in table.columns:
            if column.name not in there:
                # A table of an earlier version.
                declared = sa.schema.CreateColumn(column).compile(dialect=engine.dialect)
                with engine.begin() as connection:
                    connection.execute(sa.text(f"ALTER TABLE {table.name} ADD COLUMN {declared}"))

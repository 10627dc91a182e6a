"""Where jobs are kept: one table in the database that DBOS uses too, SQLite or Postgres by URL.

The row is the truth about a job. DBOS knows which step of the work comes next; what the steps found out (the
seed, the enhanced prompt, the settings) stands here, so that a step which is done twice after a crash finds
its own result.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from wanworker.gateway.hub import EPOCH_BITS
from wanworker.gateway.model import FINAL_STATES, JOB_JSON, Job, JobState

T = TypeVar("T")

_FINAL = tuple(int(state) for state in FINAL_STATES)


@dataclass(frozen=True)
class Page:
    """Some jobs of a list."""

    jobs: tuple[Job, ...]
    """Newest first."""
    next_number: int | None
    """Where the next page begins; None on the last."""


class JobStore(Protocol):
    """Keeps jobs. One implementation, two databases; other gateways may read the same store."""

    async def open(self) -> None:
        """Connect, and make the table if it is missing."""

    async def close(self) -> None:
        """Disconnect."""

    async def add(self, job: Job, fingerprint: str, image: bytes) -> bool:
        """Keep a new job; False if its request_id is taken."""

    async def by_request(self, request_id: str) -> tuple[Job, str] | None:
        """The job of a request_id and the fingerprint of its spec."""

    async def get(self, job_id: str) -> Job | None:
        """One job."""

    async def image(self, job_id: str) -> bytes:
        """The bytes of a job's reference image; empty if it has none yet."""

    async def set_image(self, job_id: str, image: bytes) -> None:
        """Keep a fetched reference image."""

    async def save(self, job: Job) -> bool:
        """Write a job; False if it has reached a final state already, which is then left alone."""

    async def page(self, size: int, before: int | None, states: Sequence[JobState]) -> Page:
        """A page of jobs, newest first."""

    async def unfinished(self) -> list[Job]:
        """All jobs that have not ended, in the order in which they are due."""

    async def begin_epoch(self) -> None:
        """Raise the sequence of every unfinished job above all that can have been sent."""


_METADATA = sa.MetaData()

_JOBS = sa.Table(
    "wanworker_jobs",
    _METADATA,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(64), nullable=False, unique=True),
    sa.Column("request_id", sa.String(64), nullable=True, unique=True),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("state", sa.Integer, nullable=False, index=True),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("job", sa.Text, nullable=False),
    sa.Column("image", sa.LargeBinary, nullable=True),
    sqlite_autoincrement=True,
)


class SqlJobStore:
    """`JobStore` on SQLAlchemy core. Its few threads are its own, so that nobody else's work delays a
    job's."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine: sa.Engine | None = None
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="job-store")

    async def open(self) -> None:
        """Connect, and make the table if it is missing."""
        self._engine = await self._run(lambda: _engine(self._url))

    async def close(self) -> None:
        """Disconnect."""
        if self._engine is not None:
            await self._run(self._engine.dispose)
            self._engine = None
        self._threads.shutdown(wait=False)

    async def add(self, job: Job, fingerprint: str, image: bytes) -> bool:
        """Keep a new job; False if its request_id is taken."""
        row = _row(job) | {
            "id": job.id,
            "request_id": job.spec.request_id or None,
            "fingerprint": fingerprint,
            "priority": job.priority,
            "image": image or None,
        }
        try:
            await self._write(sa.insert(_JOBS).values(row))
        except IntegrityError:
            return False
        return True

    async def by_request(self, request_id: str) -> tuple[Job, str] | None:
        """The job of a request_id and the fingerprint of its spec."""
        found = await self._read(
            sa.select(_JOBS.c.job, _JOBS.c.sequence, _JOBS.c.fingerprint).where(_JOBS.c.request_id == request_id)
        )
        return (_job(found[0]), str(found[0].fingerprint)) if found else None

    async def get(self, job_id: str) -> Job | None:
        """One job."""
        found = await self._read(sa.select(_JOBS.c.job, _JOBS.c.sequence).where(_JOBS.c.id == job_id))
        return _job(found[0]) if found else None

    async def image(self, job_id: str) -> bytes:
        """The bytes of a job's reference image; empty if it has none yet."""
        found = await self._read(sa.select(_JOBS.c.image).where(_JOBS.c.id == job_id))
        return bytes(found[0].image or b"") if found else b""

    async def set_image(self, job_id: str, image: bytes) -> None:
        """Keep a fetched reference image."""
        await self._write(sa.update(_JOBS).where(_JOBS.c.id == job_id).values(image=image))

    async def save(self, job: Job) -> bool:
        """Write a job; False if it has reached a final state already, which is then left alone."""
        changed = await self._write(
            sa.update(_JOBS).where(_JOBS.c.id == job.id, _JOBS.c.state.not_in(_FINAL)).values(_row(job))
        )
        return changed == 1

    async def page(self, size: int, before: int | None, states: Sequence[JobState]) -> Page:
        """A page of jobs, newest first."""
        query = sa.select(_JOBS.c.number, _JOBS.c.job, _JOBS.c.sequence).order_by(_JOBS.c.number.desc())
        if before is not None:
            query = query.where(_JOBS.c.number < before)
        if states:
            query = query.where(_JOBS.c.state.in_([int(state) for state in states]))
        found = await self._read(query.limit(size + 1))
        more = len(found) > size
        return Page(tuple(_job(row) for row in found[:size]), int(found[size - 1].number) if more else None)

    async def unfinished(self) -> list[Job]:
        """All jobs that have not ended, in the order in which they are due."""
        query = sa.select(_JOBS.c.job, _JOBS.c.sequence).where(_JOBS.c.state.not_in(_FINAL))
        return [_job(row) for row in await self._read(query.order_by(_JOBS.c.priority, _JOBS.c.number))]

    async def begin_epoch(self) -> None:
        """Raise the sequence of every unfinished job above all that can have been sent."""
        size = 1 << EPOCH_BITS
        sequence = _JOBS.c.sequence - _JOBS.c.sequence % size + size
        await self._write(sa.update(_JOBS).where(_JOBS.c.state.not_in(_FINAL)).values(sequence=sequence))

    async def _read(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        def work() -> Sequence[sa.Row[Any]]:
            with self._connected().connect() as connection:
                return connection.execute(query).all()

        return await self._run(work)

    async def _write(self, statement: sa.Insert | sa.Update) -> int:
        def work() -> int:
            with self._connected().begin() as connection:
                return connection.execute(statement).rowcount

        return await self._run(work)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _connected(self) -> sa.Engine:
        assert self._engine is not None, "the store is not open"
        return self._engine


def _row(job: Job) -> dict[str, Any]:
    return {"state": int(job.state), "sequence": job.sequence, "job": JOB_JSON.dump_json(job).decode()}


def _job(row: sa.Row[Any]) -> Job:
    job = JOB_JSON.validate_json(row.job)
    # The column may be ahead of the document: a new epoch touches the column alone.
    return replace(job, sequence=max(job.sequence, int(row.sequence)))


def _engine(url: str) -> sa.Engine:
    engine = sa.create_engine(url)
    if engine.dialect.name == "sqlite":

        @sa.event.listens_for(engine, "connect")
        def prepare(connection: Any, record: Any) -> None:
            connection.isolation_level = "IMMEDIATE"
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA busy_timeout=30000")
            connection.execute("PRAGMA synchronous=FULL")

    _METADATA.create_all(engine)
    return engine

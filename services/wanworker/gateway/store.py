"""Where jobs are kept: one table in the database that DBOS uses too, SQLite or Postgres by URL.

The row is the truth about a job. DBOS knows which step of the work comes next; what the steps found out (the
seed, the enhanced prompt, the settings) stands here, so that a step which is done twice after a crash finds
its own result.

Any number of gateways read the rows and add new ones; one of them, the active one, writes those that have not
ended. A gateway that was active and does not know yet that it no longer is cannot write either: taking over raises
the sequence of every unfinished row, and `save` never lowers it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from wanworker.gateway.database import Database
from wanworker.gateway.hub import EPOCH_BITS
from wanworker.gateway.model import ANONYMOUS, FINAL_STATES, JOB_JSON, Job, JobState

UNLIMITED = 2**31 - 1
"""Jobs that have not ended, where no limit is set."""

_ADDING = 0x77616E5F61646421
"""Key that keeps two gateways from counting at the same moment: "wan_add!" in ASCII."""

_FINAL = tuple(int(state) for state in FINAL_STATES)


@dataclass(frozen=True)
class Page:
    """Some jobs of a list."""

    jobs: tuple[Job, ...]
    """Newest first."""
    next_number: int | None
    """Where the next page begins; None on the last."""


@dataclass(frozen=True)
class Pending:
    """What the active gateway has to know of a row, without reading the document."""

    id: str
    """The job."""
    sequence: int
    """As it was saved last."""
    cancel_requested: bool
    """Whether some gateway was asked to stop it."""


class NoRoomError(Exception):
    """As many jobs as allowed have not ended."""


class JobStore(Protocol):
    """Keeps jobs. One implementation, two databases. Every method may raise StoreUnavailableError."""

    async def open(self) -> None:
        """Connect, and make the table if it is missing."""

    async def close(self) -> None:
        """Disconnect."""

    async def add(self, job: Job, fingerprint: str, image: bytes, limit: int = UNLIMITED) -> bool:
        """Keep a new job; False if its owner has used its request_id. NoRoomError if `limit` jobs are live, counted
        in the same transaction: no number of gateways gets past it."""

    async def by_request(self, request_id: str, owner: str = ANONYMOUS) -> tuple[Job, str] | None:
        """The job of an owner's request_id and the fingerprint of its spec."""

    async def get(self, job_id: str) -> Job | None:
        """One job."""

    async def image(self, job_id: str) -> bytes:
        """The bytes of a job's reference image; empty if it has none yet."""

    async def set_image(self, job_id: str, image: bytes) -> None:
        """Keep a fetched reference image."""

    async def save(self, job: Job) -> bool:
        """Write a job; False if it has reached a final state already, or another gateway works on it by now:
        then the row is left alone."""

    async def amend(self, job: Job) -> None:
        """Write a job that has ended; for what happens to its file."""

    async def request_cancel(self, job_id: str) -> None:
        """Leave word for the active gateway that a job is to stop."""

    async def pending(self) -> list[Pending]:
        """The unfinished jobs in the order in which they are due."""

    async def counts(self) -> Mapping[JobState, int]:
        """How many unfinished jobs are in which state."""

    async def page(self, size: int, before: int | None, states: Sequence[JobState], owner: str = ANONYMOUS) -> Page:
        """A page of an owner's jobs, newest first."""

    async def unfinished(self) -> list[Job]:
        """All jobs that have not ended, in the order in which they are due."""

    async def begin_epoch(self) -> None:
        """Raise the sequence of every unfinished job above all that can have been sent."""

    async def ended_before(self, moment: float, limit: int) -> list[Job]:
        """Jobs that ended before then, in seconds since 1970, and such whose row does not say when; oldest first."""

    async def delete(self, job_id: str) -> None:
        """Delete a job that has ended, with its reference image; one that has not is left alone."""


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
    sa.Column("cancel_requested", sa.Integer, nullable=False, server_default="0"),
    sa.Column("finished_at", sa.BigInteger, nullable=True),
    sa.Column("owner", sa.String(64), nullable=False, server_default=ANONYMOUS),
    sqlite_autoincrement=True,
)


class SqlJobStore:
    """`JobStore` on SQLAlchemy core."""

    def __init__(self, url: str) -> None:
        self._database = Database(url, _METADATA)

    async def open(self) -> None:
        """Connect, and make the table if it is missing."""
        await self._database.open()

    async def close(self) -> None:
        """Disconnect."""
        await self._database.close()

    async def add(self, job: Job, fingerprint: str, image: bytes, limit: int = UNLIMITED) -> bool:
        """Keep a new job; False if its owner has used its request_id. NoRoomError if `limit` jobs are live, counted
        in the same transaction: no number of gateways gets past it."""
        row = _row(job) | {
            "id": job.id,
            "request_id": _request_key(job.spec.request_id, job.inner.owner),
            "owner": job.inner.owner,
            "fingerprint": fingerprint,
            "priority": job.priority,
            "image": image or None,
        }
        unfinished = sa.select(sa.func.count()).where(_JOBS.c.state.not_in(_FINAL)).scalar_subquery()
        values = sa.select(*(sa.bindparam(name, value, _JOBS.c[name].type) for name, value in row.items()))
        statement = sa.insert(_JOBS).from_select(list(row), values.where(unfinished < limit))
        # Of inserts SQLAlchemy keeps no count unless it is told to.
        statement = statement.execution_options(preserve_rowcount=True)
        try:
            if await self._database.write(statement, _ADDING):
                return True
        except IntegrityError:
            # Ours, if the answer to a first try was lost with its connection.
            return await self.get(job.id) is not None
        if await self.get(job.id) is None:
            raise NoRoomError
        return True

    async def by_request(self, request_id: str, owner: str = ANONYMOUS) -> tuple[Job, str] | None:
        """The job of an owner's request_id and the fingerprint of its spec."""
        query = sa.select(_JOBS.c.job, _JOBS.c.sequence, _JOBS.c.fingerprint)
        found = await self._database.read(query.where(_JOBS.c.request_id == _request_key(request_id, owner)))
        return (_job(found[0]), str(found[0].fingerprint)) if found else None

    async def get(self, job_id: str) -> Job | None:
        """One job."""
        found = await self._database.read(sa.select(_JOBS.c.job, _JOBS.c.sequence).where(_JOBS.c.id == job_id))
        return _job(found[0]) if found else None

    async def image(self, job_id: str) -> bytes:
        """The bytes of a job's reference image; empty if it has none yet."""
        found = await self._database.read(sa.select(_JOBS.c.image).where(_JOBS.c.id == job_id))
        return bytes(found[0].image or b"") if found else b""

    async def set_image(self, job_id: str, image: bytes) -> None:
        """Keep a fetched reference image."""
        await self._database.write(sa.update(_JOBS).where(_JOBS.c.id == job_id).values(image=image))

    async def save(self, job: Job) -> bool:
        """Write a job; False if it has reached a final state already, or another gateway works on it by now:
        then the row is left alone."""
        mine = sa.and_(_JOBS.c.state.not_in(_FINAL), _JOBS.c.sequence <= job.sequence)
        changed = await self._database.write(sa.update(_JOBS).where(_JOBS.c.id == job.id, mine).values(_row(job)))
        if changed == 1:
            return True
        # The answer to a first try may have been lost with its connection.
        return job.state.final and await self.get(job.id) == job

    async def amend(self, job: Job) -> None:
        """Write a job that has ended; for what happens to its file."""
        ended = _JOBS.c.state.in_(_FINAL)
        await self._database.write(sa.update(_JOBS).where(_JOBS.c.id == job.id, ended).values(_row(job)))

    async def request_cancel(self, job_id: str) -> None:
        """Leave word for the active gateway that a job is to stop."""
        await self._database.write(sa.update(_JOBS).where(_JOBS.c.id == job_id).values(cancel_requested=1))

    async def pending(self) -> list[Pending]:
        """The unfinished jobs in the order in which they are due."""
        query = sa.select(_JOBS.c.id, _JOBS.c.sequence, _JOBS.c.cancel_requested)
        query = query.where(_JOBS.c.state.not_in(_FINAL)).order_by(_JOBS.c.priority, _JOBS.c.number)
        return [
            Pending(str(row.id), int(row.sequence), bool(row.cancel_requested))
            for row in await self._database.read(query)
        ]

    async def counts(self) -> Mapping[JobState, int]:
        """How many unfinished jobs are in which state."""
        query = (
            sa.select(_JOBS.c.state, sa.func.count().label("jobs"))
            .where(_JOBS.c.state.not_in(_FINAL))
            .group_by(_JOBS.c.state)
        )
        return {JobState(row.state): int(row.jobs) for row in await self._database.read(query)}

    async def page(self, size: int, before: int | None, states: Sequence[JobState], owner: str = ANONYMOUS) -> Page:
        """A page of an owner's jobs, newest first."""
        query = sa.select(_JOBS.c.number, _JOBS.c.job, _JOBS.c.sequence).order_by(_JOBS.c.number.desc())
        query = query.where(_JOBS.c.owner == owner)
        if before is not None:
            query = query.where(_JOBS.c.number < before)
        if states:
            query = query.where(_JOBS.c.state.in_([int(state) for state in states]))
        found = await self._database.read(query.limit(size + 1))
        more = len(found) > size
        return Page(tuple(_job(row) for row in found[:size]), int(found[size - 1].number) if more else None)

    async def unfinished(self) -> list[Job]:
        """All jobs that have not ended, in the order in which they are due."""
        query = sa.select(_JOBS.c.job, _JOBS.c.sequence).where(_JOBS.c.state.not_in(_FINAL))
        return [_job(row) for row in await self._database.read(query.order_by(_JOBS.c.priority, _JOBS.c.number))]

    async def begin_epoch(self) -> None:
        """Raise the sequence of every unfinished job above all that can have been sent."""
        size = 1 << EPOCH_BITS
        sequence = _JOBS.c.sequence - _JOBS.c.sequence % size + size
        await self._database.write(sa.update(_JOBS).where(_JOBS.c.state.not_in(_FINAL)).values(sequence=sequence))

    async def ended_before(self, moment: float, limit: int) -> list[Job]:
        """Jobs that ended before then, in seconds since 1970, and such whose row does not say when; oldest first."""
        old = sa.or_(_JOBS.c.finished_at.is_(None), _JOBS.c.finished_at < int(moment))
        query = sa.select(_JOBS.c.job, _JOBS.c.sequence).where(_JOBS.c.state.in_(_FINAL), old)
        return [_job(row) for row in await self._database.read(query.order_by(_JOBS.c.number).limit(limit))]

    async def delete(self, job_id: str) -> None:
        """Delete a job that has ended, with its reference image; one that has not is left alone."""
        await self._database.write(sa.delete(_JOBS).where(_JOBS.c.id == job_id, _JOBS.c.state.in_(_FINAL)))


def _row(job: Job) -> dict[str, Any]:
    return {
        "state": int(job.state),
        "sequence": job.sequence,
        "job": JOB_JSON.dump_json(job).decode(),
        "finished_at": int(job.finish_time.timestamp()) if job.finish_time else None,
    }


def _job(row: sa.Row[Any]) -> Job:
    job = JOB_JSON.validate_json(row.job)
    # The column may be ahead of the document: a new epoch touches the column alone.
    return replace(job, sequence=max(job.sequence, int(row.sequence)))


def _request_key(request_id: str, owner: str) -> str | None:
    """What the column of request ids holds: unique for each owner, though its constraint is older than owners."""
    if not request_id or owner == ANONYMOUS:
        return request_id or None
    return hashlib.sha256(f"{owner}\0{request_id}".encode()).hexdigest()

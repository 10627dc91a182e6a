"""Which stored files and jobs are deleted, and when.

A job may outlive its file, never the other way round; neither goes while the job is not done.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from wanworker.gateway.artifacts import DirectoryArtifactStore, StoredFile
from wanworker.gateway.book import JobBook
from wanworker.gateway.model import Job, now
from wanworker.runtime.errors import NotFoundError

_LOG = logging.getLogger("wanworker.gateway.expiry")


FORGET_SECONDS = 3.0
"""DBOS asks a database that is away again and again; whoever looks after the lock cannot wait for it."""

PURGED_AT_ONCE = 50
"""Jobs deleted in one look, so that none takes long; the rest goes at the next."""


@dataclass(frozen=True)
class Limits:
    """How much is kept."""

    max_age_seconds: float
    """0 for ever."""
    max_total_bytes: int
    """0 for any number."""
    job_max_age_seconds: float = 0.0
    """Of jobs, since their ends; 0 for ever."""


def expired(files: Iterable[StoredFile], limits: Limits, moment: float) -> Sequence[StoredFile]:
    """The files to delete at a moment (seconds since 1970), oldest first: those that are too old, and of the rest
    the oldest, until the others are small enough together."""
    oldest_first = sorted(files, key=lambda file: (file.stored_at, file.job_id))
    gone = []
    total = sum(file.size_bytes for file in oldest_first)
    for file in oldest_first:
        too_old = 0 < limits.max_age_seconds < moment - file.stored_at
        too_much = 0 < limits.max_total_bytes < total
        if not (too_old or too_much):
            break
        total -= file.size_bytes
        gone.append(file)
    return gone


class Caretaker:
    """Looks after the folder of stored files and the old jobs, for the active gateway."""

    def __init__(
        self,
        artifacts: DirectoryArtifactStore,
        book: JobBook,
        limits: Limits,
        every_seconds: float,
        forget_work: Callable[[str], Awaitable[None]],
    ) -> None:
        """`forget_work` deletes what the runner keeps of a job."""
        self._forget_work = forget_work
        self._artifacts = artifacts
        self._book = book
        self._limits = limits
        self._every = every_seconds
        self._swept_at: float | None = None

    async def look(self) -> None:
        """Sweep if it is time; the first time, clear away what a gateway has left that was killed."""
        first = self._swept_at is None
        if self._swept_at is not None and time.monotonic() - self._swept_at < self._every:
            return
        self._swept_at = time.monotonic()
        try:
            if first:
                await self._clear_parts()
            await self._sweep()
            if not first:
                # At first the runner has not begun, and taking over is not to wait for this.
                await self._purge()
        except OSError:
            # Jobs go on; what is too much stays until the next look.
            _LOG.exception("stored files could not be cleared away")

    async def _clear_parts(self) -> None:
        kept = {(job.id, job.inner.made.attempt) for job in self._book.all_live() if job.inner.made is not None}
        await self._artifacts.clear_parts(kept)

    async def _sweep(self) -> None:
        for file in expired(await self._artifacts.files(), self._limits, time.time()):
            try:
                job = await self._book.get(file.job_id)
            except NotFoundError:
                # Not ours to judge.
                continue
            if not job.state.final:
                continue
            await self._drop_file_of(job)
            await self._artifacts.delete(file)

    async def _drop_file_of(self, job: Job) -> None:
        # The row first: a reader in between finds a job without a file, never a file that is missing.
        if job.artifact is not None:
            inner = replace(job.inner, artifact_expired=now())
            await self._book.store.amend(replace(job, artifact=None, inner=inner))

    async def _purge(self) -> None:
        if not self._limits.job_max_age_seconds:
            return
        moment = time.time() - self._limits.job_max_age_seconds
        files = {file.job_id: file for file in await self._artifacts.files()}
        for job in await self._book.store.ended_before(moment, PURGED_AT_ONCE):
            ended = job.finish_time or job.create_time
            if ended.timestamp() >= moment:
                # A row of a version that did not note when; now it does.
                await self._book.store.amend(replace(job, finish_time=ended))
                continue
            await self._drop_file_of(job)
            if job.id in files:
                await self._artifacts.delete(files[job.id])
            # The row last: whatever is cut short is found again.
            async with asyncio.timeout(FORGET_SECONDS):
                await self._forget_work(job.id)
            await self._book.store.delete(job.id)
            _LOG.info("job %s is deleted: it ended at %s", job.id, ended.isoformat(timespec="seconds"))

"""The jobs as this gateway sees them: rows in the store, and live feeds of those that have not ended.

Every change of a job goes through `change` (saved, then told) or `tell` (told, and saved now and then).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from wanworker.gateway import telemetry
from wanworker.gateway.generation import Stage
from wanworker.gateway.hub import Feed
from wanworker.gateway.model import Happening, Job, JobEvent, JobState, Progress, Snapshot, now
from wanworker.gateway.store import JobStore
from wanworker.runtime.errors import NotFoundError, UnavailableError


class JobBook:
    """All jobs."""

    def __init__(
        self,
        store: JobStore,
        progress_save_seconds: float,
        on_finished: Callable[[Job], None] = lambda job: None,
    ) -> None:
        self.store = store
        """Where the rows are."""
        self._feeds: dict[str, Feed] = {}
        self._save_seconds = progress_save_seconds
        self._saving: set[asyncio.Task[None]] = set()
        self._closed: UnavailableError | None = None
        self._on_finished = on_finished

    async def open(self) -> list[Job]:
        """Take up the jobs that have not ended, in the order in which they are due."""
        await self.store.begin_epoch()
        jobs = await self.store.unfinished()
        self._feeds = {job.id: Feed(job) for job in jobs}
        return jobs

    async def close(self, error: UnavailableError) -> None:
        """End every watcher's stream with `error` and finish writing."""
        self._closed = error
        for feed in self._feeds.values():
            feed.fail(error)
        if self._saving:
            await asyncio.wait(self._saving)

    async def add(self, job: Job, fingerprint: str, image: bytes) -> bool:
        """Keep a new job; False if its request_id is taken."""
        if not await self.store.add(job, fingerprint, image):
            return False
        self._feeds[job.id] = Feed(job)
        return True

    async def get(self, job_id: str) -> Job:
        """One job as it stands. NotFoundError if there is none."""
        feed = self._feeds.get(job_id)
        job = feed.job if feed is not None else await self.store.get(job_id)
        if job is None:
            raise NotFoundError(
                f"there is no job '{job_id}'", "JOB_NOT_FOUND", resource_type="job", resource_name=job_id
            )
        return job

    def live(self, job_id: str) -> Job | None:
        """A job that has not ended, without asking the store."""
        feed = self._feeds.get(job_id)
        return feed.job if feed is not None else None

    def feed(self, job_id: str) -> Feed | None:
        """The live side of a job that has not ended."""
        return self._feeds.get(job_id)

    def waiting(self) -> list[Job]:
        """Jobs that wait for a place, in the order in which they are due."""
        queued = [feed.job for feed in self._feeds.values() if feed.job.state is JobState.QUEUED]
        return sorted(queued, key=lambda job: job.priority)

    def running(self) -> int:
        """How many jobs are worked on."""
        return sum(feed.job.state is JobState.RUNNING for feed in self._feeds.values())

    async def change(self, job_id: str, change: Callable[[Job], Job], body: Happening | None = None) -> Job | None:
        """Change a job, save it, then tell: `body`, or a snapshot. None if the job has ended before."""
        feed = self._feeds.get(job_id)
        if feed is None:
            return None
        async with feed.lock:
            if feed.job.state.final:
                return None
            job = change(feed.job)
            job = replace(job, sequence=feed.job.sequence + 1)
            if not await self.store.save(job):
                return None
            feed.saved_at = time.monotonic()
            feed.settle(job, body)
        feed.flush()
        if job.state.final:
            self._feeds.pop(job_id, None)
            self._on_finished(job)
        return job

    async def finish(self, job_id: str, state: JobState, change: Callable[[Job], Job] = lambda job: job) -> Job | None:
        """Bring a job into its final state. None if it is in one already."""
        return await self.change(job_id, lambda job: _ended(change(job), state))

    async def cancel(self, job_id: str) -> Job:
        """Stop a job: at once if it waits, soon if it is worked on, not at all if it has ended."""

        def stop(job: Job) -> Job:
            if job.state is JobState.QUEUED:
                return _ended(job, JobState.CANCELLED)
            return replace(job, inner=replace(job.inner, cancel_requested=True))

        feed = self._feeds.get(job_id)
        if feed is not None and not feed.cancelled.is_set():
            await self.change(job_id, stop)
            feed.cancelled.set()
            self.tell_positions()
        return await self.get(job_id)

    def tell(self, job_id: str, body: Happening) -> None:
        """Tell something that need not be saved."""
        feed = self._feeds.get(job_id)
        if feed is None:
            return
        feed.tell(body)
        if isinstance(body, Progress) and time.monotonic() - feed.saved_at > self._save_seconds:
            feed.saved_at = time.monotonic()
            task = asyncio.create_task(self._save(feed))
            self._saving.add(task)
            task.add_done_callback(self._saving.discard)

    def tell_positions(self) -> None:
        """Tell everyone who waits how many are ahead."""
        waiting = self.waiting()
        telemetry.queue_length(len(waiting))
        for position, job in enumerate(waiting):
            if job.progress.queue_position != position:
                self.tell(job.id, replace(job.progress, stage=Stage.QUEUED, queue_position=position))

    async def watch(self, job_id: str) -> AsyncIterator[JobEvent]:
        """A job's events: a snapshot first, a snapshot in a final state last."""
        feed = self._feeds.get(job_id)
        if feed is None:
            job = await self.get(job_id)
            yield JobEvent(job.sequence, now(), Snapshot(job))
            if job.state.final:
                return
            # Only another gateway can be working on it: issue 4 lets this one follow.
            raise UnavailableError("this gateway does not work on that job", "NOT_ACTIVE")
        if self._closed is not None:
            raise self._closed
        subscription = feed.subscribe()
        try:
            async for event in subscription:
                yield event
        finally:
            feed.unsubscribe(subscription)

    async def _save(self, feed: Feed) -> None:
        async with feed.lock:
            if not feed.job.state.final:
                await self.store.save(feed.job)
        feed.flush()


def _ended(job: Job, state: JobState) -> Job:
    progress = replace(job.progress, queue_position=None, eta=None)
    if state is JobState.SUCCEEDED:
        progress = Progress(Stage.STORING, fraction=1.0, eta=0.0, attempt=job.attempts)
    return replace(job, state=state, finish_time=now(), progress=progress)

"""The jobs as this gateway sees them: rows in the store, and live feeds of those that it works on.

The active gateway has a feed of every job that has not ended, and is the only one that changes them: through
`change` (saved, then told) or `tell` (told, and saved now and then). Any other gateway adds rows, leaves word that
a job is to stop, and follows the rows for those who watch. `activate` and `deactivate` turn one into the other under
the feet of the watchers, who do not notice.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace

from wanworker.gateway.follower import Follower
from wanworker.gateway.generation import Stage
from wanworker.gateway.hub import Feed, MovedError, Subscription
from wanworker.gateway.model import Happening, Job, JobEvent, JobState, Progress, Snapshot, now
from wanworker.gateway.progress import take_up
from wanworker.gateway.queueing import forecast
from wanworker.gateway.rates import Rates
from wanworker.gateway.store import UNLIMITED, JobStore
from wanworker.runtime.errors import NotFoundError, UnavailableError

_LOG = logging.getLogger("wanworker.gateway.book")


class JobBook:
    """All jobs."""

    def __init__(
        self,
        store: JobStore,
        progress_save_seconds: float,
        on_finished: Callable[[Job], None] = lambda job: None,
        rates: Rates | None = None,
        at_once: int = 1,
    ) -> None:
        self.store = store
        """Where the rows are."""
        self.active = False
        """Whether this gateway is the one that works."""
        self._feeds: dict[str, Feed] = {}
        self._writing: set[asyncio.Future[Job | None]] = set()
        self._follower = Follower(store)
        self._save_seconds = progress_save_seconds
        self._saving: set[asyncio.Task[None]] = set()
        self._closed: UnavailableError | None = None
        self._on_finished = on_finished
        self._rates = rates or Rates()
        self._at_once = at_once

    async def activate(self, grace_seconds: float = 0.0) -> list[Job]:
        """Take over the jobs that have not ended, in the order in which they are due. From here on no earlier
        active gateway can change them; it has `grace_seconds` to notice."""
        await self.store.begin_epoch()
        if grace_seconds and await self.store.pending():
            await asyncio.sleep(grace_seconds)
        jobs = await self.store.unfinished()
        self._feeds = {job.id: Feed(take_up(job)) for job in jobs}
        self.active = True
        self._follower.fail(MovedError())
        await self.look_for_word()
        self.tell_positions()
        return [feed.job for feed in self._feeds.values()]

    def deactivate(self) -> None:
        """Leave the jobs to another gateway. Nothing may be working on them any more."""
        feeds, self._feeds = self._feeds, {}
        self.active = False
        for feed in feeds.values():
            feed.fail(MovedError())

    async def look_for_word(self) -> None:
        """Take up what other gateways have left in the store: new jobs, and jobs that are to stop."""
        for row in await self.store.pending():
            if row.id not in self._feeds:
                job = await self.store.get(row.id)
                if job is None or job.state.final:
                    continue
                self._feeds.setdefault(row.id, Feed(job))
                self._follower.fail(MovedError())
                self.tell_positions()
            if row.cancel_requested:
                await self.cancel(row.id)

    async def close(self, error: UnavailableError) -> None:
        """End every watcher's stream with `error` and finish writing."""
        self._closed = error
        for feed in self._feeds.values():
            feed.fail(error)
        self._follower.fail(error)
        await self._follower.close()
        for unfinished in (self._saving, self._writing):
            await asyncio.gather(*unfinished, return_exceptions=True)

    async def add(self, job: Job, fingerprint: str, image: bytes, limit: int = UNLIMITED) -> bool:
        """Keep a new job; False if its request_id is taken. NoRoomError if `limit` jobs have not ended."""
        if not await self.store.add(job, fingerprint, image, limit):
            return False
        if self.active:
            self._feeds.setdefault(job.id, Feed(job))
        return True

    async def get(self, job_id: str) -> Job:
        """One job as it stands. NotFoundError if there is none."""
        feed = self._feeds.get(job_id)
        job = feed.job if feed is not None else await self.store.get(job_id)
        if job is None:
            raise no_such_job(job_id)
        return job

    def live(self, job_id: str) -> Job | None:
        """A job that this gateway works on, without asking the store."""
        feed = self._feeds.get(job_id)
        return feed.job if feed is not None else None

    def feed(self, job_id: str) -> Feed | None:
        """The live side of a job that this gateway works on."""
        return self._feeds.get(job_id)

    def all_live(self) -> list[Job]:
        """The jobs that this gateway works on, waiting ones included."""
        return [feed.job for feed in self._feeds.values()]

    def waiting(self) -> list[Job]:
        """Jobs that wait for a place, in the order in which they are due."""
        queued = [job for job in self.all_live() if job.state is JobState.QUEUED]
        return sorted(queued, key=lambda job: job.priority)

    def running(self) -> list[Job]:
        """Jobs that are worked on."""
        return [job for job in self.all_live() if job.state is JobState.RUNNING]

    def tally(self) -> tuple[int, int]:
        """How many jobs wait and how many run here. May be asked from any thread."""
        states = [feed.job.state for feed in list(self._feeds.values())]
        return states.count(JobState.QUEUED), states.count(JobState.RUNNING)

    async def counts(self) -> Mapping[JobState, int]:
        """How many unfinished jobs are in which state, whichever gateway works on them."""
        return await self.store.counts()

    async def change(self, job_id: str, change: Callable[[Job], Job], body: Happening | None = None) -> Job | None:
        """Change a job, save it, then tell: `body`, or a snapshot. None if the job has ended before.

        A caller that is cancelled meanwhile leaves the write to come to its end: the database may have it already, and
        the next change must begin with it.
        """
        writing = asyncio.ensure_future(self._change(job_id, change, body))
        self._writing.add(writing)
        writing.add_done_callback(self._written)
        return await asyncio.shield(writing)

    def _written(self, writing: "asyncio.Future[Job | None]") -> None:
        self._writing.discard(writing)
        if not writing.cancelled():
            writing.exception()  # whoever asked for it has it, or is gone

    async def _change(self, job_id: str, change: Callable[[Job], Job], body: Happening | None) -> Job | None:
        feed = self._feeds.get(job_id)
        if feed is None:
            return None
        try:
            async with feed.lock:
                if feed.job.state.final:
                    return None
                job = replace(change(feed.job), sequence=feed.job.sequence + 1)
                saved = await self.store.save(job)
                if not saved:
                    # It may have been ended by a write of ours whose answer nobody waited for.
                    row = await self.store.get(job_id)
                    if row is None or not row.state.final:
                        return None
                    job, body = row, None
                feed.saved_at = time.monotonic()
                feed.settle(job, body)
        finally:
            # Also if it could not be saved: what waited meanwhile must not come after what is newer.
            feed.flush()
        if job.state.final:
            self._feeds.pop(job_id, None)
            self._on_finished(job)
        return job if saved else None

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
        if feed is None:
            job = await self.get(job_id)
            if not job.state.final:
                await self.store.request_cancel(job_id)
            return job
        if not feed.cancelled.is_set():
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
        """Tell everyone who waits how many are ahead, and how long that will take."""
        waiting = self.waiting()
        expected = forecast(self.running(), waiting, self._at_once, self._rates)
        for position, (job, times) in enumerate(zip(waiting, expected, strict=True)):
            eta = None if times is None else times[1]
            if job.progress.queue_position != position or (job.progress.eta is None) != (eta is None):
                self.tell(job.id, replace(job.progress, stage=Stage.QUEUED, queue_position=position, eta=eta))

    async def watch(self, job_id: str, after_sequence: int = 0) -> AsyncGenerator[JobEvent, None]:
        """A job's events: a snapshot first, a snapshot in a final state last. Sequences rise, and none is below
        `after_sequence`, whichever gateway told that one."""
        last: int | None = None
        while True:
            if self._closed is not None:
                raise self._closed
            job = await self.get(job_id)
            if job.state.final:
                yield JobEvent(max(job.sequence, 0 if last is None else last + 1), now(), Snapshot(job))
                return
            live = self._feeds.get(job_id)
            subscription = live.subscribe() if live is not None else self._follower.subscribe(job)
            try:
                async with aclosing(_after(subscription, last, after_sequence)) as events:
                    async for event in events:
                        last = event.sequence
                        yield event
                return
            except MovedError:
                continue
            finally:
                if live is not None:
                    live.unsubscribe(subscription)
                else:
                    self._follower.unsubscribe(job_id, subscription)

    async def _save(self, feed: Feed) -> None:
        async with feed.lock:
            if not feed.job.state.final:
                try:
                    await self.store.save(feed.job)
                except UnavailableError as error:
                    # Progress only: the next one is as good.
                    _LOG.warning("progress of job %s was not saved: %s", feed.job.id, error)
        feed.flush()


def no_such_job(job_id: str) -> NotFoundError:
    """What a caller hears of a job that there is not, or not for this caller."""
    return NotFoundError(f"there is no job '{job_id}'", "JOB_NOT_FOUND", resource_type="job", resource_name=job_id)


async def _after(subscription: Subscription, last: int | None, after_sequence: int) -> AsyncGenerator[JobEvent, None]:
    """What a reader has not seen who has seen `last`. The first snapshot of all is always news."""
    async for event in subscription:
        final = isinstance(event.body, Snapshot) and event.body.job.state.final
        if last is None:
            # A row may be behind what the active gateway has told already.
            last = max(event.sequence, after_sequence) if not final else event.sequence
        elif event.sequence > last:
            last = event.sequence
        elif final:
            last += 1
        else:
            continue
        yield event if event.sequence == last else _at(event, last)


def _at(event: JobEvent, sequence: int) -> JobEvent:
    body = event.body
    if isinstance(body, Snapshot):
        body = Snapshot(replace(body.job, sequence=sequence))
    return JobEvent(sequence, event.time, body)


def _ended(job: Job, state: JobState) -> Job:
    progress = replace(job.progress, queue_position=None, eta=None)
    if state is JobState.SUCCEEDED:
        progress = Progress(Stage.STORING, fraction=1.0, eta=0.0, attempt=job.attempts)
    return replace(job, state=state, finish_time=now(), progress=progress)

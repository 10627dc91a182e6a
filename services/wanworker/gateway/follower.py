"""Jobs that another gateway works on, as their rows tell: what the active gateway saves, a watcher here sees."""

import asyncio
import contextlib
import logging
from dataclasses import replace

from wanworker.gateway.hub import Feed, MovedError, Subscription
from wanworker.gateway.model import Job
from wanworker.gateway.store import JobStore
from wanworker.runtime.errors import UnavailableError

_LOG = logging.getLogger("wanworker.gateway.follower")

POLL_SECONDS = 0.1
"""How late a change may be seen. One query, however many jobs are watched by however many."""


class Follower:
    """Feeds of jobs that are worked on elsewhere. It costs nothing while nobody watches."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._feeds: dict[str, Feed] = {}
        self._task: asyncio.Task[None] | None = None

    def subscribe(self, job: Job) -> Subscription:
        """A new reader of a job that has not ended."""
        feed = self._feeds.setdefault(job.id, Feed(job))
        subscription = feed.subscribe()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._poll())
        return subscription

    def unsubscribe(self, job_id: str, subscription: Subscription) -> None:
        """Forget a reader."""
        feed = self._feeds.get(job_id)
        if feed is not None:
            feed.unsubscribe(subscription)
            if not feed.watched:
                del self._feeds[job_id]

    def fail(self, error: Exception) -> None:
        """End every reader's stream with an error."""
        for feed in self._feeds.values():
            feed.fail(error)

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _poll(self) -> None:
        while self._feeds:
            await asyncio.sleep(POLL_SECONDS)
            try:
                await self._look()
            except UnavailableError as error:
                _LOG.warning("watchers wait: %s", error)

    async def _look(self) -> None:
        unfinished = {row.id: row.sequence for row in await self._store.pending()}
        for job_id, feed in list(self._feeds.items()):
            sequence = unfinished.get(job_id)
            if feed.job.state.final or (sequence is not None and sequence <= feed.job.sequence):
                continue
            job = await self._store.get(job_id)
            if job is None:
                # It has ended and is deleted already; whoever asks anew is told so.
                feed.fail(MovedError())
            elif job.sequence > feed.job.sequence or job.state.final:
                _tell(feed, job)


def _tell(feed: Feed, job: Job) -> None:
    old = feed.job
    only_progress = replace(old, progress=job.progress, sequence=job.sequence) == job
    feed.settle(job, job.progress if only_progress else None)

"""Live events of jobs, in memory: many readers, none of which can slow a job down or make memory grow.

A reader that keeps up sees every event. One that does not finds, where it left off: the newest progress and
preview only, prompt deltas joined into one, and, once more than `BUFFER_LIMIT` events wait, one snapshot in
place of them all. A snapshot says everything that the events before it said, so that no change of state is
ever missed.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

from wanworker.gateway.model import Happening, Job, JobEvent, Preview, Progress, PromptDelta, Snapshot, now

BUFFER_LIMIT = 64
"""Events that may wait for a reader before they are replaced by one snapshot."""

EPOCH_BITS = 20
"""Sequences are epoch * 2^20 + n. The epoch rises whenever a gateway takes a job up again after a restart,
and is saved before the first event of it is sent; n is only saved now and then. So no sequence is ever sent
twice or falls."""


class MovedError(Exception):
    """From here on the job's events come from somewhere else: the store, or a live feed. Watchers never see it."""


class Subscription:
    """One reader's events: an async iterator that ends after the final snapshot."""

    def __init__(self, first: JobEvent) -> None:
        self._events: list[JobEvent] = [first]
        self._ready = asyncio.Event()
        self._ready.set()
        self._error: Exception | None = None

    def push(self, event: JobEvent, job: Job) -> None:
        """Queue an event; `job` is the job right after it."""
        body = event.body
        if isinstance(body, Progress | Preview):
            self._events = [old for old in self._events if type(old.body) is not type(body)]
        elif isinstance(body, PromptDelta):
            event = self._join(event, body)
        self._events.append(event)
        if len(self._events) > BUFFER_LIMIT:
            self._events = [JobEvent(event.sequence, event.time, Snapshot(job))]
        self._ready.set()

    def fail(self, error: Exception) -> None:
        """End the stream with an error once what waits is read."""
        self._error = error
        self._ready.set()

    def _join(self, event: JobEvent, body: PromptDelta) -> JobEvent:
        for old in self._events:
            if isinstance(old.body, PromptDelta):
                self._events.remove(old)
                return replace(event, body=PromptDelta(old.body.text + body.text))
        return event

    async def __aiter__(self) -> AsyncIterator[JobEvent]:
        while True:
            await self._ready.wait()
            while self._events:
                event = self._events.pop(0)
                yield event
                if isinstance(event.body, Snapshot) and event.body.job.state.final:
                    return
            if self._error is not None:
                raise self._error
            self._ready.clear()


class Feed:
    """The live side of one unfinished job."""

    def __init__(self, job: Job) -> None:
        self.job = job
        """The job as it stands, ahead of its row."""
        self.lock = asyncio.Lock()
        """Held while a change is written; events that happen meanwhile wait behind it."""
        self.cancelled = asyncio.Event()
        """Set when the job is to stop."""
        if job.inner.cancel_requested:
            self.cancelled.set()
        self.saved_at = 0.0
        """Loop time of the last write."""
        self._subscriptions: set[Subscription] = set()
        self._deferred: list[Happening] = []

    def subscribe(self) -> Subscription:
        """A new reader, which finds a snapshot first."""
        subscription = Subscription(self.event(Snapshot(self.job)))
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Forget a reader."""
        self._subscriptions.discard(subscription)

    @property
    def watched(self) -> bool:
        """Whether anybody reads."""
        return bool(self._subscriptions)

    def event(self, body: Happening) -> JobEvent:
        """An event at the job's present sequence."""
        return JobEvent(self.job.sequence, now(), body)

    def tell(self, body: Happening) -> None:
        """Publish something that is not saved: progress, a preview, a piece of prompt."""
        if self.job.state.final:
            return
        if self.lock.locked():
            self._deferred.append(body)
            return
        progress = body if isinstance(body, Progress) else self.job.progress
        self.job = replace(self.job, progress=progress, sequence=self.job.sequence + 1)
        self._publish(body)

    def settle(self, job: Job, body: Happening | None) -> None:
        """Publish a change that was saved. Without a body it is a snapshot."""
        self.job = job
        self._publish(Snapshot(job) if body is None else body)

    def flush(self) -> None:
        """Publish what happened while the lock was held. Call after releasing it."""
        deferred, self._deferred = self._deferred, []
        for body in deferred:
            self.tell(body)

    def fail(self, error: Exception) -> None:
        """End every reader's stream with an error."""
        for subscription in self._subscriptions:
            subscription.fail(error)

    def _publish(self, body: Happening) -> None:
        event = self.event(body)
        for subscription in self._subscriptions:
            subscription.push(event, self.job)

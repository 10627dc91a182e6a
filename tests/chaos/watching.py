"""Watchers of a job that check what they are told, event by event."""

import asyncio
import random
from contextlib import aclosing
from dataclasses import dataclass, field

import grpc
import grpc.aio

from wanworker.client import AsyncClient, Job, JobEvent, JobState, SnapshotEvent, UnavailableError
from wanworker.client.conversions import event_from_proto
from wanworker.client.errors import DeadlineExceededError
from wanworker.client.events import ProgressEvent
from wanworker.client.types import Progress
from wanworker.v1 import gateway_pb2, gateway_pb2_grpc

RETRY_SECONDS = 0.25
_ORDER = {JobState.QUEUED: 0, JobState.RUNNING: 1}
_FINAL = 2


@dataclass
class Sight:
    """What one watcher of a job saw."""

    job_id: str
    """The job."""
    watcher: str
    """Which kind of watcher."""
    final: Job | None = None
    """The snapshot in a final state."""
    states: list[JobState] = field(default_factory=list)
    """In the order in which they were told."""
    faults: list[str] = field(default_factory=list)
    """What should not have been."""
    events: int = 0
    """How many came."""
    watches: int = 0
    """How often the watch was begun; known of the watchers that begin it themselves."""
    last: int = 0
    """Sequence of the last event."""
    fractions: dict[int, float] = field(default_factory=dict)
    """The largest fraction seen, by attempt."""

    def see(self, event: JobEvent, *, first: bool) -> None:
        """Checks an event; `first` says that it is the first of a watch, which must be a snapshot."""
        self.events += 1
        if self.final is not None and not first:
            self.faults.append(f"event {event.sequence} after the final snapshot")
        if first and not isinstance(event, SnapshotEvent):
            self.faults.append(f"a watch began with {type(event).__name__}")
        if event.sequence < self.last or (event.sequence == self.last and not first):
            self.faults.append(f"sequence {event.sequence} after {self.last}")
        self.last = max(self.last, event.sequence)
        if isinstance(event, SnapshotEvent):
            self._see_job(event.job)
        elif isinstance(event, ProgressEvent):
            self._see_progress(event.progress)

    def _see_job(self, job: Job) -> None:
        before = self.states[-1] if self.states else None
        if before is not job.state:
            if before is not None and _ORDER.get(job.state, _FINAL) <= _ORDER.get(before, _FINAL):
                self.faults.append(f"{job.state.name} after {before.name}")
            self.states.append(job.state)
        if job.state.is_final:
            if self.final is not None and self.final != job:
                self.faults.append("two final snapshots differ")
            self.final = job
            ran = job.state in (JobState.SUCCEEDED, JobState.FAILED)
            if ran and JobState.RUNNING not in self.states and job.start_time is None:
                self.faults.append("was never told that the job ran")
        elif job.progress is not None:
            self._see_progress(job.progress)

    def _see_progress(self, progress: Progress) -> None:
        before = self.fractions.get(progress.attempt, 0.0)
        if progress.fraction < before - 1e-6:
            self.faults.append(f"fraction fell from {before:.3f} to {progress.fraction:.3f}")
        self.fractions[progress.attempt] = max(before, progress.fraction)


async def watch_by_client(client: AsyncClient, sight: Sight) -> None:
    """Watches as users do: the client takes a cut watch up again by itself."""
    while sight.final is None:
        sight.watches += 1
        first = True
        try:
            async with aclosing(client.watch(sight.job_id, after_sequence=sight.last)) as events:
                async for event in events:
                    # The client hides where one watch ends and the next begins, so that any snapshot may be a first.
                    sight.see(event, first=first or isinstance(event, SnapshotEvent))
                    first = False
        except UnavailableError:
            await asyncio.sleep(RETRY_SECONDS)


async def watch_by_stub(address: str, sight: Sight, restless: random.Random) -> None:
    """Watches on the bare stub, where no client mends anything, leaves now and then and comes back after the last
    sequence."""
    options = [("grpc.max_reconnect_backoff_ms", 1000), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        stub = gateway_pb2_grpc.GatewayServiceStub(channel)
        while sight.final is None:
            sight.watches += 1
            try:
                await _one_watch(stub, sight, restless.randint(1, 12))
            except grpc.aio.AioRpcError as error:
                if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                    sight.faults.append(f"the watch ended with {error.code().name}: {error.details()}")
                    return
            await asyncio.sleep(restless.uniform(0, RETRY_SECONDS))


async def _one_watch(stub: gateway_pb2_grpc.GatewayServiceStub, sight: Sight, events: int) -> None:
    request = gateway_pb2.WatchJobRequest(job_id=sight.job_id, after_sequence=sight.last)
    call = stub.WatchJob(request)
    try:
        first = True
        async for response in call:  # type: ignore[attr-defined]  # the stub is typed for the synchronous API
            event = event_from_proto(response.event)
            if event is None:
                continue
            sight.see(event, first=first)
            first = False
            events -= 1
            if events <= 0 and sight.final is None:
                return
        if sight.final is None:
            sight.faults.append("the watch ended with OK before the job did")
    finally:
        call.cancel()


PASSING = (UnavailableError, DeadlineExceededError)
"""What a caller of a system under fire has to bear."""

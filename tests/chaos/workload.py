"""Makes the planned jobs, watches them and cancels some, all with the real client."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from tests.chaos.plan import Plan, PlannedJob
from tests.chaos.watching import PASSING, RETRY_SECONDS, Sight, watch_by_client, watch_by_stub
from wanworker.client import AsyncClient, Job, ResourceExhaustedError, WanworkerError

T = TypeVar("T")

CALL_SECONDS = 10.0
"""Deadline of a unary call."""


@dataclass
class Record:
    """What became of a planned job, as far as its caller knows."""

    plan: PlannedJob
    """What was wanted."""
    job_ids: set[str] = field(default_factory=set)
    """The jobs that answered to its request_id; more than one is one too many."""
    sights: list[Sight] = field(default_factory=list)
    """What its watchers saw."""
    errors: list[str] = field(default_factory=list)
    """Calls that failed though nothing was asked that could not be done."""


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """The answer to a call that may be repeated, however often its server dies over it."""
    while True:
        try:
            return await call()
        except (*PASSING, ResourceExhaustedError):
            await asyncio.sleep(RETRY_SECONDS)


class Workload:
    """All jobs of a run, a bounded number of them unfinished at any time."""

    def __init__(self, plan: Plan, addresses: Sequence[str], outstanding: int) -> None:
        """`addresses`: the gateways. They take the jobs in turn; with several, half of each job's watchers and its
        cancelling go to another one than made it."""
        self._plan = plan
        self._addresses = addresses
        self._places = asyncio.Semaphore(outstanding)
        self.records = [Record(job) for job in plan.jobs]
        """One a planned job."""
        self.finished = 0
        """Jobs whose callers are done with them."""

    @property
    def begun(self) -> int:
        """Jobs that were asked for."""
        return sum(bool(record.job_ids) for record in self.records)

    async def run(self, patience: float) -> bool:
        """Runs all jobs to their ends; False if none ended for `patience` seconds, and the rest was given up."""
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(AsyncClient(address)) for address in self._addresses]
            tasks = {asyncio.create_task(self._job(clients, record)) for record in self.records}
            try:
                while tasks:
                    done, tasks = await asyncio.wait(tasks, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        task.result()
                    if not done:
                        return False
                return True
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _job(self, clients: Sequence[AsyncClient], record: Record) -> None:
        client, other = (clients[(record.plan.number + shift) % len(clients)] for shift in (0, 1))
        async with self._places:
            try:
                job = await self._create(client, record)
                await self._accompany(client, other, record, job)
            except WanworkerError as error:
                record.errors.append(f"{type(error).__name__}: {error}")
            finally:
                self.finished += 1

    async def _create(self, client: AsyncClient, record: Record) -> Job:
        """The job, asked for until it is there: also when an answer was lost, a request_id makes one job only."""
        plan = record.plan
        calls = [
            patiently(lambda: client.create(plan.prompt, timeout=CALL_SECONDS, **plan.options))
            for _ in range(2 if plan.sent_twice else 1)
        ]
        jobs = await asyncio.gather(*calls)
        record.job_ids.update(job.id for job in jobs)
        return jobs[0]

    async def _accompany(self, client: AsyncClient, other: AsyncClient, record: Record, job: Job) -> None:
        by_client, by_stub = Sight(job.id, "client"), Sight(job.id, "stub")
        record.sights.append(by_client)
        watchers = [asyncio.create_task(watch_by_client(client, by_client))]
        if record.plan.restless:
            record.sights.append(by_stub)
            restless = random.Random(f"{self._plan.seed}/{record.plan.number}")
            watchers.append(asyncio.create_task(watch_by_stub(self._other_address(record), by_stub, restless)))
        if record.plan.cancel_after is not None:
            watchers.append(asyncio.create_task(self._cancel(other, record.plan.cancel_after, job.id)))
        try:
            await asyncio.gather(*watchers)
        finally:
            for watcher in watchers:
                watcher.cancel()

    def _other_address(self, record: Record) -> str:
        return self._addresses[(record.plan.number + 1) % len(self._addresses)]

    async def _cancel(self, client: AsyncClient, after: float, job_id: str) -> None:
        await asyncio.sleep(after)
        await patiently(lambda: client.cancel(job_id, timeout=CALL_SECONDS))

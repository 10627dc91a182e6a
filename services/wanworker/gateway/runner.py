"""Running the job function durably, on DBOS.

What DBOS keeps is small: which jobs there are, which steps of each are done, and with which verdict. It runs
in this process and its database; there is no server of its own. DBOS is one per process, so that there is one
runner per process.

Facts about dbos 3.4.0 that this module rests on:

- one active executor, or jobs are run twice: `duty` takes a lock before `start`; `executor_id` and
  `application_version` are fixed, so that the next process finds this one's jobs;
- `launch()` puts every PENDING workflow back into its queue, and adopts the running loop for async workflows;
- a workflow whose asyncio task is cancelled keeps no outcome: it stays PENDING and is taken up at the next
  launch. That is how jobs are handed back when the gateway drains;
- `preemptible` polls once a second, too slow for "within a denoising step": the steps watch for a cancel
  themselves;
- a queue that is registered after `launch()` is only looked at a second later: it is registered before, by a client;
- its async calls replace the loop's default executor by DBOS's own, which ends with DBOS: `close` puts a new
  one there;
- a workflow that has failed or returned is never begun again. Where the job's row has not reached its end by then (the
  database failed in the very moment of keeping a verdict, or another gateway took over), the work begins anew
  under another id, and finds in the row what is done.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Protocol

from dbos import DBOS, DBOSClient, DBOSConfig, SetEnqueueOptions, SetWorkflowID

from wanworker.gateway import telemetry
from wanworker.gateway.book import JobBook
from wanworker.gateway.model import Job, JobFailure, JobState
from wanworker.gateway.steps import JobSteps
from wanworker.gateway.workflow import Step, run_job

_LOG = logging.getLogger("wanworker.gateway.runner")

QUEUE = "wanworker.jobs"
"""Name of the one queue."""

QUEUE_POLL_SECONDS = 0.1
"""How long a free place may stay empty."""

READER_POLL_SECONDS = 0.05
"""DBOS's poll for notifications, which also bounds how long it takes to stop."""

APPLICATION = "wanworker"
"""Owner of the queue, as DBOS calls it."""

VERSION = "1"
"""Of the job function. To be raised when its steps change in a way that half-done jobs cannot follow."""

_WAITING = ("ENQUEUED", "DELAYED")
"""DBOS's states of work that is in the queue."""

WORK_LIMIT = 20
"""How often the work on a job is begun anew after it ended without bringing the job to its end."""


class JobRunner(Protocol):
    """Runs every submitted job once to its end, whatever dies in between."""

    async def start(self, unfinished: Iterable[Job]) -> None:
        """Begin to work, on these jobs first. No other process may be at it."""

    async def submit(self, job: Job) -> None:
        """Put a job into the queue. Doing it twice is fine."""

    async def take_back(self) -> None:
        """See to it that no submitted job lies about that nobody here works on."""

    async def forget(self, job_id: str) -> None:
        """Delete what is kept of the work on a job that has ended."""

    async def drain(self) -> None:
        """Hand back what is running: it goes on at the next start."""

    async def close(self) -> None:
        """Stop."""


class DbosRunner:
    """`JobRunner` on DBOS."""

    def __init__(self, url: str, at_once: int, book: JobBook, steps: JobSteps) -> None:
        self._url = url
        self._at_once = at_once
        self._book = book
        self._steps = steps
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._submitted: set[str] = set()
        self._begun: dict[str, int] = {}
        self._taken: set[str] = set()
        self._draining = False
        self._launched = False

    async def start(self, unfinished: Iterable[Job]) -> None:
        """Begin to work, on these jobs first. No other process may be at it."""
        global _active
        _active = self
        self._draining = False
        self._submitted.clear()
        self._begun.clear()
        self._taken.clear()
        await asyncio.to_thread(_prepare, self._url, self._at_once)
        DBOS(config=_config(self._url))
        self._launched = True
        DBOS.launch()
        logging.getLogger("dbos").setLevel(logging.WARNING)
        for job in unfinished:
            self._begun[job.id] = await _works_before(job.id)
            await self.submit(job)

    async def submit(self, job: Job) -> None:
        """Put a job into the queue. Doing it twice is fine."""
        if not self._launched or self._draining or job.id in self._submitted:
            return
        self._submitted.add(job.id)
        number = self._begun.setdefault(job.id, 0)
        try:
            if number > WORK_LIMIT:
                failure = JobFailure("INTERNAL", "WORK_LOST", "the work on this job ended without a result")
                await self._book.finish(job.id, JobState.FAILED, _failed(failure))
                return
            with SetWorkflowID(_work_id(job.id, number)), SetEnqueueOptions(priority=job.priority):
                await DBOS.enqueue_workflow_async(QUEUE, _job, job.id)
        except BaseException:
            self._submitted.discard(job.id)
            raise

    async def take_back(self) -> None:
        """See to it that no submitted job lies about that nobody here works on.

        A gateway that has lost the lock and does not know it yet takes work out of the queue as before. It ends that
        work, for it cannot write to the job's row any more, or leaves it lying when it stops.
        """
        wanted = {_work_id(job_id, self._begun.get(job_id, 0)): job_id for job_id in self._submitted - set(self._tasks)}
        if not wanted or not self._launched or self._draining:
            self._taken.clear()
            return
        found = await DBOS.list_workflows_async(workflow_ids=list(wanted), load_input=False, load_output=False)
        taken = {row.workflow_id for row in found if row.status not in _WAITING}
        # One that was here a moment ago may be on its way into a task of ours: the second look decides.
        for work_id in taken & self._taken:
            await self._take_back(work_id, wanted[work_id])
        self._taken = taken - self._taken

    async def _take_back(self, work_id: str, job_id: str) -> None:
        if job_id in self._tasks or work_id != _work_id(job_id, self._begun.get(job_id, 0)):
            return
        # Without it a next start would take it up beside its successor.
        await DBOS.cancel_workflow_async(work_id)
        self._let_go(job_id)

    async def forget(self, job_id: str) -> None:
        """Delete what is kept of the work on a job that has ended."""
        await DBOS.delete_workflows_async([_work_id(job_id, number) for number in range(WORK_LIMIT + 1)])

    async def drain(self) -> None:
        """Hand back what is running: it goes on at the next start."""
        self._draining = True
        # DBOS warns of every cancelled task; these are meant to be.
        logging.getLogger("dbos").setLevel(logging.ERROR)
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def close(self) -> None:
        """Stop."""
        global _active
        if self._launched:
            await self.drain()
            # Before: calls that still run (a download) use the loop's threads while DBOS ends its own.
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
            with ThreadPoolExecutor(1) as thread:
                await asyncio.get_running_loop().run_in_executor(thread, DBOS.destroy)
            self._launched = False
        if _active is self:
            _active = None

    async def work(self, job_id: str) -> str:
        """One job, inside of DBOS."""
        task = asyncio.current_task()
        assert task is not None, "DBOS runs async workflows as tasks"
        if self._draining:
            raise asyncio.CancelledError
        if job_id in self._tasks:
            return "taken up already"
        job = self._book.live(job_id)
        if job is None:
            self._let_go(job_id)
            return "ended"
        self._tasks[job_id] = task
        try:
            with telemetry.job_span(job):
                return await run_job(job_id, _do, self._steps)
        finally:
            self._tasks.pop(job_id, None)
            self._steps.forget(job_id)
            self._let_go(job_id)

    def _let_go(self, job_id: str) -> None:
        """The work on a job is over: the job should be, too."""
        if self._draining:
            return
        if self._book.live(job_id) is None:
            self._begun.pop(job_id, None)
        else:
            _LOG.error("the work on job %s ended before the job did; it begins anew", job_id)
            self._begun[job_id] = self._begun.get(job_id, 0) + 1
        self._submitted.discard(job_id)


_active: DbosRunner | None = None
"""The one runner of this process; DBOS knows functions only, not who they belong to."""


@DBOS.workflow(name="wanworker.job", max_recovery_attempts=None)
async def _job(job_id: str) -> str:
    assert _active is not None, "launched without a runner"
    return await _active.work(job_id)


async def _do(name: str, step: Step, *args: object) -> str:
    async def run() -> str:
        return await step(*args)

    return await DBOS.run_step_async({"name": name}, run)


def _work_id(job_id: str, number: int) -> str:
    return job_id if number == 0 else f"{job_id}.{number}"


async def _works_before(job_id: str) -> int:
    """How often the work on an unfinished job has been begun and ended."""
    for number in range(WORK_LIMIT + 1):
        status = await DBOS.get_workflow_status_async(_work_id(job_id, number))
        if status is None or status.status in ("PENDING", *_WAITING):
            return number
        _LOG.error("a job's work has ended as %s before the job %s did", status.status, job_id)
    return WORK_LIMIT + 1


def _failed(failure: JobFailure) -> Callable[[Job], Job]:
    return lambda job: replace(job, failure=failure)


def _prepare(url: str, at_once: int) -> None:
    DBOS.migrate(url)
    client = DBOSClient(system_database_url=url, application_name=APPLICATION)
    try:
        client.register_queue(
            QUEUE, worker_concurrency=at_once, polling_interval_sec=QUEUE_POLL_SECONDS, on_conflict="always_update"
        )
    finally:
        client.destroy()


def _config(url: str) -> DBOSConfig:
    return DBOSConfig(
        name=APPLICATION,
        system_database_url=url,
        executor_id="gateway",
        application_version=VERSION,
        log_level="WARNING",
        notification_listener_polling_interval_sec=READER_POLL_SECONDS,
        max_executor_threads=8,
        enable_otlp=False,
    )

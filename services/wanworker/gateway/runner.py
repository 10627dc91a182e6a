"""Running the job function durably, on DBOS.

What DBOS keeps is small: which jobs there are, which steps of each are done, and with which verdict. It runs
in this process and its database; there is no server of its own. DBOS is one per process, so that there is one
runner per process.

Facts about dbos 3.4.0 that this module rests on:

- one active executor, or jobs are run twice: a file lock is taken before `launch()`; `executor_id` and
  `application_version` are fixed, so that the next process finds this one's jobs;
- `launch()` puts every PENDING workflow back into its queue, and adopts the running loop for async workflows;
- a workflow whose asyncio task is cancelled keeps no outcome: it stays PENDING and is taken up at the next
  launch. That is how jobs are handed back when the gateway drains;
- `preemptible` polls once a second, too slow for "within a denoising step": the steps watch for a cancel
  themselves;
- a queue that is registered after `launch()` is only looked at a second later: it is registered before, by a client;
- its async calls replace the loop's default executor by DBOS's own, which ends with DBOS: `close` puts a new
  one there.
"""

import asyncio
import fcntl
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Protocol

from dbos import DBOS, DBOSClient, DBOSConfig, SetEnqueueOptions, SetWorkflowID

from wanworker.gateway import telemetry
from wanworker.gateway.book import JobBook
from wanworker.gateway.model import Job, JobFailure, JobState
from wanworker.gateway.steps import JobSteps
from wanworker.gateway.workflow import Step, run_job
from wanworker.runtime.errors import UnavailableError

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


class JobRunner(Protocol):
    """Runs every submitted job once to its end, whatever dies in between."""

    async def start(self, unfinished: Iterable[Job]) -> None:
        """Begin to work, on these jobs first. UnavailableError while another process is at it."""

    async def submit(self, job: Job) -> None:
        """Put a job into the queue. Doing it twice is fine."""

    async def drain(self) -> None:
        """Hand back what is running: it goes on at the next start."""

    async def close(self) -> None:
        """Stop."""


class DbosRunner:
    """`JobRunner` on DBOS."""

    def __init__(self, url: str, lock: Path, at_once: int, book: JobBook, steps: JobSteps) -> None:
        self._url = url
        self._lock_path = lock
        self._at_once = at_once
        self._book = book
        self._steps = steps
        self._lock: IO[str] | None = None
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._draining = False
        self._launched = False

    def acquire(self) -> None:
        """Become the active process. UnavailableError while another one is."""
        if self._lock is not None:
            return
        file = self._lock_path.open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise UnavailableError(
                f"another gateway works on {self._lock_path.parent}", "NOT_ACTIVE", retry_after_seconds=2.0
            ) from error
        self._lock = file

    async def start(self, unfinished: Iterable[Job]) -> None:
        """Begin to work, on these jobs first. UnavailableError while another process is at it."""
        global _active
        self.acquire()
        _active = self
        await asyncio.to_thread(_prepare, self._url, self._at_once)
        DBOS(config=_config(self._url))
        self._launched = True
        DBOS.launch()
        for job in unfinished:
            await self._take_up(job)

    async def submit(self, job: Job) -> None:
        """Put a job into the queue. Doing it twice is fine."""
        with SetWorkflowID(job.id), SetEnqueueOptions(priority=job.priority):
            await DBOS.enqueue_workflow_async(QUEUE, _job, job.id)

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
            with ThreadPoolExecutor(1) as thread:
                await asyncio.get_running_loop().run_in_executor(thread, DBOS.destroy)
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
            self._launched = False
        if _active is self:
            _active = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    async def work(self, job_id: str) -> str:
        """One job, inside of DBOS."""
        task = asyncio.current_task()
        assert task is not None, "DBOS runs async workflows as tasks"
        job = self._book.live(job_id)
        if job is None:
            return "ended"
        if self._draining:
            raise asyncio.CancelledError
        self._tasks[job_id] = task
        try:
            with telemetry.job_span(job):
                return await run_job(job_id, _do, self._steps)
        finally:
            self._tasks.pop(job_id, None)
            self._steps.forget(job_id)

    async def _take_up(self, job: Job) -> None:
        """Make sure that an unfinished job of an earlier process is worked on, or ends."""
        status = await DBOS.get_workflow_status_async(job.id)
        if status is None or status.status in ("PENDING", "ENQUEUED", "DELAYED"):
            await self.submit(job)
            return
        _LOG.error("job %s is %s, but its work has ended as %s", job.id, job.state.name, status.status)
        failure = JobFailure("INTERNAL", "WORK_LOST", "the work on this job ended without a result")
        await self._book.finish(job.id, JobState.FAILED, _failed(failure))


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

"""The durable job function: read it and you know what becomes of a job.

Every `do` is finished once and for all before the next begins: its verdict is kept in the database, and a
gateway that was killed goes on with the first step that has none. A step that was cut is done again from its
beginning; what it had found out until then (a seed, a finished prompt, a file) stands in the job's row, where
it finds it.
"""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Protocol

Step = Callable[..., Awaitable[str]]
"""A step of the work: takes plain values, gives a verdict."""


class Do(Protocol):
    """Runs a step unless its verdict is known already."""

    def __call__(self, name: str, step: Step, *args: object) -> Awaitable[str]:
        """The step's verdict."""


class Verdict(StrEnum):
    """How a step went. Plain strings, so that another version of the gateway can read them."""

    GO = "go"
    """On to the next step."""
    MADE = "made"
    """The file is here."""
    AGAIN = "again"
    """Something was changed: try again at once."""
    WAIT = "wait"
    """The generator is away or full: try again later."""
    END = "end"
    """The job has reached its final state."""


class Steps(Protocol):
    """What the job function is made of."""

    async def begin(self, job_id: str) -> str:
        """Take the job out of the queue and resolve what it leaves open."""

    async def reference(self, job_id: str) -> str:
        """Fetch and check the reference image."""

    async def enhance(self, job_id: str) -> str:
        """Have the prompt rewritten."""

    async def attempt(self, job_id: str, waits: int) -> str:
        """Have the file made, `waits` fruitless tries after the last that got through."""

    async def store(self, job_id: str) -> str:
        """Grade the file, keep it, and end the job."""


async def run_job(job_id: str, do: Do, steps: Steps) -> str:
    """Enhance, generate, grade, store."""
    for name, step in (("begin", steps.begin), ("reference", steps.reference), ("enhance", steps.enhance)):
        if await do(name, step, job_id) != Verdict.GO:
            return Verdict.END.value
    waits = 0
    while (verdict := await do("attempt", steps.attempt, job_id, waits)) != Verdict.MADE:
        if verdict == Verdict.END:
            return verdict
        waits = waits + 1 if verdict == Verdict.WAIT else 0
    return await do("store", steps.store, job_id)

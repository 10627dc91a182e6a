"""How far a whole job is: the stages' shares weighted by the seconds that each is known to take."""

from dataclasses import dataclass, replace

from wanworker.gateway.generation import Stage
from wanworker.gateway.model import Job, JobState, Progress

STORE_SECONDS = 0.1
"""Checking, syncing and renaming a file of some megabytes."""

ALMOST_DONE = 0.999
"""The largest fraction of a job that has not ended."""

UNKNOWN_SECONDS = 60.0
"""Taken for a generation of which nothing is known yet; its ETA is then not told."""


@dataclass(frozen=True)
class Weights:
    """Seconds that the parts of a job take."""

    enhance: float
    """The enhancer; 0 where it is not asked."""
    generate: float | None
    """The generator's estimate; None where there is none."""
    store: float = STORE_SECONDS
    """Storing the file."""

    @property
    def total(self) -> float:
        """The whole job."""
        return self.enhance + (UNKNOWN_SECONDS if self.generate is None else self.generate) + self.store


class ProgressMeter:
    """Turns what the parts report into the job's progress. The fraction never falls; a new attempt has a new
    meter."""

    def __init__(self, weights: Weights, attempt: int, told: float = 0.0) -> None:
        """`told` is the fraction that was told of this attempt already."""
        self._weights = weights
        self.attempt = attempt
        """The attempt that is measured."""
        self._highest = told

    def enhancing(self, elapsed: float) -> Progress:
        """The enhancer has been at it for so many seconds."""
        done = min(elapsed, self._weights.enhance * 0.95)
        return self._at(Stage.ENHANCING, done, None)

    def generating(self, part: Progress) -> Progress:
        """The generator reports its own progress."""
        weights = self._weights
        whole = weights.total - weights.enhance - weights.store
        eta = None if part.eta is None else part.eta + weights.store
        if eta is None and weights.generate is not None:
            eta = (1 - part.fraction) * whole + weights.store
        return self._at(part.stage, weights.enhance + part.fraction * whole, eta, part)

    def waiting(self, position: int) -> Progress:
        """The generator has the job in its queue."""
        return self._at(Stage.QUEUED, self._weights.enhance, None, Progress(Stage.QUEUED, queue_position=position))

    def storing(self) -> Progress:
        """The file is there and is being stored."""
        weights = self._weights
        return self._at(Stage.STORING, weights.total - weights.store, weights.store)

    def _at(self, stage: Stage, done: float, eta: float | None, part: Progress | None = None) -> Progress:
        # 1 is kept for the job's last event.
        self._highest = max(self._highest, min(done / self._weights.total, ALMOST_DONE))
        steps = (part.step, part.total_steps, part.queue_position) if part else (0, 0, None)
        return Progress(stage, self._highest, steps[0], steps[1], eta, steps[2], self.attempt)


def begin_attempt(job: Job) -> Job:
    """The job with one more attempt begun. What the enhancer's share told of the first one stays."""
    attempts = job.attempts + 1
    if job.progress.attempt == attempts:
        return replace(job, attempts=attempts)
    return replace(job, attempts=attempts, progress=Progress(Stage.QUEUED, queue_position=0, attempt=attempts))


def take_up(job: Job) -> Job:
    """A job as the next active gateway finds it. More progress may have been told of a cut attempt than was saved, so
    that it counts as over, and what follows is told as the next one."""
    if job.state is not JobState.RUNNING:
        return job
    if job.inner.made is not None:
        return replace(job, progress=Progress(Stage.STORING, fraction=ALMOST_DONE, attempt=job.attempts))
    attempts = max(job.attempts, job.progress.attempt)
    progress = Progress(Stage.QUEUED, queue_position=0, attempt=attempts + 1)
    return replace(job, attempts=attempts, progress=progress)

"""What is told of a job's progress from attempt to attempt and across restarts: it never falls inside an attempt."""

from dataclasses import replace

import pytest

from wanworker.gateway.asked import JobSpec
from wanworker.gateway.generation import Stage
from wanworker.gateway.model import Inner, Job, JobState, Progress, now
from wanworker.gateway.progress import ProgressMeter, Weights, begin_attempt, take_up


def running(attempts: int, progress: Progress) -> Job:
    """A job in the middle of its work."""
    job = Job("a", JobSpec(prompt="a cat"), JobState.RUNNING, now(), Inner(seed=1))
    return replace(job, attempts=attempts, progress=progress)


def test_a_new_attempt_begins_at_nothing() -> None:
    job = begin_attempt(running(6, Progress(Stage.DENOISING, 0.7, 3, 4, 1.0, None, 6)))
    assert (job.attempts, job.progress) == (7, Progress(Stage.QUEUED, queue_position=0, attempt=7))


def test_the_first_attempt_keeps_the_enhancers_share() -> None:
    job = begin_attempt(running(0, Progress(Stage.ENHANCING, 0.2, attempt=1)))
    assert (job.attempts, job.progress.fraction, job.progress.attempt) == (1, 0.2, 1)


@pytest.mark.parametrize(("attempts", "told"), [(6, 6), (0, 1)])
def test_an_attempt_that_was_cut_is_over(attempts: int, told: int) -> None:
    job = take_up(running(attempts, Progress(Stage.DENOISING, 0.2, attempt=told)))
    assert job.attempts == told
    assert (job.progress.attempt, job.progress.fraction) == (told + 1, 0.0)


def test_a_job_that_waits_is_taken_up_as_it_is() -> None:
    job = replace(running(0, Progress(Stage.QUEUED, queue_position=3)), state=JobState.QUEUED)
    assert take_up(job) is job


def test_a_meter_never_tells_less_than_was_told_of_its_attempt() -> None:
    meter = ProgressMeter(Weights(enhance=0.0, generate=10.0), 2, told=0.5)
    assert meter.generating(Progress(Stage.DENOISING, 0.1)).fraction == 0.5
    assert meter.generating(Progress(Stage.DENOISING, 0.9)).fraction > 0.5

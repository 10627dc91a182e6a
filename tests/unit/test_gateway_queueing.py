"""The order of the queue, what a waiting job may expect, and which files go."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wanworker.gateway.artifacts import StoredFile
from wanworker.gateway.asked import JobSpec, JobType
from wanworker.gateway.expiry import Limits, expired
from wanworker.gateway.generation import Stage
from wanworker.gateway.model import Inner, Job, JobState, Progress, now
from wanworker.gateway.queueing import due, forecast, wait_of_next
from wanworker.gateway.rates import Rates

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
STILL = JobType.IMAGE_FAST
VIDEO = JobType.VIDEO_FAST


def a_job(kind: JobType, state: JobState = JobState.QUEUED, eta: float | None = None) -> Job:
    progress = Progress(Stage.DENOISING, 0.5, eta=eta)
    return Job("a", JobSpec("a cat", job_type=kind), state, now(), Inner(seed=1), progress)


def rates(still: float | None = 2.0, video: float | None = 10.0) -> Rates:
    made = Rates()
    for value, rate in ((still, made.job(still=True)), (video, made.job(still=False))):
        if value is not None:
            rate.observe(value)
    return made


def test_stills_go_first_then_who_came_first() -> None:
    def place(seconds: float, still: bool) -> int:
        return due(NOON + timedelta(seconds=seconds), still=still, head_start_seconds=600.0)

    assert place(5, still=True) < place(0, still=False) < place(1, still=False)
    assert place(599, still=True) < place(0, still=False)


@given(st.floats(0, 3600), st.floats(0, 100_000))
def test_no_still_overtakes_a_video_that_has_waited_for_the_head_start(head_start: float, later: float) -> None:
    video = due(NOON, still=False, head_start_seconds=head_start)
    still = due(NOON + timedelta(seconds=head_start + later), still=True, head_start_seconds=head_start)
    assert video <= still


@pytest.mark.parametrize("moment", [datetime(1970, 1, 1, tzinfo=UTC), datetime(2300, 1, 1, tzinfo=UTC)])
def test_a_clock_that_is_wrong_makes_no_place_that_is_none(moment: datetime) -> None:
    assert 1 <= due(moment, still=True, head_start_seconds=0) < 2**31


def test_what_a_waiting_job_may_expect() -> None:
    running = [a_job(VIDEO, JobState.RUNNING, eta=4.0), a_job(VIDEO, JobState.RUNNING)]
    waiting = [a_job(STILL), a_job(VIDEO), a_job(VIDEO)]
    # The second running one is half done by its own progress: 5 s of 10 s are left.
    assert forecast(running, waiting, 2, rates()) == [(4.0, 6.0), (5.0, 15.0), (6.0, 16.0)]
    assert wait_of_next(running, waiting, 2, rates()) == 15.0
    assert wait_of_next(running, [], 2, rates()) == 4.0
    assert wait_of_next(running[:1], [], 2, rates()) == 0.0


def test_what_is_not_known_is_not_guessed() -> None:
    running = [a_job(VIDEO, JobState.RUNNING)]
    assert forecast(running, [a_job(STILL)], 1, rates(video=None)) == [None]
    assert forecast([], [a_job(VIDEO), a_job(STILL)], 1, rates(video=None)) == [None, None]
    assert wait_of_next(running, [], 1, rates(video=None)) is None


def a_file(name: str, size: int, age: float) -> StoredFile:
    return StoredFile(Path(name), name, size, 1000.0 - age)


@pytest.mark.parametrize(
    ("limits", "gone"),
    [
        (Limits(0, 0), []),
        (Limits(25, 0), ["c", "d"]),
        (Limits(0, 60), ["d"]),
        (Limits(0, 30), ["c", "d"]),
        (Limits(35, 30), ["c", "d"]),
        (Limits(5, 1000), ["a", "b", "c", "d"]),
    ],
)
def test_which_files_go(limits: Limits, gone: list[str]) -> None:
    files = [a_file("a", 10, 10), a_file("b", 20, 20), a_file("c", 30, 30), a_file("d", 40, 40)]
    assert sorted(file.job_id for file in expired(files, limits, 1000.0)) == gone


@given(st.lists(st.tuples(st.integers(0, 100), st.floats(0, 100))), st.integers(1, 500))
def test_what_stays_is_small_enough_and_no_more_goes_than_must(files: list[tuple[int, float]], limit: int) -> None:
    stored = [a_file(str(number), size, age) for number, (size, age) in enumerate(files)]
    gone = expired(stored, Limits(0, limit), 1000.0)
    left = sum(file.size_bytes for file in stored) - sum(file.size_bytes for file in gone)
    assert left <= limit
    if gone:
        assert left + gone[-1].size_bytes > limit


def test_a_job_is_due_as_its_row_says() -> None:
    job = a_job(VIDEO)
    assert replace(job, inner=replace(job.inner, due=7)).priority == 7

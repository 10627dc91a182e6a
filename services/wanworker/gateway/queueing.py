"""The order of the queue, and what a waiting job may expect: pure functions."""

import heapq
from collections.abc import Sequence
from datetime import UTC, datetime

from wanworker.gateway.model import Job
from wanworker.gateway.rates import Rates

_BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
"""Of the count of seconds, which must fit into 31 bits."""

_LARGEST = 2**31 - 1
"""Of a priority, as the databases and DBOS have it."""


def due(create_time: datetime, *, still: bool, head_start_seconds: float) -> int:
    """A job's place in the queue: lower goes first.

    It is the time of its creation, and a still counts as made `head_start_seconds` earlier than a video. So a still
    goes before the videos that wait, but not before one that has waited that much longer: no stream of stills, however
    dense, holds a video up for more than the head start.
    """
    seconds = (create_time - _BEGINNING).total_seconds() + (0.0 if still else head_start_seconds)
    return min(max(1, int(seconds)), _LARGEST)


def forecast(
    running: Sequence[Job], waiting: Sequence[Job], at_once: int, rates: Rates
) -> list[tuple[float, float] | None]:
    """Seconds from now until each waiting job begins and ends, by the durations measured lately; None where there is
    none yet."""
    free = [_remaining(job, rates) for job in running]
    free += [0.0] * (at_once - len(free))
    heapq.heapify(free)
    known = True
    expected: list[tuple[float, float] | None] = []
    for job in waiting:
        takes = rates.job(still=job.spec.job_type.still).seconds
        begins = heapq.heappop(free)
        # Behind a job of which nothing is known, nothing is known.
        known = known and begins >= 0 and takes is not None
        if known and takes is not None:
            expected.append((begins, begins + takes))
        else:
            expected.append(None)
        heapq.heappush(free, begins + (takes or 0.0))
    return expected


def wait_of_next(running: Sequence[Job], waiting: Sequence[Job], at_once: int, rates: Rates) -> float | None:
    """Seconds until a job would begin that is made now; None while nothing is known."""
    if len(running) + len(waiting) < at_once:
        return 0.0
    ends = sorted(_remaining(job, rates) for job in running)
    told = forecast(running, waiting, at_once, rates)
    if any(row is None for row in told) or (ends and ends[0] < 0):
        return None
    moments = sorted([*ends, *(row[1] for row in told if row is not None)])
    # With `at_once` places, the next one is free when all but `at_once - 1` of those before have ended.
    return moments[len(moments) - at_once]


def _remaining(job: Job, rates: Rates) -> float:
    """Seconds that a running job still takes; less than 0 if that is not known."""
    if job.progress.eta is not None:
        return job.progress.eta
    takes = rates.job(still=job.spec.job_type.still).seconds
    return -1.0 if takes is None else takes * (1 - job.progress.fraction)

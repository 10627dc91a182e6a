"""Live events: order, coalescing, and what a slow reader finds."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wanworker.gateway.asked import JobSpec
from wanworker.gateway.book import JobBook
from wanworker.gateway.generation import Stage
from wanworker.gateway.hub import BUFFER_LIMIT, Feed, Subscription
from wanworker.gateway.model import (
    Happening,
    Inner,
    Job,
    JobEvent,
    JobState,
    Preview,
    Progress,
    PromptDelta,
    Snapshot,
    Warning,
    now,
)
from wanworker.runtime.errors import UnavailableError


def a_job(sequence: int = 1, state: JobState = JobState.RUNNING) -> Job:
    """A job."""
    return Job("job-1", JobSpec("a cat"), state, now(), Inner(seed=1), sequence=sequence)


async def read(subscription: Subscription, count: int) -> list[JobEvent]:
    """The next events."""
    events: list[JobEvent] = []
    async with asyncio.timeout(1):
        async for event in subscription:
            events.append(event)
            if len(events) == count:
                break
    return events


def progress(fraction: float) -> Progress:
    """Some progress."""
    return Progress(Stage.DENOISING, fraction)


async def test_a_reader_that_keeps_up_sees_everything_in_order() -> None:
    feed = Feed(a_job())
    subscription = feed.subscribe()
    seen = await read(subscription, 1)
    for fraction in (0.1, 0.2, 0.3):
        feed.tell(progress(fraction))
        seen += await read(subscription, 1)
    assert isinstance(seen[0].body, Snapshot)
    assert [event.sequence for event in seen] == [1, 2, 3, 4]
    assert [event.body.fraction for event in seen if isinstance(event.body, Progress)] == [0.1, 0.2, 0.3]
    assert feed.job.progress.fraction == 0.3


async def test_a_slow_reader_finds_the_newest_progress_and_all_of_the_text() -> None:
    feed = Feed(a_job())
    subscription = feed.subscribe()
    for number in range(1000):
        feed.tell(progress(number / 1000))
        feed.tell(PromptDelta(f"{number} "))
        feed.tell(Preview(b"", 1, 1, 1, number))
    events = await read(subscription, 4)
    assert [type(event.body) for event in events] == [Snapshot, Progress, PromptDelta, Preview]
    sequences = [event.sequence for event in events]
    assert sequences == sorted(set(sequences))
    assert isinstance(events[2].body, PromptDelta)
    assert events[2].body.text == "".join(f"{number} " for number in range(1000))


async def test_changes_of_state_that_pile_up_become_one_snapshot_that_has_them_all() -> None:
    feed = Feed(a_job())
    subscription = feed.subscribe()
    for number in range(BUFFER_LIMIT * 3):
        warning = Warning("W", str(number))
        job = replace(feed.job, warnings=(*feed.job.warnings, warning), sequence=feed.job.sequence + 1)
        feed.settle(job, warning)
    (first,) = await read(subscription, 1)
    assert isinstance(first.body, Snapshot)
    rest = feed.job.sequence - first.sequence
    assert rest < BUFFER_LIMIT
    assert len(first.body.job.warnings) + rest == BUFFER_LIMIT * 3


_BODIES = st.sampled_from([progress(0.5), PromptDelta("x"), Preview(b"", 1, 1, 1, 1), Warning("W", "w")])


@given(st.lists(st.tuples(_BODIES, st.booleans()), max_size=200))
def test_whatever_happens_sequences_rise_and_nothing_that_counts_is_missed(
    happenings: list[tuple[Happening, bool]],
) -> None:
    async def scenario() -> None:
        feed = Feed(a_job())
        subscription = feed.subscribe()
        seen: list[JobEvent] = []
        for body, pause in happenings:
            if isinstance(body, Warning):
                job = replace(feed.job, warnings=(*feed.job.warnings, body), sequence=feed.job.sequence + 1)
                feed.settle(job, body)
            else:
                feed.tell(body)
            if pause:
                seen += await read(subscription, 1)
        final = replace(feed.job, state=JobState.SUCCEEDED, sequence=feed.job.sequence + 1)
        feed.settle(final, None)
        seen += [event async for event in subscription]
        sequences = [event.sequence for event in seen]
        assert sequences == sorted(set(sequences))
        assert isinstance(seen[-1].body, Snapshot)
        assert seen[-1].body.job == final

    asyncio.run(scenario())


async def test_events_wait_while_a_change_is_written() -> None:
    feed = Feed(a_job())
    subscription = feed.subscribe()
    async with feed.lock:
        feed.tell(progress(0.5))
        feed.settle(replace(feed.job, sequence=2), None)
    feed.flush()
    events = await read(subscription, 3)
    assert [(event.sequence, type(event.body)) for event in events] == [
        (1, Snapshot),
        (2, Snapshot),
        (3, Progress),
    ]


async def test_a_reader_is_told_why_its_stream_ends() -> None:
    feed = Feed(a_job())
    subscription = feed.subscribe()
    feed.fail(UnavailableError("bye", "DRAINING"))
    with pytest.raises(UnavailableError):
        await read(subscription, 2)


def test_the_book_is_quiet_about_jobs_it_does_not_know() -> None:
    JobBook(None, 1.0).tell("nope", progress(0.1))  # type: ignore[arg-type]

"""The job table, on both databases."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.support.postgres import database_url
from wanworker.gateway.asked import JobSpec, JobType, ReferenceImage
from wanworker.gateway.book import JobBook
from wanworker.gateway.database import StoreUnavailableError
from wanworker.gateway.generation import FrameStatistics, GenerationSettings, Made, Stage, StageSeconds
from wanworker.gateway.model import (
    Adjustment,
    Artifact,
    Degradation,
    Delivered,
    Inner,
    Job,
    JobFailure,
    JobState,
    Progress,
    Warning,
    now,
)
from wanworker.gateway.queueing import due
from wanworker.gateway.store import NoRoomError, SqlJobStore
from wanworker.runtime.errors import NotFoundError

SETTINGS = GenerationSettings("demo", 256, 144, 33, 16, 15, 5.0)
STATISTICS = FrameStatistics(0.5, 0.1, 0.01)


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlJobStore]:
    """An open store."""
    for url in database_url(request.param, tmp_path):
        opened = SqlJobStore(url)
        await opened.open()
        yield opened
        await opened.close()


def a_job(name: str, job_type: JobType = JobType.VIDEO_FAST, request_id: str = "", head_start: float = 600.0) -> Job:
    """A job that waits."""
    spec = JobSpec("a cat", job_type=job_type, request_id=request_id)
    place = due(now(), still=job_type.still, head_start_seconds=head_start)
    return Job(name, spec, JobState.QUEUED, now(), Inner(seed=2**64 - 1, due=place), sequence=1)


async def test_who_watches_a_job_that_is_deleted_is_not_left_waiting(store: SqlJobStore) -> None:
    job = a_job("short-lived")
    assert await store.add(job, "", b"")
    watching = JobBook(store, 1.0).watch(job.id)
    assert (await anext(watching)).sequence == 1
    assert await store.save(replace(job, state=JobState.CANCELLED, sequence=2, finish_time=now()))
    await store.delete(job.id)
    with pytest.raises(NotFoundError):
        async with asyncio.timeout(5):
            await anext(watching)


async def test_only_what_has_ended_is_old_and_may_be_deleted(store: SqlJobStore) -> None:
    waiting, ended = a_job("waiting"), a_job("ended")
    for job in (waiting, ended):
        assert await store.add(job, "", b"image")
    assert await store.save(replace(ended, state=JobState.FAILED, sequence=2, finish_time=now()))
    later = now().timestamp() + 10
    assert [job.id for job in await store.ended_before(later, 9)] == ["ended"]
    assert await store.ended_before(later - 100, 9) == []
    for job in (waiting, ended):
        await store.delete(job.id)
    assert await store.get("ended") is None
    assert await store.image("ended") == b""
    assert await store.image("waiting") == b"image"


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_no_number_of_gateways_gets_past_the_limit(kind: str, tmp_path: Path) -> None:
    for url in database_url(kind, tmp_path):
        gateways = [SqlJobStore(url) for _ in range(4)]
        for gateway in gateways:
            await gateway.open()
        adding = [gateways[number % 4].add(a_job(f"job-{number}"), "", b"", 5) for number in range(24)]
        results = await asyncio.gather(*adding, return_exceptions=True)
        assert results.count(True) == 5
        assert sum(isinstance(result, NoRoomError) for result in results) == 19
        assert len(await gateways[0].pending()) == 5
        first = (await gateways[0].unfinished())[0]
        # The answer to a first try may have been lost; and what has ended makes room.
        assert await gateways[1].add(first, "", b"", 5)
        assert await gateways[1].save(replace(first, state=JobState.CANCELLED, sequence=2))
        assert await gateways[2].add(a_job("one-more"), "", b"image", 5)
        assert await gateways[3].image("one-more") == b"image"
        for gateway in gateways:
            await gateway.close()


async def test_a_job_comes_back_as_it_was(store: SqlJobStore) -> None:
    made = Made(SETTINGS, "r1", 256, 144, "video/mp4", 9, b"\xff" * 32, STATISTICS, (), 0, True, 1)
    job = replace(
        a_job("full"),
        state=JobState.SUCCEEDED,
        spec=JobSpec("ein Häuschen 🏠", width=256, height=144, duration=2.5, reference=ReferenceImage(url="https://a")),
        inner=Inner(5, {"traceparent": "x"}, now(), True, (200, 100), True, "qwen", 1.5, True, made),
        progress=Progress(Stage.STORING, 1.0, eta=0.0),
        resolved=SETTINGS,
        adjustments=(Adjustment("width", "1", "2", "why"),),
        warnings=(Warning("W", "w"),),
        degradations=(Degradation("rung", SETTINGS, replace(SETTINGS, fps=12), 1),),
        enhanced_prompt="x",
        delivered=Delivered(SETTINGS, "r1", 256, 144, 5, "x", True, "qwen", True, STATISTICS),
        artifact=Artifact("video/mp4", 9, b"\x00\xff" * 16, "a.mp4"),
        failure=JobFailure("INTERNAL", "R", "m", {"a": "b"}),
        stages=(StageSeconds(Stage.QUEUED, 0.25),),
        start_time=now(),
        finish_time=now(),
    )
    assert await store.add(job, "f", b"image")
    assert await store.get("full") == job
    assert await store.image("full") == b"image"
    assert await store.get("other") is None


async def test_a_database_that_is_not_there_is_named_without_its_password() -> None:
    store = SqlJobStore("postgresql+psycopg://someone:secret@127.0.0.1:1/jobs")
    with pytest.raises(StoreUnavailableError) as caught:
        await store.open()
    await store.close()
    where = "postgresql+psycopg://someone:***@127.0.0.1:1/jobs"
    assert str(caught.value) == f"the job database {where} cannot be reached"
    assert caught.value.retry_after_seconds == 1.0


async def test_a_request_id_is_taken_once(store: SqlJobStore) -> None:
    added = await asyncio.gather(
        *(store.add(a_job(f"job-{number}", request_id="r"), f"f{number}", b"") for number in range(8))
    )
    assert sum(added) == 1
    found = await store.by_request("r")
    assert found is not None
    assert found[1] == "f" + found[0].id.removeprefix("job-")


async def test_a_request_id_is_its_owner_s(store: SqlJobStore) -> None:
    for owner in ("anonymous", "alice", "bob"):
        job = a_job(f"of-{owner}", request_id="r")
        assert await store.add(replace(job, inner=replace(job.inner, owner=owner)), "f", b"")
    for owner in ("anonymous", "alice", "bob"):
        found = await store.by_request("r", owner)
        assert found is not None
        assert found[0].id == f"of-{owner}"
        assert [job.id for job in (await store.page(9, None, [], owner)).jobs] == [f"of-{owner}"]
    assert await store.by_request("r", "carol") is None


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_store_from_before_there_were_owners_opens(kind: str, tmp_path: Path) -> None:
    for url in database_url(kind, tmp_path):
        before = SqlJobStore(url)
        await before.open()
        await before.add(a_job("old", request_id="r"), "f", b"")
        await before.close()
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            connection.execute(sa.text("ALTER TABLE wanworker_jobs DROP COLUMN owner"))
            document = connection.execute(sa.text("SELECT job FROM wanworker_jobs")).scalar_one()
            document = document.replace(',"owner":"anonymous"', "")
            assert "owner" not in document
            connection.execute(sa.text("UPDATE wanworker_jobs SET job = :job"), {"job": document})
        engine.dispose()
        after = SqlJobStore(url)
        await after.open()
        assert [job.inner.owner for job in (await after.page(9, None, [])).jobs] == ["anonymous"]
        assert await after.by_request("r") is not None
        assert (await after.page(9, None, [], "alice")).jobs == ()
        await after.close()


async def test_what_has_ended_is_never_written_again(store: SqlJobStore) -> None:
    job = a_job("job")
    await store.add(job, "f", b"")
    assert await store.save(replace(job, state=JobState.CANCELLED))
    assert not await store.save(replace(job, state=JobState.SUCCEEDED))
    found = await store.get("job")
    assert found is not None
    assert found.state is JobState.CANCELLED


async def test_unfinished_jobs_come_in_the_order_in_which_they_are_due(store: SqlJobStore) -> None:
    for name, kind in (("v1", JobType.VIDEO_FAST), ("i1", JobType.IMAGE_FAST), ("v2", JobType.VIDEO_HIGH)):
        await store.add(a_job(name, kind), name, b"")
    assert [job.id for job in await store.unfinished()] == ["i1", "v1", "v2"]


async def test_a_new_epoch_lifts_the_sequences_of_unfinished_jobs_only(store: SqlJobStore) -> None:
    for name in ("open", "done"):
        await store.add(a_job(name), name, b"")
    await store.save(replace(a_job("done"), state=JobState.FAILED, sequence=7))
    await store.begin_epoch()
    opened, done = await store.get("open"), await store.get("done")
    assert opened is not None
    assert done is not None
    assert (opened.sequence, done.sequence) == (1 << 20, 7)


async def test_pages(store: SqlJobStore) -> None:
    for number in range(5):
        await store.add(a_job(f"job-{number}"), "f", b"")
    first = await store.page(2, None, [])
    assert [job.id for job in first.jobs] == ["job-4", "job-3"]
    last = await store.page(3, first.next_number, [])
    assert [job.id for job in last.jobs] == ["job-2", "job-1", "job-0"]
    assert last.next_number is None
    assert (await store.page(5, None, [JobState.RUNNING])).jobs == ()


async def test_a_job_ends_once_however_many_try(store: SqlJobStore) -> None:
    book = JobBook(store, 1.0)
    await book.activate()
    await book.add(a_job("job"), "f", b"")
    await book.change("job", lambda job: replace(job, state=JobState.RUNNING))
    ended = await asyncio.gather(
        *(book.finish("job", state) for state in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED))
    )
    assert [job.state for job in ended if job] == [JobState.SUCCEEDED]
    assert (await book.get("job")).state is JobState.SUCCEEDED


async def test_a_caller_that_is_cancelled_while_it_is_written_loses_nothing(
    store: SqlJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by make chaos: the database had the prompt, the next change began without it and took it away again."""
    book = JobBook(store, 1.0)
    await book.activate()
    await book.add(a_job("job"), "f", b"")
    save, written, go_on = store.save, asyncio.Event(), asyncio.Event()

    async def slow_save(job: Job) -> bool:
        saved = await save(job)
        written.set()
        await go_on.wait()
        return saved

    monkeypatch.setattr(store, "save", slow_save)
    step = asyncio.create_task(book.change("job", lambda job: replace(job, enhanced_prompt="a tabby cat")))
    await written.wait()
    step.cancel()
    with pytest.raises(asyncio.CancelledError):
        await step
    go_on.set()
    ended = await book.finish("job", JobState.CANCELLED)
    assert ended is not None
    assert ended.enhanced_prompt == "a tabby cat"
    assert (await store.get("job")) == ended


def test_a_fingerprint_depends_on_everything() -> None:
    spec = JobSpec("a cat")
    others = [
        replace(spec, prompt="a dog"),
        replace(spec, seed=1),
        replace(spec, reference=ReferenceImage(b"1")),
        replace(spec, reference=ReferenceImage(b"2")),
        replace(spec, enhance=True),
    ]
    prints = {spec.fingerprint(), *(other.fingerprint() for other in others)}
    assert len(prints) == 6
    assert JobSpec("a cat").fingerprint() == spec.fingerprint()

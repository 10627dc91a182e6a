"""The fault test's own judgement: it must see what it is there to see."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.chaos.audit import Verdict
from tests.chaos.ledger import Ledger, Write, repeats
from tests.chaos.plan import SERVICES, make_plan
from tests.chaos.watching import Sight
from tests.support.client import progress, snapshot
from wanworker.client.conversions import event_from_proto
from wanworker.v1 import gateway_pb2

QUEUED, RUNNING, SUCCEEDED = 1, 2, 3


def see(*events: gateway_pb2.JobEvent, first: bool = True) -> Sight:
    """A watcher that was sent these in one watch."""
    sight = Sight("job", "stub")
    for event in events:
        read = event_from_proto(event)
        assert read is not None
        sight.see(read, first=first)
        first = False
    return sight


def test_a_seed_decides_on_everything() -> None:
    assert make_plan(30, 5) == make_plan(30, 5) != make_plan(30, 6)


@pytest.mark.parametrize("jobs", [1, 8, 200])
@pytest.mark.parametrize(("gateways", "more"), [(1, set()), (2, {"gateway-2"})])
def test_every_process_is_killed_while_there_is_work(jobs: int, gateways: int, more: set[str]) -> None:
    plan = make_plan(jobs, 3, gateways=gateways)
    assert {kill.service for kill in plan.kills} == {*SERVICES, *more}
    assert len(plan.gateways) == gateways
    assert all(kill.after_finished < jobs for kill in plan.kills)


def test_a_watcher_that_is_told_everything_has_no_complaints() -> None:
    sight = see(snapshot("QUEUED", 1), snapshot("RUNNING", 2), progress(3), snapshot("SUCCEEDED", 4))
    assert sight.faults == []
    assert sight.final is not None


@pytest.mark.parametrize(
    ("events", "fault"),
    [
        ([progress(1)], "a watch began with ProgressEvent"),
        ([snapshot("RUNNING", 5), progress(4)], "sequence 4 after 5"),
        ([snapshot("RUNNING", 5), progress(5)], "sequence 5 after 5"),
        ([snapshot("RUNNING", 1), snapshot("QUEUED", 2)], "QUEUED after RUNNING"),
        ([snapshot("QUEUED", 1), snapshot("FAILED", 2)], "was never told that the job ran"),
        ([snapshot("CANCELLED", 1), progress(2)], "event 2 after the final snapshot"),
        ([snapshot("RUNNING", 1), progress(2, step=9), progress(3, step=3)], "fraction fell"),
    ],
)
def test_a_watcher_complains_of_what_should_not_be(events: list[gateway_pb2.JobEvent], fault: str) -> None:
    assert any(fault in found for found in see(*events).faults)


def write(old: int, new: int, prompt: str = "", made: int | None = None, seed: int = 1) -> Write:
    inner = {"seed": seed, "made": None if made is None else {"attempt": made}}
    return Write(old, new, {"enhanced_prompt": prompt, "inner": inner})


GOOD = [write(1, 2), write(2, 2, "p"), write(2, 2, "p", 1), write(2, SUCCEEDED, "p", 1)]


def test_the_ledger_of_a_job_that_was_restarted_before_it_was_made_is_good() -> None:
    assert repeats([write(1, 2), *GOOD]) == []


@pytest.mark.parametrize(
    ("writes", "fault"),
    [
        ([*GOOD, write(2, SUCCEEDED, "p", 1)], "reached a final state 2 times"),
        ([*GOOD[:3], write(2, 2, "p", 2), GOOD[3]], "a finished generation was run again"),
        ([*GOOD[:2], write(2, 2, "q")], "a finished prompt was written again"),
        ([GOOD[0], replace(GOOD[1], job={"inner": {"seed": 2}})], "the seed changed"),
    ],
)
def test_the_ledger_shows_what_was_done_twice(writes: list[Write], fault: str) -> None:
    assert any(fault in found for found in repeats(writes))


def test_the_database_notes_every_write(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'jobs.sqlite'}"
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE wanworker_jobs (id TEXT, state INTEGER, job TEXT)"))
        connection.execute(sa.text("INSERT INTO wanworker_jobs VALUES ('a', 1, '{}')"))
    ledger = Ledger(url)
    with engine.begin() as connection:
        for state in (RUNNING, RUNNING, SUCCEEDED):
            values = {"state": state, "job": json.dumps({"now": state})}
            connection.execute(sa.text("UPDATE wanworker_jobs SET state = :state, job = :job"), values)
    writes = ledger.writes()["a"]
    ledger.close()
    engine.dispose()
    assert [(each.old_state, each.new_state) for each in writes] == [(1, 2), (2, 2), (2, 3)]
    assert [each.ends for each in writes] == [False, False, True]


def test_the_last_line_counts_jobs_not_faults() -> None:
    verdict = Verdict(3, missed=["job 0 (x): a", "job 0 (x): b", "job 1 (y): a"], lost=["job 2 (never made): c"])
    verdict.outcomes.update(["succeeded", "degraded"])
    assert verdict.line == "jobs=3 succeeded=1 degraded=1 failed=0 lost=1 doubled=0 missed=2"
    assert not verdict.good

"""A short run of `make chaos`: the three processes are killed under real jobs, and nothing is lost."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from tests.chaos.plan import make_plan
from tests.chaos.run import Options, run_chaos


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("jobs", "kills", "gateways"), [(8, 3, 1), (3, 4, 2)])
def test_nothing_is_lost_doubled_or_missed_when_processes_are_killed(
    tmp_path: Path, jobs: int, kills: int, gateways: int
) -> None:
    told = io.StringIO()
    options = Options(make_plan(jobs, 1, kills, gateways), tmp_path, patience=60)

    verdict = run_chaos(options, Console(file=told, width=160))

    assert verdict.good, told.getvalue()
    assert sum(verdict.outcomes.values()) == jobs
    assert verdict.outcomes["succeeded"] > 0, told.getvalue()
    assert told.getvalue().splitlines()[-1] == verdict.line
    assert verdict.line.endswith("lost=0 doubled=0 missed=0")

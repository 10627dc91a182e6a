"""What is made before a generator serves."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.generator import generator_settings
from wanworker.generator.checks import check_settings
from wanworker.generator.registry import ROWS, find_row
from wanworker.generator.request import Order, Settings
from wanworker.generator.warm_up import calibration_jobs, warm_up_orders

ROW = find_row("wan2.1-t2v-1.3b")


@dataclass
class FakeEngine:
    """Knows what was measured, and what each job would cost."""

    is_cuda: bool = True
    fits: bool = True
    seconds: float = 1.0
    faster: float = 1.0  # what each look at the cost leaves of it
    known: list[Settings] = field(default_factory=list)

    @property
    def device(self) -> Any:
        return SimpleNamespace(is_cuda=self.is_cuda)

    def cost(self, _: Settings) -> Any:
        self.seconds *= self.faster
        return SimpleNamespace(fits=self.fits, prediction=SimpleNamespace(seconds=self.seconds))

    def calibrated(self, settings: Settings) -> bool:
        return settings in self.known


def orders(engine: Any, **settings: Any) -> list[Order]:
    return list(warm_up_orders(ROW, generator_settings(**settings), engine))


@pytest.mark.parametrize("row", [row for row in ROWS if row.repo], ids=lambda row: row.name)
def test_every_calibration_job_may_be_asked_for(row: Any) -> None:
    jobs = list(calibration_jobs(row))
    for job in jobs:
        check_settings(job)
    assert len(set(jobs)) == len(jobs)
    assert {job.is_still for job in jobs} == {True, False}
    assert max(job.frames for job in jobs) == row.frames


def test_a_cpu_makes_one_still() -> None:
    (order,) = orders(FakeEngine(is_cuda=False), compile_modules=True)
    assert order.settings.is_still


def test_a_gpu_measures_what_is_not_known_each_with_a_prompt_of_its_own() -> None:
    engine = FakeEngine()
    still, *measured = orders(engine)
    assert [order.settings for order in measured] == [job for job in calibration_jobs(ROW) for _ in range(3)]
    assert len({order.prompt for order in measured}) == len(measured)
    engine.known = [order.settings for order in measured[3:]]
    assert [order.settings for order in orders(engine)] == [still.settings, *3 * [measured[0].settings]]
    assert len(orders(engine, calibrate=False)) == 1


@pytest.mark.parametrize(("faster", "runs"), [(1.0, 3), (0.96, 3), (0.9, 5)])
def test_a_size_is_measured_until_it_gets_no_faster(faster: float, runs: int) -> None:
    _, *measured = orders(FakeEngine(faster=faster))
    assert [order.settings for order in measured] == [job for job in calibration_jobs(ROW) for _ in range(runs)]


def test_what_does_not_fit_or_takes_too_long_is_left_out() -> None:
    assert len(orders(FakeEngine(fits=False))) == 1
    assert len(orders(FakeEngine(seconds=61))) == 1


def test_modules_to_be_compiled_are_compiled_for_the_default_clip() -> None:
    _, clip = orders(FakeEngine(), compile_modules=True, calibrate=False)
    assert (clip.settings.width, clip.settings.height, clip.settings.frames) == (ROW.width, ROW.height, ROW.frames)

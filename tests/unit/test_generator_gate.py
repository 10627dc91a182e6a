"""Turns at the device: who goes next, who waits, who leaves."""

import threading
import time
from collections.abc import Callable

import pytest
import torch

from wanworker.generator.denoising import Step, _Steps
from wanworker.generator.device import Device, Mark
from wanworker.generator.errors import JobCancelledError
from wanworker.generator.gate import _PATIENCE, Gate, Turn
from wanworker.generator.occupancy import Occupancy, Share, side_by_side_bytes
from wanworker.runtime.errors import InternalError

VIDEO, STILL = 1, 0


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.001)


class Race:
    """Jobs that take turns in threads of their own; who had one is written down."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.log: list[str] = []
        self.threads: list[threading.Thread] = []

    def add(self, name: str, priority: int, steps: int) -> Turn:
        """Begins to wait at once."""
        turn, waiting = self.gate.turn(priority), self.gate.waiting

        def run() -> None:
            for _ in range(steps):
                turn.take()
                self.log.append(name)
                # Those who wait again must have come back before the next is chosen.
                until(lambda: self.gate.waiting >= sum(each.is_alive() for each in self.threads) - 1)
                turn.give()
            turn.close()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        until(lambda: self.gate.waiting > waiting)
        self.threads.append(thread)
        return turn

    def finish(self) -> str:
        for thread in self.threads:
            thread.join(20)
            assert not thread.is_alive()
        return "".join(self.log)


@pytest.mark.parametrize(
    ("rotate", "jobs", "expected"),
    [
        (True, [("a", VIDEO, 3), ("b", VIDEO, 3), ("c", VIDEO, 3)], "abcabcabc"),
        (True, [("a", VIDEO, 4), ("b", VIDEO, 2)], "ababaa"),
        (True, [("a", VIDEO, 2), ("s", STILL, 3)], "sssaa"),
        (False, [("a", VIDEO, 3), ("b", VIDEO, 2), ("s", STILL, 1)], "saaabb"),
    ],
)
def test_turns_go_by_priority_and_then_round(rotate: bool, jobs: list[tuple[str, int, int]], expected: str) -> None:
    gate = Gate(rotate=rotate)
    race = Race(gate)
    with gate.turn().held():
        for name, priority, steps in jobs:
            race.add(name, priority, steps)
    assert race.finish() == expected


def test_a_still_goes_before_all_videos_after_the_step_that_runs() -> None:
    gate = Gate(rotate=True)
    race = Race(gate)
    with gate.turn(VIDEO).held():
        for name in "abcd":
            race.add(name, VIDEO, 3)
        race.add("s", STILL, 4)
    assert race.finish().index("s") == 0


def test_stills_without_end_do_not_stop_a_video() -> None:
    gate = Gate(rotate=True)
    race = Race(gate)
    with gate.turn().held():
        race.add("v", VIDEO, 2)
        race.add("s", STILL, 3 * _PATIENCE)
    log = race.finish()
    # The holder above is the first to have passed the video by.
    assert [index for index, name in enumerate(log) if name == "v"] == [_PATIENCE, 2 * _PATIENCE + 1]


def test_who_is_cancelled_stops_waiting_and_leaves_no_gap() -> None:
    gate = Gate(rotate=True)
    cancelled, other = gate.turn(), gate.turn()
    raised = threading.Event()

    def wait() -> None:
        try:
            cancelled.take()
        except JobCancelledError:
            raised.set()

    with gate.turn().held():
        thread = threading.Thread(target=wait)
        thread.start()
        until(lambda: gate.waiting == 1)
        cancelled.cancel()
        assert raised.wait(20)
    thread.join(20)
    other.take()
    other.take()  # in its turn, nothing happens
    assert other.taken
    other.give()
    other.give()
    with pytest.raises(JobCancelledError):
        cancelled.take()
    assert not other.taken


def test_an_exception_in_a_turn_gives_it_back() -> None:
    gate = Gate(rotate=True)
    with pytest.raises(KeyError), gate.turn().held():
        raise KeyError
    with gate.turn().held():
        pass


def test_giving_way_lets_only_better_ones_in() -> None:
    gate = Gate(rotate=False)
    race, video = Race(gate), gate.turn(VIDEO)
    video.take()
    race.add("w", VIDEO, 1)
    video.give_way()
    assert video.taken
    assert race.log == []
    race.add("s", STILL, 1)
    video.give_way()
    assert race.log == ["s"]
    assert video.taken
    video.give()
    assert race.finish() == "sw"


class FakeFence:
    """A device that has done its work when the test says so."""

    def __init__(self) -> None:
        self.waited = False

    def wait(self) -> None:
        self.waited = True


def test_no_more_than_two_turns_are_under_way_on_the_device() -> None:
    gate = Gate(rotate=True)
    fences = [FakeFence() for _ in range(3)]
    for fence in fences:
        turn = gate.turn()
        turn.take()
        turn.give(fence)
    assert [fence.waited for fence in fences] == [True, True, False]


class FakeDevice(Device):
    """A CPU that answers a step late, as a GPU does."""

    lookahead = 1

    def mark(self) -> Mark:
        return Mark(self.torch)


def test_steps_are_told_once_done_and_not_waited_for() -> None:
    device, told = FakeDevice("cpu"), list[int]()

    def tell(step: Step) -> None:
        told.append(step.number)

    steps = _Steps(device, Gate(rotate=True).turn(), tell)
    for number in (1, 2, 3):
        steps.begin()
        steps.end(number, torch.zeros(1), torch.zeros(1))
        assert told == list(range(1, number))
    steps.finish()
    assert told == [1, 2, 3]


def test_not_a_number_names_its_own_step_although_it_is_seen_later() -> None:
    steps = _Steps(FakeDevice("cpu"), Gate(rotate=True).turn(), lambda _: None)
    steps.end(1, torch.zeros(1), torch.zeros(1))
    steps.end(2, torch.full((1,), float("nan")), torch.zeros(1))
    with pytest.raises(InternalError) as caught:
        steps.finish()
    assert (caught.value.reason, caught.value.metadata["step"]) == ("NOT_A_NUMBER", "2")


class TestOccupancy:
    SMALL = Share("demo", weights=100, resident=1, step=10, decode=20)
    LARGE = Share("demo", weights=100, resident=3, step=40, decode=30)

    def test_memory_side_by_side(self) -> None:
        assert side_by_side_bytes([self.SMALL], beside=False) == 121
        assert side_by_side_bytes([self.SMALL, self.LARGE], beside=False) == 100 + 4 + 40
        assert side_by_side_bytes([self.SMALL, self.LARGE], beside=True) == 100 + 4 + 40 + 30
        other = Share("other", 50, 0, 0, 0)
        assert side_by_side_bytes([self.SMALL, other], beside=False) == 150 + 1 + 20

    def test_decoding_beside_steps_needs_the_memory_of_both(self) -> None:
        occupancy = Occupancy(Device("cpu"))
        with occupancy.running(self.SMALL):
            assert occupancy.decodes_beside(0)  # alone there are no steps beside it
            with occupancy.running(self.LARGE):
                assert occupancy.decodes_beside(174)
                assert not occupancy.decodes_beside(173)

    def test_who_ran_beside_others_is_not_alone(self) -> None:
        occupancy = Occupancy(Device("cpu"))
        with occupancy.running(self.SMALL) as first:
            assert first.alone
            with occupancy.running(self.SMALL) as second:
                assert occupancy.models() == {"demo"}
            assert not first.alone
            assert not second.alone
        with occupancy.running(self.SMALL) as third:
            assert third.alone
        assert occupancy.models() == set()

    def test_each_job_keeps_its_own_peak(self, monkeypatch: pytest.MonkeyPatch) -> None:
        device = Device("cpu")
        peak = 0
        monkeypatch.setattr(device, "peak_bytes", lambda: peak)
        occupancy = Occupancy(device)
        with occupancy.running(self.SMALL) as first:
            peak = 50
            with occupancy.running(self.SMALL) as second:
                peak = 30
                assert (first.peak_bytes, second.peak_bytes) == (50, 30)

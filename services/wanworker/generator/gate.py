"""Who computes now: jobs of one device take turns, a denoising step (or a piece of decoding) each.

A `Gate` has one holder at a time. Of those who wait it lets in the best priority first. Within a priority a rotating
gate goes round, least recently served first; one that does not rotate lets the oldest job finish first, which keeps
the memory of half-done work down to one job's. A job that has begun and not closed its turn will be back in a moment:
until then the gate opens for nobody of a worse priority, else each short step of a still would be followed by a long
one of a video. So that a stream of stills cannot stop a video for ever, after `_PATIENCE` turns in a row that passed a
worse priority by, that one gets one.

A device may compute later than it is told to. `give` therefore takes a fence, which passes once the turn's work is
done, and waits for the fence of the turn before: at most two turns are under way, so the device has always work, and
whoever comes with a better priority waits for two turns at the most.
"""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from wanworker.generator.errors import JobCancelledError

_PATIENCE = 64


class Fence(Protocol):
    """A point in a device's work."""

    def wait(self) -> None:
        """Returns once the device has passed it."""


class Gate:
    """One holder at a time. Safe to use from several threads."""

    def __init__(self, *, rotate: bool) -> None:
        """`rotate`: whether jobs of one priority take turns, or one ends before the next begins."""
        self.changed = threading.Condition()
        self._rotate = rotate
        self._jobs = itertools.count()
        self._grants = itertools.count(1)
        self._waiting: list[Turn] = []
        self._begun: set[Turn] = set()
        self._holder: Turn | None = None
        self._passed_by = 0
        self._fence: Fence | None = None

    def turn(self, priority: int = 0) -> "Turn":
        """A job's ticket for all of its turns; lower priorities go first."""
        return Turn(self, priority, next(self._jobs))

    @property
    def waiting(self) -> int:
        """Jobs that wait now."""
        return len(self._waiting)

    def enter(self, turn: "Turn") -> None:
        """Waits for the turn; see `Turn.take`."""
        with self.changed:
            if self._holder is turn:
                return
            self._waiting.append(turn)
            try:
                while turn.cancelled or self._holder is not None or self._next() is not turn:
                    if turn.cancelled:
                        raise JobCancelledError
                    self.changed.wait()
                self._grant(turn)
            finally:
                self._waiting.remove(turn)
                self.changed.notify_all()

    def close(self, turn: "Turn") -> None:
        """Ends all turns of a job; see `Turn.close`."""
        self.leave(turn, None)
        with self.changed:
            self._begun.discard(turn)
            self.changed.notify_all()

    def leave(self, turn: "Turn", fence: Fence | None) -> None:
        """Ends the turn; see `Turn.give`."""
        if self._holder is not turn:
            return
        before, self._fence = self._fence, fence
        try:
            if before is not None:
                before.wait()
        finally:
            with self.changed:
                self._holder = None
                self.changed.notify_all()

    def is_held_by(self, turn: "Turn") -> bool:
        """True during that job's turn."""
        return self._holder is turn

    def is_passed_over(self, turn: "Turn") -> bool:
        """True if somebody of a better priority waits."""
        with self.changed:
            return any(each.priority < turn.priority for each in self._waiting)

    def _next(self) -> "Turn | None":
        top = min(each.priority for each in (*self._waiting, *self._begun))
        if self._passed_by >= _PATIENCE:
            worse = [each for each in self._waiting if each.priority > top]
            if worse:
                return min(worse, key=self._order)
        best = min(self._waiting, key=self._order)
        return best if best.priority == top else None

    def _order(self, turn: "Turn") -> tuple[int, int, int]:
        return turn.priority, turn.served if self._rotate else 0, turn.number

    def _grant(self, turn: "Turn") -> None:
        self._passed_by = self._passed_by + 1 if any(each.priority > turn.priority for each in self._waiting) else 0
        self._holder = turn
        self._begun.add(turn)
        turn.served = next(self._grants)


class Turn:
    """One job's way through a gate. `cancel` belongs to any thread, the rest to the job's."""

    def __init__(self, gate: Gate, priority: int, number: int) -> None:
        self.priority = priority
        """Lower goes first."""
        self.number = number
        """Order of arrival."""
        self.served = 0
        """When it had its latest turn, in turns of the gate."""
        self.cancelled = False
        """True once it waits for nothing any more."""
        self._gate = gate

    @property
    def taken(self) -> bool:
        """True from `take` to `give`."""
        return self._gate.is_held_by(self)

    def take(self) -> None:
        """Waits for the turn; does nothing during it.

        Raises:
            JobCancelledError: `cancel` was called, before or meanwhile.
        """
        self._gate.enter(self)

    def give(self, fence: Fence | None = None) -> None:
        """Ends the turn, if there is one; `fence` passes when the device has done what the turn asked for."""
        self._gate.leave(self, fence)

    def close(self) -> None:
        """Ends the turn, if there is one, and says that no other will be wanted soon."""
        self._gate.close(self)

    def give_way(self) -> None:
        """Lets those of a better priority in for a while. Raises JobCancelledError as `take` does."""
        if self._gate.is_passed_over(self):
            self.give()
            self.take()

    def cancel(self) -> None:
        """Makes `take` raise."""
        with self._gate.changed:
            self.cancelled = True
            self._gate.changed.notify_all()

    @contextmanager
    def held(self) -> Iterator[None]:
        """A turn for as long as it is entered."""
        self.take()
        try:
            yield
        finally:
            self.close()

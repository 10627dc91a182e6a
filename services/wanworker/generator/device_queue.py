"""Which jobs the device takes in: a bounded line with priorities and known positions.

Those that it has taken in share it step by step (`gate`). Tickets of a better priority find room although as many of
a worse one hold the device as may: a still does not wait for a video to end.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, field

from wanworker.generator.errors import draining, queue_full
from wanworker.generator.occupancy import Share


@dataclass(eq=False)
class Ticket:
    """A place in the line, or the device itself."""

    priority: int
    """Lower goes first."""
    number: int
    """Order of arrival; decides among equals."""
    share: Share | None = None
    """What it takes of the device's memory; None is not reckoned with."""
    position: int = 0
    """Jobs that wait ahead of this one."""
    granted: bool = False
    """True once the device is this ticket's."""
    refused: bool = False
    """True if the line closed before its turn came."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when any of the above changed."""


class DeviceQueue:
    """The line. All methods belong to one event loop."""

    def __init__(
        self, limit: int, holders: int = 1, fits: Callable[[Collection[Share]], bool] = lambda _: True
    ) -> None:
        """`limit`: tickets that may wait; `holders`: tickets of a priority or better that may hold the device at once.

        `fits`: whether these jobs may be on the device side by side. It is not asked about a job alone.
        """
        self.limit = limit
        self._fits = fits
        self._capacity = holders
        self._numbers = itertools.count()
        self._waiting: list[Ticket] = []
        self._holding: set[Ticket] = set()
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def waiting(self) -> int:
        """Tickets in line."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Tickets that hold the device."""
        return len(self._holding)

    def join(self, priority: int = 0, retry_after_seconds: float = 5.0, share: Share | None = None) -> Ticket:
        """A new ticket.

        Raises:
            ExhaustedError: QUEUE_FULL.
            UnavailableError: DRAINING, once closed.
        """
        if self._closed:
            raise draining()
        ticket = Ticket(priority, next(self._numbers), share)
        starts = all(each.priority > priority for each in self._waiting) and self._may_start(ticket)
        if not starts and len(self._waiting) >= self.limit:
            raise queue_full(self.limit, retry_after_seconds)
        self._waiting.append(ticket)
        self._waiting.sort(key=lambda each: (each.priority, each.number))
        self._idle.clear()
        self._advance()
        return ticket

    async def positions(self, ticket: Ticket) -> AsyncIterator[int]:
        """The ticket's position, first now and then at each change, until the device is its own.

        Raises:
            UnavailableError: DRAINING, if the line closes first.
        """
        last: int | None = None
        while True:
            ticket.changed.clear()
            if ticket.refused:
                raise draining()
            if last is None or (ticket.position != last and not ticket.granted):
                last = ticket.position
                yield last
                continue
            if ticket.granted:
                return
            await ticket.changed.wait()

    def leave(self, ticket: Ticket) -> None:
        """Gives the device, or the place in line, to others. Harmless if done twice."""
        self._holding.discard(ticket)
        if ticket in self._waiting:
            self._waiting.remove(ticket)
        self._advance()

    def close(self) -> None:
        """Refuses new tickets and those that wait; holders keep the device."""
        self._closed = True
        for ticket in self._waiting:
            ticket.refused = True
            ticket.changed.set()
        self._waiting.clear()
        self._advance()

    async def idle(self) -> None:
        """Returns once nobody holds the device or waits for it."""
        await self._idle.wait()

    def _advance(self) -> None:
        # The head alone is looked at: who is next must not be overtaken for ever by smaller ones.
        while self._waiting and self._may_start(self._waiting[0]):
            ticket = self._waiting.pop(0)
            ticket.position, ticket.granted = 0, True
            self._holding.add(ticket)
            ticket.changed.set()
        for position, ticket in enumerate(self._waiting):
            if ticket.position != position:
                ticket.position = position
                ticket.changed.set()
        if not self._waiting and not self._holding:
            self._idle.set()

    def _may_start(self, ticket: Ticket) -> bool:
        if sum(each.priority <= ticket.priority for each in self._holding) >= self._capacity:
            return False
        shares = [each.share for each in (*self._holding, ticket) if each.share is not None]
        return not self._holding or self._fits(shares)

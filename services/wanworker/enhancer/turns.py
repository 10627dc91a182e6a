"""A bounded queue that lets one at a time through, in order, and tells the others where they stand."""

import asyncio

from wanworker.enhancer.errors import DrainingError, QueueFullError

_FIRST_GUESS_SECONDS = 5.0
_NEWEST_WEIGHT = 0.3


class Turn:
    """A place in the queue. Leave it in a `finally`."""

    def __init__(self, queue: "TurnQueue", position: int) -> None:
        self._queue = queue
        self._position = position
        self._moved = asyncio.Event()
        self._refused = False

    @property
    def position(self) -> int:
        """How many are ahead, the running one counted; 0 means that it is this one's turn."""
        return self._position

    async def moved(self, position: int) -> int:
        """Wait until the position is another than `position`, and return it.

        Raises:
            DrainingError: The queue takes nobody any more.
        """
        while self._position == position:
            if self._refused:
                raise DrainingError
            self._moved.clear()
            await self._moved.wait()
        return self._position

    def leave(self) -> None:
        """Let the next one through, or only make room if it wasn't one's turn. Twice is fine."""
        self._queue._remove(self)

    def _move(self, position: int) -> None:
        self._position = position
        self._moved.set()

    def _refuse(self) -> None:
        self._refused = True
        self._moved.set()


class TurnQueue:
    """The queue. Lives in one event loop.

    Args:
        limit: How many may wait; the running one is not counted.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._turns: list[Turn] = []
        self._draining = False
        self._empty = asyncio.Event()
        self._empty.set()
        self._seconds = _FIRST_GUESS_SECONDS

    @property
    def busy(self) -> bool:
        """Whether somebody has the turn."""
        return bool(self._turns)

    @property
    def waiting(self) -> int:
        """How many wait for theirs."""
        return max(0, len(self._turns) - 1)

    def join(self) -> Turn:
        """Take the last place.

        Raises:
            QueueFullError: There is none.
            DrainingError: The queue takes nobody any more.
        """
        if self._draining:
            raise DrainingError
        if len(self._turns) > self._limit:
            raise QueueFullError(self._limit, max(1.0, self._seconds))
        turn = Turn(self, len(self._turns))
        self._turns.append(turn)
        self._empty.clear()
        return turn

    def took(self, seconds: float) -> None:
        """Learn how long a turn takes; that is what those who find the queue full are told to wait."""
        self._seconds += _NEWEST_WEIGHT * (seconds - self._seconds)

    async def drain(self) -> None:
        """Refuse new ones and those that wait, and return when the running one has left."""
        self._draining = True
        for turn in self._turns[1:]:
            turn._refuse()
        await self._empty.wait()

    def _remove(self, turn: Turn) -> None:
        if turn not in self._turns:
            return
        self._turns.remove(turn)
        if not self._turns:
            self._empty.set()
        for position, other in enumerate(self._turns):
            if other.position != position and not other._refused:
                other._move(position)

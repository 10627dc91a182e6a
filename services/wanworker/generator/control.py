"""The line between a job's thread and whoever waits for it."""

import threading
from collections.abc import Callable

from wanworker.generator.errors import JobCancelledError
from wanworker.generator.request import Event


class JobControl:
    """Carries events out of a job's thread, and the wish to stop into it."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        """`emit` is called in the job's thread."""
        self._emit = emit
        self._cancelled = threading.Event()

    @property
    def cancelled(self) -> bool:
        """True once somebody wants the job to stop."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Makes the job stop at its next checkpoint. From any thread, any number of times."""
        self._cancelled.set()

    def checkpoint(self) -> None:
        """Between two pieces of work, none longer than a denoising step: raises JobCancelledError on a cancelled job.

        A later version waits here for the device's next turn.
        """
        if self._cancelled.is_set():
            raise JobCancelledError

    def emit(self, event: Event) -> None:
        """Tells those who wait."""
        self._emit(event)

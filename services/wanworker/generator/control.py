"""The line between a job's thread and whoever waits for it."""

import threading
from collections.abc import Callable

from wanworker.generator.errors import JobCancelledError
from wanworker.generator.gate import Gate, Turn
from wanworker.generator.request import Event


class JobControl:
    """Carries events out of a job's thread, and the wish to stop into it; holds its tickets for the device."""

    def __init__(self, emit: Callable[[Event], None], steps: Turn | None = None, decodes: Turn | None = None) -> None:
        """`emit` is called in the job's thread. Without tickets the job has the device to itself."""
        self._emit = emit
        self._cancelled = threading.Event()
        self.steps = steps or Gate(rotate=True).turn()
        """Its turns at the transformer, a denoising step each."""
        self.decodes = decodes or Gate(rotate=False).turn()
        """Its turn at the autoencoder."""

    @property
    def cancelled(self) -> bool:
        """True once somebody wants the job to stop."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Makes the job stop at its next checkpoint, also while it waits. From any thread, any number of times."""
        self._cancelled.set()
        self.steps.cancel()
        self.decodes.cancel()

    def checkpoint(self) -> None:
        """Between two pieces of work, none longer than a denoising step: raises JobCancelledError once cancelled."""
        if self._cancelled.is_set():
            raise JobCancelledError

    def release(self) -> None:
        """Gives back all turns; the job is over."""
        self.steps.close()
        self.decodes.close()

    def emit(self, event: Event) -> None:
        """Tells those who wait."""
        self._emit(event)

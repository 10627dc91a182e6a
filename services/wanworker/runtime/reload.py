"""Files that are read again when they change: certificates and keys are renewed under a running service."""

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from wanworker.runtime.errors import ServiceError

T = TypeVar("T")

_LOG = logging.getLogger("wanworker.runtime")
_Mark = tuple[int, int, int]


class Reloaded(Generic[T]):
    """What some files say, as of their last state that made sense. May be shared by threads."""

    def __init__(self, what: str, paths: Sequence[Path], load: Callable[[], T]) -> None:
        """Reads the files.

        Args:
            what: Name for the log.
            paths: The files; looked at each time that somebody asks.
            load: Reads them. It raises ServiceError for what makes no sense: now that is the caller's, later a line
                in the log, and what was read before stays in force.
        """
        self._what = what
        self._paths = tuple(paths)
        self._load = load
        self._lock = threading.Lock()
        self._marks = self._look()
        self._value = load()

    def current(self) -> T:
        """What the files say now. Never fails."""
        with self._lock:
            marks = self._look()
            if marks != self._marks:
                # First, so that a file which makes no sense is complained of once, and read again when it changes.
                self._marks = marks
                try:
                    self._value = self._load()
                except ServiceError as error:
                    _LOG.error("%s changed but cannot be used, so the old ones stay: %s", self._what, error)
                else:
                    _LOG.info("%s read again", self._what)
            return self._value

    def _look(self) -> tuple[_Mark | None, ...]:
        return tuple(_mark(path) for path in self._paths)


def _mark(path: Path) -> _Mark | None:
    try:
        status = path.stat()
    except OSError:
        return None
    # The inode too: secrets are often replaced by a link to another file of the same length.
    return status.st_ino, status.st_size, status.st_mtime_ns

"""A flag that any thread may raise, and that llama.cpp can look at without Python."""

import ctypes


class Cancellation:
    """Raised once, by whoever no longer wants the answer.

    The flag is a byte of C memory: llama.cpp's abort callback reads it between two operators of its graph,
    in threads that must not wait for the interpreter lock.
    """

    def __init__(self) -> None:
        # Two bytes, so that a raised flag is a C string of length 1 (see `engine.ABORT_CALLBACK`).
        self._flag = (ctypes.c_char * 2)(b"\0", b"\0")

    @property
    def address(self) -> int:
        """Address of the flag, valid as long as this object lives."""
        return ctypes.addressof(self._flag)

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._flag[0] != b"\0"

    def cancel(self) -> None:
        """Raise the flag. Doing it twice is fine."""
        self._flag[0] = b"\1"

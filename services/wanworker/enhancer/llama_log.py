"""llama.cpp's log, which goes to stderr by itself, brought into `logging`.

All of it at level DEBUG: it tells what only somebody who debugs a model wants to know, it calls a prompt that was
cancelled an error, and what is one is raised by the engine with llama.cpp's own words.
"""

import ctypes
import logging
from collections import deque
from typing import Final

from llama_cpp import llama_cpp as lib

logger = logging.getLogger("wanworker.enhancer.llama")

# enum ggml_log_level of ggml.h: none, debug, info, warn, error, continued. (llama-cpp-python's
# own table is wrong.)
_ERROR: Final = 4
_CONTINUED: Final = 5

recent_errors: deque[str] = deque(maxlen=8)
"""The last lines that llama.cpp logged as errors: a failed load says there, and only there, why."""


@lib.llama_log_callback  # type: ignore[untyped-decorator]
def _to_logging(level: int, text: bytes, _user_data: object) -> None:
    line = text.decode("utf-8", "replace").strip()
    # Continuations are progress dots.
    if level == _CONTINUED or not line.strip("."):
        return
    if level == _ERROR:
        recent_errors.append(line)
    logger.debug("%s", line)


def install() -> None:
    """Route the log, for the whole process. Takes the place of llama-cpp-python's own callback."""
    lib.llama_log_set(_to_logging, ctypes.c_void_p(0))

"""Log lines: readable on a terminal, JSON elsewhere, with the trace they belong to.

Loggers are the standard library's: `logging.getLogger("wanworker.<service>")`. Fields given as `extra=` and
those of `bind` appear in JSON lines by their own names, and behind the message in text.
"""

import json
import logging
import sys
import time
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, TextIO

from opentelemetry import trace

from wanworker.runtime.settings import ServiceSettings

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""Attributes that every record has; the rest were given as `extra`."""
_COLOURS: Final = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}
_EMPTY: Final[Mapping[str, object]] = MappingProxyType({})

_bound: ContextVar[Mapping[str, object]] = ContextVar("wanworker_log_fields", default=_EMPTY)


def bind(**fields: object) -> None:
    """Adds fields to every further line of this task, the call's access log line included; for example
    `job_id`."""
    _bound.set({**_bound.get(), **fields})


def setup_logging(settings: ServiceSettings, service: str, stream: TextIO | None = None) -> None:
    """Sends the process's log to `stream` (standard error when None).

    Our own loggers log from `settings.log_level`; other people's from WARNING, or from INFO when ours are at
    DEBUG.

    Args:
        settings: Level and format.
        service: Name for the lines' `service` field.
        stream: Where lines go.
    """
    out = sys.stderr if stream is None else stream
    text = settings.log_format == "text" or (settings.log_format == "auto" and out.isatty())
    handler = logging.StreamHandler(out)
    handler.setFormatter(TextFormatter(colour=out.isatty()) if text else JsonFormatter(service))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.INFO if settings.log_level == "DEBUG" else logging.WARNING)
    logging.getLogger("wanworker").setLevel(settings.log_level)
    logging.captureWarnings(True)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """What a line carries beside its message: bound fields, extras, and the span that is open."""
    fields = dict(_bound.get())
    fields.update((key, value) for key, value in vars(record).items() if key not in _STANDARD)
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        fields.update(trace_id=f"{span.trace_id:032x}", span_id=f"{span.span_id:016x}")
    return fields


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC, RFC 3339), level, logger, service, message, fields, exception."""

    def __init__(self, service: str) -> None:
        """Args: service: value of the `service` field."""
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line, without a line break in it."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "service": self._service,
            "message": record.getMessage(),
        }
        line = {**_fields(record), **line}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """`12:34:56.789 INFO  wanworker.access  message  key=value …`, then the traceback if there is one."""

    # The access line's own message says these already.
    _IN_MESSAGE = frozenset({"method", "code", "seconds", "peer", "span_id"})

    def __init__(self, *, colour: bool) -> None:
        """Args: colour: whether the level is coloured."""
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        level = f"{record.levelname:<7}"
        if self._colour:
            level = f"\x1b[{_COLOURS.get(record.levelname, '0')}m{level}\x1b[0m"
        fields = "".join(f" {k}={v}" for k, v in _fields(record).items() if k not in self._IN_MESSAGE)
        line = f"{clock}.{int(record.msecs):03d} {level} {record.name}: {record.getMessage()}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line

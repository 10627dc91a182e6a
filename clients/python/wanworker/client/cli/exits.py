"""Exit codes, and how errors are told."""

import json
from enum import IntEnum
from typing import Any

from rich.console import Console
from rich.text import Text

from wanworker.client.errors import (
    InvalidArgumentError,
    JobCancelledError,
    JobFailedError,
    UnavailableError,
    WanworkerError,
)


class ExitCode(IntEnum):
    """What the command line ends with."""

    OK = 0
    FAILED = 1
    """The job failed or was cancelled by somebody else, or a call failed in a way that has no code of its
    own."""
    USAGE = 2
    """An option or a field is not as it should be."""
    UNAVAILABLE = 3
    """Nobody there, or not ready."""
    INTERRUPTED = 130
    """Ctrl-C. SIGTERM gives 143."""


def exit_code(error: WanworkerError) -> ExitCode:
    """Returns what to exit with after an error."""
    if isinstance(error, InvalidArgumentError):
        return ExitCode.USAGE
    if isinstance(error, UnavailableError):
        return ExitCode.UNAVAILABLE
    return ExitCode.FAILED


def error_json(error: WanworkerError) -> dict[str, Any]:
    """Returns an error as the value of a JSON line."""
    record: dict[str, Any] = {"code": error.code.name, "reason": error.reason, "message": error.message}
    if error.metadata:
        record["metadata"] = error.metadata
    if error.violations:
        record["violations"] = [
            {"field": v.field, "description": v.description, "reason": v.reason} for v in error.violations
        ]
    if error.retry_after is not None:
        record["retry_after_seconds"] = error.retry_after
    if isinstance(error, JobFailedError | JobCancelledError):
        record["job_id"] = error.job.id
    return record


def tell(error: WanworkerError, *, as_json: bool, nobody: str) -> None:
    """Prints an error: a JSON line on stdout, or text on stderr. `nobody` is the line for when no service
    answered."""
    if as_json:
        print(json.dumps({"error": error_json(error)}, ensure_ascii=False), flush=True)
        return
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for line in _lines(error, nobody):
        console.print(line)


def _lines(error: WanworkerError, nobody: str) -> list[Text]:
    # A service of ours gives a reason; a status without one was made by gRPC itself: nothing listens there.
    if isinstance(error, UnavailableError) and not error.reason:
        # What OpenSSL has to say of a certificate must not get lost.
        refused = "handshake" in error.message or "CERTIFICATE" in error.message
        return [_headline(f"TLS failed: {error.message}" if refused else nobody)]
    text = error.message + (f" ({error.reason})" if error.reason else "")
    said = (f"{v.field}: {v.description}" for v in error.violations)
    lines = [_headline(text), *(Text(f"  {line}") for line in said if line not in error.message)]
    lines += [Text(f"  {key}: {value}") for key, value in sorted(error.metadata.items())]
    if error.retry_after is not None:
        lines.append(Text(f"  try again in {error.retry_after:g} s"))
    return lines


def _headline(text: str) -> Text:
    return Text.assemble(("error: ", "bold red"), text)

"""Attempts to get in, what each got, and the table of both in docs/security.md."""

import os
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from wanworker.client.status import status_details

DOCUMENT = Path(__file__).parents[2] / "docs/security.md"
BEGIN, END = "<!-- attempts: begin -->\n", "<!-- attempts: end -->\n"
_OPENSSL = ("CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER", "Hostname Verification Check failed")


async def got(attempt: Awaitable[Any]) -> str:
    """What an attempt got: "OK", or the status with its reason, and what TLS complained of."""
    try:
        await attempt
    except grpc.RpcError as error:
        details = status_details(error)
        complaint = next((word for word in _OPENSSL if word in details.message), "")
        if complaint == "CERTIFICATE_VERIFY_FAILED":
            complaint += ": " + details.message.split(complaint + ": ")[1].split(":")[0].rstrip(",")
        retry = "" if details.retry_after_seconds is None or not details.reason else " and RetryInfo"
        said = details.reason or complaint
        return details.code.name + (f" ({said})" if said else "") + retry
    return "OK"


@dataclass
class Ledger:
    """The attempts of a test session, in order."""

    rows: list[tuple[str, str, str]] = field(default_factory=list)

    def note(self, door: str, attempt: str, outcome: str) -> str:
        """Keeps an outcome, and returns it."""
        self.rows.append((door, attempt, outcome))
        return outcome

    def table(self) -> str:
        """The attempts as Markdown, door by door."""
        head = "| door | attempt | what it got |\n| --- | --- | --- |\n"
        doors = list(dict.fromkeys(door for door, _, _ in self.rows))
        rows = sorted(self.rows, key=lambda row: doors.index(row[0]))
        return head + "".join(f"| {door} | {attempt} | {outcome} |\n" for door, attempt, outcome in rows)

    def check(self) -> None:
        """Fails if the document says anything else; with WRITE_DOCS=1 it is written instead."""
        text = DOCUMENT.read_text(encoding="utf-8")
        before, rest = text.split(BEGIN)
        old, after = rest.split(END)
        if os.environ.get("WRITE_DOCS") == "1":
            DOCUMENT.write_text(f"{before}{BEGIN}{self.table()}{END}{after}", encoding="utf-8")
            return
        assert old == self.table(), "docs/security.md is stale: run this file with WRITE_DOCS=1 and commit"

"""`wanworker doctor`: what is there, what is missing, and what to do about it."""

from dataclasses import asdict

from rich.table import Table
from rich.text import Text

from wanworker.client.cli.checks import Finding, Verdict, examine, installed_services
from wanworker.client.cli.exits import ExitCode
from wanworker.client.cli.formats import print_json
from wanworker.client.cli.summary import stdout
from wanworker.client.connection import DEFAULT_GATEWAY

_MARKS = {
    Verdict.OK: ("✓", "green"),
    Verdict.NOTE: ("·", "dim"),
    Verdict.WARNING: ("!", "bold yellow"),
    Verdict.BROKEN: ("✗", "bold red"),
}


async def doctor(address: str, *, as_json: bool) -> int:
    """Prints a line a finding; the exit code is 1 when something is broken.

    No gateway is a finding only: where the services are installed and no other place was named, none may run yet.
    """
    expected = address != DEFAULT_GATEWAY or not installed_services()
    found = await examine(address, expected=expected)
    broken = sum(finding.verdict is Verdict.BROKEN for finding in found)
    if as_json:
        print_json(result={"broken": broken, "findings": [asdict(f) | {"verdict": f.verdict.value} for f in found]})
    else:
        console = stdout()
        console.print(_table(found))
        warnings = sum(finding.verdict is Verdict.WARNING for finding in found)
        console.print(f"{broken} broken, {warnings} to look at", style="bold red" if broken else "bold green")
    return ExitCode.FAILED if broken else ExitCode.OK


def _table(found: list[Finding]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    table.add_column(no_wrap=True)
    table.add_column()
    group = ""
    for finding in found:
        mark, style = _MARKS[finding.verdict]
        text = Text(finding.text)
        if finding.hint:
            text.append(f"\n→ {finding.hint}", style="dim")
        table.add_row(finding.group if finding.group != group else "", Text(mark, style), finding.name, text)
        group = finding.group
    return table

"""The table that a run ends with."""

from collections import Counter
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from tests.chaos.audit import Verdict
from tests.chaos.plan import Plan

_SHOWN_FAULTS = 20


def print_report(
    console: Console, verdict: Verdict, kills: Mapping[str, int], exits: list[str], seconds: float, plan: Plan
) -> None:
    """The table, the faults, and as the last line the one for scripts."""
    table = Table(title=_title(plan), title_justify="left", show_header=False)
    for name, value in _rows(verdict, {name: kills.get(name, 0) for name in plan.services}, exits, seconds):
        table.add_row(name, value)
    console.print(table)
    for title, faults in (("lost", verdict.lost), ("doubled", verdict.doubled), ("missed", verdict.missed)):
        for fault in faults[:_SHOWN_FAULTS]:
            console.print(f"{title}: {fault}", markup=False, highlight=False, soft_wrap=True)
        if len(faults) > _SHOWN_FAULTS:
            console.print(f"{title}: … and {len(faults) - _SHOWN_FAULTS} more", markup=False, highlight=False)
    console.print(verdict.line, markup=False, highlight=False, soft_wrap=True)


def _title(plan: Plan) -> str:
    gateways = len(plan.gateways)
    return f"chaos, seed {plan.seed}" + (f", {gateways} gateways" if gateways > 1 else "")


def _rows(verdict: Verdict, kills: Mapping[str, int], exits: list[str], seconds: float) -> list[tuple[str, str]]:
    outcomes = verdict.outcomes
    rows = [
        ("submitted", str(verdict.jobs)),
        ("succeeded as asked", str(outcomes["succeeded"])),
        ("succeeded, degraded", str(outcomes["degraded"])),
        ("failed with a reason", _with(outcomes["failed"], verdict.failures)),
        ("cancelled", str(outcomes["cancelled"])),
        ("lost", str(len(verdict.lost))),
        ("run twice to the end", str(len(verdict.doubled))),
        ("missed by watchers", str(len(verdict.missed))),
        ("kill -9", _with(sum(kills.values()), kills)),
        ("jobs with more than one attempt", str(verdict.retried)),
        ("warnings and rungs", _with(verdict.warnings.total(), verdict.warnings)),
        ("events seen by watchers", str(verdict.events)),
        ("seconds", f"{seconds:.0f}"),
    ]
    if outcomes["unfinished"]:
        rows.insert(5, ("unfinished", str(outcomes["unfinished"])))
    if exits:
        rows.append(("ended by themselves", _with(len(exits), Counter(exits))))
    return rows


def _with(total: int, parts: Mapping[str, int]) -> str:
    return f"{total} ({', '.join(f'{name} {count}' for name, count in parts.items())})" if parts else str(total)

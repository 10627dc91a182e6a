"""One run from start to verdict."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tests.chaos.audit import Verdict, audit
from tests.chaos.ledger import Ledger
from tests.chaos.monkey import Monkey
from tests.chaos.plan import Plan
from tests.chaos.report import print_report
from tests.chaos.show import clock, show
from tests.chaos.workload import Workload
from tests.support.system import System, running_system


@dataclass(frozen=True)
class Options:
    """How a run is made."""

    plan: Plan
    """Jobs and kills."""
    folder: Path
    """For data and logs."""
    database_url: str = ""
    """SQLAlchemy URL; SQLite in the folder when empty."""
    outstanding: int = 8
    """Jobs unfinished at any time, at most."""
    patience: float = 180.0
    """Seconds without any job ending after which the rest counts as lost."""
    environment: Mapping[str, str] | None = None
    """More settings of the services."""


def run_chaos(options: Options, console: Console) -> Verdict:
    """Starts the system, runs the plan, prints the report."""
    extra = {"WANWORKER_GATEWAY_RETRY_MAX_SECONDS": "2", **(options.environment or {})}
    if options.database_url:
        extra["WANWORKER_GATEWAY_DATABASE_URL"] = options.database_url
    with running_system(options.folder, extra, options.plan.services) as system:
        return asyncio.run(_run(system, options, console))


async def _run(system: System, options: Options, console: Console) -> Verdict:
    seconds = clock()
    ledger = Ledger(options.database_url or f"sqlite:///{system.folder / 'gateway' / 'dbos.sqlite'}")
    gateways = options.plan.gateways
    workload = Workload(options.plan, [system.address(name) for name in gateways], options.outstanding)
    monkey = Monkey(system, options.plan.kills, lambda: workload.finished)

    def line() -> str:
        kills = f"{monkey.kills.total()}/{len(options.plan.kills)} kills"
        jobs = f"{workload.finished}/{len(workload.records)} jobs ended, {workload.begun} begun"
        return f"{seconds():5.0f} s  {jobs}  {kills}  {monkey.last}"

    background = [asyncio.create_task(monkey.babysit()), asyncio.create_task(show(console, line))]
    killing = asyncio.create_task(monkey.run())
    try:
        await workload.run(options.patience)
        killing.cancel()
        await asyncio.gather(killing, return_exceptions=True)
        await monkey.all_serve()
        # Once more, with nothing left to do: whatever wakes up now has been finished before.
        for gateway in gateways:
            await monkey.kill(gateway, down=0.0)
        await monkey.all_serve()
        verdict = await audit(workload, system.address("gateway"), ledger)
    finally:
        for task in (killing, *background):
            task.cancel()
        await asyncio.gather(killing, *background, return_exceptions=True)
        ledger.close()
    print_report(console, verdict, monkey.kills, monkey.exits, seconds(), options.plan)
    return verdict

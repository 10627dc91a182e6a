"""`wanworker jobs …`: jobs that were made before."""

from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from wanworker.client.cli import options as o
from wanworker.client.cli.display import make_display
from wanworker.client.cli.exits import ExitCode
from wanworker.client.cli.formats import as_dict, print_json, seconds_text
from wanworker.client.cli.generate import connect
from wanworker.client.cli.parsing import parse_state
from wanworker.client.cli.session import no_gateway, run
from wanworker.client.cli.summary import print_job, print_result, stdout
from wanworker.client.connection import DEFAULT_GATEWAY
from wanworker.client.enums import JobState
from wanworker.client.events import SnapshotEvent
from wanworker.client.types import Job

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List, watch, cancel and download jobs.")


@app.command("list")
def list_jobs(
    state: Annotated[
        list[Any] | None,
        typer.Option("--state", parser=parse_state, metavar="STATE", help="Only these; may be repeated."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Jobs at most.")] = 20,
    address: o.Address = DEFAULT_GATEWAY,
    as_json: o.AsJson = False,
) -> None:
    """List jobs, newest first."""

    async def work() -> int:
        found: list[Job] = []
        async with (
            connect(address) as client,
            aclosing(client.list(states=state or (), page_size=min(limit, 100))) as jobs,
        ):
            async for job in jobs:
                found.append(job)
                if len(found) == limit:
                    break
        if as_json:
            for job in found:
                print_json(job=as_dict(job.raw))
        elif found:
            console = stdout()
            for line in _lines(found, console.width):
                console.print(line)
        else:
            stdout().print("no jobs")
        return ExitCode.OK

    run(work, name="wanworker jobs list", as_json=as_json, nobody=no_gateway(address))


def _lines(jobs: list[Job], width: int) -> list[Text]:
    """Columns as wide as they need to be: ids are there to be copied, so that a narrow terminal shortens
    prompts alone."""
    rows = [("id", "state", "made (UTC)", "took", "prompt"), *map(_row, jobs)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    room = max(20, width - sum(widths) - 2 * len(widths))
    lines = []
    for number, (*columns, prompt) in enumerate(rows):
        cells = [cell.ljust(size) for cell, size in zip(columns, widths, strict=True)]
        cut = prompt if len(prompt) <= room else prompt[: room - 1] + "…"
        lines.append(Text("  ".join([*cells, cut]), style="bold" if number == 0 else ""))
    return lines


def _row(job: Job) -> tuple[str, str, str, str, str]:
    made = f"{job.create_time:%Y-%m-%d %H:%M}" if job.create_time else ""
    took = ""
    if job.start_time and job.finish_time:
        took = seconds_text((job.finish_time - job.start_time).total_seconds())
    return job.id, job.state.value, made, took, " ".join(job.spec.prompt.split())


@app.command("get")
def get(job_id: o.JobId, address: o.Address = DEFAULT_GATEWAY, as_json: o.AsJson = False) -> None:
    """Show a job as it stands."""

    async def work() -> int:
        async with connect(address) as client:
            print_job(await client.get(job_id), as_json=as_json)
        return ExitCode.OK

    run(work, name="wanworker jobs get", as_json=as_json, nobody=no_gateway(address))


@app.command("watch")
def watch(job_id: o.JobId, address: o.Address = DEFAULT_GATEWAY, as_json: o.AsJson = False) -> None:
    """Follow a job to its end. Ctrl-C leaves it running."""

    async def work() -> int:
        job: Job | None = None
        async with connect(address) as client:
            with make_display(as_json=as_json) as display:
                async with aclosing(client.watch(job_id)) as events:
                    async for event in events:
                        display.show(event)
                        if isinstance(event, SnapshotEvent):
                            job = event.job
        assert job is not None
        print_job(job, as_json=as_json)
        return ExitCode.OK if job.state is JobState.SUCCEEDED else ExitCode.FAILED

    run(work, name="wanworker jobs watch", as_json=as_json, nobody=no_gateway(address))


@app.command("cancel")
def cancel(job_id: o.JobId, address: o.Address = DEFAULT_GATEWAY, as_json: o.AsJson = False) -> None:
    """Ask a job to stop."""

    async def work() -> int:
        async with connect(address) as client:
            job = await client.cancel(job_id)
        if as_json:
            print_json(job=as_dict(job.raw))
        elif job.state.is_final:
            stdout().print(f"job {job.id} has ended: {job.state.value}", markup=False)
        else:
            stdout().print(f"job {job.id} was asked to stop", markup=False)
        return ExitCode.OK

    run(work, name="wanworker jobs cancel", as_json=as_json, nobody=no_gateway(address))


@app.command("download")
def download(
    job_id: o.JobId,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File or folder.", show_default="the job's own name, here"),
    ] = None,
    address: o.Address = DEFAULT_GATEWAY,
    as_json: o.AsJson = False,
) -> None:
    """Save a job's file."""

    async def work() -> int:
        async with connect(address) as client:
            print_result(await client.download(job_id, output), as_json=as_json)
        return ExitCode.OK

    run(work, name="wanworker jobs download", as_json=as_json, nobody=no_gateway(address))

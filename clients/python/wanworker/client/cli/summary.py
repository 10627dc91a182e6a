"""What came of a job, for people, on stdout."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from wanworker.client.cli.formats import (
    as_dict,
    bytes_text,
    change_text,
    print_json,
    seconds_text,
    settings_text,
    size_text,
    stage_rows,
)
from wanworker.client.types import Delivered, Job, JobEstimate, Result, StageDuration


def stdout() -> Console:
    """Returns a console that writes to stdout as it is now."""
    return Console(highlight=False, soft_wrap=True)


def print_result(result: Result, *, as_json: bool) -> None:
    """Prints where the file is, what it is, and where the time went."""
    if as_json:
        print_json(result={"path": str(result.path), "job": as_dict(result.job.raw)})
        return
    console = stdout()
    size = bytes_text(result.artifact.size_bytes)
    console.print(Text.assemble((str(result.path), "bold green"), f"  {_picture(result.delivered)} · {size}"))
    _print_facts(console, result.job)
    print_stages(console, result.job.stages)


def print_job(job: Job, *, as_json: bool) -> None:
    """Prints all about a job."""
    if as_json:
        print_json(job=as_dict(job.raw))
        return
    console = stdout()
    console.print(Text.assemble((job.id, "bold"), f"  {job.state.value}"))
    _fact(console, "asked", job.spec.prompt)
    if job.create_time is not None:
        _fact(console, "made", f"{job.create_time:%Y-%m-%d %H:%M:%S} UTC")
    if job.resolved is not None and job.delivered is None:
        _fact(console, "runs", settings_text(job.resolved))
    if job.failure is not None:
        _fact(console, "failure", f"{job.failure.message} ({job.failure.reason})", "bold red")
        for key, value in sorted(job.failure.metadata.items()):
            _fact(console, "", f"{key}: {value}")
    if job.artifact is not None:
        size = bytes_text(job.artifact.size_bytes)
        _fact(console, "file", f"{job.artifact.file_name} · {job.artifact.media_type} · {size}")
    _print_facts(console, job)
    print_stages(console, job.stages)


def print_estimate(estimate: JobEstimate, *, as_json: bool) -> None:
    """Prints what a job would cost."""
    if as_json:
        print_json(estimate=as_dict(estimate.raw))
        return
    console = stdout()
    verdict = Text("fits", "bold green") if estimate.fits else Text("does not fit", "bold red")
    memory = f"{bytes_text(estimate.needed_bytes)} of {bytes_text(estimate.available_bytes)}"
    console.print(Text.assemble(verdict, f"  needs {memory} · about {seconds_text(estimate.duration)} of work"))
    _fact(console, "runs", settings_text(estimate.settings))
    if estimate.queue_wait is not None:
        _fact(console, "waits", f"about {seconds_text(estimate.queue_wait)}")
    for change in estimate.adjustments:
        _fact(console, "adjusted", f"{change.field}: {change.asked} → {change.used} ({change.reason})")
    print_stages(console, estimate.stages)


def print_stages(console: Console, stages: tuple[StageDuration, ...]) -> None:
    """Prints a table of times with bars."""
    if not stages:
        return
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="cyan", no_wrap=True)
    for row in stage_rows(stages):
        table.add_row("  " + row[0], *row[1:])
    table.add_row("  total", seconds_text(sum(stage.seconds for stage in stages)), "", style="bold")
    console.print(table)


def _picture(made: Delivered) -> str:
    if made.frames == 1:
        return size_text(made.width, made.height)
    length = f" ({made.duration:.2f} s)" if made.duration is not None else ""
    return f"{size_text(made.width, made.height)} · {made.frames} frames at {made.fps} fps{length}"


def _print_facts(console: Console, job: Job) -> None:
    made = job.delivered
    if made is not None:
        settings = made.settings
        effort = f"{settings.steps} steps · guidance {settings.guidance_scale:g} · seed {made.seed}"
        revision = made.model_revision.removeprefix("sha256:")[:12]
        _fact(console, "model", f"{settings.model} {revision} · {effort}")
        _fact(console, "prompt", made.prompt)
    _fact(console, "job", job.id)
    if job.trace_id:
        _fact(console, "trace", job.trace_id)
    for change in job.adjustments:
        _fact(console, "adjusted", f"{change.field}: {change.asked} → {change.used} ({change.reason})", "yellow")
    for warning in job.warnings:
        _fact(console, "warning", f"{warning.message} ({warning.reason})", "bold yellow")
    for step in job.degradations:
        _fact(console, "lowered", f"{step.rung}: {change_text(step.before, step.after)}", "bold yellow")


def _fact(console: Console, name: str, value: str, style: str = "dim") -> None:
    console.print(Text.assemble((f"  {name:<9}", style), value))

"""A running job on a terminal, in a log, or as JSON lines. Progress goes to stderr, results go to stdout."""

import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from wanworker.client.cli.formats import STAGE_TEXT, as_dict, change_text, print_json, seconds_text
from wanworker.client.enums import JobState, Stage
from wanworker.client.events import (
    DegradationEvent,
    JobEvent,
    ProgressEvent,
    PromptDeltaEvent,
    PromptEnhancedEvent,
    SnapshotEvent,
    WarningEvent,
)
from wanworker.client.types import Progress

_LINE_SECONDS = 10.0
"""Pause between two progress lines of one stage where there is no terminal."""


class Display(Protocol):
    """Shows a job's events."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, event: JobEvent) -> None:
        """Shows what happened."""


def make_display(*, as_json: bool) -> Display:
    """Returns the display that fits: JSON if asked for, a bar on a terminal, sparse lines elsewhere."""
    if as_json:
        return JsonDisplay()
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    return BarDisplay() if console.is_terminal else LineDisplay(console)


def progress_text(progress: Progress) -> str:
    """Writes stage, step and estimate: `denoising 5/20, about 12 s left`."""
    parts = [STAGE_TEXT[progress.stage]]
    if progress.stage is Stage.QUEUED and progress.queue_position:
        parts[0] += f", {progress.queue_position} ahead"
    if progress.stage is Stage.DENOISING and progress.total_steps:
        parts[0] += f" {progress.step}/{progress.total_steps}"
    if progress.attempt > 1:
        parts.append(f"attempt {progress.attempt}")
    if progress.eta is not None:
        parts.append(f"about {seconds_text(progress.eta)} left")
    return ", ".join(parts)


def note_text(event: JobEvent) -> Text | None:
    """Returns the line of an event that should stay on the screen; None for those that should not."""
    if isinstance(event, PromptEnhancedEvent):
        return Text.assemble(("prompt  ", "bold"), (event.prompt, "italic"))
    if isinstance(event, WarningEvent):
        return Text.assemble(("warning  ", "bold yellow"), f"{event.warning.message} ({event.warning.reason})")
    if isinstance(event, DegradationEvent):
        change = change_text(event.degradation.before, event.degradation.after)
        return Text.assemble(("out of memory  ", "bold yellow"), f"{event.degradation.rung}: {change}")
    return None


class JsonDisplay:
    """One JSON line an event: `{"event": {…}}` with the fields of wanworker.v1.JobEvent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, event: JobEvent) -> None:
        """Prints the event."""
        print_json(event=as_dict(event.raw))


class LineDisplay:
    """A line at every new stage and every ten seconds: for logs, pipes and CI."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stage: Stage | None = None
        self._printed_at = 0.0
        self._begun = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, event: JobEvent) -> None:
        """Prints a line if there is something new to say."""
        note = note_text(event)
        if note is not None:
            self._console.print(note)
        if isinstance(event, SnapshotEvent):
            if not self._begun:
                self._begun = True
                self._console.print(f"job {event.job.id}", markup=False)
        elif isinstance(event, ProgressEvent):
            self._progress(event.progress)

    def _progress(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.stage is not self._stage or now - self._printed_at >= _LINE_SECONDS:
            self._stage, self._printed_at = progress.stage, now
            self._console.print(f"{progress.fraction:4.0%}  {progress_text(progress)}", markup=False)


class BarDisplay:
    """The enhanced prompt as it is typed, and one bar that is redrawn in place."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._typed = ""
        self._progress: Progress | None = None
        self._live = Live(console=self._console, refresh_per_second=10, transient=True, get_renderable=self._picture)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, event: JobEvent) -> None:
        """Takes the event into the picture."""
        note = note_text(event)
        if isinstance(event, PromptDeltaEvent):
            self._typed += event.text
        elif isinstance(event, PromptEnhancedEvent):
            self._typed = ""
        elif isinstance(event, ProgressEvent):
            self._progress = event.progress
        elif isinstance(event, SnapshotEvent):
            done = event.job.state is JobState.SUCCEEDED
            self._progress = None if done else event.job.progress
        if note is not None:
            self._console.print(note)

    def _picture(self) -> Group:
        parts: list[Text | Table] = []
        if self._typed:
            parts.append(Text.assemble(("prompt  ", "bold"), (self._typed + "▌", "italic")))
        if self._progress is not None:
            row = Table.grid(padding=(0, 1))
            row.add_row(
                ProgressBar(total=1.0, completed=self._progress.fraction, width=30),
                Text(f"{self._progress.fraction:4.0%}"),
                Text(progress_text(self._progress)),
            )
            parts.append(row)
        return Group(*parts)

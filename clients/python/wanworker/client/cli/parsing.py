"""Values of options. Every refusal says what was given and what is accepted; typer adds the option's name."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import typer

from wanworker.client.enums import Choice, JobState, JobType, OutputFormat

ChoiceT = TypeVar("ChoiceT", bound=Choice)

_SIZE = re.compile(r"(\d{1,5})\s*[x×X]\s*(\d{1,5})")
_DURATION = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(ms|s|sec|)")
_IMAGE_LIMIT = 3 * 1024 * 1024
_STILLS = {".png": OutputFormat.PNG, ".webp": OutputFormat.WEBP}


def parse_size(text: str) -> tuple[int, int]:
    """Reads `256x144`."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a size; give WIDTHxHEIGHT in pixels, for example 256x144")
    return int(match[1]), int(match[2])


def parse_duration(text: str) -> float:
    """Reads `2s`, `2.5s`, `500ms` or `2`, in seconds."""
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a duration; give seconds, for example 2s, 2.5s or 500ms")
    return float(match[1]) / (1000 if match[2] == "ms" else 1)


def parse_image(text: str) -> bytes | str:
    """Takes an https URL as it is, and reads a file."""
    if text.startswith("https://"):
        return text
    if "://" in text:
        raise typer.BadParameter(f"{text!r} is no https URL; give a file or an https:// URL")
    try:
        data = Path(text).read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise typer.BadParameter(f"{text!r}: {reason}; give a file (PNG, JPEG or WebP) or an https:// URL") from None
    if len(data) > _IMAGE_LIMIT:
        raise typer.BadParameter(f"{text!r} has {len(data)} bytes; at most {_IMAGE_LIMIT} (3 MiB) are accepted")
    return data


def words(kind: type[Choice]) -> str:
    """Returns a choice's words for help texts: `fast|balanced|high`."""
    return "|".join(member.value for member in kind)


def choice(kind: type[ChoiceT]) -> Callable[[str], ChoiceT]:
    """Returns a reader of a choice's words; `_` counts as `-`."""

    def read(text: str) -> ChoiceT:
        try:
            return kind.parse(text)
        except ValueError:
            accepted = ", ".join(member.value for member in kind)
            raise typer.BadParameter(f"{text!r} is not accepted; give one of {accepted}") from None

    # Typer names the value after the reader where there is no metavar.
    read.__name__ = kind.__name__.lower()
    return read


def parse_state(text: str) -> JobState:
    """Reads a job's state."""
    words = [state.value for state in JobState if state is not JobState.UNSPECIFIED]
    if text.strip().lower() not in words:
        raise typer.BadParameter(f"{text!r} is not a state; accepted are {', '.join(words)}")
    return JobState.parse(text)


def output_format(output: Path | None, job_type: JobType | None) -> OutputFormat | None:
    """Returns the format that the file's name asks for; None leaves it to the job type."""
    if output is None or output.is_dir():
        return None
    if not output.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {str(output.parent)!r}", param_hint="'--output'")
    extension = output.suffix.lower()
    if job_type is not None and job_type.is_still:
        if extension not in _STILLS:
            raise typer.BadParameter(f"{str(output)!r}: a still is written as .png or .webp", param_hint="'--output'")
        return _STILLS[extension]
    if extension != ".mp4":
        hint = "; for a still add --job-type image-fast" if extension in _STILLS else ""
        raise typer.BadParameter(f"{str(output)!r}: a video is written as .mp4{hint}", param_hint="'--output'")
    return OutputFormat.MP4

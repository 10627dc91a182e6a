"""`wanworker keys …`: API keys for a gateway."""

import hashlib
import os
import re
import secrets
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Make API keys for a gateway.")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise typer.BadParameter("1 to 64 letters, digits, dots, dashes and underscores, the first no sign")
    return value


@app.callback()
def root() -> None:
    """Make API keys for a gateway."""


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Whose key it is; stands in logs and traces.", callback=_name)],
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            "-f",
            envvar="WANWORKER_GATEWAY_API_KEYS",
            help="The gateway's file of keys, to add the new one to.",
            show_default="show the line instead",
        ),
    ] = None,
) -> None:
    """Make a key and print it, this once: the file holds its hash only."""
    key = f"wan_{secrets.token_urlsafe(32)}"
    line = f"{name} sha256:{hashlib.sha256(key.encode()).hexdigest()}\n"
    notes = Console(stderr=True, highlight=False, soft_wrap=True)
    if file is None:
        notes.print(f"the gateway's file of keys needs this line:\n{line}", markup=False, end="")
    else:
        try:
            _append(file, line)
        except OSError as error:
            notes.print(f"error: {file}: {error.strerror}", markup=False)
            raise typer.Exit(1) from error
        notes.print(f"'{name}' was added to {file}; the key is shown this once:", markup=False)
    print(key)


def _append(file: Path, line: str) -> None:
    """Adds a line in one write, so that a gateway that reads the file meanwhile sees all of it or nothing."""
    torn = file.is_file() and file.stat().st_size > 0 and not file.read_bytes().endswith(b"\n")
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{chr(10) if torn else ''}{line}".encode())
    finally:
        os.close(descriptor)

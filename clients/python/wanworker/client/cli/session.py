"""Runs a command's coroutine: signals cancel it, errors become lines and exit codes."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, NoReturn

import typer
from rich.console import Console

from wanworker.client.cli.exits import ExitCode, exit_code, tell
from wanworker.client.cli.tracing import root_span
from wanworker.client.errors import WanworkerError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def no_gateway(address: str) -> str:
    """Returns the line for when nothing answers there."""
    return f"no gateway at {address}: start one with `wanworker up`"


def run(
    work: Callable[[], Coroutine[Any, Any, int]], *, name: str, as_json: bool = False, nobody: str = ""
) -> NoReturn:
    """Runs a command to its end and exits with its code. A first Ctrl-C or SIGTERM cancels it, a second its
    clean-up."""
    with root_span(name) as finish:
        try:
            code = asyncio.run(_interruptible(work))
        except WanworkerError as error:
            tell(error, as_json=as_json, nobody=nobody)
            code = exit_code(error)
        except OSError as error:
            Console(stderr=True, highlight=False, soft_wrap=True).print(f"error: {error}", markup=False)
            code = ExitCode.FAILED
        finish(code)
    raise typer.Exit(code)


async def _interruptible(work: Callable[[], Coroutine[Any, Any, int]]) -> int:
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work())
    received: list[int] = []

    def interrupt(number: int) -> None:
        received.append(number)
        task.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, interrupt, number)
    try:
        return await task
    except asyncio.CancelledError:
        if not received:
            raise
        return 128 + received[0]
    finally:
        for number in _SIGNALS:
            with suppress(ValueError):
                loop.remove_signal_handler(number)

"""How far a run is: a live line on a terminal, one line every ten seconds elsewhere."""

import asyncio
import time
from collections.abc import Callable

from rich.console import Console
from rich.live import Live
from rich.text import Text

_QUIET_SECONDS = 10.0


async def show(console: Console, line: Callable[[], str]) -> None:
    """Shows `line()` until cancelled."""
    if not console.is_terminal:
        while True:
            await asyncio.sleep(_QUIET_SECONDS)
            console.print(line(), markup=False, highlight=False, soft_wrap=True)
    with Live(Text(), console=console, refresh_per_second=4, transient=True) as live:
        while True:
            live.update(Text(line()))
            await asyncio.sleep(0.25)


def clock() -> Callable[[], float]:
    """Seconds since now."""
    began = time.monotonic()
    return lambda: time.monotonic() - began

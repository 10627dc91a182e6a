"""`wanworker up`: the three services in the foreground."""

import asyncio

from rich.console import Console
from rich.text import Text

from wanworker.client.cli.exits import ExitCode
from wanworker.client.cli.stack import StackError, StackOptions
from wanworker.client.cli.supervisor import Supervisor

_COLOURS = {"gateway": "cyan", "enhancer": "magenta", "generator": "green"}


def log_line(service: str, line: str) -> Text:
    """Returns a service's line with its name before it. Colours that the service wrote are kept."""
    return Text.assemble((f"{service:<10}│ ", _COLOURS.get(service, "")), Text.from_ansi(line))


async def up(options: StackOptions) -> int:
    """Runs until a signal comes or a service dies; then drains what is left."""
    console = Console(highlight=False, soft_wrap=True)
    say = Console(stderr=True, highlight=False, soft_wrap=True)
    supervisor = Supervisor(options, lambda service, line: console.print(log_line(service, line)))
    try:
        async with supervisor:
            places = ", ".join(f"{name} 127.0.0.1:{port}" for name, port in supervisor.ports.items())
            say.print(Text.assemble(("ready  ", "bold green"), places))
            say.print(f'try: wanworker generate "a red ball" --address {supervisor.gateway_address}', markup=False)
            try:
                raise await supervisor.first_death()
            except asyncio.CancelledError:
                say.print("draining; once more to kill", markup=False)
                raise
    except StackError as error:
        say.print(Text.assemble(("error: ", "bold red"), str(error)))
        return ExitCode.FAILED

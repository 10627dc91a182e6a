"""`wanworker demo`: everything from start to stop, for a first look."""

import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

from wanworker.client.cli.exits import ExitCode
from wanworker.client.cli.generate import generate
from wanworker.client.cli.stack import StackError, StackOptions
from wanworker.client.cli.supervisor import Supervisor
from wanworker.client.cli.up import log_line
from wanworker.client.errors import WanworkerError
from wanworker.client.spec import SpecOptions

_LAST_LINES = 40


async def demo(prompt: str, output: Path | None, *, seed: int | None, models_dir: Path | None) -> int:
    """Makes one video with services of its own on free ports; their log is shown only if something goes
    wrong."""
    say = Console(stderr=True, highlight=False, soft_wrap=True)
    log: list[Text] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="wanworker-demo-") as data:
        options = StackOptions(
            demo=True,
            models_dir=models_dir,
            gateway_port=0,
            enhancer_port=0,
            generator_port=0,
            data_dir=Path(data),
        )
        try:
            say.print("starting enhancer, generator and gateway on the demo models …", markup=False)
            async with Supervisor(options, lambda service, line: log.append(log_line(service, line))) as stack:
                say.print(f"serving after {time.monotonic() - began:.1f} s: {stack.gateway_address}", markup=False)
                code = await generate(stack.gateway_address, prompt, _spec(seed), output, as_json=False)
        except (StackError, WanworkerError) as error:
            for line in log[-_LAST_LINES:]:
                say.print(line)
            if isinstance(error, WanworkerError):
                raise
            say.print(Text.assemble(("error: ", "bold red"), str(error)))
            return ExitCode.FAILED
    say.print(f"services stopped; {time.monotonic() - began:.1f} s in all", markup=False)
    return code


def _spec(seed: int | None) -> SpecOptions:
    return SpecOptions() if seed is None else SpecOptions(seed=seed)

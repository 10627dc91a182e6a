"""The console script. Imports nothing that the extra `cli` brings before it knows that it is there."""

import importlib.util
import sys


def main() -> None:
    """Runs the command line, or says in one line what it lacks."""
    missing = [name for name in ("typer", "rich") if importlib.util.find_spec(name) is None]
    if missing:
        names = " and ".join(missing)
        print(
            f"wanworker: no {names} here; install them with: pip install 'wanworker-client[cli]'",
            file=sys.stderr,
        )
        raise SystemExit(1)
    from wanworker.client.cli.app import app

    app(prog_name="wanworker")

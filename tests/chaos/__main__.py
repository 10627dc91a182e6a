"""`python -m tests.chaos --jobs 200 --seed 7 [--store URL]`: exit code 0 if nothing was lost, doubled or missed."""

import argparse
import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from tests.chaos.plan import make_plan
from tests.chaos.run import Options, run_chaos
from tests.support.postgres import Postgres, binaries


@contextlib.contextmanager
def database(store: str) -> Iterator[str]:
    """The database's URL; empty for SQLite in the run's folder."""
    if store != "postgres":
        yield "" if store == "sqlite" else store
        return
    folder = binaries()
    if folder is None:
        sys.exit("no Postgres binaries on this machine (apt-get install postgresql)")
    server = Postgres(folder)
    try:
        yield server.new_database()
    finally:
        server.remove()


def main() -> int:
    """Returns the process's exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=40, help="jobs to make (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="decides on jobs and kills (%(default)s)")
    parser.add_argument("--kills", type=int, default=None, help="kills; one for every four jobs when left out")
    parser.add_argument("--gateways", type=int, default=1, help="gateways that share the store (%(default)s)")
    parser.add_argument("--store", default="sqlite", help="sqlite, postgres (its own server), or a SQLAlchemy URL")
    parser.add_argument("--outstanding", type=int, default=8, help="unfinished jobs at most (%(default)s)")
    parser.add_argument("--patience", type=float, default=180.0, help="seconds without an end before giving up")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="wanworker-chaos-"))
    with database(arguments.store) as url:
        options = Options(
            plan=make_plan(arguments.jobs, arguments.seed, arguments.kills, arguments.gateways),
            folder=folder,
            database_url=url,
            outstanding=arguments.outstanding,
            patience=arguments.patience,
        )
        verdict = run_chaos(options, Console())
    if verdict.good:
        shutil.rmtree(folder, ignore_errors=True)
        return 0
    print(f"data and logs are kept in {folder}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())

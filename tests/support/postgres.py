"""A Postgres of the tests' own: started once in a folder under /tmp, with a new database for each test."""

import atexit
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from dbos import DBOS

from tests.support.ports import free_port

_NUMBERS = itertools.count()
_started: "Postgres | None" = None


def binaries() -> Path | None:
    """The folder of initdb and pg_ctl; None if Postgres is not installed."""
    found = shutil.which("pg_ctl")
    if found:
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[-3]))
    return folders[-1].parent if folders else None


class Postgres:
    """One server."""

    def __init__(self, folder: Path) -> None:
        self._bin = folder
        self._home = Path(tempfile.mkdtemp(prefix="wanworker-postgres-"))
        self._data = self._home / "data"
        self.port = free_port()
        """Where it listens."""
        if os.getuid() == 0:
            # initdb refuses to work for root.
            user = pwd.getpwnam("nobody")
            os.chown(self._home, user.pw_uid, user.pw_gid)
        self._template = ""
        self._run("initdb", "-D", str(self._data), "-U", "postgres", "--auth=trust", "--no-sync", "-E", "UTF8")
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._home} -c fsync=off"
        log = str(self._home / "log")
        self._run("pg_ctl", "-D", str(self._data), "-w", "-t", "60", "-l", log, "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it; all connections end."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "-m", mode, "stop")

    def remove(self) -> None:
        """Stop it for good."""
        self.stop("immediate")
        shutil.rmtree(self._home, ignore_errors=True)

    def new_database(self) -> str:
        """The URL of a database of its own that holds DBOS's tables, empty: making them takes seconds."""
        if not self._template:
            DBOS.migrate(self._url("made_once"))
            self._template = "made_once"
        name = f"test_{next(_NUMBERS)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {self._template}")
        return self._url(name)

    def execute(self, statement: str) -> None:
        """Run a statement as the superuser."""
        engine = sa.create_engine(self._url("postgres"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.execute(sa.text(statement))

    def _url(self, name: str) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{name}"

    def _run(self, program: str, *arguments: str) -> None:
        drop = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.getuid() == 0 else []
        # Nothing is read from it: the server would hold a pipe open.
        subprocess.run(
            [*drop, str(self._bin / program), *arguments],
            check=True, cwd=self._home, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=120,
        )  # fmt: skip


def server() -> Postgres:
    """The running server; skips the test if Postgres is not installed."""
    global _started
    if _started is None:
        folder = binaries()
        if folder is None:
            pytest.skip("no Postgres binaries on this machine (apt-get install postgresql)")
        _started = Postgres(folder)
        atexit.register(_started.remove)
    return _started


def database_url(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database of a kind, "sqlite" or "postgres", gone afterwards."""
    if kind == "sqlite":
        folder.mkdir(parents=True, exist_ok=True)
        yield f"sqlite:///{folder / 'jobs.sqlite'}"
        return
    running = server()
    url = running.new_database()
    yield url
    running.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

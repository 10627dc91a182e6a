"""What can be found out before the gateway opens anything: one line for the operator instead of a traceback."""

import os
import tempfile
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from wanworker.gateway.settings import GatewaySettings
from wanworker.runtime.server import StartError


def check_start(settings: GatewaySettings) -> None:
    """Makes the data folder if need be, and looks at the database's URL; connects to nothing.

    Raises:
        StartError: A folder cannot be made or written, the URL is none, or its driver is not installed.
    """
    _check_folder("WANWORKER_GATEWAY_DATA_DIR", settings.data_dir)
    url = _url(settings.resolved_database_url)
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        _check_folder("WANWORKER_GATEWAY_DATABASE_URL", Path(url.database).parent)


def _check_folder(variable: str, folder: Path) -> None:
    # Root may write everywhere, and a mount may be read-only: only writing tells.
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        who = f"user {os.getuid()}"
        raise StartError(f"{variable}: cannot write to {folder.absolute()} as {who}: {error.strerror}") from error


def _url(text: str) -> sa.URL:
    # No message repeats the URL: there may be a password in it.
    try:
        url = sa.make_url(text)
        url.get_dialect().import_dbapi()
    except (NoSuchModuleError, ImportError) as error:
        raise StartError(f"WANWORKER_GATEWAY_DATABASE_URL: no driver for {url.drivername}: {error}") from error
    except ArgumentError as error:
        example = "postgresql+psycopg://user@host/name"
        raise StartError(f"WANWORKER_GATEWAY_DATABASE_URL: not a database URL such as {example}") from error
    return url

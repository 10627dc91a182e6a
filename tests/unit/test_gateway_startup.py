"""What the gateway refuses to start with, and how it says so."""

from pathlib import Path

import pytest

from wanworker.gateway.settings import GatewaySettings
from wanworker.gateway.startup import check_start
from wanworker.runtime.server import StartError


def refused(**values: object) -> str:
    """The line for the operator."""
    with pytest.raises(StartError) as caught:
        check_start(GatewaySettings.model_validate(values))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_folders_are_made(tmp_path: Path) -> None:
    check_start(GatewaySettings.model_validate({"data_dir": tmp_path / "a/b"}))
    assert list((tmp_path / "a/b").iterdir()) == [], "the trial leaves nothing behind"
    check_start(
        GatewaySettings.model_validate(
            {"data_dir": tmp_path / "c", "database_url": f"sqlite:///{tmp_path / 'elsewhere/jobs.sqlite'}"}
        )
    )
    assert (tmp_path / "elsewhere").is_dir()


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = refused(data_dir=tmp_path / "file/data")
    assert message.startswith(f"WANWORKER_GATEWAY_DATA_DIR: cannot write to {tmp_path}/file/data as user ")
    assert message.endswith(": Not a directory")


def test_a_data_folder_that_cannot_be_written_is_named() -> None:
    # /proc refuses even root.
    assert "cannot write to /proc as user" in refused(data_dir="/proc")


def test_a_sqlite_file_in_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    message = refused(data_dir=tmp_path, database_url="sqlite:////proc/jobs.sqlite")
    assert message.startswith("WANWORKER_GATEWAY_DATABASE_URL: cannot write to /proc as user")


def test_what_is_no_url_is_refused(tmp_path: Path) -> None:
    message = refused(data_dir=tmp_path, database_url="secret@nonsense")
    assert message == "WANWORKER_GATEWAY_DATABASE_URL: not a database URL such as postgresql+psycopg://user@host/name"


@pytest.mark.parametrize("driver", ["nosuchdatabase", "postgresql+pg8000", "mysql"])
def test_a_missing_driver_is_named(tmp_path: Path, driver: str) -> None:
    message = refused(data_dir=tmp_path, database_url=f"{driver}://user:secret@host/name")
    assert message.startswith(f"WANWORKER_GATEWAY_DATABASE_URL: no driver for {driver}: ")
    assert "secret" not in message

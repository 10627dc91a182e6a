"""What the services find out about themselves, as processes, and what `wanworker doctor` makes of it."""

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port
from tests.support.runtime import running
from tests.support.system import GGUF, ROOT, WAN
from wanworker.runtime.checkup import Verdict, packages, run_checkup
from wanworker.runtime.settings import ServiceSettings

pytestmark = pytest.mark.timeout(240)


def environment(**values: object) -> dict[str, str]:
    """Nothing of wanworker is set but what is given; no port is one that somebody may use."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("WANWORKER_", "OTEL_"))}
    ports = {f"WANWORKER_{service}_PORT": str(free_port()) for service in ("GATEWAY", "ENHANCER", "GENERATOR")}
    paths = f"{ROOT / 'services'}:{ROOT / 'clients/python'}"
    given = {f"WANWORKER_{key}": str(value) for key, value in values.items()}
    return {**kept, "PYTHONPATH": paths, "HF_HUB_OFFLINE": "1", **ports, **given}


def checkup(service: str, folder: Path, **values: object) -> dict[tuple[str, str], dict[str, str]]:
    """A service's findings by group and name."""
    done = subprocess.run(
        [sys.executable, "-m", f"wanworker.{service}.checkup"],
        env=environment(**values), cwd=folder, capture_output=True, text=True, timeout=100, check=True,
    )  # fmt: skip
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {(finding["group"], finding["name"]): finding for finding in found}


def doctor(folder: Path, *arguments: str, **values: object) -> tuple[int, list[dict[str, str]]]:
    """Exit code and findings of `wanworker doctor --json`."""
    done = subprocess.run(
        [sys.executable, "-m", "wanworker.client", "doctor", "--json", *arguments],
        env=environment(**values), cwd=folder, capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip
    result: dict[str, Any] = json.loads(done.stdout)["result"]
    assert result["broken"] == sum(finding["verdict"] == "broken" for finding in result["findings"])
    return done.returncode, result["findings"]


async def test_the_gateway_looks_at_store_folder_port_and_peers(tmp_path: Path) -> None:
    async with running() as peer:
        found = await asyncio.to_thread(
            checkup,
            "gateway",
            tmp_path,
            GATEWAY_DATA_DIR=tmp_path / "data",
            GATEWAY_ENHANCER_ADDRESS=peer.server.address,
            GATEWAY_GENERATOR_ADDRESS=f"127.0.0.1:{free_port()}",
            GATEWAY_PORT=peer.server.port,
        )
    assert found["versions", "gateway"]["verdict"] == "ok"
    assert found["disk", "jobs and files"]["verdict"] == "ok"
    assert not (tmp_path / "data").exists(), "looking changes nothing"
    assert found["peers", "enhancer"]["verdict"] == "ok"
    assert found["peers", "generator"]["verdict"] == "warning"
    assert found["ports", "gateway"] == {
        "group": "ports", "name": "gateway", "verdict": "ok", "text": f"{peer.server.address} serves", "hint": "",
    }  # fmt: skip


def test_a_gateway_that_cannot_work_is_broken(tmp_path: Path) -> None:
    url = "postgresql+psycopg://someone:secret@127.0.0.1:1/jobs"
    found = checkup("gateway", tmp_path, GATEWAY_DATA_DIR="/proc/none", GATEWAY_DATABASE_URL=url)
    assert found["disk", "jobs and files"]["verdict"] == "broken"
    assert found["settings", "gateway"]["verdict"] == "broken"
    away = checkup("gateway", tmp_path, GATEWAY_DATA_DIR=tmp_path, GATEWAY_DATABASE_URL=url)["disk", "job store"]
    assert away["verdict"] == "broken"
    assert away["text"].startswith("postgresql+psycopg://someone:***@127.0.0.1:1/jobs cannot be reached: ")
    assert "secret" not in json.dumps([found["settings", "gateway"], away])


def test_bad_settings_are_a_finding(tmp_path: Path) -> None:
    found = checkup("gateway", tmp_path, GATEWAY_PORT=99999)
    assert list(found) == [("settings", "gateway")]
    assert found["settings", "gateway"]["text"].startswith("WANWORKER_GATEWAY_PORT='99999': ")


def test_a_port_that_another_program_has_is_broken(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        found = checkup("enhancer", tmp_path, ENHANCER_PORT=port, ENHANCER_MODEL_PATH=GGUF)
    assert found["ports", "enhancer"]["verdict"] == "broken"
    assert "WANWORKER_ENHANCER_PORT" in found["ports", "enhancer"]["hint"]
    assert found["models", "enhancer"]["text"].startswith(f"{GGUF}, ")


def test_models_that_are_missing_are_broken_or_to_be_fetched(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    assert checkup("enhancer", tmp_path, ENHANCER_MODEL_PATH=gone)["models", "enhancer"]["verdict"] == "broken"
    hub = checkup("enhancer", tmp_path, ENHANCER_MODEL_CACHE=tmp_path)["models", "enhancer"]
    assert (hub["verdict"], hub["hint"]) == ("warning", "the first prompt fetches it from the hub")
    missing = checkup("generator", tmp_path, GENERATOR_DEMO_PATH=gone)["models", "demo"]
    assert missing["verdict"] == "broken"
    assert str(gone) in missing["text"]
    real = {"GENERATOR_DEFAULT_MODEL": "wan2.1-t2v-1.3b", "GENERATOR_HUB_CACHE": tmp_path}
    assert checkup("generator", tmp_path, **real)["models", "wan2.1-t2v-1.3b"]["verdict"] == "warning"
    offline = checkup("generator", tmp_path, GENERATOR_OFFLINE="true", **real)
    assert offline["models", "wan2.1-t2v-1.3b"]["verdict"] == "broken"


def test_a_device_that_is_not_there_is_broken(tmp_path: Path) -> None:
    found = checkup("generator", tmp_path, GENERATOR_DEMO_PATH=WAN, GENERATOR_DEVICE="cuda:99")
    assert found["gpu", "torch"]["verdict"] == "broken"
    assert found["models", "demo"]["verdict"] == "ok"


def test_doctor_is_content_with_an_installation_that_does_not_run(tmp_path: Path) -> None:
    code, found = doctor(
        tmp_path, ENHANCER_MODEL_PATH=GGUF, GENERATOR_DEMO_PATH=WAN, GATEWAY_DATA_DIR=tmp_path / "data"
    )
    assert code == 0, found
    assert {f["name"] for f in found if f["group"] == "versions"} >= {"python", "client", *("gateway", "enhancer")}


def test_doctor_ends_with_1_when_something_is_broken(tmp_path: Path) -> None:
    code, found = doctor(tmp_path, ENHANCER_MODEL_PATH=tmp_path / "gone", GENERATOR_DEMO_PATH=WAN)
    assert code == 1
    assert [(f["group"], f["name"]) for f in found if f["verdict"] == "broken"] == [("models", "enhancer")]


def test_a_service_without_its_packages_is_not_meant_to_run_here(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_checkup("generator", "no-such-distribution", ServiceSettings, ())
    finding = json.loads(capsys.readouterr().out)
    assert (finding["verdict"], finding["text"]) == ("note", "not installed here: no no-such-distribution")
    assert packages("generator", ("grpcio", "no-such-distribution")).verdict is Verdict.BROKEN


def test_a_driver_that_fails_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin/nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'Failed to initialize NVML'\nexit 18\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    code, found = doctor(tmp_path, ENHANCER_MODEL_PATH=GGUF, GENERATOR_DEMO_PATH=WAN)
    assert code == 1
    (driver,) = (f for f in found if f["name"] == "driver")
    assert driver["text"] == "nvidia-smi: Failed to initialize NVML"

"""The three processes with mTLS between them and an API key in front."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support.certificates import Authority
from tests.support.doors import got
from tests.support.system import ROOT, SERVICES, System, running_system
from wanworker.client import AsyncClient, tls_credentials
from wanworker.client.cli.keys import app as keys_app
from wanworker.v1 import generator_pb2, generator_pb2_grpc


def new_key(folder: Path) -> str:
    from typer.testing import CliRunner

    made = CliRunner().invoke(keys_app, ["new", "alice", "--file", str(folder / "keys.txt")])
    assert made.exit_code == 0, made.output
    return made.stdout.strip()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


@pytest.fixture
def secured(tmp_path: Path, authority: Authority) -> Iterator[System]:
    client = authority.issue("client")
    extra = {
        "WANWORKER_CA": str(authority.ca),
        "WANWORKER_CERTIFICATE": str(client.certificate),
        "WANWORKER_KEY": str(client.key),
        "WANWORKER_API_KEY": new_key(tmp_path),
        "WANWORKER_GATEWAY_API_KEYS": str(tmp_path / "keys.txt"),
        "WANWORKER_GATEWAY_PEER_CA": str(authority.ca),
        "WANWORKER_GATEWAY_PEER_CERTIFICATE": str(client.certificate),
        "WANWORKER_GATEWAY_PEER_KEY": str(client.key),
    }
    for service in SERVICES:
        pair = authority.issue(service)
        prefix = f"WANWORKER_{service.upper()}_"
        # Beyond loopback, which only goes with TLS.
        extra |= {
            f"{prefix}HOST": "0.0.0.0",
            f"{prefix}TLS_CERTIFICATE": str(pair.certificate),
            f"{prefix}TLS_KEY": str(pair.key),
            f"{prefix}TLS_CLIENT_CA": str(authority.ca),
        }
    with running_system(tmp_path, extra, credentials=authority.credentials(client)) as system:
        yield system


async def test_a_video_is_made_and_strangers_stay_out(secured: System, authority: Authority, tmp_path: Path) -> None:
    done = secured.cli(
        "generate", "a red ball", "--size", "128x64", "--duration", "0.7s", "--fps", "12",
        "--output", str(tmp_path / "ball.mp4"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "ball.mp4").stat().st_size > 0
    status = secured.cli("status")
    assert status.returncode == 0, status.stderr

    # The enhancer was reached: no warning that the prompt was used as it was.
    client = authority.issue("another")
    credentials = tls_credentials(authority.ca, client.certificate, client.key)
    async with AsyncClient(
        secured.address("gateway"), credentials=credentials, api_key=secured.environment["WANWORKER_API_KEY"]
    ) as caller:
        (job,) = [job async for job in caller.list()]
    assert job.enhanced_prompt
    assert "ENHANCER_UNAVAILABLE" not in {warning.reason for warning in job.warnings}
    assert '"caller": "alice"' in secured.log("gateway")
    assert secured.environment["WANWORKER_API_KEY"] not in "".join(secured.log(service) for service in SERVICES)

    stranger = grpc.aio.secure_channel(secured.address("generator"), authority.credentials())
    stub: Any = generator_pb2_grpc.GeneratorServiceStub(stranger)
    async with stranger:
        request = generator_pb2.GeneratorServiceGetStatusRequest()
        assert (await got(stub.GetStatus(request, timeout=10))).startswith("UNAVAILABLE")


@pytest.mark.parametrize("service", SERVICES)
def test_a_process_that_would_not_be_safe_says_so_in_one_line(tmp_path: Path, service: str) -> None:
    prefix = f"WANWORKER_{service.upper()}_"
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("WANWORKER_", "OTEL_"))}
    environment = {
        **kept,
        "PYTHONPATH": f"{ROOT / 'services'}:{ROOT / 'clients/python'}",
        "HF_HUB_OFFLINE": "1",
        f"{prefix}HOST": "0.0.0.0",
        f"{prefix}PORT": "0",
        f"{prefix}LOG_FORMAT": "text",
    }
    done = subprocess.run(
        [sys.executable, "-m", f"wanworker.{service}"],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if "ERROR" in line]
    assert f"{prefix}HOST=0.0.0.0 is not loopback and there is no TLS" in line
    assert "Traceback" not in done.stderr

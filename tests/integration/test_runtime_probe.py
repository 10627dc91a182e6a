"""The containers' health check, on real servers."""

import asyncio
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.runtime import SERVICE, FakeService, running, settings
from wanworker.runtime.probe import main
from wanworker.runtime.server import ServiceServer


async def probe(*arguments: str) -> int:
    """The exit code."""
    return await asyncio.to_thread(main, list(arguments))


async def test_a_serving_service_is_healthy(capsys: pytest.CaptureFixture[str]) -> None:
    async with running() as served:
        assert await probe(served.server.address) == 0
        assert await probe(served.server.address, "--service", SERVICE) == 0
    assert capsys.readouterr().out == ""


async def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    async with running() as served:
        assert await probe(served.server.address) == 0


async def test_a_service_that_warms_up_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    server = ServiceServer(FakeService().definition(), settings())
    try:
        await server.listen()
        assert await probe(server.address) == 1
    finally:
        await server.stop()
    assert capsys.readouterr().out == f"{server.address} does not serve: NOT_SERVING\n"


async def test_an_unknown_service_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    async with running() as served:
        assert await probe(served.server.address, "--service", "nobody") == 1
    assert "does not serve: NOT_FOUND" in capsys.readouterr().out


async def test_a_service_with_mtls_is_healthy_to_who_has_a_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    authority = Authority(tmp_path)
    served, ours = authority.issue("served"), authority.issue("ours")
    async with running(tls_certificate=served.certificate, tls_key=served.key, tls_client_ca=authority.ca) as system:
        assert await probe(system.server.address, "--timeout", "1") == 1
        monkeypatch.setenv("WANWORKER_PROBE_CA", str(authority.ca))
        assert await probe(system.server.address, "--timeout", "1") == 1
        monkeypatch.setenv("WANWORKER_PROBE_CERTIFICATE", str(ours.certificate))
        monkeypatch.setenv("WANWORKER_PROBE_KEY", str(ours.key))
        capsys.readouterr()
        assert await probe(system.server.address) == 0
        monkeypatch.setenv("WANWORKER_PROBE_CA", str(tmp_path / "gone.pem"))
        assert await probe(system.server.address) == 1
    assert f"TLS file {tmp_path / 'gone.pem'}" in capsys.readouterr().out


async def test_nobody_there_is_not_healthy(capsys: pytest.CaptureFixture[str]) -> None:
    address = f"127.0.0.1:{free_port()}"
    assert await probe(address, "--timeout", "1") == 1
    assert capsys.readouterr().out.startswith(f"{address} does not serve: UNAVAILABLE")


async def test_bad_arguments_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        await probe()
    assert caught.value.code == 2
    assert "address" in capsys.readouterr().err

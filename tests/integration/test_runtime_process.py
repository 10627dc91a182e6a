"""A service as a process: signals, exit codes, and where its telemetry goes."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import urllib.request
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support.otlp import otlp_receiver
from tests.support.runtime import METHODS, call, running, start_call
from wanworker.runtime.channel import open_channel

ROOT = Path(__file__).parents[2]
SOURCES = os.pathsep.join(str(ROOT / part) for part in ("services", "clients/python", "."))

Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a fake service; values are settings. Whatever still runs at the end is killed."""
    started: list[Process] = []

    async def start(behaviour: str, environment: dict[str, str] | None = None, **values: object) -> Process:
        values = {"port_file": tmp_path / "port", "drain_pause_seconds": 0, **values}
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.runtime_process", behaviour),
            env={
                **inherited,
                "PYTHONPATH": SOURCES,
                **{f"WANWORKER_FAKE_{key.upper()}": str(value) for key, value in values.items()},
                **(environment or {}),
            },
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def port(tmp_path: Path) -> int:
    while True:
        with contextlib.suppress(FileNotFoundError):
            return int((tmp_path / "port").read_text())
        await asyncio.sleep(0.05)


async def serving(tmp_path: Path) -> grpc.aio.Channel:
    """A channel to the service, once it serves."""
    channel = open_channel(f"127.0.0.1:{await port(tmp_path)}")
    while True:
        with contextlib.suppress(grpc.aio.AioRpcError):
            await call(channel, "unary")
            return channel
        await asyncio.sleep(0.05)


def lines(stderr: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stderr.splitlines()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_it_gracefully(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    process = await start("serve")
    channel = await serving(tmp_path)
    await channel.close()
    process.send_signal(number)
    out, err = await process.communicate()
    assert (process.returncode, out) == (0, b"closed\n")
    log = lines(err)
    assert {line["service"] for line in log} == {"wanworker-fake"}
    assert any(line["message"].startswith(f"{number.name}: stopping") for line in log)
    assert any(line.get("method") == METHODS["unary"] and line["code"] == "OK" for line in log)
    assert not (tmp_path / "port").exists()


async def test_a_second_signal_ends_it_at_once(start: Start, tmp_path: Path) -> None:
    process = await start("hang-in-drain", shutdown_grace_seconds=3600)
    channel = await serving(tmp_path)
    await channel.close()
    process.terminate()
    assert process.stdout is not None
    assert await process.stdout.readline() == b"hanging\n"
    process.terminate()
    out, err = await process.communicate()
    assert (process.returncode, out) == (128 + signal.SIGTERM, b"")
    assert lines(err)[-1]["message"] == "SIGTERM again: exiting at once"


async def test_a_call_that_outlasts_the_grace_does_not_hold_it_up(start: Start, tmp_path: Path) -> None:
    process = await start("hang-in-call", shutdown_grace_seconds=0.1)
    async with open_channel(f"127.0.0.1:{await port(tmp_path)}") as channel:
        stream = start_call(channel, "generator", wait_for_ready=True)
        assert await stream.read() is not grpc.aio.EOF
        process.terminate()
        out, _ = await process.communicate()
    assert (process.returncode, out) == (0, b"hanging\nclosed\n")


async def test_a_signal_during_warm_up_stops_it(start: Start, tmp_path: Path) -> None:
    process = await start("hang-in-warm-up", drain_pause_seconds=3600)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"hanging\n"
    process.terminate()
    out, _ = await process.communicate()
    assert (process.returncode, out) == (0, b"closed\n")


async def test_a_warm_up_that_cannot_heal_ends_it_with_one_line(start: Start) -> None:
    process = await start("fail-in-warm-up")
    out, err = await process.communicate()
    assert (process.returncode, out) == (1, b"closed\n")
    (error,) = (line for line in lines(err) if line["level"] == "ERROR")
    assert error["message"].endswith("cannot start: no model at /models/x (MODEL_NOT_FOUND)")
    assert "exception" not in error


async def test_a_bug_in_warm_up_ends_it_with_a_traceback(start: Start) -> None:
    process = await start("crash-in-warm-up")
    out, err = await process.communicate()
    assert (process.returncode, out) == (1, b"closed\n")
    (error,) = (line for line in lines(err) if line["level"] == "ERROR")
    assert "KeyError: 'a bug'" in error["exception"]


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("fail-in-build", "no model at /models/x (MODEL_NOT_FOUND)"),
        ("refuse-in-build", "cannot write to /data"),
    ],
)
async def test_a_service_that_cannot_be_built_ends_with_one_line(start: Start, behaviour: str, reason: str) -> None:
    process = await start(behaviour)
    _, err = await process.communicate()
    assert process.returncode == 1
    (error,) = lines(err)
    assert error["message"] == f"cannot start: {reason}"


async def test_a_taken_port_ends_it_with_one_line(start: Start) -> None:
    async with running() as served:
        process = await start("serve", port=served.server.port)
        out, err = await process.communicate()
    assert (process.returncode, out) == (1, b"closed\n")
    (line,) = lines(err)
    assert line["message"] == f"cannot listen on 127.0.0.1:{served.server.port}: Address already in use"


async def test_bad_settings_end_it_with_a_line_each(start: Start) -> None:
    process = await start("serve", port=70000, log_level="LOUD")
    _, err = await process.communicate()
    assert process.returncode == 2
    first, second = err.decode().splitlines()
    assert first.startswith("wanworker-fake: WANWORKER_FAKE_PORT='70000': ")
    assert second.startswith("wanworker-fake: WANWORKER_FAKE_LOG_LEVEL='LOUD': ")


async def test_spans_reach_a_collector_before_it_ends(start: Start, tmp_path: Path) -> None:
    with otlp_receiver() as receiver:
        process = await start("serve", {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint})
        channel = await serving(tmp_path)
        await channel.close()
        process.terminate()
        await process.communicate()
        assert process.returncode == 0
        spans = await asyncio.to_thread(receiver.wait_for, METHODS["unary"])
    assert {span.service for span in spans} == {"wanworker-fake"}
    assert {span.attributes["rpc.response.status_code"] for span in spans} >= {"OK"}


async def test_a_collector_that_is_down_does_not_hold_it_up(start: Start, tmp_path: Path) -> None:
    process = await start("serve", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"})
    channel = await serving(tmp_path)
    await channel.close()
    process.terminate()
    _, err = await process.communicate()
    assert process.returncode == 0
    assert lines(err)[-1]["message"].startswith("gave up on exporting")


async def test_metrics_are_served_to_prometheus(start: Start, tmp_path: Path) -> None:
    process = await start("serve", metrics_port=0)
    channel = await serving(tmp_path)
    await channel.close()
    assert process.stderr is not None
    url = lines(await process.stderr.readline())[0]["message"].removeprefix("metrics on ")
    with await asyncio.to_thread(urllib.request.urlopen, url) as answer:
        text = answer.read().decode()
    name = "rpc_server_call_duration_seconds_count"
    (count,) = (line for line in text.splitlines() if line.startswith(name))
    assert f'rpc_method="{METHODS["unary"]}"' in count
    process.terminate()
    await process.communicate()
    assert process.returncode == 0


async def test_a_taken_metrics_port_ends_it_with_one_line(start: Start) -> None:
    async with running() as served:
        process = await start("serve", metrics_port=served.server.port)
        _, err = await process.communicate()
    assert process.returncode == 1
    (line,) = lines(err)
    assert line["message"] == f"cannot serve metrics on port {served.server.port}: Address already in use"

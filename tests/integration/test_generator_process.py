"""The generator as a process of its own."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from tests.support.generator import failure, generate_request, random_checkpoint
from wanworker.client.status import StatusDetails
from wanworker.runtime.channel import open_channel
from wanworker.v1 import generator_pb2
from wanworker.v1 import generator_pb2_grpc as pb_grpc

ROOT = Path(__file__).parents[2]


def start(tmp_path: Path, demo_path: Path, module: str = "wanworker.generator", **more: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT / 'services'}:{ROOT / 'clients' / 'python'}:{ROOT}",
        "WANWORKER_GENERATOR_PORT": "0",
        "WANWORKER_GENERATOR_PORT_FILE": str(tmp_path / "port"),
        "WANWORKER_GENERATOR_DEMO_PATH": str(demo_path),
        "WANWORKER_GENERATOR_CACHE_DIR": str(tmp_path / "cache"),
        "WANWORKER_GENERATOR_DRAIN_PAUSE_SECONDS": "0",
        "WANWORKER_GENERATOR_THREADS": "2",
        "WANWORKER_GENERATOR_LOG_FORMAT": "text",
        **more,
    }
    command = [sys.executable, "-m", module]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def test_a_missing_default_model_is_one_clear_line(tmp_path: Path) -> None:
    process = start(tmp_path, tmp_path / "nowhere")
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 1
    (line,) = [line for line in errors.splitlines() if "ERROR" in line]
    assert str(tmp_path / "nowhere") in line
    assert "MODEL_NOT_FOUND" in line
    assert "Traceback" not in errors


def test_it_starts_warms_up_and_ends_on_sigterm(tmp_path: Path) -> None:
    process = start(tmp_path, random_checkpoint())
    try:
        deadline = time.monotonic() + 60
        speeds = tmp_path / "cache" / "speeds.json"
        while not speeds.exists():  # written by the warm-up's still
            assert process.poll() is None, process.stderr
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert (tmp_path / "port").read_text().strip().isdigit()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()

    assert process.returncode == 0, errors
    assert "Traceback" not in errors


async def test_a_lost_device_is_answered_and_the_process_asks_for_a_new_one(tmp_path: Path) -> None:
    port = free_port()
    more = {"WANWORKER_GENERATOR_PORT": str(port), "WANWORKER_GENERATOR_WARM_UP_JOB": "false"}
    more |= {"WANWORKER_GENERATOR_DTYPE": "float32", "WANWORKER_GENERATOR_DEVICE": "cpu"}
    codes: list[int] = []

    def supervise() -> None:
        while not stopped.is_set():
            processes.append(start(tmp_path, random_checkpoint(), "tests.support.losing_generator", **more))
            processes[-1].communicate(timeout=120)
            codes.append(processes[-1].returncode)

    stopped, processes = threading.Event(), list[subprocess.Popen[str]]()
    supervisor = threading.Thread(target=supervise)
    supervisor.start()
    try:
        async with open_channel(f"127.0.0.1:{port}") as channel:
            stub: Any = pb_grpc.GeneratorServiceStub(channel)
            lost = await failure_once_started(stub, generate_request(width=96))
            await asyncio.to_thread(until, lambda: len(codes) == 1)
            await asyncio.to_thread(until, lambda: len(processes) == 2)
            still = generate_request(frames=1, reference_image=b"x")
            found = await failure_once_started(stub, still)  # until it is there again
            events = [event async for event in stub.Generate(generate_request(), timeout=60)]
    finally:
        stopped.set()
        processes[-1].terminate()
        await asyncio.to_thread(supervisor.join)

    assert (lost.code, lost.reason) == (grpc.StatusCode.UNAVAILABLE, "DEVICE_LOST")
    assert lost.retry_after_seconds
    assert found.code is grpc.StatusCode.INVALID_ARGUMENT
    assert events[-1].HasField("completed")
    assert codes == [3, 0]


async def failure_once_started(stub: Any, request: generator_pb2.GenerateRequest) -> StatusDetails:
    while True:
        found = await failure(stub.Generate(request, timeout=60, wait_for_ready=True))
        if found.reason != "STARTING":
            return found
        await asyncio.sleep(0.1)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])

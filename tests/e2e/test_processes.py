"""Processes that start, die and end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pytest

from tests.support.system import ROOT, System, running_system
from wanworker.client import Client, Job, JobState

SMALL = ("--size", "128x64", "--duration", "0.7s", "--fps", "12", "--seed", "7")


@pytest.fixture
def own_system(tmp_path: Path) -> Iterator[System]:
    """A system that a test may break."""
    with running_system(tmp_path) as running:
        yield running


def denoising(system: System, prompt: str, steps: int) -> Job:
    """Makes a job and returns it once it is at its second step."""
    with Client(system.address("gateway")) as client:
        job = client.create(prompt, size=(128, 64), duration=0.7, fps=12, steps=steps, seed=7)
        give_up = time.monotonic() + 60
        while job.progress is None or job.progress.step < 2:
            assert time.monotonic() < give_up, job
            time.sleep(0.1)
            job = client.get(job.id)
        return job


def ended(system: System, job: Job) -> Job:
    """The job once it is in a final state, watched from now on."""
    with Client(system.address("gateway")) as client:
        return client.wait(job.id, timeout=90)


def test_a_killed_generator_is_waited_for(own_system: System) -> None:
    job = denoising(own_system, "a red ball", steps=25)
    own_system.processes["generator"].kill()
    own_system.start("generator")
    done = ended(own_system, job)
    assert done.state is JobState.SUCCEEDED, done.failure
    assert done.attempts >= 2


def test_a_killed_gateway_goes_on_with_its_jobs(own_system: System) -> None:
    job = denoising(own_system, "a red ball", steps=25)
    own_system.processes["gateway"].kill()
    own_system.processes["gateway"].wait()
    own_system.start("gateway")
    own_system.wait_until_serving("gateway")
    done = ended(own_system, job)
    assert done.state is JobState.SUCCEEDED, done.failure
    assert done.delivered is not None
    assert done.delivered.seed == 7
    assert done.delivered.prompt == job.enhanced_prompt != ""


def test_sigterm_ends_all_three_well(own_system: System) -> None:
    assert own_system.stop() == {"enhancer": 0, "generator": 0, "gateway": 0}


def clean_environment(home: Path) -> dict[str, str]:
    """Like a new user's: nothing of wanworker is set."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("WANWORKER_", "OTEL_"))}
    paths = f"{ROOT / 'services'}:{ROOT / 'clients/python'}"
    return {**kept, "PYTHONPATH": paths, "HF_HUB_OFFLINE": "1", "HOME": str(home)}


def test_demo_makes_a_video_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "demo.mp4"
    command = [sys.executable, "-m", "wanworker.client", "demo", "a red ball bounces", "--output", str(path)]
    done = subprocess.run(
        command, env=clean_environment(tmp_path), cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert str(path) in done.stdout
    with av.open(str(path)) as file:
        assert file.streams.video[0].codec_context.name == "h264"
    left = subprocess.run(["pgrep", "-f", f"wanworker-demo-.*{tmp_path}"], capture_output=True, check=False)
    assert left.stdout == b""


def test_up_serves_until_ctrl_c(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "wanworker.client", "up", "--demo", "--data-dir", str(tmp_path / "data")]
    command += ["--port", "0", "--enhancer-port", "0", "--generator-port", "0"]
    with subprocess.Popen(
        command, env=clean_environment(tmp_path), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as up:
        assert up.stderr is not None
        line = next(line for line in up.stderr if line.startswith("ready"))
        port = int(line.split("gateway 127.0.0.1:")[1].split(",")[0])
        status = status_of(port)
        assert status["enhancer_peer"]["reachable"] is True
        assert status["generator_peer"]["reachable"] is True
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=40)
    assert up.returncode == 130


def status_of(port: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "wanworker.client", "status", "--address", f"127.0.0.1:{port}", "--json"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'services'}:{ROOT / 'clients/python'}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=True)
    status: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])["status"]
    return status

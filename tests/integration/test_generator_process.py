"""The generator as a process of its own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.support.generator import random_checkpoint

ROOT = Path(__file__).parents[2]


def start(tmp_path: Path, demo_path: Path) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT / 'services'}:{ROOT / 'clients' / 'python'}",
        "WANWORKER_GENERATOR_PORT": "0",
        "WANWORKER_GENERATOR_PORT_FILE": str(tmp_path / "port"),
        "WANWORKER_GENERATOR_DEMO_PATH": str(demo_path),
        "WANWORKER_GENERATOR_CACHE_DIR": str(tmp_path / "cache"),
        "WANWORKER_GENERATOR_DRAIN_PAUSE_SECONDS": "0",
        "WANWORKER_GENERATOR_THREADS": "2",
        "WANWORKER_GENERATOR_LOG_FORMAT": "text",
    }
    command = [sys.executable, "-m", "wanworker.generator"]
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

"""The command line against a real server: what it prints, what it ends with, what Ctrl-C does."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from typer.testing import CliRunner, Result

from tests.support.client import (
    FILE,
    JOB_ID,
    Fail,
    FakeEnhancer,
    FakeGateway,
    Pause,
    progress,
    serving_thread,
    snapshot,
)
from wanworker.client.cli.app import app

ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "WANWORKER_"))},
    "PYTHONPATH": ":".join(sys.path),
}


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


@pytest.fixture
def address(gateway: FakeGateway) -> Iterator[str]:
    with serving_thread(gateway, FakeEnhancer()) as address:
        yield address


def wanworker(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200", **environment})


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_generate_saves_and_tells(gateway: FakeGateway, address: str, tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    options = (
        "--size",
        "256x144",
        "--duration",
        "2s",
        "--fps",
        "16",
        "--steps",
        "15",
        "--guidance",
        "5",
        "--seed",
        "42",
    )
    rest = ("--negative", "text", "--model", "demo", "--no-enhance", "--quality", "HIGH", "-o", str(path))
    result = wanworker("generate", "a red ball", *options, *rest, "--address", address)
    assert result.exit_code == 0, result.output
    assert path.read_bytes() == FILE
    spec = gateway.asked("RunJob")[0].spec
    assert (spec.width, spec.height, spec.fps, spec.steps, spec.seed, spec.model) == (256, 144, 16, 15, 42, "demo")
    assert (spec.duration.seconds, spec.guidance_scale, spec.negative_prompt) == (2, 5.0, "text")
    assert (spec.HasField("enhance"), spec.enhance, spec.quality, spec.format) == (True, False, 3, 1)
    for part in (str(path), "256×144", "33 frames at 16 fps (2.06 s)", "seed 42", "15 steps", "denoising", "total"):
        assert part in result.stdout
    for part in ("adjusted duration: 2s → 2.0625s", "warning", "SLOW_JOB", "lowered", "tiled decode", "█"):
        assert part in result.stdout


def test_without_a_terminal_progress_is_sparse_and_plain(address: str, tmp_path: Path) -> None:
    result = wanworker("generate", "a red ball", "-o", str(tmp_path / "x.mp4"), "--address", address)
    told = result.stderr.splitlines()
    assert told[0] == f"job {JOB_ID}"
    assert told[1] == "  0%  waiting, 1 ahead, about 12 s left"
    assert "prompt  a red ball, cinematic" in told
    assert " 30%  denoising 3/15, about 12 s left" in told
    assert len(told) == 7
    assert "\x1b" not in result.output


def test_colours_need_a_terminal_and_leave_to_do_so(address: str, tmp_path: Path) -> None:
    arguments = ("generate", "a red ball", "-o", str(tmp_path / "x.mp4"), "--address", address)
    assert "\x1b[" in wanworker(*arguments, FORCE_COLOR="1").output
    assert "\x1b[1;33m" not in wanworker(*arguments, NO_COLOR="1").output


def test_json_is_a_line_an_event_and_the_result_last(address: str, tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    result = wanworker("generate", "a red ball", "-o", str(path), "--json", "--address", address)
    *events, last = lines(result.stdout)
    assert [int(event["event"]["sequence"]) for event in events] == list(range(1, 12))
    assert events[8]["event"]["progress"]["total_steps"] == 15
    assert last["result"]["path"] == str(path)
    assert last["result"]["job"]["delivered"]["seed"] == "42"
    assert result.stderr == ""


def test_violations_are_listed_with_their_paths(gateway: FakeGateway, address: str) -> None:
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="spec.fps", description="99 is not from 12 to 24")
    bad.field_violations.add(field="spec.steps", description="0 is not from 1 to 100")
    failure = Fail(grpc.StatusCode.INVALID_ARGUMENT, "2 fields are wrong", "BAD_FIELD", details=[bad])
    gateway.failures["RunJob"] = [failure, failure]
    result = wanworker("generate", "x", "--fps", "99", "--address", address)
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "error: 2 fields are wrong (BAD_FIELD)",
        "  spec.fps: 99 is not from 12 to 24",
        "  spec.steps: 0 is not from 1 to 100",
    ]
    result = wanworker("generate", "x", "--json", "--address", address)
    error = lines(result.stdout)[-1]["error"]
    assert (error["code"], error["reason"]) == ("INVALID_ARGUMENT", "BAD_FIELD")
    assert [violation["field"] for violation in error["violations"]] == ["spec.fps", "spec.steps"]
    assert (result.exit_code, result.stderr) == (2, "")


@pytest.mark.parametrize("arguments", ["generate x", "estimate x", "status", "jobs list", "jobs watch x", "jobs get x"])
def test_nobody_there_is_one_line(arguments: str) -> None:
    result = wanworker(*arguments.split(), "--address", "127.0.0.1:1")
    assert result.exit_code == 3
    assert result.stderr == "error: no gateway at 127.0.0.1:1: start one with `wanworker up`\n"


def test_exit_codes(gateway: FakeGateway, address: str, tmp_path: Path) -> None:
    gateway.runs = [[snapshot("RUNNING", 1), snapshot("FAILED", 2)]]
    failed = wanworker("generate", "x", "-o", str(tmp_path / "x.mp4"), "--address", address)
    assert failed.exit_code == 1
    assert "needs more memory" in failed.stderr
    assert "needed_bytes: 123" in failed.stderr
    failed = wanworker("generate", "x", "--json", "--address", address)
    assert (failed.exit_code, lines(failed.stdout)[-1]["error"]["job_id"]) == (1, JOB_ID)
    gateway.failures["RunJob"] = [Fail(grpc.StatusCode.UNAVAILABLE, "loading", "LOADING")]
    busy = wanworker("generate", "x", "--address", address)
    assert (busy.exit_code, busy.stderr) == (3, "error: loading (LOADING)\n")
    gateway.failures["GetJob"] = [Fail(grpc.StatusCode.NOT_FOUND, "there is no job x", "JOB_NOT_FOUND")]
    assert wanworker("jobs", "get", "x", "--address", address).exit_code == 1
    gateway.runs = [[snapshot("RUNNING", 1), Fail(grpc.StatusCode.UNAVAILABLE, "gone", "")]]
    lost = wanworker("generate", "x", "--address", address)
    assert lost.exit_code == 3
    assert f"wanworker jobs watch {JOB_ID}" in lost.stderr


def test_jobs(gateway: FakeGateway, address: str, tmp_path: Path) -> None:
    place = ("--address", address)
    gateway.jobs[1].id, gateway.jobs[1].spec.prompt = JOB_ID, "[bold]an old " + "very " * 30 + "long prompt"
    narrow = CliRunner().invoke(app, ["jobs", "list", *place], env={"COLUMNS": "80"}).stdout.splitlines()
    assert narrow[2].startswith(f"{JOB_ID}  succeeded  2026-01-02 03:04")
    assert narrow[2].endswith("  [bold]an old very v…")
    listed = wanworker("jobs", "list", "--limit", "3", "--state", "succeeded", *place)
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["id", "job-0", JOB_ID, "job-2"]
    assert len(lines(wanworker("jobs", "list", "--json", *place).stdout)) == 5
    shown = wanworker("jobs", "get", JOB_ID, *place)
    assert f"{JOB_ID}  succeeded" in shown.stdout
    assert lines(wanworker("jobs", "get", JOB_ID, "--json", *place).stdout)[0]["job"]["id"] == JOB_ID
    watched = wanworker("jobs", "watch", JOB_ID, *place)
    assert (watched.exit_code, "a red ball, cinematic" in watched.stdout) == (0, True)
    assert "has ended: succeeded" in wanworker("jobs", "cancel", JOB_ID, *place).stdout
    saved = wanworker("jobs", "download", JOB_ID, "-o", str(tmp_path), *place)
    assert saved.exit_code == 0
    assert (tmp_path / "ball.mp4").read_bytes() == FILE
    gateway.watches = [[snapshot("FAILED", 4)]]
    assert wanworker("jobs", "watch", JOB_ID, *place).exit_code == 1


def test_estimate_enhance_and_status(address: str) -> None:
    estimate = wanworker("estimate", "x", "--size", "256x144", "--address", address)
    assert "fits  needs 1.0 GiB of 2.0 GiB · about 3.5 s of work" in estimate.stdout
    assert lines(wanworker("estimate", "x", "--json", "--address", address).stdout)[0]["estimate"]["estimate"]["fits"]
    assert wanworker("enhance", "ball", "--address", address).stdout == "A red ball.\n"
    *events, last = lines(wanworker("enhance", "ball", "--json", "--address", address).stdout)
    assert ("delta" in events[2]["event"], last["result"]["prompt"]) == (True, "A red ball.")
    status = wanworker("status", "--address", address)
    assert status.exit_code == 3, "the enhancer is down"
    assert "connection refused" in status.stdout
    assert "demo" in status.stdout
    nobody = wanworker("enhance", "x", "--address", "127.0.0.1:1")
    assert nobody.stderr == "error: no enhancer at 127.0.0.1:1: start one with `wanworker up`\n"


def test_doctor_of_a_light_client(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wanworker.client.cli.checks.SERVICES", ("nothing",))
    healthy = wanworker("doctor", "--address", address)
    assert healthy.exit_code == 0, healthy.stdout
    assert "not installed here" in healthy.stdout
    assert "as long as it is down, prompts stay as they are" in " ".join(healthy.stdout.split())
    monkeypatch.setattr("wanworker.client.cli.doctor.DEFAULT_GATEWAY", "127.0.0.1:1")
    alone = wanworker("doctor", "--address", "127.0.0.1:1")
    assert alone.exit_code == 1, "a client without a gateway is of no use"
    assert "nobody at 127.0.0.1:1" in alone.stdout
    (told,) = lines(wanworker("doctor", "--json", "--address", "127.0.0.1:1").stdout)
    assert [(f["group"], f["name"]) for f in told["result"]["findings"] if f["verdict"] == "broken"] == [
        ("peers", "gateway")
    ]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("as_json", [False, True])
def test_signals_cancel_the_job(
    gateway: FakeGateway, address: str, tmp_path: Path, number: int, code: int, as_json: bool
) -> None:
    gateway.runs = [[snapshot("RUNNING", 1), progress(2), Pause()]]
    gateway.state = "RUNNING"
    command = [sys.executable, "-m", "wanworker.client", "generate", "x", "--address", address]
    process = subprocess.Popen(
        command + ["--json"] * as_json,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=ENVIRONMENT,
    )  # fmt: skip
    shown = process.stdout if as_json else process.stderr
    assert shown is not None
    while "enoising" not in (line := shown.readline()) and "DENOISING" not in line:
        assert line, "ended too early"
    process.send_signal(number)
    assert gateway.cancelled.wait(10)
    out, err = process.communicate(timeout=10)
    assert process.returncode == code
    if as_json:
        assert json.loads(out.splitlines()[-1])["error"]["job_id"] == JOB_ID
        assert err == ""
    else:
        assert err == f"cancelled job {JOB_ID}: the device stops within a step\n"
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_gets_a_bar(gateway: FakeGateway, address: str, tmp_path: Path) -> None:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "wanworker.client", "generate", "x", "--address", address, "-o", "x.mp4"]
    process = subprocess.Popen(
        command, stdout=theirs, stderr=theirs, cwd=tmp_path, env={**ENVIRONMENT, "TERM": "xterm", "COLUMNS": "100"}
    )
    os.close(theirs)
    seen = bytearray()

    def read() -> None:
        while True:
            try:
                seen.extend(os.read(ours, 4096))
            except OSError:
                return

    reader = threading.Thread(target=read)
    reader.start()
    assert process.wait(20) == 0
    reader.join(5)
    os.close(ours)
    text = seen.decode()
    assert "a red ball, cinematic" in text
    assert "x.mp4" in text
    assert "\x1b[?25h" in text, "the cursor is shown again"


def test_without_the_extra_one_line_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import importlib.util as u; find = u.find_spec; "
        "u.find_spec = lambda name, *rest: None if name in ('typer', 'rich') else find(name, *rest); "
        "from wanworker.client.cli.entry import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "wanworker: no typer and rich here; install them with: pip install 'wanworker-client[cli]'\n"
    )


def test_the_command_is_the_root_of_its_trace(gateway: FakeGateway, address: str, tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc")
    from tests.support.otlp import otlp_receiver

    with otlp_receiver() as receiver:
        environment = {**ENVIRONMENT, "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
        command = [sys.executable, "-m", "wanworker.client", "generate", "x", "-o", "x.mp4", "--address", address]
        subprocess.run(command, env=environment, cwd=tmp_path, check=True, capture_output=True)
        spans = receiver.wait_for("wanworker generate")
    assert [(span.service, span.name) for span in spans] == [("wanworker-cli", "wanworker generate")]
    assert len(gateway.metadata) >= 2
    assert all(spans[0].trace_id in str(metadata["traceparent"]) for metadata in gateway.metadata)

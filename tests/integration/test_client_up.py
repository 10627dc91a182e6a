"""`wanworker up` with three stand-ins for the services, as real processes."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest
from typer.testing import CliRunner

from wanworker.client.cli.app import app
from wanworker.client.cli.stack import StackError, StackOptions, environment, find_models

SERVICE = """
import asyncio, os, signal, sys
from pathlib import Path
import grpc

NAME = __spec__.parent.rsplit(".", 1)[1]
BOOK = Path(os.environ["FAKE_BOOK"])

def note(text):
    with BOOK.open("a") as book:
        book.write(f"{NAME} {text}\\n")

async def main():
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, lambda n=number: (note(n.name), stop.set()))
    async def check(request, context):
        return b"\\x08\\x01" if serving else b"\\x08\\x02"
    serving = False
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(check)
    handlers = grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler})
    server.add_generic_rpc_handlers((handlers,))
    prefix = f"WANWORKER_{NAME.upper()}_"
    port = server.add_insecure_port("127.0.0.1:" + os.environ[prefix + "PORT"])
    await server.start()
    Path(os.environ[prefix + "PORT_FILE"]).write_text(str(port))
    note("started")
    print("peers", os.environ.get("WANWORKER_GATEWAY_GENERATOR_ADDRESS"), flush=True)
    await asyncio.sleep(0.3)
    note("serves")
    serving = True
    if os.environ.get("FAKE_DIES") == NAME:
        await asyncio.sleep(0.3)
        os._exit(7)
    await stop.wait()
    await asyncio.sleep(1000 if os.environ.get("FAKE_STUBBORN") == NAME else 0.2)
    note("drained")

asyncio.run(main())
"""
NAMES = ("enhancer", "generator", "gateway")


class Up:
    """A running `wanworker up`."""

    def __init__(self, folder: Path, **settings: str) -> None:
        for name in NAMES:
            package = folder / "wanworker" / name
            package.mkdir(parents=True)
            (package / "__init__.py").touch()
            (package / "__main__.py").write_text(SERVICE)
        self.book = folder / "book"
        self.book.touch()
        command = "up --port 0 --enhancer-port 0 --generator-port 0"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wanworker.client", *command.split()],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, start_new_session=True,
            env={
                **os.environ, "PYTHONPATH": ":".join([str(folder), *sys.path]), "FAKE_BOOK": str(self.book), **settings,
            },
        )  # fmt: skip

    def until(self, stream: IO[str] | None, text: str) -> str:
        """Returns the first line with a text in it."""
        assert stream is not None
        for line in stream:
            if text in line:
                return line
        raise AssertionError(f"no {text!r}; {self.process.communicate()}")

    def notes(self) -> list[str]:
        """What the services did, in order."""
        return self.book.read_text().splitlines()

    def end(self) -> tuple[int, str, str]:
        """Waits for the end."""
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err


Start = Callable[..., Up]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts `wanworker up`; nothing of it is left behind by a test that fails."""
    started: list[Up] = []

    def begin(**settings: str) -> Up:
        started.append(Up(tmp_path, **settings))
        return started[-1]

    yield begin
    for up in started:
        if up.process.poll() is None:
            up.process.kill()  # and the kernel ends its services
            up.process.communicate()


def test_services_start_in_order_and_drain_on_ctrl_c(start: Start) -> None:
    up = start()
    ready = up.until(up.process.stderr, "ready")
    assert all(name in ready for name in NAMES)
    os.killpg(up.process.pid, signal.SIGINT)  # as a terminal does: to the whole group
    code, out, err = up.end()
    assert code == 130
    assert "draining; once more to kill" in err
    notes = up.notes()
    assert sorted(notes[:4]) == ["enhancer serves", "enhancer started", "generator serves", "generator started"]
    assert notes[4:8] == ["gateway started", "gateway serves", "gateway SIGTERM", "gateway drained"]
    assert sorted(notes[8:]) == [
        "enhancer SIGTERM", "enhancer drained", "generator SIGTERM", "generator drained",
    ]  # fmt: skip
    assert "gateway   │ peers 127.0.0.1:" in out
    assert "enhancer  │ peers None" in out


def test_a_death_is_named_and_the_others_drain(start: Start) -> None:
    code, _, err = start(FAKE_DIES="gateway").end()
    assert code == 1
    assert "error: the gateway died (exit code 7)" in err


def test_a_death_at_the_start_is_named_too(start: Start) -> None:
    up = start(FAKE_DIES="generator")
    code, _, err = up.end()
    assert code == 1
    assert "error: the generator died (exit code 7)" in err
    assert "enhancer drained" in up.notes()


def test_a_second_ctrl_c_kills(start: Start) -> None:
    up = start(FAKE_STUBBORN="gateway")
    up.until(up.process.stderr, "ready")
    up.process.send_signal(signal.SIGINT)
    up.until(up.process.stderr, "draining")
    time.sleep(0.3)
    up.process.send_signal(signal.SIGINT)
    code, _, _ = up.end()
    assert code == 130
    assert "gateway SIGTERM" in up.notes()
    assert not any("drained" in note for note in up.notes())


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_nothing_outlives_up(start: Start) -> None:
    up = start()
    up.until(up.process.stderr, "ready")
    up.process.kill()
    give_up = time.monotonic() + 10
    while sum("drained" in note for note in up.notes()) < 3:
        assert time.monotonic() < give_up, up.notes()
        time.sleep(0.05)


def test_missing_services_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "wanworker.gateway" else find(name, *rest)
    )
    result = CliRunner().invoke(app, ["up"], env={"COLUMNS": "200"})
    assert result.exit_code == 1
    assert "the services are not installed here" in result.stderr
    assert "pip install 'wanworker[all]'" in result.stderr


def test_demo_models_are_found_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StackError, match="--models-dir"):
        find_models(tmp_path)
    (tmp_path / "qwen-demo").mkdir()
    (tmp_path / "qwen-demo" / "qwen-demo.gguf").touch()
    (tmp_path / "wan-demo").mkdir()
    monkeypatch.setenv("WANWORKER_ENHANCER_MODEL_PATH", "/mine.gguf")
    monkeypatch.delenv("WANWORKER_GENERATOR_DEMO_PATH", raising=False)
    options = StackOptions(demo=True, models_dir=tmp_path, gateway_port=0, data_dir=tmp_path)
    made = environment("gateway", options, tmp_path / "port", {"enhancer": 1, "generator": 2})
    assert made["WANWORKER_ENHANCER_MODEL_PATH"] == "/mine.gguf", "what the user has set wins"
    assert made["WANWORKER_GENERATOR_DEMO_PATH"] == str(tmp_path / "wan-demo")
    assert made["WANWORKER_GATEWAY_ENHANCER_ADDRESS"] == "127.0.0.1:1"
    assert made["WANWORKER_GATEWAY_GENERATOR_ADDRESS"] == "127.0.0.1:2"
    assert (made["WANWORKER_GATEWAY_PORT"], made["WANWORKER_GATEWAY_DATA_DIR"]) == ("0", str(tmp_path))

"""The real system for end-to-end tests: three processes on the demo models, and the CLI as a fourth."""

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.ports import free_port

ROOT = Path(__file__).parent.parent.parent
GGUF = ROOT / "models/qwen-demo/qwen-demo.gguf"
WAN = ROOT / "models/wan-demo"
SERVICES = ("enhancer", "generator", "gateway")


@dataclass
class System:
    """Three running services."""

    folder: Path
    environment: dict[str, str]
    ports: dict[str, int]
    processes: dict[str, "subprocess.Popen[bytes]"]
    metrics_ports: dict[str, int]
    credentials: grpc.ChannelCredentials | None = None

    def metrics(self, service: str) -> str:
        """What a service's Prometheus endpoint says."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_ports[service]}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    def address(self, service: str) -> str:
        return f"127.0.0.1:{self.ports[service]}"

    def start(self, service: str) -> None:
        """Starts a service's process, a second one being called "gateway-2"; returns at once."""
        module = service.partition("-")[0]
        environment = {
            **self.environment,
            f"WANWORKER_{module.upper()}_PORT": str(self.ports[service]),
            f"WANWORKER_{module.upper()}_METRICS_PORT": str(self.metrics_ports[service]),
        }
        with (self.folder / f"{service}.log").open("ab") as log:
            self.processes[service] = subprocess.Popen(
                [sys.executable, "-m", f"wanworker.{module}"],
                env=environment, stdout=log, stderr=log, cwd=self.folder,
            )  # fmt: skip

    def wait_until_serving(self, service: str, seconds: float = 90) -> None:
        """Returns when the service's health is SERVING; fails with the end of its log."""
        give_up = time.monotonic() + seconds
        with self.channel(service) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            while time.monotonic() < give_up and self.processes[service].poll() is None:
                with contextlib.suppress(grpc.RpcError):
                    if stub.Check(health_pb2.HealthCheckRequest(), timeout=2).status == 1:
                        return
                time.sleep(0.1)
        raise AssertionError(f"{service} is not serving:\n{self.log(service)[-3000:]}")

    def channel(self, service: str) -> grpc.Channel:
        """A channel to a service, with the system's certificates if it has any."""
        if self.credentials is None:
            return grpc.insecure_channel(self.address(service))
        return grpc.secure_channel(self.address(service), self.credentials)

    def log(self, service: str) -> str:
        return (self.folder / f"{service}.log").read_text(errors="replace")

    def popen(self, *arguments: str) -> "subprocess.Popen[str]":
        """Starts the CLI against this system."""
        return subprocess.Popen(
            [sys.executable, "-m", "wanworker.client", *arguments],
            env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.folder,
        )  # fmt: skip

    def cli(self, *arguments: str, seconds: float = 100) -> "subprocess.CompletedProcess[str]":
        """Runs the CLI against this system to its end."""
        return subprocess.run(
            [sys.executable, "-m", "wanworker.client", *arguments],
            env=self.environment, capture_output=True, text=True, timeout=seconds, cwd=self.folder, check=False,
        )  # fmt: skip

    def buf_curl(
        self, service: str, method: str, request: Mapping[str, Any] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Calls a method with `buf curl` over gRPC, schema by reflection."""
        url = f"http://{self.address(service)}"
        command = [str(Path(sys.executable).parent / "buf"), "curl", "--protocol", "grpc", "--http2-prior-knowledge"]
        command += ["--list-methods", url] if request is None else ["--data", json.dumps(request), f"{url}/{method}"]
        return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, cwd=self.folder)

    def stop(self) -> dict[str, int]:
        """Sends SIGTERM to all and returns their exit codes."""
        for process in self.processes.values():
            process.terminate()
        return {name: process.wait(40) for name, process in self.processes.items()}


@contextlib.contextmanager
def running_system(
    folder: Path,
    extra: Mapping[str, str] | None = None,
    services: Sequence[str] = SERVICES,
    credentials: grpc.ChannelCredentials | None = None,
) -> Iterator[System]:
    """Runs the services on free ports and the demo models, with `extra` environment variables; `credentials` are
    needed where these switch TLS on."""
    ports = {name: free_port() for name in services}
    metrics_ports = {name: free_port() for name in services}
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT / 'services'}:{ROOT / 'clients/python'}",
        "HF_HUB_OFFLINE": "1",
        "WANWORKER_ENHANCER_MODEL_PATH": str(GGUF),
        "WANWORKER_GENERATOR_DEFAULT_MODEL": "demo",
        "WANWORKER_GENERATOR_DEMO_PATH": str(WAN),
        "WANWORKER_GENERATOR_CACHE_DIR": str(folder / "generator"),
        "WANWORKER_GATEWAY_DATA_DIR": str(folder / "gateway"),
        "WANWORKER_GATEWAY_ENHANCER_ADDRESS": f"127.0.0.1:{ports['enhancer']}",
        "WANWORKER_GATEWAY_GENERATOR_ADDRESS": f"127.0.0.1:{ports['generator']}",
        "WANWORKER_GATEWAY_ADDRESS": f"127.0.0.1:{ports['gateway']}",
        "WANWORKER_ENHANCER_ADDRESS": f"127.0.0.1:{ports['enhancer']}",
        **{f"WANWORKER_{name.upper()}_DRAIN_PAUSE_SECONDS": "0" for name in SERVICES},
        **(extra or {}),
    }
    system = System(folder, environment, ports, {}, metrics_ports, credentials)
    try:
        for name in services:
            system.start(name)
        for name in services:
            system.wait_until_serving(name)
        yield system
    finally:
        for process in system.processes.values():
            if process.poll() is None:
                process.terminate()
        for process in system.processes.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

"""A stack of its own: project name, ports and volumes are nobody else's."""

import base64
import binascii
import json
import os
import shlex
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.otlp import ReceivedSpan, received_spans
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
FILES = ("docker-compose.yml", "tests/compose/compose.test.yml")

KILL_SERVICE = """
import os, signal
from pathlib import Path
for child in Path("/proc/1/task/1/children").read_text().split():
    os.kill(int(child), signal.SIGKILL)
"""
"""Kills what init started. `docker kill` would count as a wish of the operator's, and nothing would be restarted."""


@dataclass
class Stack:
    """What `docker compose` knows as one project."""

    project: str = field(default_factory=lambda: f"wanworker-test-{os.getpid()}")
    ports: dict[str, int] = field(default_factory=lambda: {name: free_port() for name in ("gateway", "enhancer")})

    @property
    def address(self) -> str:
        """The gateway's published port."""
        return f"127.0.0.1:{self.ports['gateway']}"

    def compose(self, *arguments: str, seconds: float = 120, check: bool = True) -> str:
        """Runs `docker compose` (or what COMPOSE names) and returns its stdout; its stderr goes to ours."""
        command = shlex.split(os.environ.get("COMPOSE", "docker compose"))
        command += ["--project-name", self.project, "--project-directory", str(ROOT)]
        command += [part for file in FILES for part in ("--file", str(ROOT / file))]
        environment = {
            **os.environ,
            "WANWORKER_TAG": os.environ.get("WANWORKER_TAG", "test"),
            "PUBLISH_GATEWAY": self.address,
            "PUBLISH_ENHANCER": f"127.0.0.1:{self.ports['enhancer']}",
            "PUBLISH_JAEGER": f"127.0.0.1:{free_port()}",
            "COMPOSE_BAKE": "false",
        }
        done = subprocess.run(
            [*command, *arguments], env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=seconds,
            check=False,
        )  # fmt: skip
        if check and done.returncode != 0:
            raise AssertionError(f"docker compose {' '.join(arguments)} ended with code {done.returncode}")
        return done.stdout

    def run_in(self, service: str, *command: str, check: bool = True) -> str:
        """Runs a command in a service's container and returns its stdout."""
        return self.compose("exec", "--no-TTY", service, *command, check=check)

    def kill(self, service: str) -> None:
        """Kills the process of a service, as a crash would."""
        # The exec itself may be cut off with the container.
        self.run_in(service, "python", "-c", KILL_SERVICE, check=False)

    def state(self, service: str) -> dict[str, Any]:
        """How a service's container is, as `docker compose ps` has it."""
        lines = self.compose("ps", "--all", "--format", "json", service).splitlines()
        state: dict[str, Any] = json.loads(lines[0])
        return state

    def wait_until_healthy(self, service: str, seconds: float = 120) -> None:
        """Returns once the container's health check says so."""
        give_up = time.monotonic() + seconds
        while (state := self.state(service))["Health"] != "healthy":
            assert time.monotonic() < give_up, (state, self.logs(service)[-3000:])
            time.sleep(0.5)

    def logs(self, service: str) -> str:
        """All that a service has logged."""
        return self.compose("logs", "--no-log-prefix", "--no-color", service)

    def spans(self) -> list[ReceivedSpan]:
        """The spans that have come to the receiver until now."""
        spans: list[ReceivedSpan] = []
        for line in self.logs("jaeger").splitlines():
            try:
                body = base64.b64decode(line, validate=True)
            except binascii.Error:
                continue
            spans.extend(received_spans(ExportTraceServiceRequest.FromString(body)))
        return spans

    def trace(self, trace_id: str, *names: str, seconds: float = 30) -> list[ReceivedSpan]:
        """A trace's spans, once one of each name has come."""
        give_up = time.monotonic() + seconds
        while True:
            spans = [span for span in self.spans() if span.trace_id == trace_id]
            if set(names) <= {span.name for span in spans}:
                return spans
            assert time.monotonic() < give_up, sorted((span.service, span.name) for span in spans)
            time.sleep(1)

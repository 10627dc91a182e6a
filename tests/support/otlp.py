"""A real OTLP/gRPC receiver for tests: rotel receives, and hands every span on to a list in this process."""

import contextlib
import gzip
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import rotel
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.support.ports import free_port

ROTEL_AGENT = Path(rotel.__file__).parent / "rotel-agent"


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as it came over the wire."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_span_id: str
    events: tuple[str, ...]
    attributes: dict[str, str]


@dataclass
class Receiver:
    """Where to send spans to, and those that have arrived."""

    endpoint: str
    spans: list[ReceivedSpan] = field(default_factory=list)

    def wait_for(self, *names: str, seconds: float = 20) -> list[ReceivedSpan]:
        """All spans, once one of each name is there. Raises AssertionError if that takes too long."""
        give_up = time.monotonic() + seconds
        while missing := set(names) - {span.name for span in self.spans}:
            assert time.monotonic() < give_up, f"no span {missing}; there are {sorted({s.name for s in self.spans})}"
            time.sleep(0.1)
        return list(self.spans)


def received_spans(request: ExportTraceServiceRequest) -> Iterator[ReceivedSpan]:
    """The spans of one export."""
    for resource in request.resource_spans:
        names = {a.key: a.value.string_value for a in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield ReceivedSpan(
                    service=names.get("service.name", ""),
                    name=span.name,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_span_id=span.parent_span_id.hex(),
                    events=tuple(event.name for event in span.events),
                    attributes={
                        a.key: str(getattr(a.value, a.value.WhichOneof("value") or "string_value"))
                        for a in span.attributes
                    },
                )


def _collector(spans: list[ReceivedSpan]) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            if self.path == "/v1/traces":
                spans.extend(received_spans(ExportTraceServiceRequest.FromString(body)))
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.end_headers()
            self.wfile.write(ExportTraceServiceResponse().SerializeToString())

        def log_message(self, format: str, *args: object) -> None:
            """Keeps the test's output clean."""

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def _wait_until_open(port: int, process: "subprocess.Popen[bytes]") -> None:
    give_up = time.monotonic() + 15
    while time.monotonic() < give_up:
        assert process.poll() is None, f"rotel ended with code {process.returncode}"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError("rotel does not listen")


@contextlib.contextmanager
def otlp_receiver() -> Iterator[Receiver]:
    """Runs a receiver for as long as the context lasts."""
    port = free_port()
    receiver = Receiver(endpoint=f"http://127.0.0.1:{port}")
    collector = _collector(receiver.spans)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        command = [
            str(ROTEL_AGENT), "start",
            "--pid-file", f"{folder}/pid", "--log-file", f"{folder}/log",
            "--otlp-grpc-endpoint", f"127.0.0.1:{port}", "--otlp-http-endpoint", f"127.0.0.1:{free_port()}",
            "--exporter", "otlp", "--otlp-exporter-protocol", "http",
            "--otlp-exporter-endpoint", f"http://127.0.0.1:{collector.server_port}",
            "--batch-timeout", "100ms",
        ]  # fmt: skip
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait_until_open(port, process)
            yield receiver
        finally:
            process.terminate()
            process.wait(10)
            collector.shutdown()
            collector.server_close()

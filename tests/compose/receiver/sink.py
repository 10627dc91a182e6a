"""Prints every trace export that rotel hands on: one line of base64 each, an `ExportTraceServiceRequest`."""

import base64
import gzip
import subprocess
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMAND = (
    "/opt/rotel/rotel/rotel-agent", "start", "--pid-file", "/tmp/pid", "--log-file", "/tmp/log",
    "--otlp-grpc-endpoint", "0.0.0.0:4317", "--otlp-http-endpoint", "0.0.0.0:4318",
    "--exporter", "otlp", "--otlp-exporter-protocol", "http", "--otlp-exporter-endpoint", "http://127.0.0.1:9000",
    "--batch-timeout", "200ms",
)  # fmt: skip


class Sink(BaseHTTPRequestHandler):
    """Takes OTLP over HTTP."""

    def do_POST(self) -> None:
        """Prints the body."""
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path == "/v1/traces":
            print(base64.b64encode(body).decode(), flush=True)
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Prints nothing else."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 9000), Sink)
    with subprocess.Popen(COMMAND):
        server.serve_forever()

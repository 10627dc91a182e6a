"""Whether a service serves: `python -m wanworker.runtime.probe ADDRESS`, the health check of its container.

For a service with TLS it takes PEM files from the environment: WANWORKER_PROBE_CA, and under mTLS
WANWORKER_PROBE_CERTIFICATE and WANWORKER_PROBE_KEY; the service's certificate must name the host of ADDRESS.

Exit codes: 0 if it serves, 1 if it does not (one line says why), 2 for bad arguments.
"""

import argparse
import os
import sys
from pathlib import Path

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from wanworker.runtime.errors import ServiceError
from wanworker.runtime.tls import TlsFiles, channel_credentials

_OPTIONS = (("grpc.enable_http_proxy", 0),)
"""Never through a proxy of the environment: the address is meant as it stands."""


def tls_of_environment() -> TlsFiles | None:
    """The files that the environment names for probes; None for plaintext."""
    found = [os.environ.get(f"WANWORKER_PROBE_{name}") for name in ("CERTIFICATE", "KEY", "CA")]
    paths = [Path(value) if value else None for value in found]
    return TlsFiles(*paths) if any(paths) else None


def _channel(address: str, tls: TlsFiles | None) -> grpc.Channel:
    if tls is None:
        return grpc.insecure_channel(address, options=_OPTIONS)
    return grpc.secure_channel(address, channel_credentials(tls).current(), options=_OPTIONS)


def why_not_serving(address: str, service: str = "", timeout: float = 3.0, tls: TlsFiles | None = None) -> str:
    """Asks the standard health service.

    Args:
        address: `host:port`.
        service: Full name of a service; the whole server when empty.
        timeout: Seconds that the answer may take.
        tls: Files for a service with TLS.

    Returns:
        Empty if it says SERVING, else the reason in a few words.
    """
    try:
        channel = _channel(address, tls)
    except ServiceError as error:
        return error.message
    with channel:
        try:
            answer = HealthStub(channel).Check(HealthCheckRequest(service=service), timeout=timeout)
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"
    status: str = HealthCheckResponse.ServingStatus.Name(answer.status)
    return "" if status == "SERVING" else status


def main(arguments: list[str]) -> int:
    """Returns the exit code for a command line."""
    parser = argparse.ArgumentParser(prog="python -m wanworker.runtime.probe", description=__doc__)
    parser.add_argument("address", help="host:port")
    parser.add_argument("--service", default="", help="full name of a service; the whole server by default")
    parser.add_argument("--timeout", type=float, default=3.0, help="seconds that the answer may take (default: 3)")
    options = parser.parse_args(arguments)
    reason = why_not_serving(options.address, options.service, options.timeout, tls_of_environment())
    if reason:
        print(f"{options.address} does not serve: {reason}")
    return 1 if reason else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

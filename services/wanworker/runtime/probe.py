"""Whether a service serves: `python -m wanworker.runtime.probe ADDRESS`, the health check of its container.

Exit codes: 0 if it serves, 1 if it does not (one line says why), 2 for bad arguments.
"""

import argparse
import sys

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub


def why_not_serving(address: str, service: str = "", timeout: float = 3.0) -> str:
    """Asks the standard health service.

    Args:
        address: `host:port`.
        service: Full name of a service; the whole server when empty.
        timeout: Seconds that the answer may take.

    Returns:
        Empty if it says SERVING, else the reason in a few words.
    """
    # Never through a proxy of the environment: the address is meant as it stands.
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
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
    reason = why_not_serving(options.address, options.service, options.timeout)
    if reason:
        print(f"{options.address} does not serve: {reason}")
    return 1 if reason else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What tracing costs while it is off: calls with the tracing interceptor, beside a build without it.

Two servers in one process, equal but for `TracingInterceptor`, answer the same short unary call from one client that
does not trace either; no endpoint is set, so that no SDK is loaded. Batches alternate between the servers, so that both
share the machine's moods, and each batch is compared with its neighbour. Bar: the median ratio is at most 1.05.
`python -m benchmarks.tracing [ROUNDS]`; exit code 1 if the bar is missed.
"""

import asyncio
import statistics
import sys
import time
from contextlib import AsyncExitStack
from typing import Any

import grpc.aio
from rich.console import Console
from rich.table import Table

from tests.support.runtime import running
from wanworker.runtime.interceptors import TracingInterceptor, default_interceptors
from wanworker.v1 import enhancer_pb2 as pb
from wanworker.v1 import enhancer_pb2_grpc

ROUNDS, CALLS = 60, 200
BAR = 1.05


async def batch(stub: Any) -> float:
    """Seconds of a call, over some calls one after the other."""
    began = time.perf_counter()
    for _ in range(CALLS):
        await stub.GetStatus(pb.EnhancerServiceGetStatusRequest())
    return (time.perf_counter() - began) / CALLS


async def measure(rounds: int) -> dict[str, list[float]]:
    """Seconds of a call, by build; the first round warms up and does not count."""
    with_tracing = default_interceptors()
    without = [interceptor for interceptor in default_interceptors() if not isinstance(interceptor, TracingInterceptor)]
    assert len(without) == len(with_tracing) - 1
    seconds: dict[str, list[float]] = {"without the interceptor": [], "tracing off": []}
    async with AsyncExitStack() as stack:
        stubs: list[Any] = []
        for chain in (without, with_tracing):
            served = await stack.enter_async_context(running(interceptors=chain))
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(served.server.address))
            stubs.append(enhancer_pb2_grpc.EnhancerServiceStub(channel))
        for number in range(rounds + 1):
            # The one that comes second may find warmer caches: they take turns.
            order = [0, 1] if number % 2 else [1, 0]
            took = {index: await batch(stubs[index]) for index in order}
            if number:
                for index, values in enumerate(seconds.values()):
                    values.append(took[index])
    return seconds


def report(seconds: dict[str, list[float]]) -> bool:
    """Prints the table; whether the bar is kept."""
    table = Table("µs a call", "p50", "min", "max", "batches", title=f"unary calls, batches of {CALLS}")
    for name, values in seconds.items():
        row = (statistics.median(values), min(values), max(values))
        table.add_row(name, *(f"{value * 1e6:.0f}" for value in row), str(len(values)))
    without, off = seconds.values()
    ratio = statistics.median(mine / bare for mine, bare in zip(off, without, strict=True))
    console = Console()
    console.print(table)
    console.print(f"median ratio {ratio:.3f}, bar {BAR:.2f}", highlight=False)
    return ratio <= BAR


def main() -> int:
    """Returns the exit code."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    return 0 if report(asyncio.run(measure(rounds))) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Jobs that share the device: four at once and in turn, and a still behind four videos."""

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc

from benchmarks._bench import SIZES, Bench, order
from benchmarks._table import Row
from wanworker.generator.request import Stage


def share(bench: Bench) -> Iterator[Row]:
    """Calls to the service, as clients make them."""
    settings, served = bench.job(SIZES["480p"], 33, steps=6), bench.served
    orders = [order(settings, seed) for seed in range(4)]
    served.generate(orders[0])
    began = time.perf_counter()
    alone = [served.generate(each).file for each in orders]
    in_turn = time.perf_counter() - began
    with ThreadPoolExecutor(4) as pool:
        began = time.perf_counter()
        together = list(pool.map(lambda each: served.generate(each).file, orders))
        at_once = time.perf_counter() - began
    yield Row("four 480p x 33, 6 steps", {"in turn s": in_turn, "at once s": at_once, "ratio": at_once / in_turn})
    yield Row("the same bytes", {"of four": sum(one == other for one, other in zip(alone, together, strict=True))})
    yield _still_behind_videos(bench)


def _still_behind_videos(bench: Bench) -> Row:
    """The videos are cancelled once the still is done; until then they would have gone on for minutes."""
    served, still = bench.served, order(bench.job(SIZES["720p"], 1, steps=25))
    served.generate(still)
    alone = served.generate(still).seconds
    video = bench.job(SIZES["720p"], 81, steps=2)
    served.generate(order(video))
    step = served.generate(order(video)).stages[Stage.DENOISING] / video.steps
    calls = [served.call(order(bench.job(SIZES["720p"], 81, steps=25), seed)) for seed in range(4)]
    stepping = threading.Barrier(len(calls) + 1)

    def read(call: Iterator[object]) -> None:
        waits = True
        with contextlib.suppress(grpc.RpcError):
            for response in call:
                if waits and getattr(response, "progress").step >= 1:  # noqa: B009 - untyped
                    waits = False
                    stepping.wait()

    with ThreadPoolExecutor(len(calls)) as pool:
        for call in calls:
            pool.submit(read, call)
        stepping.wait()  # until each has done a step, so that all four are running
        behind = served.generate(still).seconds
        for call in calls:
            call.cancel()
    bar = 2 * step + 1.2 * alone
    return Row("720p still behind four 720p videos", {"alone s": alone, "behind s": behind, "bar s": bar})

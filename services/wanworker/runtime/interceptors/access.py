"""One log line and one measurement a call."""

import logging
import time
from typing import Any

import grpc
from opentelemetry import metrics

from wanworker.runtime import names
from wanworker.runtime.interceptors._call import Call, CallInterceptor, Proceed, final_code

_LOG = logging.getLogger("wanworker.access")
_OURS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS}
"""Codes that nobody outside can be blamed for: logged as warnings."""
_BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
"""From a status query to a long video."""


class AccessInterceptor(CallInterceptor):
    """Logs and measures each call when it has ended: method, peer, code, duration."""

    def __init__(self, meter_provider: metrics.MeterProvider | None = None) -> None:
        """Args: meter_provider: where measurements go; the process's own when None."""
        meter = metrics.get_meter("wanworker.runtime", meter_provider=meter_provider)
        self._duration = meter.create_histogram(
            names.METRIC_RPC_DURATION,
            unit="s",
            description="Time from the first interceptor to the end of the call.",
            explicit_bucket_boundaries_advisory=_BUCKETS_SECONDS,
        )

    async def around(self, call: Call, proceed: Proceed) -> Any:
        """Serves the call and takes note of how it ended."""
        began = time.monotonic()
        # Asked now: when the client has gone, gRPC no longer knows.
        peer = call.context.peer()
        error: BaseException | None = None
        try:
            return await proceed(call.request)
        except BaseException as caught:
            error = caught
            raise
        finally:
            self._note(call.method, peer, final_code(call, error), time.monotonic() - began)

    def _note(self, method: str, peer: str, code: grpc.StatusCode, seconds: float) -> None:
        self._duration.record(
            seconds, {names.RPC_SYSTEM: "grpc", names.RPC_METHOD: method, names.RPC_STATUS: code.name}
        )
        _LOG.log(
            logging.WARNING if code in _OURS else logging.INFO,
            "%s %s %.3fs from %s",
            method,
            code.name,
            seconds,
            peer,
            extra={"method": method, "code": code.name, "seconds": round(seconds, 6), "peer": peer},
        )

"""A server span around every call.

Our own rather than opentelemetry-instrumentation-grpc's, which leaves the status OK on uncaught errors,
cancels and deadlines, and cannot wrap streamed handlers that are coroutines.
"""

from typing import Any

import grpc
from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from wanworker.runtime import names
from wanworker.runtime.interceptors._call import Call, CallInterceptor, Proceed, final_code


class TracingInterceptor(CallInterceptor):
    """Opens a span under the caller's (W3C trace context in the metadata) and gives it the call's final
    status.

    Every code but OK makes the span an error. The conventions would leave the caller's own faults unset, but
    the first thing that is looked for in a trace is where it stopped.
    """

    def __init__(self, tracer_provider: trace.TracerProvider | None = None) -> None:
        """Args: tracer_provider: where spans go; the process's own when None."""
        self._tracer = trace.get_tracer("wanworker.runtime", tracer_provider=tracer_provider)
        self._own_provider = tracer_provider is not None
        self._headers = propagate.get_global_textmap().fields

    async def around(self, call: Call, proceed: Proceed) -> Any:
        """Serves the call inside its span."""
        if self._is_off() and self._headers.isdisjoint(call.metadata):
            # Even a span that nobody records takes its time, a few per cent of a short call. A caller's context is
            # passed on all the same.
            return await proceed(call.request)
        # From an empty context: the server's own task may have been started inside somebody's span.
        parent = propagate.extract(call.metadata, context=otel_context.Context())
        span = self._tracer.start_span(call.method, parent, SpanKind.SERVER, attributes=_attributes(call))
        token = otel_context.attach(trace.set_span_in_context(span, parent))
        error: BaseException | None = None
        try:
            return await proceed(call.request)
        except BaseException as caught:
            error = caught
            raise
        finally:
            _finish(span, call, error)
            otel_context.detach(token)

    def _is_off(self) -> bool:
        """Whether the process has no tracer provider, as when there is no endpoint to export to."""
        return not self._own_provider and isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _attributes(call: Call) -> dict[str, str]:
    return {names.RPC_SYSTEM: "grpc", names.RPC_METHOD: call.method, names.NETWORK_PEER: call.context.peer()}


def _finish(span: Span, call: Call, error: BaseException | None) -> None:
    code = final_code(call, error)
    span.set_attribute(names.RPC_STATUS, code.name)
    span.set_attribute(names.RPC_GRPC_STATUS, code.value[0])
    if code is not grpc.StatusCode.OK:
        span.set_attribute(names.ERROR_TYPE, code.name)
        span.set_status(Status(StatusCode.ERROR, _description(call, code.name)))
    span.end()


def _description(call: Call, fallback: str) -> str:
    details = call.context.details()
    return (details.decode(errors="replace") if isinstance(details, bytes) else details) or fallback

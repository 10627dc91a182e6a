"""Errors of handlers become statuses."""

import logging
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from grpc_status import rpc_status
from opentelemetry import trace

from wanworker.runtime.errors import ServiceError
from wanworker.runtime.interceptors._call import Call, CallInterceptor, Proceed, is_cancelled, is_disconnect
from wanworker.runtime.status import internal_status, to_status

_LOG = logging.getLogger("wanworker.runtime")
_HERE = str(Path(__file__).parent)


class ErrorInterceptor(CallInterceptor):
    """Lets a ServiceError travel with its details; hides every other error behind INTERNAL and a trace id."""

    async def around(self, call: Call, proceed: Proceed) -> Any:
        """Serves the call; what it raises is gRPC's own or has become a status."""
        try:
            return await proceed(call.request)
        except ServiceError as error:
            await call.context.abort_with_status(rpc_status.to_status(to_status(error)))
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:
            # A cancelled call stays cancelled. But when something that the handler waited for was cancelled,
            # gRPC would take that for the call's own end and never answer.
            if is_disconnect(error) or is_cancelled(error):
                raise
            await _abort_with_bug(call, error)


async def _abort_with_bug(call: Call, error: BaseException) -> NoReturn:
    span = trace.get_current_span()
    span.record_exception(error)
    trace_id = span.get_span_context().trace_id
    # Without tracing there is still an id to find the log line by.
    shown = f"{trace_id:032x}" if trace_id else uuid.uuid4().hex
    error.__traceback__ = _below_interceptors(error.__traceback__)
    _LOG.error("%s failed, trace id %s", call.method, shown, exc_info=error, extra={"method": call.method})
    await call.context.abort_with_status(rpc_status.to_status(internal_status(shown)))
    raise AssertionError("abort returned")


def _below_interceptors(traceback: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that begins in the handler; all of it if the error was ours."""
    inner = traceback
    while inner is not None and inner.tb_frame.f_code.co_filename.startswith(_HERE):
        inner = inner.tb_next
    return inner or traceback

"""Spans of the gateway, and how a job's trace survives a restart."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from opentelemetry import propagate, trace
from opentelemetry.trace import Span

from wanworker.gateway import metrics
from wanworker.gateway.model import Degradation, Job, Warning
from wanworker.runtime import names

TRACER = trace.get_tracer("wanworker.gateway")
"""The gateway's tracer."""


def warned(warning: Warning) -> None:
    """Note a warning on the running span and count it."""
    trace.get_current_span().add_event(
        names.EVENT_WARNING, {names.ATTR_REASON: warning.reason, "message": warning.message}
    )
    metrics.warned(warning)


def degraded(degradation: Degradation) -> None:
    """Note a rung of the ladder on the running span and count it."""
    trace.get_current_span().add_event(
        names.EVENT_DEGRADATION, {names.ATTR_RUNG: degradation.rung, names.ATTR_ATTEMPT: degradation.attempt}
    )
    metrics.degraded(degradation)


def enhancer_unloaded(outcome: str) -> None:
    """Note on the running span that the enhancer was asked for its memory."""
    trace.get_current_span().add_event("enhancer_unload", {"outcome": outcome})


def headers() -> dict[str, str]:
    """The W3C headers of the running span, to keep with a job."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier


def trace_id() -> str:
    """The running trace's id in hex; empty if there is none."""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else ""


@contextmanager
def job_span(job: Job) -> Iterator[Span]:
    """The span of a job, child of the call that made it, whenever and in whichever process it runs."""
    attributes = {
        names.ATTR_JOB_ID: job.id,
        names.ATTR_JOB_TYPE: job.spec.job_type.name,
        names.ENDUSER_ID: job.inner.owner,
        names.ATTR_SEED: str(job.inner.seed),
    }
    context = propagate.extract(dict(job.inner.trace))
    # Taken up again after a restart, the span begins there: the one before ended with its process.
    start = _nanoseconds(job.create_time) if job.attempts == 0 else time.time_ns()
    with TRACER.start_as_current_span(names.SPAN_JOB, context, attributes=attributes, start_time=start) as span:
        yield span


def queue_span(job: Job) -> None:
    """The span of a job's wait, which is over."""
    start = _nanoseconds(job.create_time)
    TRACER.start_span(names.SPAN_QUEUE, start_time=start, attributes={names.ATTR_JOB_ID: job.id}).end()


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1e9)

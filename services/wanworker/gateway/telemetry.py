"""Spans of the gateway, and how a job's trace survives a restart."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from opentelemetry import propagate, trace
from opentelemetry.trace import Link, Span, StatusCode

from wanworker.gateway import metrics
from wanworker.gateway.model import Degradation, Job, JobState, Warning
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
    links = () if job.attempts == 0 else _links(job)
    with TRACER.start_as_current_span(
        names.SPAN_JOB, context, attributes=attributes, start_time=start, links=links
    ) as span:
        yield span


@contextmanager
def attempt_span(job: Job) -> Iterator[Span]:
    """The span of a job's next attempt, linked to the one before: that one may have died with its process."""
    assert job.resolved is not None, "begin resolves"
    attributes: dict[str, str | int] = {
        names.ATTR_JOB_ID: job.id,
        names.ATTR_ATTEMPT: job.attempts + 1,
        names.ATTR_MODEL: job.resolved.model,
        names.ATTR_STEPS: job.resolved.steps,
    }
    with TRACER.start_as_current_span(names.SPAN_ATTEMPT, attributes=attributes, links=_links(job)) as span:
        try:
            yield span
        except asyncio.CancelledError:
            # The tracer's own context manager sees Exceptions only.
            span.set_status(StatusCode.ERROR, "cancelled")
            raise


def attempt_failed(reason: str, message: str) -> None:
    """Note on the running span, an attempt's, how it failed; the job may go on."""
    span = trace.get_current_span()
    span.set_attributes({names.ATTR_REASON: reason, names.ERROR_TYPE: reason})
    span.set_status(StatusCode.ERROR, message)


def job_ended(state: JobState, message: str) -> None:
    """Note on the running span, a job's, how it ended; the message is of what went wrong."""
    span = trace.get_current_span()
    span.set_attribute(names.ATTR_JOB_STATE, state.name)
    if state is not JobState.SUCCEEDED:
        span.set_status(StatusCode.ERROR, message)


def retried(reason: str, waits: int) -> None:
    """Note on the running span that the attempt is made again later."""
    trace.get_current_span().add_event(names.EVENT_RETRY, {names.ATTR_REASON: reason, "waits": waits})


def _links(job: Job) -> Sequence[Link]:
    previous = trace.get_current_span(propagate.extract(dict(job.inner.attempt_trace))).get_span_context()
    return [Link(previous, {names.ATTR_LINK: "previous_attempt"})] if job.inner.attempt_trace else []


def queue_span(job: Job) -> None:
    """The span of a job's wait, which is over."""
    start = _nanoseconds(job.create_time)
    TRACER.start_span(names.SPAN_QUEUE, start_time=start, attributes={names.ATTR_JOB_ID: job.id}).end()


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1e9)

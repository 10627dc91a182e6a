"""W3C trace context of outgoing calls."""

import sys


def trace_metadata() -> tuple[tuple[str, str], ...]:
    """Returns `traceparent` and what else the process's propagator writes; nothing outside of a span.

    A span can only be active if somebody imported OpenTelemetry, so that this never imports it into a process
    that does without.
    """
    if "opentelemetry.trace" not in sys.modules:
        return ()
    from opentelemetry import propagate

    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return tuple((key.lower(), value) for key, value in carrier.items())

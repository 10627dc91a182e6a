"""What the enhancer tells of itself: a span a generation, and metrics, by the gen_ai conventions."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import metrics, trace
from opentelemetry.trace import Span, Status, StatusCode

from wanworker.enhancer.errors import WritingCancelled
from wanworker.enhancer.model import Sampling, Written
from wanworker.runtime import names
from wanworker.runtime.errors import ServiceError

PROVIDER = "llama.cpp"

_tracer = trace.get_tracer("wanworker.enhancer")
_meter = metrics.get_meter("wanworker.enhancer")
_tokens = _meter.create_histogram(
    names.METRIC_TOKENS,
    "{token}",
    "Tokens read (input) and written (output)",
    explicit_bucket_boundaries_advisory=[1, 4, 16, 64, 128, 256, 512, 1024, 4096],
)
_SECONDS_PER_TOKEN = [
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.075,
    0.1,
    0.15,
    0.2,
    0.3,
    0.4,
    0.5,
    0.75,
    1,
    2.5,
]
_first_token = _meter.create_histogram(
    names.METRIC_FIRST_TOKEN,
    "s",
    "From the start of reading to the first token",
    explicit_bucket_boundaries_advisory=_SECONDS_PER_TOKEN,
)
_per_token = _meter.create_histogram(
    names.METRIC_TIME_PER_TOKEN,
    "s",
    "Time of a written token after the first: tokens a second are its inverse",
    explicit_bucket_boundaries_advisory=_SECONDS_PER_TOKEN,
)
_queue = _meter.create_up_down_counter(names.METRIC_QUEUE_LENGTH, "{prompt}", "Prompts that wait")


def start_generation(model: str, sampling: Sampling) -> Span:
    """Start the span of a generation under the current one; whoever ends the generation ends it."""
    attributes: dict[str, str | int | float] = {
        names.GEN_AI_OPERATION: "text_completion",
        names.GEN_AI_SYSTEM: PROVIDER,
        names.GEN_AI_REQUEST_MODEL: model,
        names.GEN_AI_MAX_TOKENS: sampling.max_tokens,
        names.GEN_AI_TEMPERATURE: sampling.temperature,
        names.GEN_AI_SEED: sampling.seed,
    }
    return _tracer.start_span(f"text_completion {model}", attributes=attributes)


@contextmanager
def generation(span: Span) -> Iterator[None]:
    """Make the span the current one of this thread, and end it with what comes of the generation."""
    with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield
        except WritingCancelled:
            span.set_attribute(names.ERROR_TYPE, "CANCELLED")
            span.set_status(Status(StatusCode.ERROR, "cancelled"))
            raise
        except Exception as error:
            span.set_attribute(
                names.ERROR_TYPE, error.reason if isinstance(error, ServiceError) else type(error).__name__
            )
            span.set_status(Status(StatusCode.ERROR, str(error)))
            raise


@contextmanager
def loading(model: str) -> Iterator[None]:
    """Span of a model being loaded."""
    with _tracer.start_as_current_span(names.SPAN_LOAD_MODEL, attributes={names.ATTR_MODEL: model}):
        yield


@contextmanager
def waiting(position: int) -> Iterator[None]:
    """Span of a prompt that waits, counted in the queue's length."""
    # Not the current span: the generator that waits in here is resumed from outside.
    span = _tracer.start_span(names.SPAN_QUEUE, attributes={names.ATTR_QUEUE_POSITION: position})
    attributes = {"service": "enhancer"}
    _queue.add(1, attributes)
    try:
        yield
    finally:
        _queue.add(-1, attributes)
        span.end()


def first_token() -> None:
    """Mark the first token on the current span."""
    trace.get_current_span().add_event(names.EVENT_FIRST_TOKEN)


def operation(chat: bool, model: str) -> None:
    """Name the current span by what the model turned out to be."""
    name = "chat" if chat else "text_completion"
    span = trace.get_current_span()
    span.set_attribute(names.GEN_AI_OPERATION, name)
    span.update_name(f"{name} {model}")


def finished(model: str, written: Written) -> None:
    """Put the outcome on the current span and into the metrics."""
    trace.get_current_span().set_attributes(
        {
            names.GEN_AI_RESPONSE_MODEL: model,
            names.GEN_AI_INPUT_TOKENS: written.prompt_tokens,
            names.GEN_AI_REUSED_TOKENS: written.reused_tokens,
            names.GEN_AI_OUTPUT_TOKENS: written.completion_tokens,
            names.GEN_AI_FINISH_REASONS: [written.finish_reason.value],
        }
    )
    attributes = {names.GEN_AI_SYSTEM: PROVIDER, names.GEN_AI_REQUEST_MODEL: model}
    _tokens.record(written.prompt_tokens, {**attributes, names.GEN_AI_TOKEN_TYPE: "input"})
    _tokens.record(written.completion_tokens, {**attributes, names.GEN_AI_TOKEN_TYPE: "output"})
    _first_token.record(written.first_token_seconds, attributes)
    if written.completion_tokens > 1:
        after_first = written.seconds - written.first_token_seconds
        _per_token.record(after_first / (written.completion_tokens - 1), attributes)


def cache_hit(model: str) -> None:
    """Mark on the current span that the answer was at hand."""
    span = trace.get_current_span()
    span.set_attribute(names.ATTR_CACHED, True)
    span.add_event(names.EVENT_CACHE_HIT, {names.GEN_AI_REQUEST_MODEL: model})

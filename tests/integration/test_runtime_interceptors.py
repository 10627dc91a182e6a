"""Each interceptor, for each kind of call, over a real connection."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tests.support.runtime import (
    KINDS,
    METHODS,
    STREAMS,
    FakeEnhancer,
    FakeService,
    Kind,
    Running,
    call,
    finish_call,
    recorded_spans,
    running,
    start_call,
)
from wanworker.client.status import StatusDetails, status_details
from wanworker.runtime.errors import (
    FieldViolation,
    InvalidArgumentError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from wanworker.runtime.interceptors import (
    AccessInterceptor,
    ErrorInterceptor,
    Principal,
    ValidationInterceptor,
    current_principal,
    default_interceptors,
)

ANSWERS: dict[Kind, list[str]] = {
    "unary": ["fake"],
    "generator": ["one", "two"],
    "writer": ["one", "two"],
    "stream_unary": ["a fox a fox"],
    "stream_stream": ["a fox", "a fox"],
}
WITH_PROMPT: tuple[Kind, ...] = ("generator", "writer", "stream_unary", "stream_stream")

every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
async def served() -> AsyncIterator[Running]:
    async with running() as server:
        yield server


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    with recorded_spans() as exporter:
        yield exporter


async def failure(server: Running, kind: Kind, **options: Any) -> StatusDetails:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(server.channel, kind, **options)
    return status_details(caught.value)


async def fail(_: object) -> None:
    raise PreconditionError("no model", "MODEL_NOT_FOUND", {"path": "/m"}, subject="/m")


async def crash(_: object) -> None:
    raise KeyError("a secret of ours")


async def abort(context: Any) -> None:
    await context.abort(grpc.StatusCode.DATA_LOSS, "my own words")


async def hang(_: object) -> None:
    await asyncio.Event().wait()


# Errors


@every_kind
async def test_a_call_that_goes_well(served: Running, kind: Kind) -> None:
    assert await call(served.channel, kind) == ANSWERS[kind]


@every_kind
async def test_a_service_error_travels_with_its_details(served: Running, kind: Kind) -> None:
    served.service.servicer.action = fail
    details = await failure(served, kind)
    assert (details.code, details.message) == (grpc.StatusCode.FAILED_PRECONDITION, "no model")
    assert (details.reason, dict(details.metadata)) == ("MODEL_NOT_FOUND", {"path": "/m"})


async def test_the_longest_status_fits_into_what_clients_take(served: Running) -> None:
    async def action(_: object) -> None:
        many = tuple(FieldViolation(f"field_{i}", "€" * 2000, "rule") for i in range(100))
        raise InvalidArgumentError("€" * 9000, metadata={"value": "€" * 9000}, violations=many)

    served.service.servicer.action = action
    details = await failure(served, "unary")
    assert details.code is grpc.StatusCode.INVALID_ARGUMENT
    assert details.violations[-1].description.startswith("and ")


@every_kind
async def test_answers_before_an_error_arrive(served: Running, kind: Kind) -> None:
    served.service.servicer.action = fail
    started = start_call(served.channel, kind)
    got: list[str] = []
    with pytest.raises(grpc.aio.AioRpcError):
        if hasattr(started, "__aiter__"):
            async for response in started:
                got.append(response.delta.text)
        else:
            await started
    assert got == {"generator": ["one"], "writer": ["one"], "stream_stream": ["a fox", "a fox"]}.get(kind, [])


@every_kind
async def test_a_bug_is_hidden_behind_an_id_that_the_log_has(
    served: Running, kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    served.service.servicer.action = crash
    details = await failure(served, kind)
    assert (details.code, details.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    trace_id = details.metadata["trace_id"]
    assert details.message == f"internal error, trace id {trace_id}"
    assert "secret" not in str(details.status)
    (record,) = (r for r in caplog.records if r.levelno == logging.ERROR)
    assert trace_id in record.getMessage()
    assert METHODS[kind] in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[2] is not None
    assert record.exc_info[2].tb_frame.f_code.co_filename.endswith("tests/support/runtime.py")


@every_kind
async def test_a_cancel_of_something_else_is_a_bug_and_the_caller_hears_of_it(served: Running, kind: Kind) -> None:
    async def wait_for_cancelled(_: object) -> None:
        other = asyncio.ensure_future(asyncio.sleep(60))
        other.cancel()
        await other

    served.service.servicer.action = wait_for_cancelled
    assert (await failure(served, kind, timeout=30)).code is grpc.StatusCode.INTERNAL


@every_kind
async def test_an_abort_of_the_handler_passes_untouched(
    served: Running, kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    served.service.servicer.action = abort
    details = await failure(served, kind)
    assert (details.code, details.message) == (grpc.StatusCode.DATA_LOSS, "my own words")
    assert details.status is None
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


@pytest.mark.parametrize("kind", ["generator", "stream_stream"])
async def test_a_generator_is_closed_in_its_own_task_when_the_client_leaves(served: Running, kind: Kind) -> None:
    tasks: list[asyncio.Task[Any] | None] = []
    started, closed = asyncio.Event(), asyncio.Event()

    async def action(_: object) -> None:
        tasks.append(asyncio.current_task())
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            tasks.append(asyncio.current_task())
            closed.set()

    served.service.servicer.action = action
    running_call = start_call(served.channel, kind)
    await started.wait()
    running_call.cancel()
    await closed.wait()
    assert tasks[0] is tasks[1]


async def test_a_generator_is_closed_while_its_answer_waits_to_be_sent(spans: InMemorySpanExporter) -> None:
    closed = asyncio.Event()
    tasks: set[asyncio.Task[Any] | None] = set()

    class FakeFlood(FakeEnhancer):
        async def Enhance(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
            tasks.add(asyncio.current_task())
            try:
                while True:
                    async for answer in super().Enhance(request, context):
                        answer.delta.text *= 10_000
                        yield answer
            finally:
                tasks.add(asyncio.current_task())
                closed.set()

    async with running(FakeService(FakeFlood())) as served:
        flood = start_call(served.channel, "generator")
        await flood.read()
        flood.cancel()
        await closed.wait()
    assert len(tasks) == 1
    check(await finished_span(spans, SpanKind.SERVER, METHODS["generator"]), grpc.StatusCode.CANCELLED)


# Tracing


async def finished_span(exporter: InMemorySpanExporter, kind: SpanKind, method: str) -> ReadableSpan:
    """The span, once the other end has noticed too that the call is over."""
    while True:
        for span in exporter.get_finished_spans():
            if span.kind is kind and span.name == method:
                return span
        await asyncio.sleep(0.01)


def check(span: ReadableSpan, code: grpc.StatusCode) -> None:
    assert span.attributes is not None
    assert span.attributes["rpc.response.status_code"] == code.name
    assert span.attributes["rpc.grpc.status_code"] == code.value[0]
    expected = StatusCode.UNSET if code is grpc.StatusCode.OK else StatusCode.ERROR
    assert span.status.status_code is expected


@every_kind
@pytest.mark.parametrize(
    ("action", "code"),
    [
        (None, grpc.StatusCode.OK),
        (fail, grpc.StatusCode.FAILED_PRECONDITION),
        (crash, grpc.StatusCode.INTERNAL),
        (abort, grpc.StatusCode.DATA_LOSS),
    ],
)
async def test_both_spans_have_the_final_status(
    served: Running, spans: InMemorySpanExporter, kind: Kind, action: Any, code: grpc.StatusCode
) -> None:
    if action is not None:
        served.service.servicer.action = action
        assert (await failure(served, kind)).code is code
    else:
        await call(served.channel, kind)
    server = await finished_span(spans, SpanKind.SERVER, METHODS[kind])
    client = await finished_span(spans, SpanKind.CLIENT, METHODS[kind])
    check(server, code)
    check(client, code)
    assert server.parent is not None
    assert client.context is not None
    assert server.parent.span_id == client.context.span_id
    assert server.parent.trace_id == client.context.trace_id


@every_kind
async def test_a_cancelled_call_is_a_cancelled_span(served: Running, spans: InMemorySpanExporter, kind: Kind) -> None:
    started = asyncio.Event()

    async def action(_: object) -> None:
        started.set()
        await asyncio.Event().wait()

    served.service.servicer.action = action
    running_call = start_call(served.channel, kind)
    await started.wait()
    running_call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await finish_call(running_call)
    check(await finished_span(spans, SpanKind.SERVER, METHODS[kind]), grpc.StatusCode.CANCELLED)
    check(await finished_span(spans, SpanKind.CLIENT, METHODS[kind]), grpc.StatusCode.CANCELLED)


@every_kind
async def test_a_call_out_of_time_is_a_deadline_span(served: Running, spans: InMemorySpanExporter, kind: Kind) -> None:
    served.service.servicer.action = hang
    assert (await failure(served, kind, timeout=0.2)).code is grpc.StatusCode.DEADLINE_EXCEEDED
    check(await finished_span(spans, SpanKind.SERVER, METHODS[kind]), grpc.StatusCode.DEADLINE_EXCEEDED)
    check(await finished_span(spans, SpanKind.CLIENT, METHODS[kind]), grpc.StatusCode.DEADLINE_EXCEEDED)


@every_kind
async def test_handlers_work_inside_their_span(served: Running, spans: InMemorySpanExporter, kind: Kind) -> None:
    async def action(_: object) -> None:
        with trace.get_tracer("test").start_as_current_span("inner"):
            pass

    served.service.servicer.action = action
    with trace.get_tracer("test").start_as_current_span("caller") as caller:
        await call(served.channel, kind)
    outer = await finished_span(spans, SpanKind.SERVER, METHODS[kind])
    (inner,) = (span for span in spans.get_finished_spans() if span.name == "inner")
    assert inner.parent is not None
    assert outer.context is not None
    assert inner.parent.span_id == outer.context.span_id
    assert outer.context.trace_id == caller.get_span_context().trace_id


async def test_a_server_that_starts_inside_a_span_does_not_pass_it_on(spans: InMemorySpanExporter) -> None:
    with trace.get_tracer("test").start_as_current_span("starter") as starter:
        async with running() as served, grpc.aio.insecure_channel(served.server.address) as plain:
            await call(plain, "unary")
    span = await finished_span(spans, SpanKind.SERVER, METHODS["unary"])
    assert span.parent is None
    assert span.context is not None
    assert span.context.trace_id != starter.get_span_context().trace_id


async def test_the_bug_s_id_is_the_trace_s(served: Running, spans: InMemorySpanExporter) -> None:
    served.service.servicer.action = crash
    details = await failure(served, "generator")
    span = await finished_span(spans, SpanKind.SERVER, METHODS["generator"])
    assert span.context is not None
    assert details.metadata["trace_id"] == f"{span.context.trace_id:032x}"
    assert [event.name for event in span.events] == ["exception"]


# Access log and metrics


@every_kind
@pytest.mark.parametrize(
    ("action", "code", "level"),
    [
        (None, "OK", logging.INFO),
        (fail, "FAILED_PRECONDITION", logging.INFO),
        (crash, "INTERNAL", logging.WARNING),
    ],
)
async def test_each_call_is_one_line(
    served: Running, kind: Kind, action: Any, code: str, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "wanworker.access")
    if action is not None:
        served.service.servicer.action = action
        await failure(served, kind)
    else:
        await call(served.channel, kind)
    (record,) = await logged_calls(caplog, 1)
    fields = vars(record)
    assert (fields["method"], fields["code"], record.levelno) == (METHODS[kind], code, level)
    assert fields["peer"].startswith("ipv4:127.0.0.1:")
    assert fields["seconds"] >= 0


@every_kind
async def test_a_call_whose_client_left_is_logged_too(
    served: Running, kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "wanworker.access")
    served.service.servicer.action = hang
    await failure(served, kind, timeout=0.1)
    (record,) = await logged_calls(caplog, 1)
    assert vars(record)["code"] == "DEADLINE_EXCEEDED"
    assert vars(record)["peer"].startswith("ipv4:127.0.0.1:")


async def logged_calls(caplog: pytest.LogCaptureFixture, count: int) -> list[logging.LogRecord]:
    while True:
        found = [record for record in caplog.records if record.name == "wanworker.access"]
        if len(found) >= count:
            return found
        await asyncio.sleep(0.01)


async def test_calls_are_measured_by_method_and_code() -> None:
    reader = InMemoryMetricReader()
    access = AccessInterceptor(MeterProvider([reader], shutdown_on_exit=False))
    async with running(interceptors=[access, ErrorInterceptor()]) as served:
        for kind in KINDS:
            await call(served.channel, kind)
        served.service.servicer.action = fail
        await failure(served, "unary")
    data: Any = reader.get_metrics_data()
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    assert (metric.name, metric.unit) == ("rpc.server.call.duration", "s")
    counts = {
        (p.attributes["rpc.method"], p.attributes["rpc.response.status_code"]): p.count for p in metric.data.data_points
    }
    expected = {(METHODS[kind], "OK"): 1 for kind in KINDS}
    assert counts == {**expected, (METHODS["unary"], "FAILED_PRECONDITION"): 1}


# Authentication


class FakeAuthenticator:
    """Knows one token."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def authenticate(self, metadata: Mapping[str, str | bytes], method: str) -> Principal:
        self.asked.append(method)
        match metadata.get("authorization"):
            case "Bearer good":
                return Principal("alice")
            case "Bearer bob":
                return Principal("bob")
            case "Bearer weak":
                raise PermissionDeniedError("not this one", "NOT_ALLOWED")
            case "Bearer crash":
                raise RuntimeError("the token service is down")
        raise UnauthenticatedError("a bearer token is needed", "NO_TOKEN")


def token(value: str) -> dict[str, Any]:
    return {"metadata": (("authorization", f"Bearer {value}"),)}


@every_kind
async def test_who_calls_is_known_to_the_handler(kind: Kind) -> None:
    seen: list[Principal | None] = []

    async def action(_: object) -> None:
        seen.append(current_principal())

    authenticator = FakeAuthenticator()
    service = FakeService(FakeEnhancer(action))
    async with running(service, interceptors=default_interceptors(authenticator)) as served:
        assert await call(served.channel, kind, **token("good")) == ANSWERS[kind]
    assert seen == [Principal("alice")]
    assert authenticator.asked == [METHODS[kind]]


@every_kind
@pytest.mark.parametrize(
    ("given", "code", "reason"),
    [
        ("wrong", grpc.StatusCode.UNAUTHENTICATED, "NO_TOKEN"),
        ("weak", grpc.StatusCode.PERMISSION_DENIED, "NOT_ALLOWED"),
        ("crash", grpc.StatusCode.INTERNAL, "INTERNAL"),
    ],
)
async def test_a_stranger_never_reaches_the_handler(kind: Kind, given: str, code: grpc.StatusCode, reason: str) -> None:
    reached: list[object] = []

    async def action(context: object) -> None:
        reached.append(context)

    service = FakeService(FakeEnhancer(action))
    async with running(service, interceptors=default_interceptors(FakeAuthenticator())) as served:
        details = await failure(served, kind, requests=0, **token(given))
    assert (details.code, details.reason) == (code, reason)
    assert not reached


async def test_two_callers_at_once_stay_apart() -> None:
    both = asyncio.Barrier(2)
    seen: list[str] = []

    async def action(_: object) -> None:
        await both.wait()
        principal = current_principal()
        assert principal is not None
        seen.append(principal.name)

    service = FakeService(FakeEnhancer(action))
    async with running(service, interceptors=default_interceptors(FakeAuthenticator())) as served:
        await asyncio.gather(
            call(served.channel, "generator", **token("good")), call(served.channel, "unary", **token("bob"))
        )
    assert sorted(seen) == ["alice", "bob"]


async def test_a_stranger_is_not_told_what_is_wrong_with_the_request() -> None:
    async with running(interceptors=default_interceptors(FakeAuthenticator())) as served:
        assert (await failure(served, "generator", prompt="")).code is grpc.StatusCode.UNAUTHENTICATED


async def test_nobody_is_asked_without_an_authenticator(served: Running) -> None:
    seen: list[Principal | None] = []

    async def action(_: object) -> None:
        seen.append(current_principal())

    served.service.servicer.action = action
    await call(served.channel, "unary")
    assert seen == [None]


# Validation


@pytest.mark.parametrize("kind", WITH_PROMPT)
async def test_a_bad_request_never_reaches_the_handler(served: Running, kind: Kind) -> None:
    reached: list[object] = []

    async def action(context: object) -> None:
        reached.append(context)

    served.service.servicer.action = action
    details = await failure(served, kind, prompt="", requests=1)
    assert (details.code, details.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "BAD_FIELD")
    assert {violation.field for violation in details.violations} == {"prompt"}
    assert not reached


async def _garbage() -> AsyncIterator[bytes]:
    yield b"\xff\xff\xff"
    await asyncio.Event().wait()


@pytest.mark.parametrize("kind", WITH_PROMPT)
async def test_bytes_that_are_no_message_are_a_bad_request(served: Running, kind: Kind) -> None:
    reached: list[object] = []

    async def action(context: object) -> None:
        reached.append(context)

    served.service.servicer.action = action
    shape = kind if kind.startswith("stream") else "unary_stream"
    raw = getattr(served.channel, shape)("/" + METHODS[kind])
    calling = raw(_garbage() if kind.startswith("stream") else b"\xff\xff\xff")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (calling.read() if hasattr(calling, "read") else calling)
    details = status_details(caught.value)
    assert (details.code, details.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "BAD_MESSAGE")
    assert "DecodeErr" not in details.message
    assert not reached


def empty_call(channel: grpc.aio.Channel, method: str) -> Any:
    return channel.unary_unary(
        f"/{STREAMS}/{method}",
        request_serializer=Empty.SerializeToString,
        response_deserializer=Empty.FromString,
    )


async def test_a_request_of_another_package_passes() -> None:
    async def answer(request: Empty, context: Any) -> Empty:
        return request

    def add(server: grpc.aio.Server) -> None:
        handler = grpc.unary_unary_rpc_method_handler(
            answer, request_deserializer=Empty.FromString, response_serializer=Empty.SerializeToString
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(STREAMS, {"Empty": handler}),))

    service = FakeService()
    service.servicer.add_to = add  # type: ignore[method-assign]
    async with running(service) as served:
        ask = served.channel.unary_unary(
            f"/{STREAMS}/Empty",
            request_serializer=Empty.SerializeToString,
            response_deserializer=Empty.FromString,
        )
        assert await ask(Empty()) == Empty()


# Health and reflection


async def test_health_is_touched_by_nothing(caplog: pytest.LogCaptureFixture, spans: InMemorySpanExporter) -> None:
    caplog.set_level(logging.INFO, "wanworker.access")
    authenticator = FakeAuthenticator()
    async with (
        running(interceptors=default_interceptors(authenticator)) as served,
        grpc.aio.insecure_channel(served.server.address) as plain,
    ):
        stub: Any = health_pb2_grpc.HealthStub(plain)
        answer = await stub.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        watch = stub.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()
    assert not authenticator.asked
    assert not [record for record in caplog.records if record.name == "wanworker.access"]
    assert not [span for span in spans.get_finished_spans() if "health" in span.name]


async def test_an_unknown_method_is_unimplemented(served: Running) -> None:
    ask = served.channel.unary_unary(
        f"/{STREAMS}/Nothing",
        request_serializer=Empty.SerializeToString,
        response_deserializer=Empty.FromString,
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(Empty())
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_interceptors_can_be_left_out() -> None:
    async with running(interceptors=[ValidationInterceptor()]) as served:
        assert await call(served.channel, "generator") == ["one", "two"]

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.support.enhancer import (
    DEMO_MODEL,
    SlowEngine,
    build_gguf,
    completed,
    connect,
    enhance,
    failure,
    first_delta,
    hub_cache,
    kinds,
    request,
    serve,
    server_for,
    status,
    until,
    until_idle,
)
from wanworker.enhancer import telemetry
from wanworker.v1 import enhancer_pb2 as pb
from wanworker.v1 import enhancer_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    Stub = pb_grpc.EnhancerServiceAsyncStub


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_gguf(tmp_path_factory.mktemp("models") / "tiny.gguf")


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[SlowEngine]]:
    monkeypatch.setattr("wanworker.enhancer.service.LlamaEngine", SlowEngine)
    monkeypatch.setattr(SlowEngine, "loaded", [])
    yield SlowEngine


@pytest.fixture
async def stub(model: Path, slow: type[SlowEngine]) -> AsyncIterator["Stub"]:
    async with serve(model, queue_limit=2) as stub:
        yield stub


async def test_a_stream_from_loading_to_completed(stub: "Stub") -> None:
    responses = await enhance(stub, seed=1)
    assert kinds(responses) == ["loading", "delta", "completed"]
    assert responses[0].loading.model == "tiny"
    done = responses[-1].completed
    assert done.prompt
    assert "\n" not in done.prompt
    assert done.model == "tiny"
    assert done.seed == 1
    assert not done.cached
    assert done.completion_tokens == 16
    assert done.prompt_tokens > 400
    assert done.finish_reason == pb.FINISH_REASON_LENGTH
    assert 0 < done.time_to_first_token.ToNanoseconds() <= done.duration.ToNanoseconds()
    deltas = "".join(response.delta.text for response in responses)
    # The weights are random: what is cleaned away differs, what is kept was streamed.
    assert {*done.prompt.split()} <= {*deltas.replace("\ufffd", "").split()}
    assert kinds(await enhance(stub, seed=2)) == ["delta", "completed"]


@pytest.mark.skipif(not DEMO_MODEL.exists(), reason="the demo model is not built")
async def test_the_demo_model() -> None:
    async with serve(DEMO_MODEL, context_tokens=1024) as stub:
        responses = [r async for r in stub.Enhance(pb.EnhanceRequest(prompt="a red ball bounces", seed=1))]
    assert kinds(responses) == ["loading", "delta", "completed"]
    assert responses[-1].completed.model == "qwen-demo"


async def test_a_base_model(tmp_path: Path) -> None:
    async with serve(build_gguf(tmp_path / "base.gguf", chat_template=None)) as stub:
        assert kinds(await enhance(stub)) == ["loading", "delta", "completed"]


async def test_a_seed_gives_the_same_text_without_the_cache(model: Path) -> None:
    async with serve(model, cache_entries=0) as stub:
        first = await completed(stub, seed=3, max_tokens=60)
        await completed(stub, "an owl", seed=4)
        again = await completed(stub, seed=3, max_tokens=60)
        other = await completed(stub, seed=4, max_tokens=60)
        await stub.Unload(pb.UnloadRequest())
        reloaded = await completed(stub, seed=3, max_tokens=60)
    assert first.prompt == again.prompt == reloaded.prompt != other.prompt
    assert not again.cached


async def test_the_cache(stub: "Stub", slow: type[SlowEngine]) -> None:
    first = await completed(stub, seed=3)
    written = slow.loaded[0].tokens_sampled
    responses = await enhance(stub, seed=3)
    again = responses[-1].completed
    assert kinds(responses) == ["delta", "completed"]
    assert "".join(response.delta.text for response in responses) == again.prompt
    assert again.cached
    again.cached = False
    assert again == first
    assert slow.loaded[0].tokens_sampled == written
    assert not (await completed(stub, seed=4)).cached
    assert not (await completed(stub, seed=3, max_tokens=17)).cached
    assert not (await completed(stub, seed=3, temperature=0.5)).cached


async def test_a_prompt_without_a_seed_is_answered_again(stub: "Stub") -> None:
    seeded = await completed(stub, seed=3)
    first, again = await completed(stub), await completed(stub)
    assert not first.cached
    assert first.seed != seeded.seed
    assert again.cached
    assert (again.prompt, again.seed) == (first.prompt, first.seed)
    assert (await completed(stub, seed=first.seed)).cached


async def test_a_changed_file_is_loaded_again(tmp_path: Path) -> None:
    path = build_gguf(tmp_path / "m.gguf", seed=1)
    async with serve(path) as stub:
        first = await completed(stub, seed=3)
        # A new file in the old one's place, as downloads do it: the old one may still be mapped.
        build_gguf(tmp_path / "new.gguf", seed=2).replace(path)
        responses = await enhance(stub, seed=3)
    assert kinds(responses) == ["loading", "delta", "completed"]
    assert responses[-1].completed.prompt != first.prompt


async def test_one_at_a_time_and_in_order(stub: "Stub") -> None:
    order: list[str] = []

    async def run(name: str) -> list[pb.EnhanceResponse]:
        responses = await enhance(stub, name)
        order.append(name)
        return responses

    running = stub.Enhance(request("first", 30))
    await first_delta(running)
    second = asyncio.create_task(run("second"))
    await until(stub, lambda now: now.queued == 1)
    third = asyncio.create_task(run("third"))
    await until(stub, lambda now: now.queued == 2)
    assert [r.WhichOneof("event") async for r in running][-1] == "completed"
    assert kinds(await second) == ["queued", "delta", "completed"]
    positions = [r.queued.position for r in await third if r.HasField("queued")]
    assert positions == [2, 1]
    assert order == ["second", "third"]


async def test_a_full_queue(stub: "Stub") -> None:
    running = stub.Enhance(request(max_tokens=1000))
    await first_delta(running)
    waiting = [stub.Enhance(request(f"waits {number}")) for number in range(2)]
    for call in waiting:
        assert (await anext(aiter(call))).queued.position > 0
    now = await status(stub)
    assert (now.busy, now.queued, now.queue_limit) == (True, 2, 2)
    error = await failure(stub)
    assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
    assert error.retry_after_seconds is not None
    assert error.retry_after_seconds >= 1
    # Whoever leaves makes room, wherever they stand.
    waiting[0].cancel()
    await until(stub, lambda now: now.queued == 1)
    late = stub.Enhance(request("late"))
    assert (await anext(aiter(late))).queued.position == 2
    for call in (running, waiting[1], late):
        call.cancel()
    await until_idle(stub)


async def test_a_caller_that_leaves_stops_the_writing(stub: "Stub", slow: type[SlowEngine]) -> None:
    slow_pause = slow.pause
    call = stub.Enhance(request(max_tokens=1000))
    await first_delta(call)
    await asyncio.sleep(5 * slow_pause)
    engine = slow.loaded[0]
    call.cancel()
    before = engine.tokens_sampled
    await until_idle(stub)
    # One that was on its way, one while the cancel crossed the wire.
    assert engine.tokens_sampled - before <= 2
    stopped = engine.tokens_sampled
    await asyncio.sleep(5 * slow_pause)
    assert engine.tokens_sampled == stopped
    assert kinds(await enhance(stub)) == ["delta", "completed"]


async def test_a_deadline_stops_the_writing(stub: "Stub", slow: type[SlowEngine]) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in stub.Enhance(request(max_tokens=1000), timeout=0.5):
            pass
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until_idle(stub)
    assert slow.loaded[0].tokens_sampled < 100


async def test_unload_and_load_again(stub: "Stub", slow: type[SlowEngine]) -> None:
    assert not (await stub.Unload(pb.UnloadRequest())).unloaded
    assert not (await status(stub)).loaded
    await enhance(stub)
    assert (await status(stub)).loaded
    assert (await stub.Unload(pb.UnloadRequest())).unloaded
    assert not (await status(stub)).loaded
    assert slow.loaded[0].closed
    assert not (await stub.Unload(pb.UnloadRequest())).unloaded
    assert kinds(await enhance(stub, "an owl")) == ["loading", "delta", "completed"]


async def test_unload_waits_for_the_running_prompt(stub: "Stub") -> None:
    call = stub.Enhance(request(max_tokens=30))
    await first_delta(call)
    unloading = asyncio.ensure_future(stub.Unload(pb.UnloadRequest()))
    done = [response async for response in call][-1].completed
    assert done.completion_tokens == 30
    assert (await unloading).unloaded


async def test_an_unload_whose_caller_leaves_is_done_all_the_same(stub: "Stub") -> None:
    call = stub.Enhance(request(max_tokens=60))
    await first_delta(call)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Unload(pb.UnloadRequest(), timeout=0.1)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert [response async for response in call][-1].completed.completion_tokens == 60
    await until(stub, lambda now: not now.loaded)


async def test_an_idle_model_is_unloaded(model: Path, slow: type[SlowEngine]) -> None:
    async with serve(model, idle_unload_seconds=0.2) as stub:
        await enhance(stub, max_tokens=30)  # takes longer than the idle time
        assert (await status(stub)).loaded
        await until(stub, lambda now: not now.loaded)
        assert slow.loaded[0].closed
        assert kinds(await enhance(stub, "an owl")) == ["loading", "delta", "completed"]


async def test_status_says_what_is_known(model: Path) -> None:
    async with serve(model, model_name="Tiny", context_tokens=1000) as stub:
        now = await status(stub)
    assert (now.model, now.model_source, now.context_tokens) == ("Tiny", str(model), 1000)
    assert now.version
    assert not now.busy


async def test_preload(model: Path, slow: type[SlowEngine]) -> None:
    async with serve(model, preload=True) as stub:
        assert (await status(stub)).loaded
        assert kinds(await enhance(stub)) == ["delta", "completed"]


async def test_a_model_from_the_hubs_cache(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub_cache(tmp_path, "Org/Repo", {"m-q4.gguf": model})
    async with serve(None, model_repo="Org/Repo", model_file="m-q4.gguf", model_cache=tmp_path) as stub:
        done = await completed(stub)
        assert done.model == "m-q4"
        assert (await status(stub)).model_source == "Org/Repo/m-q4.gguf"


async def test_draining_finishes_the_running_prompt_and_refuses_the_others(model: Path, slow: type[SlowEngine]) -> None:
    server = server_for(model)
    await server.start()
    async with connect(server) as stub:
        running = stub.Enhance(request(max_tokens=50))
        await first_delta(running)
        waiting = asyncio.create_task(failure(stub, "waits"))
        await until(stub, lambda now: now.queued == 1)
        stopping = asyncio.create_task(server.stop())
        refused = await waiting
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
        assert refused.retry_after_seconds is not None
        assert [response async for response in running][-1].completed.completion_tokens == 50
        await stopping
    assert all(engine.closed for engine in slow.loaded)


async def test_a_generation_is_a_span_under_the_call(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    monkeypatch.setattr(telemetry, "_tracer", provider.get_tracer("wanworker.enhancer"))
    async with serve(model) as stub:
        await enhance(stub, seed=5)
        await enhance(stub, seed=5)
    spans = {span.name: span for span in exporter.get_finished_spans()}
    generation, load = spans["chat tiny"], spans["load_model"]
    calls = [span for span in exporter.get_finished_spans() if span.name.endswith("EnhancerService/Enhance")]
    servers = [span for span in calls if span.kind is trace.SpanKind.SERVER]
    assert generation.parent is not None
    assert generation.parent.span_id == servers[0].context.span_id
    assert load.parent is not None
    assert load.parent.span_id == generation.context.span_id
    assert generation.attributes is not None
    assert generation.attributes["gen_ai.operation.name"] == "chat"
    assert generation.attributes["gen_ai.request.model"] == "tiny"
    assert generation.attributes["gen_ai.request.seed"] == 5
    assert generation.attributes["gen_ai.usage.output_tokens"] == 16
    assert generation.attributes["gen_ai.usage.cache_read.input_tokens"] == 0
    assert generation.attributes["gen_ai.response.finish_reasons"] == ("length",)
    assert [event.name for event in generation.events] == ["first_token"]
    assert [event.name for event in servers[1].events] == ["cache_hit"]

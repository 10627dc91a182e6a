"""Unary calls and pages over a real connection."""

import asyncio
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from tests.support.client import JOB_ID, Fail, FakeEnhancer, FakeGateway, Pause, serving, serving_thread, snapshot
from wanworker.client import (
    AsyncClient,
    AsyncEnhancer,
    Client,
    DeadlineExceededError,
    EnhanceCompleted,
    EnhanceDelta,
    Enhancer,
    JobState,
    ModelCapability,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
    WanworkerError,
    errors,
)
from wanworker.v1 import gateway_pb2

CODES = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]


@pytest.mark.parametrize("code", CODES)
async def test_statuses_become_exceptions(code: grpc.StatusCode) -> None:
    gateway = FakeGateway()
    gateway.failures["CancelJob"] = [Fail(code, "no", "WHY", {"path": "/x"})]
    async with serving(gateway) as address, AsyncClient(address) as client:
        with pytest.raises(errors._BY_CODE[code]) as caught:
            await client.cancel(JOB_ID)
    assert (caught.value.message, caught.value.reason) == ("no", "WHY")
    assert caught.value.metadata == {"path": "/x"}
    assert isinstance(caught.value.rpc_error, grpc.aio.AioRpcError)


async def test_waiting_times_are_told() -> None:
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromSeconds(7)
    gateway = FakeGateway()
    gateway.failures["CreateJob"] = [Fail(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", "QUEUE_FULL", details=[retry])]
    async with serving(gateway) as address, AsyncClient(address) as client:
        with pytest.raises(ResourceExhaustedError) as caught:
            await client.create("a red ball")
    assert caught.value.retry_after == 7


RETRIED: dict[str, Any] = {
    "GetJob": lambda client: client.get(JOB_ID),
    "EstimateJob": lambda client: client.estimate("x"),
    "GetStatus": lambda client: client.status(),
    "CreateJob": lambda client: client.create("x"),
}


@pytest.mark.parametrize("method", RETRIED)
async def test_idempotent_calls_are_tried_again(method: str) -> None:
    gateway = FakeGateway()
    gateway.failures[method] = [Fail(grpc.StatusCode.UNAVAILABLE), Fail(grpc.StatusCode.UNAVAILABLE)]
    async with serving(gateway) as address, AsyncClient(address) as client:
        await RETRIED[method](client)
    requests = gateway.asked(method)
    assert len(requests) == 3
    assert all(request == requests[0] for request in requests)


async def test_other_calls_and_other_codes_are_not_tried_again() -> None:
    gateway = FakeGateway()
    for method in ("CancelJob", "RunJob", "WatchJob"):
        gateway.failures[method] = [Fail(grpc.StatusCode.UNAVAILABLE)]
    gateway.failures["GetJob"] = [Fail(grpc.StatusCode.NOT_FOUND)]
    async with serving(gateway) as address, AsyncClient(address) as client:
        with pytest.raises(UnavailableError):
            await client.cancel(JOB_ID)
        with pytest.raises(UnavailableError):
            _ = [event async for event in client.run("x")]
        with pytest.raises(UnavailableError):
            _ = [event async for event in client.watch(JOB_ID)]
        with pytest.raises(NotFoundError):
            await client.get(JOB_ID)
    assert [name for name, _ in gateway.requests] == ["CancelJob", "RunJob", "WatchJob", "GetJob"]


async def test_every_creation_has_an_id() -> None:
    gateway = FakeGateway()
    async with serving(gateway) as address, AsyncClient(address) as client:
        made = await client.create("x", seed=3, size=(256, 144))
        await client.create(made.spec)
    first, second = gateway.asked("CreateJob")
    assert first.spec.request_id
    assert first.spec.request_id == second.spec.request_id, "the same spec again is the same job"
    assert made.state is JobState.QUEUED


async def test_lists_go_on_page_by_page_and_stop_when_told() -> None:
    gateway = FakeGateway()
    async with serving(gateway) as address, AsyncClient(address) as client:
        jobs = [job.id async for job in client.list(page_size=2, states=["succeeded", JobState.FAILED])]
        assert jobs == [f"job-{number}" for number in range(5)]
        assert [request.page_token for request in gateway.asked("ListJobs")] == ["", "2", "4"]
        assert list(gateway.asked("ListJobs")[0].states) == [3, 4]
        gateway.requests.clear()
        async for _ in client.list(page_size=2):
            break
        assert len(gateway.asked("ListJobs")) == 1


async def test_timeouts_reach_the_server() -> None:
    gateway = FakeGateway()
    async with serving(gateway) as address, AsyncClient(address, timeout=20) as client:
        await client.get(JOB_ID)
        await client.get(JOB_ID, timeout=5)
        assert gateway.deadlines[0] == pytest.approx(20, abs=1)
        assert gateway.deadlines[1] == pytest.approx(5, abs=1)
        _ = [event async for event in client.run("x")]
        assert gateway.deadlines[-1] is None
        gateway.runs = [[snapshot("RUNNING", 1), Pause()]]
        with pytest.raises(DeadlineExceededError):
            _ = [event async for event in client.run("x", timeout=0.3)]
        assert await asyncio.to_thread(gateway.cancelled.wait, 5)


async def test_keys_travel_as_bearer_tokens() -> None:
    gateway = FakeGateway()
    async with serving(gateway) as address:
        async with AsyncClient(address, api_key="secret") as client:
            await client.status()
        async with AsyncClient(address) as client:
            await client.status()
    assert gateway.metadata[0]["authorization"] == "Bearer secret"
    assert "authorization" not in gateway.metadata[1]
    assert "traceparent" not in gateway.metadata[1]


async def test_an_active_span_is_propagated() -> None:
    sdk = pytest.importorskip("opentelemetry.sdk.trace")
    gateway = FakeGateway()
    tracer = sdk.TracerProvider().get_tracer("test")
    async with serving(gateway) as address, AsyncClient(address) as client:
        with tracer.start_as_current_span("caller") as span:
            await client.get(JOB_ID)
            _ = [event async for event in client.run("x")]
            trace_id = f"{span.get_span_context().trace_id:032x}"
            with Client(address) as blocking:
                await asyncio.to_thread(blocking.get, JOB_ID)
    assert [trace_id in str(metadata.get("traceparent")) for metadata in gateway.metadata] == [True] * 3


async def test_the_environment_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANWORKER_GATEWAY_ADDRESS", "example:1")
    assert AsyncClient().address == "example:1"
    assert AsyncClient("other:2").address == "other:2"
    monkeypatch.delenv("WANWORKER_GATEWAY_ADDRESS")
    assert AsyncClient().address == "127.0.0.1:50051"


async def test_nobody_there_and_closed() -> None:
    async with AsyncClient("127.0.0.1:1") as client:
        with pytest.raises(UnavailableError) as caught:
            await client.get(JOB_ID)
        assert caught.value.reason == ""
    with pytest.raises(RuntimeError, match="closed"):
        await client.get(JOB_ID)


async def test_estimates_and_status_are_typed() -> None:
    async with serving(FakeGateway()) as address, AsyncClient(address) as client:
        estimate = await client.estimate("x")
        status = await client.status()
    assert (estimate.fits, estimate.duration, estimate.queue_wait) == (True, 3.5, 1.0)
    assert status.enhancer is None
    assert not status.enhancer_peer.reachable
    assert status.generator is not None
    assert status.generator.models[0].default_size == (256, 144)
    capabilities = status.generator.models[0].capabilities
    assert capabilities == (ModelCapability.TEXT_TO_VIDEO, ModelCapability.UNSPECIFIED)


async def test_the_enhancer_can_be_asked_directly() -> None:
    fake = FakeEnhancer()
    async with serving(enhancer=fake) as address, AsyncEnhancer(address) as client:
        events = [event async for event in client.enhance("ball", max_tokens=20, temperature=0.0, seed=7)]
        assert (await client.status()).loaded
    assert "".join(event.text for event in events if isinstance(event, EnhanceDelta)) == "A red ball."
    assert isinstance(events[-1], EnhanceCompleted)
    assert events[-1].prompt == "A red ball."
    assert (fake.requests[0].max_tokens, fake.requests[0].temperature, fake.requests[0].seed) == (20, 0.0, 7)


def test_blocking_and_asynchronous_clients_agree() -> None:
    gateway = FakeGateway()
    spec = {"size": (256, 144), "request_id": "9f0e9a5e-8a2b-4a6f-9a53-7a7d0d5c4b11"}

    async def ask(address: str) -> list[Any]:
        async with AsyncClient(address) as client:
            return [
                await client.create("x", **spec),  # type: ignore[arg-type]
                await client.get(JOB_ID),
                [job async for job in client.list()],
                await client.cancel(JOB_ID),
                await client.estimate("x", **spec),  # type: ignore[arg-type]
                await client.status(),
                [event async for event in client.run("x", **spec)],  # type: ignore[arg-type]
                [event async for event in client.watch(JOB_ID)],
                await client.wait(JOB_ID),
                b"".join([piece async for piece in client.read(JOB_ID)]),
            ]

    with serving_thread(gateway, FakeEnhancer()) as address:
        theirs = asyncio.run(ask(address))
        requests, gateway.requests = gateway.requests, []
        with Client(address) as client:
            ours = [
                client.create("x", **spec),  # type: ignore[arg-type]
                client.get(JOB_ID),
                list(client.list()),
                client.cancel(JOB_ID),
                client.estimate("x", **spec),  # type: ignore[arg-type]
                client.status(),
                list(client.run("x", **spec)),  # type: ignore[arg-type]
                list(client.watch(JOB_ID)),
                client.wait(JOB_ID),
                b"".join(client.read(JOB_ID)),
            ]
            with pytest.raises(WanworkerError):
                gateway.failures["GetJob"] = [Fail(grpc.StatusCode.NOT_FOUND)]
                client.get("nope")
        with Enhancer(address) as enhancer:
            assert [type(event).__name__ for event in enhancer.enhance("ball")][-1] == "EnhanceCompleted"
            assert enhancer.status().model == "qwen-demo"
    assert ours == theirs
    assert gateway.requests[:-1] == requests
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.get(JOB_ID)


def test_methods_of_both_clients_have_the_same_arguments() -> None:
    import inspect

    for ours, theirs in ((Client, AsyncClient), (Enhancer, AsyncEnhancer)):
        names = {name for name in dir(theirs) if not name.startswith("_")} - {"address"}
        assert names == {name for name in dir(ours) if not name.startswith("_")} - {"address"}
        for name in names:
            mine = inspect.signature(getattr(ours, name)).parameters
            assert list(mine.values()) == list(inspect.signature(getattr(theirs, name)).parameters.values())


def test_all_rpcs_are_reachable() -> None:
    """A new RPC in the contract needs a method here."""
    methods = {method.name for method in gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"].methods}
    assert methods == {
        "CreateJob", "GetJob", "ListJobs", "CancelJob", "WatchJob", "ReadArtifact", "RunJob", "EstimateJob",
        "GetStatus",
    }  # fmt: skip

"""A service's life: health, limits, reflection, draining."""

import asyncio
import logging
import socket
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.support.runtime import (
    SERVICE,
    FakeEnhancer,
    FakeService,
    call,
    finish_call,
    running,
    settings,
    start_call,
)
from wanworker.client.status import status_details
from wanworker.runtime import server as server_module
from wanworker.runtime.channel import open_channel
from wanworker.runtime.errors import PreconditionError, UnavailableError
from wanworker.runtime.server import ServiceServer, StartError

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def health(channel: grpc.aio.Channel, service: str = "") -> int:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
    return int(answer.status)


async def test_health_turns_serving_when_warm_and_calls_wait_for_that() -> None:
    warm = asyncio.Event()

    async def warm_up() -> None:
        await warm.wait()

    service = FakeService(warm_up=warm_up)
    server = ServiceServer(service.definition(), settings())
    await server.listen()
    warming = asyncio.ensure_future(server.warm_up())
    async with open_channel(server.address) as channel:
        assert await health(channel) == NOT_SERVING
        assert await health(channel, SERVICE) == NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(channel, "generator")
        details = status_details(caught.value)
        assert (details.code, details.reason) == (grpc.StatusCode.UNAVAILABLE, "STARTING")
        assert details.retry_after_seconds == 1.0
        warm.set()
        await warming
        assert await health(channel) == SERVING
        assert await health(channel, SERVICE) == SERVING
        assert await call(channel, "generator") == ["one", "two"]
    await server.stop()
    assert service.called == ["warm_up", "drain", "close"]


async def test_the_health_of_an_unknown_service_is_not_found() -> None:
    async with running() as served:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health(served.channel, "wanworker.v1.NoSuchService")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_watcher_sees_the_change_and_does_not_hold_up_the_stop() -> None:
    async with running(shutdown_grace_seconds=3600.0) as served:
        stub: Any = health_pb2_grpc.HealthStub(served.channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        assert (await watch.read()).status == SERVING
        await served.server.stop()
        assert (await watch.read()).status == NOT_SERVING
        assert await watch.read() is grpc.aio.EOF


async def test_warm_up_is_tried_again_while_waiting_may_help(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server_module, "_FIRST_WARM_UP_PAUSE_SECONDS", 0.0)
    tries: list[int] = []

    async def warm_up() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise UnavailableError("the generator is not up", "PEER_DOWN", retry_after_seconds=0)

    async with running(FakeService(warm_up=warm_up)) as served:
        assert await health(served.channel) == SERVING
    assert len(tries) == 3
    waits = [record.getMessage() for record in caplog.records if "not ready yet" in record.getMessage()]
    assert len(waits) == 2
    assert "the generator is not up (PEER_DOWN)" in waits[0]


async def test_warm_up_that_cannot_heal_is_a_start_error_in_one_line() -> None:
    async def warm_up() -> None:
        raise PreconditionError("no model at /models/x", "MODEL_NOT_FOUND")

    service = FakeService(warm_up=warm_up)
    server = ServiceServer(service.definition(), settings())
    with pytest.raises(StartError) as caught:
        await server.start()
    assert str(caught.value) == f"{SERVICE} cannot start: no model at /models/x (MODEL_NOT_FOUND)"
    await server.stop()
    assert service.called == ["warm_up", "close"]


async def test_draining_lets_a_running_stream_finish_and_refuses_new_calls() -> None:
    draining, finish = asyncio.Event(), asyncio.Event()

    async def action(_: object) -> None:
        await finish.wait()

    async def drain() -> None:
        draining.set()
        await finish.wait()

    service = FakeService(FakeEnhancer(action), drain=drain)
    async with running(service) as served:
        stream = start_call(served.channel, "generator")
        assert (await stream.read()).delta.text == "one"
        stopping = asyncio.ensure_future(served.server.stop())
        await draining.wait()
        assert await health(served.channel) == NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(served.channel, "writer")
        details = status_details(caught.value)
        assert (details.code, details.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
        assert details.retry_after_seconds is not None
        assert not stopping.done()
        finish.set()
        assert await finish_call(stream) == ["two"]
        await stopping
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(served.channel, "unary", timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert service.called == ["warm_up", "drain", "close"]


async def test_a_call_that_outlasts_the_grace_is_cut_off_before_close() -> None:
    order: list[str] = []

    async def action(_: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            # Freeing what a call holds may take a while.
            await asyncio.sleep(0.2)
            order.append("call ended")

    async def close() -> None:
        order.append("closed")

    service = FakeService(FakeEnhancer(action), close=close)
    async with running(service, shutdown_grace_seconds=0.2) as served:
        stream = start_call(served.channel, "generator")
        await stream.read()
        await served.server.stop()
        with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
            await finish_call(stream)
    assert order == ["call ended", "closed"]


async def test_a_drain_that_hangs_or_fails_does_not_hold_up_the_stop(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    async def crash() -> None:
        raise RuntimeError("no")

    for drain in (hang, crash):
        service = FakeService(drain=drain)
        async with running(service, shutdown_grace_seconds=0.1):
            pass
        assert service.called == ["warm_up", "drain", "close"]
    messages = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert messages == ["draining took longer than the 0.1 s of grace", "draining failed"]


async def test_stopping_twice_is_stopping_once() -> None:
    async with running() as served:
        await asyncio.gather(served.server.stop(), served.server.stop())
        await served.server.stop()
    assert served.service.called == ["warm_up", "drain", "close"]


@pytest.mark.parametrize("on", [True, False])
async def test_reflection_can_be_switched_off(on: bool) -> None:
    async with running(reflection=on) as served:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(served.channel)
        question = reflection_pb2.ServerReflectionRequest(list_services="")
        # gRPC's own client fails with INTERNAL if the server ends a call that it is just writing to.
        stream = stub.ServerReflectionInfo(iter([question] if on else []))
        if not on:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stream.read()
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
            return
        answer = await stream.read()
    names = {service.name for service in answer.list_services_response.service}
    assert names == {SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}


async def test_a_message_over_the_limit_is_refused() -> None:
    async with running(max_receive_bytes=2048) as served:
        assert await call(served.channel, "generator", prompt="x" * 1000) == ["one", "two"]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(served.channel, "generator", prompt="x" * 3000)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_an_answer_longer_than_the_request_limit_arrives() -> None:
    async def action(context: Any) -> None:
        await context.send_initial_metadata((("x-test", "1"),))

    class FakeLong(FakeEnhancer):
        async def GetStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
            answer = await super().GetStatus(request, context)
            answer.model = "x" * (5 * 1024 * 1024)
            return answer

    async with running(FakeService(FakeLong(action))) as served:
        (model,) = await call(served.channel, "unary")
    assert len(model) == 5 * 1024 * 1024


async def test_a_taken_port_is_a_start_error_that_says_so() -> None:
    async with running() as served:
        port = served.server.port
        service = FakeService()
        second = ServiceServer(service.definition(), settings(port=port))
        with pytest.raises(StartError) as caught:
            await second.start()
        assert str(caught.value) == f"cannot listen on 127.0.0.1:{port}: Address already in use"
        await second.stop()
        assert service.called == ["close"]
        assert await call(served.channel, "unary") == ["fake"]


async def test_a_host_that_is_not_ours_is_a_start_error() -> None:
    server = ServiceServer(FakeService().definition(), settings(host="203.0.113.1", port=1234, allow_plaintext=True))
    with pytest.raises(StartError, match=r"^cannot listen on 203\.0\.113\.1:1234: Cannot assign"):
        await server.start()


async def test_the_port_file_holds_the_port_while_the_service_runs(tmp_path: Path) -> None:
    port_file = tmp_path / "run" / "port"
    async with running(port_file=port_file) as served:
        assert port_file.read_text() == f"{served.server.port}\n"
        assert [path.name for path in port_file.parent.iterdir()] == ["port"]
    assert not port_file.exists()


async def test_a_port_file_that_cannot_be_written_is_a_start_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    service = FakeService()
    server = ServiceServer(service.definition(), settings(port_file=tmp_path / "file" / "port"))
    with pytest.raises(StartError, match="cannot write the port file"):
        await server.start()
    await server.stop()
    assert service.called == ["close"]


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1")])
async def test_the_address_is_one_that_clients_can_use(host: str, shown: str) -> None:
    async with running(host=host, allow_plaintext=True) as served:
        assert served.server.address == f"{shown}:{served.server.port}"
        assert await call(served.channel, "unary") == ["fake"]


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
async def test_ipv6_addresses_are_bracketed() -> None:
    try:
        async with running(host="::1") as served:
            assert served.server.address == f"[::1]:{served.server.port}"
            assert await call(served.channel, "unary") == ["fake"]
    except StartError as error:
        pytest.skip(f"no IPv6 here: {error}")

"""Channels to other services."""

import json
from typing import Any

import grpc
import pytest

from tests.support.runtime import METHODS, FakeEnhancer, FakeService, call, running
from wanworker.runtime.channel import open_channel, remaining_seconds
from wanworker.runtime.errors import UnavailableError
from wanworker.runtime.transport import (
    KEEPALIVE_SECONDS,
    MAX_MESSAGE_BYTES,
    MIN_PING_INTERVAL_SECONDS,
)


class FakeFlaky:
    """Is unavailable for the first two calls."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, _: object) -> None:
        self.calls += 1
        if self.calls <= 2:
            raise UnavailableError("not yet", "PEER_DOWN", retry_after_seconds=None)


async def test_named_methods_are_tried_again() -> None:
    flaky = FakeFlaky()
    async with (
        running(FakeService(FakeEnhancer(flaky))) as served,
        open_channel(served.server.address, retryable=[METHODS["unary"]]) as channel,
    ):
        assert await call(channel, "unary") == ["fake"]
    assert flaky.calls == 3


async def test_other_methods_are_not() -> None:
    flaky = FakeFlaky()
    async with (
        running(FakeService(FakeEnhancer(flaky))) as served,
        open_channel(served.server.address, retryable=[METHODS["generator"]]) as channel,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(channel, "unary")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert flaky.calls == 1


async def test_the_deadline_is_passed_on_less_a_margin() -> None:
    left: list[float | None] = []

    async def action(context: Any) -> None:
        left.append(remaining_seconds(context))
        left.append(remaining_seconds(context, margin=1000))

    async with running(FakeService(FakeEnhancer(action))) as served:
        await call(served.channel, "unary", timeout=30)
        await call(served.channel, "unary")
    first, none_left, *without = left
    assert first is not None
    # gRPC itself rounds timeouts up when it sends them, by 1 % at most.
    assert 0 < first <= 30 * 1.01 - 0.5
    assert none_left == 0.0
    assert without == [None, None]


async def test_a_peer_that_is_not_there_is_unavailable() -> None:
    async with running() as served:
        gone = served.server.address
    async with open_channel(gone) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(channel, "unary", timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_peer_that_comes_back_is_found_again() -> None:
    async with running() as served:
        port = served.server.port
    async with open_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await call(channel, "unary", timeout=20)
        async with running(port=port):
            assert await call(channel, "unary", wait_for_ready=True, timeout=20) == ["fake"]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The options that channels are made with; no channel is."""
    options: dict[str, Any] = {}
    monkeypatch.setattr(grpc.aio, "insecure_channel", lambda _, **given: options.update(given["options"]))
    return options


def test_options(made: dict[str, Any]) -> None:
    open_channel("10.0.0.1:50053", retryable=["wanworker.v1.GeneratorService/Estimate"])
    assert made["grpc.keepalive_time_ms"] == KEEPALIVE_SECONDS * 1000
    assert made["grpc.max_receive_message_length"] == MAX_MESSAGE_BYTES
    assert "grpc.enable_http_proxy" not in made
    (config,) = json.loads(made["grpc.service_config"])["methodConfig"]
    assert config["name"] == [{"service": "wanworker.v1.GeneratorService", "method": "Estimate"}]
    assert config["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]


@pytest.mark.parametrize("address", ["127.0.0.1:1", "localhost:1", "[::1]:1"])
def test_this_machine_is_not_behind_a_proxy(address: str, made: dict[str, Any]) -> None:
    open_channel(address)
    assert made["grpc.enable_http_proxy"] == 0


def test_our_own_pings_are_never_too_many() -> None:
    assert MIN_PING_INTERVAL_SECONDS < KEEPALIVE_SECONDS

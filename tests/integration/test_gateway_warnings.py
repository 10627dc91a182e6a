"""What a job tells of a bad reference image and of a result that looks wrong, and when it gives up."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from PIL import Image

from tests.support.gateway import Failure, running_system
from tests.support.runtime import recorded_spans
from wanworker.gateway import telemetry
from wanworker.gateway.references import ReferenceFetcher
from wanworker.runtime import names
from wanworker.v1 import gateway_pb2 as pb
from wanworker.v1 import types_pb2

HOSTS = {"outside.example": ["93.184.215.14"], "inside.example": ["169.254.169.254"]}


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 36), "red").save(buffer, kind)
    return buffer.getvalue()


def bomb() -> bytes:
    """A PNG of some hundred bytes that says it is 60,000 pixels a side."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 10_000)) + chunk(b"IEND", b"")


def answer(request: httpx.Request) -> httpx.Response:
    """The internet of these tests."""
    path = request.url.path
    if path == "/away":
        raise httpx.ConnectError("nobody is there")
    answers = {
        "/missing": httpx.Response(404),
        "/inside": httpx.Response(302, headers={"location": "https://inside.example/latest/meta-data"}),
        "/text": httpx.Response(200, content=b"<html>", headers={"content-type": "text/html"}),
        "/bomb": httpx.Response(200, content=bomb()),
    }
    return answers[path]


async def resolve(host: str, port: int) -> list[str]:
    return HOSTS[host]


BAD_IMAGES: dict[str, Any] = {
    "not an image": {"data": b"no image at all"},
    "truncated": {"data": encoded("PNG")[:-30]},
    "of a wrong type": {"data": encoded("GIF")},
    "a bomb": {"data": bomb()},
    "a bomb by URL": {"url": "https://outside.example/bomb"},
    "a URL that is not there": {"url": "https://outside.example/missing"},
    "a URL that cannot be reached": {"url": "https://outside.example/away"},
    "a redirect to the metadata service": {"url": "https://outside.example/inside"},
    "a page": {"url": "https://outside.example/text"},
}


@pytest.mark.parametrize("what", BAD_IMAGES)
async def test_a_bad_image_falls_back_or_fails_as_the_job_says(tmp_path: Path, what: str) -> None:
    async with running_system(tmp_path / "data") as system:
        await system.stop()
        system.fetcher = ReferenceFetcher(1_000_000, 2.0, resolve, httpx.MockTransport(answer))
        await system.start()
        job = await system.finished((await system.create(reference_image=BAD_IMAGES[what])).id)
        assert job.state == pb.JOB_STATE_SUCCEEDED, job.failure
        assert [warning.reason for warning in job.warnings] == ["BAD_REFERENCE_IMAGE"]
        assert not job.delivered.reference_image_used
        assert [request.reference_image for request in system.generator.requests] == [b""]
        strict = await system.create(reference_image=BAD_IMAGES[what], on_bad_reference=pb.ON_BAD_REFERENCE_REJECT)
        job = await system.finished(strict.id)
        assert (job.state, job.failure.reason) == (pb.JOB_STATE_FAILED, "BAD_REFERENCE_IMAGE")
        assert len(system.generator.requests) == 1


@pytest.mark.parametrize(
    ("statistics", "expected"),
    [
        (types_pb2.FrameStatistics(mean_luma=0.0), ["BLACK_FRAMES", "FROZEN_VIDEO", "SMALL_FILE", "SLOW_JOB"]),
        (types_pb2.FrameStatistics(mean_luma=float("nan")), ["NOT_A_NUMBER", "SMALL_FILE", "SLOW_JOB"]),
    ],
)
async def test_a_poor_result_is_a_warning_a_span_event_and_a_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statistics: types_pb2.FrameStatistics, expected: list[str]
) -> None:
    reader = InMemoryMetricReader()
    counter = MeterProvider([reader]).get_meter("test").create_counter(names.METRIC_WARNINGS)
    monkeypatch.setattr(telemetry, "_WARNINGS", counter)
    with recorded_spans() as spans:
        async with running_system(tmp_path / "data", slow_job_seconds=0.001) as system:
            system.generator.statistics, system.generator.content = statistics, b"tiny"
            job = await system.finished((await system.create(width=1280, height=720, model="big")).id)
        store = next(span for span in spans.get_finished_spans() if span.name == "store")
    assert job.state == pb.JOB_STATE_SUCCEEDED
    assert [warning.reason for warning in job.warnings] == expected
    told = [(event.attributes or {})[names.ATTR_REASON] for event in store.events if event.name == names.EVENT_WARNING]
    assert told == expected
    data = reader.get_metrics_data()
    assert data is not None
    points = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    counted = {
        str(point.attributes[names.ATTR_REASON]): getattr(point, "value", None) for point in points if point.attributes
    }
    assert counted == dict.fromkeys(expected, 1)


async def test_attempts_are_bounded_whatever_they_fail_of(tmp_path: Path) -> None:
    async with running_system(tmp_path / "data", attempt_limit=3) as system:
        system.generator.failures = [
            Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "GPU_OUT_OF_MEMORY"),
            Failure(grpc.StatusCode.UNAVAILABLE, "DEVICE_LOST"),
            *[Failure(grpc.StatusCode.UNAVAILABLE, "DEVICE_LOST")] * 5,
        ]
        job = await system.finished((await system.create()).id)
        assert (job.state, job.failure.reason, job.attempts) == (pb.JOB_STATE_FAILED, "TOO_MANY_ATTEMPTS", 3)
        assert len(system.generator.requests) == 3

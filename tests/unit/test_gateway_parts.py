"""The small pure parts: grades, progress, files, references, and what importing costs."""

import asyncio
import contextlib
import gzip
import hashlib
import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from wanworker.gateway.artifacts import DirectoryArtifactStore
from wanworker.gateway.generation import FrameStatistics, GenerationSettings, Made, Stage
from wanworker.gateway.grade import Result, grade
from wanworker.gateway.model import Progress
from wanworker.gateway.progress import ProgressMeter, Weights
from wanworker.gateway.rates import Rate, Rates
from wanworker.gateway.references import BadReferenceError, ReferenceFetcher, check_image, is_public
from wanworker.runtime.errors import InternalError

HIGH = GenerationSettings("wan", 1920, 1088, 81, 16, 25, 7.5)
GOOD = Made(HIGH, "r1", 1920, 1080, "video/mp4", 10_000_000, b"", FrameStatistics(0.5, 0.2, 0.01))


# Grades


@pytest.mark.parametrize(
    ("statistics", "size", "elapsed", "reasons"),
    [
        (FrameStatistics(0.5, 0.2, 0.01), 10_000_000, 10, []),
        (FrameStatistics(0.01, 0.0, 0.0), 10_000_000, 10, ["BLACK_FRAMES", "FROZEN_VIDEO"]),
        (FrameStatistics(0.5, 0.001, 0.01), 10_000_000, 10, ["FLAT_FRAMES"]),
        (FrameStatistics(float("nan"), 0.2, 0.01), 10_000_000, 10, ["NOT_A_NUMBER"]),
        (FrameStatistics(0.5, 0.2, 0.01), 1000, 301, ["SMALL_FILE", "SLOW_JOB"]),
    ],
)
def test_grades(statistics: FrameStatistics, size: int, elapsed: float, reasons: list[str]) -> None:
    made = replace(GOOD, statistics=statistics, size_bytes=size)
    assert [row.reason for row in grade(Result(made, elapsed, 300.0))] == reasons


def test_one_megabyte_is_enough_for_720p_and_5_s() -> None:
    settings = replace(HIGH, frames=80, fps=16)
    made = replace(GOOD, width=1280, height=720, settings=settings, size_bytes=1_000_000)
    assert not grade(Result(made, 1, 300))
    assert grade(Result(replace(made, size_bytes=999_999), 1, 300))[0].reason == "SMALL_FILE"


def test_a_still_is_neither_frozen_nor_small() -> None:
    made = replace(
        GOOD,
        settings=replace(HIGH, frames=1),
        size_bytes=10,
        statistics=FrameStatistics(0.5, 0.2, 0.0),
    )
    assert not grade(Result(made, 1, 300))


# Progress


@given(
    enhance=st.floats(0, 100),
    generate=st.none() | st.floats(0, 1000),
    parts=st.lists(st.floats(0, 1), max_size=20),
    seconds=st.lists(st.floats(0, 200), max_size=10),
)
def test_the_fraction_never_falls_and_keeps_1_for_the_end(
    enhance: float, generate: float | None, parts: list[float], seconds: list[float]
) -> None:
    meter = ProgressMeter(Weights(enhance, generate), 1)
    told = [meter.enhancing(elapsed).fraction for elapsed in seconds]
    told += [meter.generating(Progress(Stage.DENOISING, part)).fraction for part in parts]
    told += [meter.waiting(3).fraction, meter.storing().fraction]
    assert told == sorted(told)
    assert all(0 <= fraction < 1 for fraction in told)


def test_decode_counts_as_the_estimate_says() -> None:
    meter = ProgressMeter(Weights(enhance=2.0, generate=7.9), 2)
    halfway = meter.generating(Progress(Stage.DENOISING, 0.5, 5, 10))
    assert halfway.fraction == pytest.approx((2.0 + 3.95) / 10.0)
    assert halfway.eta == pytest.approx(3.95 + 0.1)
    assert (halfway.step, halfway.total_steps, halfway.attempt) == (5, 10, 2)


def test_rates_learn() -> None:
    rate = Rate()
    assert rate.seconds is None
    for seconds in (10.0, 20.0):
        rate.observe(seconds)
    assert rate.seconds == pytest.approx(13.0)
    rates = Rates()
    assert rates.any_job is None
    rates.job(still=True).observe(8.0)
    assert rates.any_job == 8.0
    rates.job(still=False).observe(80.0)
    assert rates.any_job == 80.0


# Files


async def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    store = DirectoryArtifactStore(tmp_path)
    store.open()
    data = b"x" * 1000
    with pytest.raises(InternalError), store.receive("job", 1) as part:
        part.write(data[:999])
        await part.finish(1000, hashlib.sha256(data).digest())
    assert not store.exists("job", "video/mp4")
    assert not list((tmp_path / "parts").iterdir())
    with store.receive("job", 2) as part:
        part.write(data)
        await part.finish(1000, hashlib.sha256(data).digest())
    for _ in range(2):
        await store.commit("job", 2, "video/mp4")
    pieces = [piece async for piece in store.read("job", "video/mp4", 100, 500, 200)]
    assert [len(piece) for piece in pieces] == [200, 200, 100]


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "a" * 65])
def test_a_job_id_is_no_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(InternalError):
        DirectoryArtifactStore(tmp_path).exists(name, "video/mp4")


# References


def png(width: int = 8, height: int = 8) -> bytes:
    """A picture."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "224.0.0.1",
        "100.64.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::a9fe:a9fe", "240.0.0.1",
        "fec0::1", "::7f00:1", "64:ff9b:1::7f00:1", "::ffff:0:7f00:1",
    ],
)  # fmt: skip
def test_addresses_inside_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_addresses_outside_are_public(address: str) -> None:
    assert is_public(address)


def fetcher(hosts: dict[str, list[str]], answers: dict[str, httpx.Response]) -> ReferenceFetcher:
    """A fetcher in an internet of two dictionaries."""

    async def resolver(host: str, port: int) -> list[str]:
        return hosts[host]

    def answer(request: httpx.Request) -> httpx.Response:
        # The connection goes to the checked address, the request to the host's name.
        assert request.url.host in hosts[request.headers["host"]]
        assert request.extensions["sni_hostname"] == request.headers["host"]
        return answers[request.headers["host"] + request.url.path]

    return ReferenceFetcher(1000, 1.0, resolver, httpx.MockTransport(answer))


OUTSIDE = ["93.184.215.14"]


async def test_an_image_is_fetched_over_a_redirect() -> None:
    answers = {
        "a.example/x": httpx.Response(302, headers={"location": "https://b.example/y"}),
        "b.example/y": httpx.Response(200, content=b"image"),
    }
    hosts = {"a.example": OUTSIDE, "b.example": OUTSIDE}
    assert await fetcher(hosts, answers).fetch("https://a.example/x") == b"image"


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://a.example/x", "https"),
        ("file:///etc/passwd", "https"),
        ("https://user:pw@a.example/x", "credentials"),
        ("https://inside.example/x", "not a public"),
        ("https://both.example/x", "not a public"),
        ("https://a.example/redirect", "not a public"),
        ("https://a.example/downgrade", "https"),
        ("https://a.example/loop", "redirects"),
        ("https://a.example/missing", "404"),
        ("https://a.example/long", "longer"),
        ("https://a.example:99999/x", "not known"),
        ("https://[abc/x.png", "not be fetched"),
        ("https://a.example/torn", "not be fetched"),
        ("https://a.example/packed", "packed"),
    ],
)
async def test_a_url_that_leads_astray_is_refused(url: str, word: str) -> None:
    hosts = {"a.example": OUTSIDE, "inside.example": ["10.0.0.1"], "both.example": [*OUTSIDE, "127.0.0.1"]}
    answers = {
        "a.example/redirect": httpx.Response(302, headers={"location": "https://inside.example/"}),
        "a.example/downgrade": httpx.Response(302, headers={"location": "http://a.example/"}),
        "a.example/packed": httpx.Response(200, content=gzip.compress(b"x"), headers={"content-encoding": "gzip"}),
        "a.example/torn": httpx.Response(302, headers={"location": "https://["}),
        "a.example/loop": httpx.Response(302, headers={"location": "/loop"}),
        "a.example/missing": httpx.Response(404),
        "a.example/long": httpx.Response(200, content=b"x" * 1001),
    }
    with pytest.raises(BadReferenceError, match=word):
        await fetcher(hosts, answers).fetch(url)


async def test_a_slow_server_is_given_up() -> None:
    async def resolver(host: str, port: int) -> list[str]:
        await asyncio.sleep(5)
        return OUTSIDE

    with pytest.raises(BadReferenceError, match="within"):
        await ReferenceFetcher(1000, 0.05, resolver).fetch("https://a.example/x")


def test_whole_images_pass() -> None:
    check_image(png(), 64)


@given(st.binary(max_size=200))
def test_random_bytes_are_no_image(data: bytes) -> None:
    with pytest.raises(BadReferenceError):
        check_image(data, 1000)


@given(st.integers(0, 70), st.integers(0, 255))
def test_a_damaged_image_never_does_more_than_fail(position: int, value: int) -> None:
    data = bytearray(png())
    data[position % len(data)] = value
    with contextlib.suppress(BadReferenceError):
        check_image(bytes(data), 64)


def test_truncated_large_and_foreign_images_fail() -> None:
    with pytest.raises(BadReferenceError, match="pixels"):
        check_image(png(100, 100), 9999)
    with pytest.raises(BadReferenceError):
        check_image(png(100, 100)[:-40], 10_000)
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "GIF")
    with pytest.raises(BadReferenceError):
        check_image(buffer.getvalue(), 64)


# Imports


def test_importing_the_gateway_loads_no_machine_learning() -> None:
    code = (
        "import sys, wanworker.gateway.service, wanworker.gateway.__main__;"
        "print([name for name in ('torch', 'llama_cpp', 'diffusers', 'transformers', 'numpy') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert result.stdout.strip() == "[]"

"""Real processes, used the way a person or a script would: through the command line."""

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import av
import grpc
import pytest
from PIL import Image

from tests.support.otlp import Receiver
from tests.support.system import System
from wanworker.v1 import generator_pb2, generator_pb2_grpc

SMALL = ("--size", "128x64", "--duration", "0.7s", "--fps", "12", "--steps", "3", "--seed", "7")


def result_of(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    """The result line of a `--json` run that went well."""
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    last = json.loads(done.stdout.splitlines()[-1])
    result: dict[str, Any] = last["result"]
    return result


def generator_status(system: System) -> generator_pb2.GeneratorServiceGetStatusResponse:
    with grpc.insecure_channel(system.address("generator")) as channel:
        stub = generator_pb2_grpc.GeneratorServiceStub(channel)
        return stub.GetStatus(generator_pb2.GeneratorServiceGetStatusRequest(), timeout=10)


def test_a_video_is_what_the_job_says(system: System, tmp_path: Path) -> None:
    path = tmp_path / "ball.mp4"
    done = system.cli("generate", "a red ball rises above the sea", *SMALL, "-o", str(path), "--json")
    result = result_of(done)
    delivered = result["job"]["delivered"]
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert (stream.width, stream.height) == (delivered["width"], delivered["height"]) == (128, 64)
        assert len(frames) == delivered["frames"] == 9
        assert float(stream.average_rate or 0) == delivered["fps"] == 12
    assert result["path"] == str(path)
    assert int(result["job"]["artifact"]["size_bytes"]) == path.stat().st_size
    assert delivered["seed"] == "7"
    assert delivered["enhanced"] is True
    assert delivered["prompt"] != "a red ball rises above the sea"
    assert [a["field"] for a in result["job"]["adjustments"]] == ["duration"]


def test_events_come_in_order(system: System, tmp_path: Path) -> None:
    done = system.cli("generate", "a blue fish", *SMALL, "-o", str(tmp_path / "fish.mp4"), "--json")
    events = [json.loads(line)["event"] for line in done.stdout.splitlines()[:-1]]
    sequences = [int(event["sequence"]) for event in events]
    assert sequences == sorted(set(sequences))
    assert "snapshot" in events[0]
    assert events[-1]["snapshot"]["state"] == "JOB_STATE_SUCCEEDED"
    stages = [event["progress"]["stage"] for event in events if "progress" in event]
    order = list(dict.fromkeys(stages))
    wanted = ["STAGE_ENHANCING", "STAGE_DENOISING", "STAGE_DECODING", "STAGE_MUXING"]
    assert [stage for stage in order if stage in wanted] == wanted
    fractions = [event["progress"].get("fraction", 0) for event in events if "progress" in event]
    assert fractions == sorted(fractions)
    assert any("prompt_delta" in event for event in events)


@pytest.mark.parametrize(("name", "kind"), [("still.png", "PNG"), ("still.webp", "WEBP")])
def test_a_still(system: System, tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    arguments = ("--job-type", "image-fast", "--size", "128x64", "--steps", "2", "--no-enhance", "-o", str(path))
    result = result_of(system.cli("generate", "a yellow star in the night sky", *arguments, "--json"))
    with Image.open(path) as image:
        assert image.format == kind
        assert image.size == (128, 64)
    assert result["job"]["delivered"]["prompt"] == "a yellow star in the night sky"


def test_the_same_seed_gives_the_same_file(system: System, tmp_path: Path) -> None:
    paths = [tmp_path / "one.mp4", tmp_path / "two.mp4"]
    for path in paths:
        assert system.cli("generate", "a green boat", *SMALL, "-o", str(path)).returncode == 0
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_video_begins_with_the_given_image(system: System, tmp_path: Path) -> None:
    image = tmp_path / "first.png"
    Image.new("RGB", (128, 64), (20, 90, 200)).save(image)
    path = tmp_path / "out.mp4"
    done = system.cli("generate", "it stays still", *SMALL, "--image", str(image), "-o", str(path), "--json")
    assert result_of(done)["job"]["delivered"]["reference_image_used"] is True
    assert path.exists()


def test_people_see_file_times_and_seed(system: System, tmp_path: Path) -> None:
    path = tmp_path / "seen.mp4"
    done = system.cli("generate", "a pink heart", *SMALL, "-o", str(path))
    assert done.returncode == 0, done.stderr
    for expected in (str(path), "128×64", "seed", "7", "denoising", "decoding"):
        assert expected in done.stdout


def test_bad_values_are_named(system: System) -> None:
    done = system.cli("generate", "a ball", "--fps", "99", "--json")
    assert done.returncode == 2
    error = json.loads(done.stdout.splitlines()[-1])["error"]
    assert error["code"] == "INVALID_ARGUMENT"
    assert [v["field"] for v in error["violations"]] == ["spec.fps"]
    assert "99" in error["violations"][0]["description"]


def test_unknown_models_name_the_known_ones(system: System) -> None:
    done = system.cli("generate", "a ball", "--model", "nope")
    assert done.returncode == 2
    assert "spec.model" in done.stderr
    assert "demo" in done.stderr


def test_jobs_are_listed_shown_and_downloaded(system: System, tmp_path: Path) -> None:
    made = result_of(system.cli("generate", "a white cloud", *SMALL, "-o", str(tmp_path / "a.mp4"), "--json"))
    job = made["job"]["id"]
    assert job in system.cli("jobs", "list").stdout
    shown = system.cli("jobs", "get", job)
    assert "a white cloud" in shown.stdout
    again = tmp_path / "b.mp4"
    assert system.cli("jobs", "download", job, "-o", str(again)).returncode == 0
    assert again.read_bytes() == (tmp_path / "a.mp4").read_bytes()
    assert system.cli("jobs", "get", "no-such-job").returncode == 1


def test_status_and_estimate(system: System) -> None:
    status = system.cli("status")
    assert status.returncode == 0, status.stderr
    assert "demo" in status.stdout
    estimate = system.cli("estimate", "a ball", "--size", "128x64", "--steps", "3")
    assert estimate.returncode == 0, estimate.stderr
    assert "fits" in estimate.stdout


def test_enhance_writes_one_paragraph(system: System) -> None:
    done = system.cli("enhance", "a red ball", "--json")
    assert done.returncode == 0, done.stderr
    prompt = json.loads(done.stdout.splitlines()[-1])["result"]["prompt"]
    assert prompt
    assert "\n" not in prompt


def test_nobody_there_is_one_line(system: System) -> None:
    done = system.cli("generate", "a ball", "--address", "127.0.0.1:1")
    assert done.returncode == 3
    assert done.stderr.strip().splitlines() == ["error: no gateway at 127.0.0.1:1: start one with `wanworker up`"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_client_that_goes_away_frees_the_generator(system: System, number: int, code: int) -> None:
    """In mid-denoise; the job would take minutes, and ends within a step of the client's end."""
    client = system.popen("generate", "a boat", "--steps", "100", "--duration", "2s", "--no-enhance", "--json")
    assert client.stdout is not None
    job = ""
    for line in client.stdout:
        event = json.loads(line)["event"]
        job = event.get("snapshot", {}).get("id", job)
        progress = event.get("progress", {})
        if progress.get("stage") == "STAGE_DENOISING" and progress.get("step", 0) >= 2:
            break
    assert generator_status(system).running == 1
    client.send_signal(number)
    rest, errors = client.communicate(timeout=30)
    assert client.returncode == code, rest + errors
    give_up = time.monotonic() + 20
    while generator_status(system).running:
        assert time.monotonic() < give_up, "the generator still works for a client that is gone"
        time.sleep(0.05)
    shown = json.loads(system.cli("jobs", "get", job, "--json").stdout.splitlines()[-1])["job"]
    assert shown["state"] == "JOB_STATE_CANCELLED"
    assert shown["progress"]["step"] < 100


def test_one_trace_from_the_client_to_the_muxer(system: System, receiver: Receiver, tmp_path: Path) -> None:
    before = {span.trace_id for span in receiver.spans}
    done = system.cli("generate", "a black moon", *SMALL, "-o", str(tmp_path / "moon.mp4"), "--json")
    job = result_of(done)["job"]
    names = ("job", "enhance", "queue", "attempt", "encode_text", "denoise", "decode", "mux", "store")
    give_up = time.monotonic() + 20
    while True:
        spans = [span for span in receiver.spans if span.trace_id == job["trace_id"]]
        if set(names) <= {span.name for span in spans} and any(s.service == "wanworker-cli" for s in spans):
            break
        assert time.monotonic() < give_up, sorted((s.service, s.name) for s in spans)
        time.sleep(0.1)
    assert job["trace_id"] not in before
    by_id = {span.span_id: span for span in spans}
    roots = [span for span in spans if span.parent_span_id not in by_id]
    assert [root.service for root in roots] == ["wanworker-cli"]
    assert {span.service for span in spans} == {
        "wanworker-cli", "wanworker-gateway", "wanworker-enhancer", "wanworker-generator",
    }  # fmt: skip
    denoise = next(span for span in spans if span.name == "denoise")
    assert len(denoise.events) == 3

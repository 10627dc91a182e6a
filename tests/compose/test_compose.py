"""What a user of `docker compose up` gets. A test that fails shows the end of the services' logs."""

import json
import time
from pathlib import Path

import av
import pytest

from tests.compose.stack import Stack
from wanworker.client import Client, Job, JobState, JobType

# The first test waits for the images to be built.
pytestmark = [pytest.mark.compose, pytest.mark.timeout(1800)]

SERVICES = ("gateway", "enhancer", "generator")
PORTS = {"gateway": 50051, "enhancer": 50052, "generator": 50053}
COMPILERS = ("cc", "gcc", "c++", "g++", "make", "cmake", "ld", "nvcc")


def denoising(stack: Stack, prompt: str) -> Job:
    """Makes a job that takes a while and returns it once it is at its second step."""
    with Client(stack.address) as client:
        job = client.create(prompt, size=(128, 64), duration=0.7, fps=12, steps=40, seed=7)
        give_up = time.monotonic() + 90
        while job.progress is None or job.progress.step < 2:
            assert time.monotonic() < give_up, job
            time.sleep(0.1)
            job = client.get(job.id)
        return job


def ended(stack: Stack, job: Job) -> Job:
    """The job once it is in a final state."""
    with Client(stack.address) as client:
        return client.wait(job.id, timeout=180)


def started(stack: Stack, service: str) -> int:
    """How often a service's process has begun to listen."""
    return sum("listens on" in line for line in stack.logs(service).splitlines())


def wait_until_restarted(stack: Stack, service: str, before: int) -> None:
    """Returns once the restart policy has brought a service back, and it serves."""
    give_up = time.monotonic() + 120
    while started(stack, service) == before:
        assert time.monotonic() < give_up, stack.state(service)
        time.sleep(0.5)
    stack.wait_until_healthy(service)


@pytest.mark.parametrize("service", SERVICES)
def test_images_are_lean_and_locked(stack: Stack, service: str) -> None:
    assert stack.run_in(service, "id", "-u").strip() == "10001"
    assert "read-only" in stack.run_in(
        service, "sh", "-c", "touch /opt/app/wanworker/x /etc/x 2>&1 | sed 's/.*Read-only.*/read-only/'"
    )
    found = stack.run_in(service, "sh", "-c", f"command -v {' '.join(COMPILERS)}; true")
    assert found == ""
    capabilities = stack.run_in(service, "sh", "-c", "grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status").split()
    assert capabilities[1::2] == ["0" * 16, "0" * 16, "1"]


@pytest.mark.parametrize("service", SERVICES)
def test_health_is_grpc_health(stack: Stack, service: str) -> None:
    probe = ("python", "-m", "wanworker.runtime.probe")
    assert stack.run_in(service, *probe, f"127.0.0.1:{PORTS[service]}") == ""
    wrong = stack.run_in(service, *probe, "127.0.0.1:1", check=False)
    assert wrong.startswith("127.0.0.1:1 does not serve: UNAVAILABLE")


def test_doctor_is_content_in_the_gateways_container(stack: Stack) -> None:
    told = stack.run_in("gateway", "wanworker", "doctor", "--json")
    result = json.loads(told)["result"]
    assert result["broken"] == 0, told
    verdicts = {(f["group"], f["name"]): f["verdict"] for f in result["findings"]}
    assert verdicts["ports", "gateway"] == verdicts["peers", "generator"] == verdicts["peers", "gateway"] == "ok"
    assert verdicts["versions", "generator"] == "note", "its packages are in its own image"


def test_the_gateway_starts_after_its_peers_serve(stack: Stack) -> None:
    times = {}
    for service, text in (("enhancer", "is serving"), ("generator", "is serving"), ("gateway", "listens on")):
        lines = [json.loads(line) for line in stack.logs(service).splitlines() if line.startswith("{")]
        times[service] = next(line["time"] for line in lines if text in line["message"])
    assert times["gateway"] > max(times["enhancer"], times["generator"])


def test_a_video_comes_through_the_published_port_with_its_trace(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "ball.mp4"
    with Client(stack.address) as client:
        result = client.generate("a red ball bounces", path, size=(128, 64), duration=0.7, fps=12, steps=5, seed=7)
    with av.open(str(path)) as file:
        assert file.streams.video[0].codec_context.name == "h264"
        assert sum(1 for _ in file.decode(video=0)) == result.delivered.frames == 9
    assert result.delivered.prompt != "a red ball bounces", "the enhancer has taken no part"
    names = ("job", "enhance", "queue", "attempt", "encode_text", "denoise", "decode", "mux", "store")
    spans = stack.trace(result.job.trace_id, *names)
    assert {span.service for span in spans} == {f"wanworker-{service}" for service in SERVICES}
    ids = {span.span_id for span in spans}
    assert [span.name for span in spans if span.parent_span_id not in ids] == ["wanworker.v1.GatewayService/RunJob"]
    denoise = next(span for span in spans if span.name == "denoise")
    assert denoise.events.count("denoising_step") == 5


@pytest.mark.parametrize("service", ["generator", "gateway"])
def test_a_killed_container_comes_back_and_the_job_ends_well(stack: Stack, service: str) -> None:
    before = started(stack, service)
    job = denoising(stack, f"a blue fish swims past the {service}")
    stack.kill(service)
    wait_until_restarted(stack, service, before)
    done = ended(stack, job)
    assert done.state is JobState.SUCCEEDED, done.failure
    assert done.attempts >= 2
    assert done.delivered is not None
    assert done.delivered.seed == 7


def test_a_stopped_gateway_drains_in_time_and_goes_on_with_the_job(stack: Stack) -> None:
    job = denoising(stack, "a green boat")
    stack.compose("stop", "gateway")
    # 137 would be the engine's SIGKILL after stop_grace_period.
    assert stack.state("gateway")["ExitCode"] == 0, stack.logs("gateway")[-3000:]
    stack.compose("start", "gateway")
    stack.wait_until_healthy("gateway")
    done = ended(stack, job)
    assert done.state is JobState.SUCCEEDED, done.failure
    assert done.attempts >= 2


BACKUP = "import sqlite3 as s; s.connect('/data/dbos.sqlite').backup(s.connect('/data/backup.sqlite'))"
"""As docs/operations.md has it."""

RESTORE = """
import os
for suffix in ("-wal", "-shm"):
    if os.path.exists(f"/data/dbos.sqlite{suffix}"):
        os.remove(f"/data/dbos.sqlite{suffix}")
os.replace("/data/backup.sqlite", "/data/dbos.sqlite")
"""


def test_a_backup_taken_while_it_runs_can_be_restored(stack: Stack) -> None:
    under_way = denoising(stack, "a job that is under way when the backup is made")
    stack.run_in("gateway", "python", "-c", BACKUP)
    with Client(stack.address) as client:
        kept = {job.id for job in client.list()}
        later = client.create("made after the backup", job_type=JobType.IMAGE_FAST, size=(128, 64), steps=2)
    stack.compose("stop", "gateway")
    stack.compose("run", "--rm", "--no-deps", "--entrypoint", "python", "gateway", "-c", RESTORE)
    stack.compose("start", "gateway")
    stack.wait_until_healthy("gateway")
    assert ended(stack, under_way).state is JobState.SUCCEEDED
    with Client(stack.address) as client:
        assert {job.id for job in client.list()} == kept
        assert later.id not in kept
        for job in client.list():
            assert job.artifact is not None
            assert len(b"".join(client.read(job.id))) == job.artifact.size_bytes

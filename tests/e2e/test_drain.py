"""SIGTERM under load: what `docker compose stop`, systemd or Kubernetes send before an upgrade."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.system import SERVICES, System, running_system
from wanworker.client import Client, Job, JobState, JobType

JOBS = 20


@pytest.fixture
def own_system(tmp_path: Path) -> Iterator[System]:
    """A system that a test may stop."""
    with running_system(tmp_path) as running:
        yield running


def created(client: Client, number: int) -> Job:
    """A job; every fourth is a video."""
    if number % 4 == 3:
        return client.create(f"load {number}", size=(128, 64), duration=0.7, fps=12, steps=4, seed=number)
    return client.create(f"load {number}", job_type=JobType.IMAGE_FAST, size=(128, 64), steps=4, seed=number)


def wait_until_busy(client: Client, jobs: list[Job]) -> None:
    """Returns once a job has ended and others are at work: some are done, some run, some wait."""
    give_up = time.monotonic() + 90
    while True:
        states = [client.get(job.id).state for job in jobs]
        if JobState.SUCCEEDED in states and JobState.RUNNING in states and JobState.QUEUED in states:
            return
        assert time.monotonic() < give_up, states
        time.sleep(0.05)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("stopped", [("gateway",), SERVICES], ids=["gateway", "all"])
def test_sigterm_under_load_loses_no_job(own_system: System, stopped: tuple[str, ...]) -> None:
    with Client(own_system.address("gateway")) as client:
        jobs = [created(client, number) for number in range(JOBS)]
        wait_until_busy(client, jobs)
    for service in stopped:
        own_system.processes[service].terminate()
    assert {own_system.processes[service].wait(40) for service in stopped} == {0}
    for service in stopped:
        own_system.start(service)
    for service in stopped:
        own_system.wait_until_serving(service)
    with Client(own_system.address("gateway")) as client:
        done = [client.wait(job.id, timeout=300) for job in jobs]
        assert [job.state for job in done] == [JobState.SUCCEEDED] * JOBS, [job.failure for job in done]
        for job in done:
            assert job.artifact is not None
            assert len(b"".join(client.read(job.id))) == job.artifact.size_bytes
        assert {job.id for job in client.list()} == {job.id for job in jobs}

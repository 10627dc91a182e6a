"""Real out-of-memory errors of the real generator, and what the gateway makes of them: down the ladder, and said so."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from tests.support.system import System, running_system
from wanworker.client import Client, Job, JobState
from wanworker.v1 import generator_pb2, generator_pb2_grpc, types_pb2

SIZE = (128, 64)
SPARED = types_pb2.MemoryOptions(tiled_decode=True, evict_text_encoder=True, free_caches=True)
PLENTY = "1000000000000"
BUDGET = "WANWORKER_GENERATOR_MEMORY_BUDGET_BYTES"


@dataclass
class Squeezed:
    """A system whose generator has a budget, and what jobs need."""

    system: System
    """The three processes."""
    plain: int
    """Bytes at the peak of the job that is asked for."""
    spared: int
    """The same with everything spared."""

    def limit(self, budget: int) -> None:
        """Restarts the generator with another budget."""
        self.system.processes["generator"].kill()
        self.system.processes["generator"].wait()
        self.system.environment[BUDGET] = str(budget)
        self.system.start("generator")
        self.system.wait_until_serving("generator")

    def run(self, prompt: str, **options: Any) -> Job:
        """The job once it has ended. A known prompt needs no text encoder and less memory: each is new."""
        with Client(self.system.address("gateway")) as client:
            job = client.create(prompt, size=SIZE, duration=0.75, fps=12, steps=2, seed=1, enhance=False, **options)
            return client.wait(job.id, timeout=60)


def peak(system: System, memory: types_pb2.MemoryOptions | None) -> int:
    """What the generator itself counts for that job."""
    settings = types_pb2.GenerationSettings(
        model="demo", width=SIZE[0], height=SIZE[1], frames=9, fps=12, steps=2, guidance_scale=5.0, memory=memory
    )
    request = generator_pb2.GenerateRequest(
        settings=settings, prompt="a red ball", seed=1, format=types_pb2.OUTPUT_FORMAT_MP4
    )
    with grpc.insecure_channel(system.address("generator")) as channel:
        events = list(generator_pb2_grpc.GeneratorServiceStub(channel).Generate(request, timeout=60))
    return int(events[-1].completed.peak_memory_bytes)


@pytest.fixture(scope="module")
def squeezed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Squeezed]:
    """A budget that the job as asked for breaks, and the same job with memory spared does not."""
    extra = {BUDGET: PLENTY, "WANWORKER_GENERATOR_ADMISSION": "false", "WANWORKER_GENERATOR_WARM_UP_JOB": "false"}
    with running_system(tmp_path_factory.mktemp("squeezed"), extra) as system:
        found = Squeezed(system, peak(system, None), peak(system, SPARED))
        assert found.spared < found.plain
        found.limit((found.plain + found.spared) // 2)
        yield found


def rungs(job: Job) -> list[str]:
    return [each.rung for each in job.degradations]


def test_the_ladder_is_walked_until_the_job_fits(squeezed: Squeezed) -> None:
    job = squeezed.run("a red ball")
    assert job.state is JobState.SUCCEEDED, job.failure
    assert rungs(job)
    for rung in job.degradations:
        assert rung.before != rung.after
    assert job.delivered is not None
    assert job.delivered.settings.memory.tiled_decode
    assert (job.delivered.width, job.delivered.height, job.delivered.frames) == (*SIZE, 9)


def test_forbidden_fails_with_what_was_needed(squeezed: Squeezed) -> None:
    job = squeezed.run("a green fish", degradation="forbidden")
    assert job.state is JobState.FAILED
    assert job.failure is not None
    assert (job.failure.code, job.failure.reason) == ("RESOURCE_EXHAUSTED", "GPU_OUT_OF_MEMORY")
    assert int(job.failure.metadata["needed_bytes"]) > 0
    assert int(job.failure.metadata["free_bytes"]) > 0
    assert rungs(job) == []

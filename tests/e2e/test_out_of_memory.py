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

    def free_bytes(self) -> int:
        """Memory that the generator says it could give."""
        with grpc.insecure_channel(self.system.address("generator")) as channel:
            stub = generator_pb2_grpc.GeneratorServiceStub(channel)
            return int(stub.GetStatus(generator_pb2.GeneratorServiceGetStatusRequest(), timeout=10).free_memory_bytes)

    def still(self, prompt: str) -> Job:
        """A job that fits easily, once it has ended."""
        with Client(self.system.address("gateway")) as client:
            job = client.create(prompt, job_type="image-fast", size=(64, 64), steps=1, seed=1, enhance=False)
            return client.wait(job.id, timeout=60)

    def run(self, prompt: str, **options: Any) -> Job:
        """The job once it has ended. A known prompt needs no text encoder and less memory: each is new."""
        with Client(self.system.address("gateway")) as client:
            asked = {"duration": 0.75, "size": SIZE, **options}
            job = client.create(prompt, fps=12, steps=2, seed=1, enhance=False, **asked)
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


def test_same_output_only_succeeds_with_one_new_prompt_after_the_other(squeezed: Squeezed) -> None:
    for prompt in ("a blue kite", "a yellow lamp"):
        job = squeezed.run(prompt, degradation="same-output-only")
        assert job.state is JobState.SUCCEEDED, job.failure
        assert rungs(job) == ["spare_memory"]
        assert job.delivered is not None
        assert job.delivered.settings.frames == 9


def test_what_fits_on_no_rung_fails_typed_and_poisons_nothing(squeezed: Squeezed) -> None:
    first = squeezed.still("a white boat")
    level = squeezed.free_bytes()
    # Four times the pixels, in one tile: neither its plain form nor its spared one fits, and there is no lower rung.
    job = squeezed.run("a red cube", size=(2 * SIZE[0], 2 * SIZE[1]))
    assert job.state is JobState.FAILED
    assert job.failure is not None
    assert (job.failure.code, job.failure.reason) == ("RESOURCE_EXHAUSTED", "GPU_OUT_OF_MEMORY")
    second = squeezed.still("a white boat")
    assert (first.state, second.state) == (JobState.SUCCEEDED, JobState.SUCCEEDED)
    assert first.artifact is not None
    assert second.artifact is not None
    assert first.artifact.sha256 == second.artifact.sha256
    assert squeezed.free_bytes() == level
    # And a job of the size that went before goes on fitting.
    assert squeezed.run("a green lamp").state is JobState.SUCCEEDED

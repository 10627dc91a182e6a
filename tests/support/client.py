"""A gateway and an enhancer that do as they are told, on real gRPC servers in this process."""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from wanworker.v1 import enhancer_pb2, enhancer_pb2_grpc, gateway_pb2, gateway_pb2_grpc, types_pb2

JOB_ID = "0198c0de-0000-7000-8000-000000000001"
FILE = bytes(range(256)) * 400
CHUNK = 16 * 1024


@dataclass
class Fail:
    """Ends a call with a status."""

    code: grpc.StatusCode
    message: str = "as told"
    reason: str = "SCRIPTED"
    metadata: dict[str, str] = field(default_factory=dict)
    details: Sequence[Message] = ()

    async def abort(self, context: Any) -> None:
        """Ends the call."""
        status = status_pb2.Status(code=code_pb2.Code.Value(self.code.name), message=self.message)
        info = error_details_pb2.ErrorInfo(reason=self.reason, domain="wanworker", metadata=self.metadata)
        for detail in (info, *self.details):
            status.details.add().Pack(detail)
        trailing = (("grpc-status-details-bin", status.SerializeToString()),)
        await context.abort(self.code, self.message, trailing)


@dataclass
class Pause:
    """Holds a stream open for good, or until the caller goes away."""


Step = gateway_pb2.JobEvent | Fail | Pause


def job(state: str = "RUNNING", sequence: int = 1, **values: Any) -> gateway_pb2.Job:
    """A job in a state, with all that the state has."""
    made = gateway_pb2.Job(id=JOB_ID, state=f"JOB_STATE_{state}", sequence=sequence, attempts=1)
    made.spec.prompt = "a red ball"
    made.create_time.FromJsonString("2026-01-02T03:04:05Z")
    if state == "SUCCEEDED":
        _succeed(made)
    if state == "FAILED":
        made.failure.code, made.failure.reason = "RESOURCE_EXHAUSTED", "GPU_OUT_OF_MEMORY"
        made.failure.message = "the job needs more memory than there is"
        made.failure.metadata["needed_bytes"] = "123"
    made.MergeFrom(gateway_pb2.Job(**values))
    return made


def _succeed(made: gateway_pb2.Job) -> None:
    made.artifact.CopyFrom(artifact())
    made.delivered.CopyFrom(
        gateway_pb2.Delivered(
            settings=settings(), model_revision="abcdef0123456789", width=256, height=144, frames=33, fps=16,
            seed=42, prompt="a red ball, cinematic", enhanced=True, enhancer_model="qwen-demo",
        )
    )  # fmt: skip
    made.delivered.duration.FromMilliseconds(2062)
    for stage, milliseconds in (("ENHANCING", 400), ("DENOISING", 2500), ("DECODING", 600)):
        row = made.stages.add(stage=f"STAGE_{stage}")
        row.duration.FromMilliseconds(milliseconds)
    made.adjustments.add(field="duration", asked="2s", used="2.0625s", reason="frames are of the form 4k + 1")
    made.warnings.add(reason="SLOW_JOB", message="took longer than usual")
    lowered = made.degradations.add(rung="tiled_decode", attempt=1, to=settings(tiled=True))
    getattr(lowered, "from").CopyFrom(settings())


def settings(*, tiled: bool = False) -> types_pb2.GenerationSettings:
    """Settings of the demo model."""
    return types_pb2.GenerationSettings(
        model="demo", width=256, height=144, frames=33, fps=16, steps=15, guidance_scale=5.0,
        memory=types_pb2.MemoryOptions(tiled_decode=tiled),
    )  # fmt: skip


def artifact(data: bytes = FILE) -> gateway_pb2.Artifact:
    """What a file is."""
    return gateway_pb2.Artifact(
        media_type="video/mp4",
        size_bytes=len(data),
        sha256=hashlib.sha256(data).digest(),
        file_name="ball.mp4",
    )


def snapshot(state: str, sequence: int, **values: Any) -> gateway_pb2.JobEvent:
    """An event with the whole job."""
    return gateway_pb2.JobEvent(sequence=sequence, snapshot=job(state, sequence, **values))


def progress(sequence: int, stage: str = "DENOISING", step: int = 3, **values: Any) -> gateway_pb2.JobEvent:
    """An event about a step."""
    message = types_pb2.Progress(
        stage=f"STAGE_{stage}", fraction=0.1 * step, step=step, total_steps=15, attempt=1, **values,
    )  # fmt: skip
    message.eta.FromMilliseconds(12_000)
    return gateway_pb2.JobEvent(sequence=sequence, progress=message)


def good_run() -> list[Step]:
    """The events of a job that goes well, every kind of them."""
    lowered = gateway_pb2.Degradation(rung="tiled_decode", attempt=1, to=settings(tiled=True))
    getattr(lowered, "from").CopyFrom(settings())
    event = gateway_pb2.JobEvent
    return [
        snapshot("QUEUED", 1),
        progress(2, "QUEUED", 0, queue_position=1),
        progress(3, "ENHANCING", 0),
        event(sequence=4, prompt_delta=gateway_pb2.PromptDelta(text="a red ball, ")),
        event(sequence=5, prompt_delta=gateway_pb2.PromptDelta(text="cinematic")),
        event(
            sequence=6,
            prompt_enhanced=gateway_pb2.PromptEnhanced(prompt="a red ball, cinematic", model="qwen-demo"),
        ),
        event(sequence=7, warning=gateway_pb2.Warning(reason="SLOW_JOB", message="took longer than usual")),
        event(sequence=8, degradation=lowered),
        progress(9),
        event(sequence=10, preview=types_pb2.Preview(webp=b"RIFF", width=64, height=9, frames=4, step=3)),
        snapshot("SUCCEEDED", 11),
    ]


class FakeGateway(gateway_pb2_grpc.GatewayServiceServicer):
    """Answers from scripts: one entry a call, the last one for good. Remembers what it was asked."""

    def __init__(self) -> None:
        self.runs: list[list[Step]] = [good_run()]
        self.watches: list[list[Step]] = [good_run()]
        self.reads: list[Callable[[int], Iterable[gateway_pb2.ReadArtifactResponse | Fail]]] = [read_file]
        self.failures: dict[str, list[Fail]] = {}
        self.state = "SUCCEEDED"
        self.jobs = [job("SUCCEEDED", id=f"job-{number}") for number in range(5)]
        self.requests: list[tuple[str, Any]] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self.deadlines: list[float | None] = []
        self.cancelled = threading.Event()

    def asked(self, method: str) -> list[Any]:
        """Requests of one method."""
        return [request for name, request in self.requests if name == method]

    async def _note(self, method: str, request: Any, context: Any) -> None:
        self.requests.append((method, request))
        self.metadata.append(dict(context.invocation_metadata() or ()))
        self.deadlines.append(context.time_remaining())
        if self.failures.get(method):
            await self.failures[method].pop(0).abort(context)

    async def _play(self, steps: list[Step], context: Any) -> AsyncIterator[Any]:
        played = False

        def end(_: Any) -> None:
            if not played:
                self.state = "CANCELLED"
                self.cancelled.set()

        # Not `except CancelledError`: a handler that is cancelled while gRPC writes for it hears nothing of
        # it here.
        context.add_done_callback(end)
        for step in steps:
            if isinstance(step, Fail):
                played = True
                await step.abort(context)
            elif isinstance(step, Pause):
                await asyncio.Event().wait()
            else:
                yield step
        played = True

    async def CreateJob(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._note("CreateJob", request, context)
        return gateway_pb2.CreateJobResponse(job=job("QUEUED", spec=request.spec))

    async def GetJob(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._note("GetJob", request, context)
        return gateway_pb2.GetJobResponse(job=job(self.state, id=request.job_id))

    async def ListJobs(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._note("ListJobs", type(request).FromString(request.SerializeToString()), context)
        begin, size = int(request.page_token or 0), request.page_size or 2
        end = begin + size
        token = str(end) if end < len(self.jobs) else ""
        return gateway_pb2.ListJobsResponse(jobs=self.jobs[begin:end], next_page_token=token)

    async def CancelJob(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._note("CancelJob", request, context)
        return gateway_pb2.CancelJobResponse(job=job(self.state, id=request.job_id))

    async def WatchJob(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        await self._note("WatchJob", request, context)
        steps = self.watches.pop(0) if len(self.watches) > 1 else self.watches[0]
        async for event in self._play(steps, context):
            yield gateway_pb2.WatchJobResponse(event=event)

    async def RunJob(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        await self._note("RunJob", request, context)
        steps = self.runs.pop(0) if len(self.runs) > 1 else self.runs[0]
        async for event in self._play(steps, context):
            yield gateway_pb2.RunJobResponse(event=event)

    async def ReadArtifact(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        await self._note("ReadArtifact", request, context)
        read = self.reads.pop(0) if len(self.reads) > 1 else self.reads[0]
        for answer in read(request.offset):
            if isinstance(answer, Fail):
                await answer.abort(context)
            else:
                yield answer

    async def EstimateJob(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._note("EstimateJob", request, context)
        answer = gateway_pb2.EstimateJobResponse(settings=settings())
        answer.adjustments.add(field="duration", asked="2s", used="2.0625s", reason="4k + 1")
        answer.estimate.fits, answer.estimate.needed_bytes, answer.estimate.available_bytes = (
            True,
            2**30,
            2**31,
        )
        answer.estimate.duration.FromMilliseconds(3500)
        answer.queue_wait.FromMilliseconds(1000)
        return answer

    async def GetStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._note("GetStatus", request, context)
        answer = gateway_pb2.GatewayServiceGetStatusResponse(version="0.1.0", running=1, max_concurrent_jobs=4)
        answer.enhancer_peer.address, answer.enhancer_peer.error = "127.0.0.1:50052", "connection refused"
        answer.generator_peer.address, answer.generator_peer.reachable = "127.0.0.1:50053", True
        answer.generator.device = "cpu"
        answer.generator.models.add(name="demo", default_width=256, default_height=144, capabilities=[1, 99])
        return answer


def read_file(
    offset: int, data: bytes = FILE, *, cut_at: int | None = None, claimed: bytes = FILE
) -> Iterator[gateway_pb2.ReadArtifactResponse | Fail]:
    """A file in chunks from an offset; `cut_at` ends it with UNAVAILABLE, `claimed` is what it says it is."""
    for begin in range(offset, len(data), CHUNK):
        if cut_at is not None and begin >= cut_at:
            yield Fail(grpc.StatusCode.UNAVAILABLE, "restarting", "DRAINING")
        first = artifact(claimed) if begin == offset else None
        yield gateway_pb2.ReadArtifactResponse(artifact=first, offset=begin, data=data[begin : begin + CHUNK])


class FakeEnhancer(enhancer_pb2_grpc.EnhancerServiceServicer):
    """Writes the same prompt for all."""

    def __init__(self) -> None:
        self.requests: list[Any] = []

    async def Enhance(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        self.requests.append(request)
        answer = enhancer_pb2.EnhanceResponse
        yield answer(queued=enhancer_pb2.EnhanceQueued(position=1))
        yield answer(loading=enhancer_pb2.EnhanceLoading(model="qwen-demo"))
        yield answer(delta=enhancer_pb2.EnhanceDelta(text="A red "))
        yield answer(delta=enhancer_pb2.EnhanceDelta(text="ball."))
        done = enhancer_pb2.EnhanceCompleted(prompt="A red ball.", model="qwen-demo", finish_reason=1, seed=7)  # type: ignore[arg-type]
        yield answer(completed=done)

    async def Unload(self, request: Any, context: Any) -> Any:  # noqa: N802
        return enhancer_pb2.UnloadResponse()

    async def GetStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        return enhancer_pb2.EnhancerServiceGetStatusResponse(version="0.1.0", model="qwen-demo", loaded=True)


@asynccontextmanager
async def serving(
    gateway: FakeGateway | None = None, enhancer: FakeEnhancer | None = None, port: int = 0
) -> AsyncIterator[str]:
    """Serves fakes on a real server and yields its address."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    if gateway is not None:
        gateway_pb2_grpc.add_GatewayServiceServicer_to_server(gateway, server)
    if enhancer is not None:
        enhancer_pb2_grpc.add_EnhancerServiceServicer_to_server(enhancer, server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield f"127.0.0.1:{bound}"
    finally:
        await server.stop(None)


@contextmanager
def serving_thread(gateway: FakeGateway | None = None, enhancer: FakeEnhancer | None = None) -> Iterator[str]:
    """The same on a thread of its own, for callers that block."""
    ready: list[str] = []
    up, down = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with serving(gateway, enhancer) as address:
            ready.append(address)
            up.set()
            await down.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert up.wait(10)
    try:
        yield ready[0]
    finally:
        loop.call_soon_threadsafe(down.set)
        thread.join(10)
        loop.close()

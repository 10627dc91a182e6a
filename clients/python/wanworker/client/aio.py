"""The asynchronous client of the gateway."""

import asyncio
import os
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Self, Unpack, cast

import grpc

from wanworker.client.connection import DEFAULT_GATEWAY, DEFAULT_TIMEOUT, Connection, Endpoint
from wanworker.client.conversions import (
    estimate_from_proto,
    job_from_proto,
    spec_to_proto,
    states_to_proto,
    status_from_proto,
)
from wanworker.client.enums import JobState
from wanworker.client.errors import UnavailableError
from wanworker.client.events import JobEvent, SnapshotEvent
from wanworker.client.files import PartFile, output_path
from wanworker.client.peers import GatewayStatus
from wanworker.client.resume import ArtifactReader, follow, job_events
from wanworker.client.spec import SpecOptions, make_spec
from wanworker.client.types import Job, JobEstimate, JobSpec, Result
from wanworker.v1 import gateway_pb2, gateway_pb2_grpc

if TYPE_CHECKING:
    from wanworker.v1.gateway_pb2_grpc import GatewayServiceAsyncStub


class AsyncClient:
    """A connection to a gateway. One serves any number of tasks of one event loop; it connects at the first
    call.

    Calls raise the classes of `wanworker.client.errors`. `timeout` is in seconds: None is the client's for a
    unary call, and no limit for a stream. Unary calls, and CreateJob too, are tried again while the gateway
    is UNAVAILABLE.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        api_key: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        reconnect_seconds: float = 60.0,
        channel_options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        """Takes an address, by default WANWORKER_GATEWAY_ADDRESS or 127.0.0.1:50051.

        `credentials` switch TLS on, `api_key` travels as a bearer token. `reconnect_seconds` is how long a
        cut watch or download is taken up again before its UnavailableError is raised.
        """
        self._connection = Connection(
            Endpoint.of(
                address,
                "WANWORKER_GATEWAY_ADDRESS",
                DEFAULT_GATEWAY,
                credentials=credentials,
                api_key=api_key,
                timeout=timeout,
                options=channel_options,
            )
        )
        self._reconnect_seconds = reconnect_seconds
        self._known_stub: GatewayServiceAsyncStub | None = None

    @property
    def address(self) -> str:
        """The gateway's address."""
        return self._connection.endpoint.address

    @property
    def _stub(self) -> "GatewayServiceAsyncStub":
        channel = self._connection.channel
        if self._known_stub is None:
            self._known_stub = cast("GatewayServiceAsyncStub", gateway_pb2_grpc.GatewayServiceStub(channel))
        return self._known_stub

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection; what still runs on it is cancelled."""
        await self._connection.close()

    async def run(
        self, prompt: str | JobSpec, *, timeout: float | None = None, **options: Unpack[SpecOptions]
    ) -> AsyncGenerator[JobEvent, None]:
        """Makes a job that is bound to this iterator and yields its events; the last is a snapshot in a final
        state.

        A failed job is data: `event.job.raise_for_state()` makes it an exception. When the iterator is
        closed, its task is cancelled or the timeout passes, the device stops within one denoising step. To
        leave it early, use `contextlib.aclosing`: a plain `break` leaves the closing to the garbage
        collector.
        """
        request = gateway_pb2.RunJobRequest(spec=spec_to_proto(make_spec(prompt, options)))

        async def messages() -> AsyncGenerator[gateway_pb2.JobEvent, None]:
            async with aclosing(self._connection.stream(self._stub.RunJob, request, timeout)) as stream:
                async for response in stream:
                    yield response.event

        async with aclosing(job_events(messages())) as events:
            async for event in events:
                yield event
                if isinstance(event, SnapshotEvent) and event.job.state.is_final:
                    return
        raise UnavailableError(
            "the stream ended before its job did", code=grpc.StatusCode.UNAVAILABLE, reason="STREAM_CUT"
        )

    async def generate(
        self,
        prompt: str | JobSpec,
        output: str | os.PathLike[str] | None = None,
        *,
        timeout: float | None = None,
        **options: Unpack[SpecOptions],
    ) -> Result:
        """Runs a job to its end and saves its file: at `output`, in that folder, or here under the gateway's
        name.

        JobFailedError or JobCancelledError if there is no file. Cancelling the task cancels the job.
        """
        async with asyncio.timeout(timeout):
            job: Job | None = None
            async with aclosing(self.run(prompt, timeout=timeout, **options)) as events:
                async for event in events:
                    if isinstance(event, SnapshotEvent):
                        job = event.job
            assert job is not None
            return await self.download(job, output)

    async def create(
        self, prompt: str | JobSpec, *, timeout: float | None = None, **options: Unpack[SpecOptions]
    ) -> Job:
        """Makes a job that outlives this client, and returns at once."""
        request = gateway_pb2.CreateJobRequest(spec=spec_to_proto(make_spec(prompt, options)))
        response = await self._connection.unary(self._stub.CreateJob, request, timeout)
        return job_from_proto(response.job)

    async def get(self, job_id: str, *, timeout: float | None = None) -> Job:
        """Returns a job as it stands."""
        request = gateway_pb2.GetJobRequest(job_id=job_id)
        response = await self._connection.unary(self._stub.GetJob, request, timeout)
        return job_from_proto(response.job)

    async def list(
        self,
        *,
        states: Iterable[JobState | str] = (),
        page_size: int = 0,
        timeout: float | None = None,
    ) -> AsyncGenerator[Job, None]:
        """Yields jobs, newest first, page by page as they are asked for. `timeout` is for one page."""
        wanted = states_to_proto(tuple(JobState.parse(state) for state in states))
        request = gateway_pb2.ListJobsRequest(page_size=page_size)
        request.states.extend(wanted)  # type: ignore[arg-type]  # enums travel as plain numbers
        while True:
            page = await self._connection.unary(self._stub.ListJobs, request, timeout)
            for job in page.jobs:
                yield job_from_proto(job)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def cancel(self, job_id: str, *, timeout: float | None = None) -> Job:
        """Asks a job to stop and returns it, perhaps not in its final state yet. Twice is fine, and so is too
        late."""
        request = gateway_pb2.CancelJobRequest(job_id=job_id)
        response = await self._connection.unary(self._stub.CancelJob, request, timeout)
        return job_from_proto(response.job)

    async def watch(
        self, job_id: str, *, after_sequence: int = 0, timeout: float | None = None
    ) -> AsyncGenerator[JobEvent, None]:
        """Yields a job's events until its final snapshot. A cut watch goes on by itself and misses no change
        of state.

        UnavailableError at once if the first try fails, and once nothing came for `reconnect_seconds`.
        Watching does not keep a job alive, and ceasing to watch does not stop it. `timeout` is for the whole
        of it.
        """

        async def messages(last: int) -> AsyncGenerator[gateway_pb2.JobEvent, None]:
            request = gateway_pb2.WatchJobRequest(job_id=job_id, after_sequence=last)
            left = None if ends is None else max(ends - clock(), 0.0)
            async with aclosing(self._connection.stream(self._stub.WatchJob, request, left)) as stream:
                async for response in stream:
                    yield response.event

        clock = asyncio.get_running_loop().time
        ends = None if timeout is None else clock() + timeout
        async with aclosing(follow(messages, after_sequence, self._reconnect_seconds)) as events:
            async for event in events:
                yield event

    async def wait(self, job_id: str, *, timeout: float | None = None) -> Job:
        """Returns a job once it is in its final state, whichever that is."""
        job: Job | None = None
        async with aclosing(self.watch(job_id, timeout=timeout)) as events:
            async for event in events:
                if isinstance(event, SnapshotEvent):
                    job = event.job
        assert job is not None
        return job

    async def download(
        self, job: Job | str, output: str | os.PathLike[str] | None = None, *, timeout: float | None = None
    ) -> Result:
        """Saves a job's file and checks its SHA-256. It appears under its name whole or not at all.

        JobFailedError or JobCancelledError if the job ended that way, FailedPreconditionError while there is
        no file. A cut download goes on where it was. `timeout` is for the whole of it.
        """
        async with asyncio.timeout(timeout):
            known = await self.get(job) if isinstance(job, str) else job
            known.raise_for_state()
            path = output_path(output, known, known.artifact)
            with await asyncio.to_thread(PartFile, path) as part:
                reader = self._reader(known.id)
                async with aclosing(reader.pieces()) as pieces:
                    async for piece in pieces:
                        await asyncio.to_thread(part.write, piece)
                await asyncio.to_thread(part.commit)
        if known.delivered is None or reader.artifact is None:
            known = await self.get(known.id)
        assert reader.artifact is not None and known.delivered is not None
        return Result(path=path, job=known, artifact=reader.artifact, delivered=known.delivered)

    async def read(self, job_id: str) -> AsyncGenerator[bytes, None]:
        """Yields a job's file in pieces, for those who do not want it on disk.

        CorruptArtifactError comes after the last piece: use nothing before the iterator has ended.
        """
        async with aclosing(self._reader(job_id).pieces()) as pieces:
            async for piece in pieces:
                yield piece

    def _reader(self, job_id: str) -> ArtifactReader:
        async def messages(offset: int) -> AsyncGenerator[gateway_pb2.ReadArtifactResponse, None]:
            request = gateway_pb2.ReadArtifactRequest(job_id=job_id, offset=offset)
            async with aclosing(self._connection.stream(self._stub.ReadArtifact, request, None)) as stream:
                async for response in stream:
                    yield response

        return ArtifactReader(messages, self._reconnect_seconds)

    async def estimate(
        self, prompt: str | JobSpec, *, timeout: float | None = None, **options: Unpack[SpecOptions]
    ) -> JobEstimate:
        """Says what a job would be resolved to and what it would cost, without making it."""
        request = gateway_pb2.EstimateJobRequest(spec=spec_to_proto(make_spec(prompt, options)))
        return estimate_from_proto(await self._connection.unary(self._stub.EstimateJob, request, timeout))

    async def status(self, *, timeout: float | None = None) -> GatewayStatus:
        """Says how the gateway, its queue and its peers are."""
        request = gateway_pb2.GatewayServiceGetStatusRequest()
        return status_from_proto(await self._connection.unary(self._stub.GetStatus, request, timeout))

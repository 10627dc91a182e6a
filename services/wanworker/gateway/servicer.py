"""GatewayService: translates, and nothing else."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import grpc.aio

from wanworker.gateway import convert
from wanworker.gateway.convert_peer import duration, estimate_to_proto, settings_to_proto
from wanworker.gateway.jobs import JobService
from wanworker.gateway.model import ANONYMOUS, JobState, now
from wanworker.gateway.peers import PeerReport
from wanworker.runtime.interceptors import current_principal
from wanworker.v1 import gateway_pb2 as pb
from wanworker.v1 import gateway_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class GatewayServicer(gateway_pb2_grpc.GatewayServiceServicer):
    """The calls of wanworker.v1.GatewayService; the contract's comments say what each guarantees."""

    def __init__(self, jobs: JobService) -> None:
        self._jobs = jobs

    async def CreateJob(self, request: pb.CreateJobRequest, context: Context) -> pb.CreateJobResponse:
        """Make a job that outlives the call."""
        job = await self._jobs.create(convert.spec_from_proto(request.spec), _caller())
        return pb.CreateJobResponse(job=convert.job_to_proto(job))

    async def GetJob(self, request: pb.GetJobRequest, context: Context) -> pb.GetJobResponse:
        """One job."""
        return pb.GetJobResponse(job=convert.job_to_proto(await self._jobs.get(request.job_id, _caller())))

    async def ListJobs(self, request: pb.ListJobsRequest, context: Context) -> pb.ListJobsResponse:
        """A page of jobs."""
        states = [JobState(state) for state in request.states]
        jobs, token = await self._jobs.page(request.page_size, request.page_token, states, _caller())
        return pb.ListJobsResponse(jobs=[convert.job_to_proto(job) for job in jobs], next_page_token=token)

    async def CancelJob(self, request: pb.CancelJobRequest, context: Context) -> pb.CancelJobResponse:
        """Ask a job to stop."""
        job = await self._jobs.cancel(request.job_id, _caller())
        return pb.CancelJobResponse(job=convert.job_to_proto(job))

    async def WatchJob(self, request: pb.WatchJobRequest, context: Context) -> AsyncIterator[pb.WatchJobResponse]:
        """A job's events."""
        async for event in self._jobs.watch(request.job_id, _caller(), request.after_sequence):
            yield pb.WatchJobResponse(event=convert.event_to_proto(event))

    async def RunJob(self, request: pb.RunJobRequest, context: Context) -> AsyncIterator[pb.RunJobResponse]:
        """A job that lives as long as the call."""
        left = context.time_remaining()
        deadline = None if left is None else now() + timedelta(seconds=left)
        bound: list[str] = []

        # Called however the call ends, also where this generator is not told.
        def release(_: Context) -> None:
            for job_id in bound:
                self._jobs.release(job_id)

        # The stubs take the callback's class for the callback.
        context.add_done_callback(release)  # type: ignore[arg-type]
        async for event in self._jobs.run(convert.spec_from_proto(request.spec), _caller(), deadline):
            message = convert.event_to_proto(event)
            if message.HasField("snapshot") and not bound:
                bound.append(message.snapshot.id)
            yield pb.RunJobResponse(event=message)

    async def ReadArtifact(
        self, request: pb.ReadArtifactRequest, context: Context
    ) -> AsyncIterator[pb.ReadArtifactResponse]:
        """A job's file."""
        limit = request.limit if request.HasField("limit") else None
        async for piece in self._jobs.read(request.job_id, _caller(), request.offset, limit):
            yield pb.ReadArtifactResponse(
                artifact=convert.artifact_to_proto(piece.artifact) if piece.artifact else None,
                offset=piece.offset,
                data=piece.data,
            )

    async def EstimateJob(self, request: pb.EstimateJobRequest, context: Context) -> pb.EstimateJobResponse:
        """What a job would cost."""
        cost = await self._jobs.estimate(convert.spec_from_proto(request.spec))
        return pb.EstimateJobResponse(
            settings=settings_to_proto(cost.resolved.settings),
            adjustments=[convert.adjustment_to_proto(row) for row in cost.resolved.adjustments],
            estimate=estimate_to_proto(cost.estimate),
            queue_wait=None if cost.queue_wait is None else duration(cost.queue_wait),
        )

    async def GetStatus(
        self, request: pb.GatewayServiceGetStatusRequest, context: Context
    ) -> pb.GatewayServiceGetStatusResponse:
        """How the gateway and its peers are."""
        jobs, settings = self._jobs, self._jobs.settings
        timeout = settings.peer_timeout_seconds
        enhancer, generator = await asyncio.gather(jobs.enhancer.report(timeout), jobs.generator.report(timeout))
        counts = await jobs.book.counts()
        return pb.GatewayServiceGetStatusResponse(
            version=_version(),
            running=counts.get(JobState.RUNNING, 0),
            queued=counts.get(JobState.QUEUED, 0),
            max_concurrent_jobs=settings.max_concurrent_jobs,
            queue_limit=settings.queue_limit,
            enhancer_peer=_peer(enhancer),
            enhancer=enhancer.status,
            generator_peer=_peer(generator),
            generator=generator.status,
        )


def _caller() -> str:
    """Whose jobs a call is about: the API key's name."""
    principal = current_principal()
    return ANONYMOUS if principal is None else principal.name


def _peer(report: PeerReport[Any]) -> pb.PeerStatus:
    return pb.PeerStatus(address=report.address, reachable=report.status is not None, error=report.error)


def _version() -> str:
    try:
        return version("wanworker")
    except PackageNotFoundError:
        return "0.0.0"

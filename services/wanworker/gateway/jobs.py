"""What the gateway does, apart from gRPC: one method a call."""

import asyncio
import base64
import binascii
import logging
import secrets
import uuid
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from wanworker.gateway import telemetry
from wanworker.gateway.artifacts import ArtifactStore
from wanworker.gateway.asked import JobSpec, ReferenceImage
from wanworker.gateway.book import JobBook, no_such_job
from wanworker.gateway.catalogue import ModelCatalogue
from wanworker.gateway.generation import CostEstimate, Stage
from wanworker.gateway.model import Artifact, Inner, Job, JobEvent, JobState, Progress, now
from wanworker.gateway.peers import EnhancerPeer, GeneratorPeer, PeerError
from wanworker.gateway.queueing import due, wait_of_next
from wanworker.gateway.rates import Rates
from wanworker.gateway.resolve import Resolved, resolve
from wanworker.gateway.runner import JobRunner
from wanworker.gateway.settings import GatewaySettings
from wanworker.gateway.store import NoRoomError
from wanworker.runtime.errors import (
    AlreadyExistsError,
    ExhaustedError,
    FieldViolation,
    InternalError,
    InvalidArgumentError,
    OutOfRangeError,
    PreconditionError,
    ServiceError,
    UnavailableError,
)
from wanworker.runtime.transport import CHUNK_BYTES

_LOG = logging.getLogger("wanworker.gateway.jobs")

DEFAULT_PAGE = 50
"""Jobs on a page where the caller does not say."""

SUBMIT_SECONDS = 2.0
"""How long a caller waits for a job that is stored already to be handed to the runner."""

CANCEL_PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds between tries to cancel a job whose caller has gone while the database is away."""

DRAIN_RETRY_SECONDS = 2.0
"""When a restarted gateway is likely to be there."""


@dataclass(frozen=True)
class ArtifactPiece:
    """Some bytes of a file."""

    artifact: Artifact | None
    """What the file is; with the first piece only."""
    offset: int
    """Where the bytes stand."""
    data: bytes
    """256 KiB at most."""


@dataclass(frozen=True)
class JobCost:
    """What a spec would become and cost."""

    resolved: Resolved
    """With nothing left open."""
    estimate: CostEstimate
    """The generator's word."""
    queue_wait: float | None
    """Seconds; None while nothing is known."""


class JobService:
    """The gateway's calls."""

    def __init__(
        self,
        settings: GatewaySettings,
        book: JobBook,
        runner: JobRunner,
        artifacts: ArtifactStore,
        models: ModelCatalogue,
        enhancer: EnhancerPeer,
        generator: GeneratorPeer,
        rates: Rates,
    ) -> None:
        self.settings = settings
        """Limits and times."""
        self.book = book
        """The jobs."""
        self.enhancer = enhancer
        """For its status."""
        self.generator = generator
        """For its status and estimates."""
        self._runner = runner
        self._artifacts = artifacts
        self._models = models
        self._rates = rates
        self._creating = asyncio.Lock()
        self._refusal: UnavailableError | None = None
        self._background: set[asyncio.Task[object]] = set()

    def refuse(self) -> UnavailableError:
        """Take no more jobs from now on; the error that callers get."""
        self._refusal = UnavailableError(
            "the gateway is restarting; jobs go on afterwards",
            "DRAINING",
            retry_after_seconds=DRAIN_RETRY_SECONDS,
        )
        return self._refusal

    async def create(self, spec: JobSpec, owner: str, deadline: datetime | None = None) -> Job:
        """Make a job, or find the one of its owner's request_id."""
        models = await self._models.known()
        # A generator that was never reached cannot say what it makes; the job is resolved when its turn
        # comes.
        resolved = resolve(spec, models) if models else None
        async with self._creating:
            if self._refusal is not None:
                raise self._refusal
            if spec.request_id and (found := await self._by_request(spec, owner)) is not None:
                return found
            job = _new_job(spec, owner, resolved, deadline, self.settings.still_head_start_seconds)
            image = spec.reference.data if spec.reference else b""
            limit = self.settings.max_concurrent_jobs + self.settings.queue_limit
            try:
                added = await self.book.add(job, spec.fingerprint(), image, limit)
            except NoRoomError:
                raise await self._queue_full() from None
            if not added:
                # Another gateway on the same store was faster.
                found = await self._by_request(spec, owner)
                assert found is not None, "the id is taken, so it is there"
                return found
        if self.book.active:
            await self._submit(job)
        self.book.tell_positions()
        return self.book.live(job.id) or job

    async def run(self, spec: JobSpec, owner: str, deadline: datetime | None) -> AsyncIterator[JobEvent]:
        """Make a job that lives as long as somebody reads this. Not so when the gateway drains: then it goes
        on."""
        creation = asyncio.ensure_future(self.create(spec, owner, deadline))
        try:
            job = await asyncio.shield(creation)
        except asyncio.CancelledError:
            self._spawn(self._cancel_created(creation))
            raise
        bound = True
        try:
            async for event in self.book.watch(job.id):
                yield event
            bound = False
        except UnavailableError:
            bound = False
            raise
        finally:
            if bound:
                self.release(job.id)

    def release(self, job_id: str) -> None:
        """Cancel a job whose caller has gone, unless the gateway is what has gone."""
        works_elsewhere = not self.book.active
        if self._refusal is None and (works_elsewhere or self.book.live(job_id) is not None):
            self._spawn(self._cancel_surely(job_id))

    async def get(self, job_id: str, owner: str) -> Job:
        """One job, with its reference image."""
        job = await self._owned(job_id, owner)
        reference = job.spec.reference
        if reference is None or reference.url:
            return job
        image = await self.book.store.image(job_id)
        return replace(job, spec=replace(job.spec, reference=ReferenceImage(data=image)))

    async def page(self, size: int, token: str, states: Sequence[JobState], owner: str) -> tuple[Sequence[Job], str]:
        """A page of an owner's jobs and the token of the next."""
        page = await self.book.store.page(size or DEFAULT_PAGE, _number(token), states, owner)
        jobs = [self.book.live(job.id) or job for job in page.jobs]
        return jobs, "" if page.next_number is None else _token(page.next_number)

    async def cancel(self, job_id: str, owner: str) -> Job:
        """Ask a job to stop."""
        await self._owned(job_id, owner)
        return await self.book.cancel(job_id)

    async def watch(self, job_id: str, owner: str, after_sequence: int) -> AsyncIterator[JobEvent]:
        """A job's events. The first snapshot says all that came before."""
        await self._owned(job_id, owner)
        async with aclosing(self.book.watch(job_id, after_sequence)) as events:
            async for event in events:
                yield event

    async def read(self, job_id: str, owner: str, offset: int, limit: int | None) -> AsyncIterator[ArtifactPiece]:
        """A job's file."""
        job = await self._owned(job_id, owner)
        artifact = job.artifact
        if job.inner.artifact_expired is not None:
            raise PreconditionError(
                f"the file of job '{job_id}' is no longer kept",
                "ARTIFACT_EXPIRED",
                {"deleted_at": job.inner.artifact_expired.isoformat(timespec="seconds")},
                subject=job_id,
            )
        if artifact is None or not self._artifacts.exists(job_id, artifact.media_type):
            what = "has no file" if job.state.final else "is not done yet"
            raise PreconditionError(
                f"job '{job_id}' {what}: it is {job.state.name}",
                "ARTIFACT_NOT_READY",
                {"state": job.state.name},
                subject=job_id,
            )
        if offset > artifact.size_bytes:
            raise OutOfRangeError(
                f"offset {offset} lies behind the end of the file, {artifact.size_bytes}",
                "OFFSET_BEHIND_END",
                {"size_bytes": str(artifact.size_bytes)},
            )
        length = artifact.size_bytes - offset if limit is None else min(limit, artifact.size_bytes - offset)
        first: Artifact | None = artifact
        async for data in self._artifacts.read(job_id, artifact.media_type, offset, length, CHUNK_BYTES):
            yield ArtifactPiece(first, offset, data)
            first, offset = None, offset + len(data)
        if first is not None:
            yield ArtifactPiece(first, offset, b"")

    async def estimate(self, spec: JobSpec) -> JobCost:
        """What a spec would become and cost."""
        timeout = self.settings.peer_timeout_seconds
        try:
            resolved = resolve(spec, await self._models.current())
            estimate = await self.generator.estimate(resolved.settings, timeout)
        except PeerError as error:
            raise _as_service_error(error) from error
        return JobCost(resolved, estimate, await self._queue_wait())

    async def _owned(self, job_id: str, owner: str) -> Job:
        """One job, as if there were no other owner's."""
        job = await self.book.get(job_id)
        if job.inner.owner != owner:
            raise no_such_job(job_id)
        return job

    async def _by_request(self, spec: JobSpec, owner: str) -> Job | None:
        found = await self.book.store.by_request(spec.request_id, owner)
        if found is None:
            return None
        job, fingerprint = found
        if fingerprint != spec.fingerprint():
            raise AlreadyExistsError(
                f"request_id {spec.request_id} belongs to job '{job.id}', which has another spec",
                "REQUEST_ID_TAKEN",
                {"job_id": job.id},
                resource_type="job",
                resource_name=job.id,
            )
        return self.book.live(job.id) or job

    async def _queue_wait(self) -> float | None:
        at_once = self.settings.max_concurrent_jobs
        if self.book.active:
            return wait_of_next(self.book.running(), self.book.waiting(), at_once, self._rates)
        # The durations are known where the work is done.
        return 0.0 if sum((await self.book.counts()).values()) < at_once else None

    async def _queue_full(self) -> ExhaustedError:
        waiting, at_once = (await self.book.counts()).get(JobState.QUEUED, 0), self.settings.max_concurrent_jobs
        return ExhaustedError(
            f"{waiting} jobs wait already; no more are taken",
            "QUEUE_FULL",
            {"queue_limit": str(self.settings.queue_limit)},
            retry_after_seconds=max(1.0, (self._rates.any_job or 5.0) / at_once),
        )

    async def _submit(self, job: Job) -> None:
        try:
            async with asyncio.timeout(SUBMIT_SECONDS):
                await self._runner.submit(job)
        except Exception as error:
            # It is in the store: whoever looks after the jobs finds it there.
            _LOG.warning("job %s is submitted later: %r", job.id, error)

    async def _cancel_surely(self, job_id: str) -> None:
        for pause in CANCEL_PAUSES:
            try:
                await self.book.cancel(job_id)
            except ServiceError as error:
                _LOG.warning("job %s is not cancelled yet: %s", job_id, error)
                await asyncio.sleep(pause)
            else:
                return

    async def close(self) -> None:
        """Stop what goes on in the background."""
        for task in self._background:
            task.cancel()
        if self._background:
            await asyncio.wait(self._background)

    async def _cancel_created(self, creation: "asyncio.Future[Job]") -> None:
        try:
            job = await creation
        except ServiceError:
            return
        await self._cancel_surely(job.id)

    def _spawn(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _new_job(spec: JobSpec, owner: str, resolved: Resolved | None, deadline: datetime | None, head_start: float) -> Job:
    created = now()
    # 32 bits: enough, and short enough to be typed again.
    seed = secrets.randbits(32) if spec.seed is None else spec.seed
    crop = resolved.crop if resolved else None
    return Job(
        id=str(uuid.uuid4()),
        spec=spec.without_image_bytes(),
        state=JobState.QUEUED,
        create_time=created,
        inner=Inner(
            seed=seed,
            trace=telemetry.headers(),
            deadline=deadline,
            crop=crop,
            owner=owner,
            due=due(created, still=spec.job_type.still, head_start_seconds=head_start),
        ),
        progress=Progress(Stage.QUEUED),
        resolved=resolved.settings if resolved else None,
        adjustments=resolved.adjustments if resolved else (),
        trace_id=telemetry.trace_id(),
        sequence=1,
    )


def _token(number: int) -> str:
    return base64.urlsafe_b64encode(f"before:{number}".encode()).decode()


def _number(token: str) -> int | None:
    if not token:
        return None
    try:
        word, _, number = base64.b64decode(token, altchars=b"-_", validate=True).decode().partition(":")
        if word == "before" and number.isascii() and number.isdigit():
            return min(int(number), 2**62)
    except (binascii.Error, ValueError):
        pass
    violation = FieldViolation("page_token", "not a next_page_token of an earlier answer", "page_token")
    raise InvalidArgumentError("page_token: not a next_page_token of an earlier answer", violations=(violation,))


def _as_service_error(error: PeerError) -> ServiceError:
    """A peer's failure as the answer to a call that could not be made without it."""
    if error.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
        return UnavailableError(error.message, error.reason, error.metadata, error.retry_after_seconds or 1.0)
    if error.code == "RESOURCE_EXHAUSTED":
        return ExhaustedError(error.message, error.reason, error.metadata, error.retry_after_seconds)
    if error.code == "FAILED_PRECONDITION":
        return PreconditionError(error.message, error.reason, error.metadata)
    if error.code == "INVALID_ARGUMENT":
        return InvalidArgumentError(error.message, error.reason, error.metadata)
    return InternalError(error.message, error.reason, error.metadata)

"""The steps of a job. `workflow.run_job` says in which order they come.

Each takes a job's id, finds in the job's row what is done already, and ends the job itself where it cannot go
on. Exceptions that end a job::

    JobStopped       CANCELLED: asked to stop, or the deadline of the call that it is bound to has passed
    PeerError        FAILED with what the peer said
    StoreUnavailable none: the step is done again, for as long as it takes
    ServiceError     FAILED with its code, reason and metadata
    anything else    FAILED INTERNAL with the trace id; the log has the rest
"""

import asyncio
import errno
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from wanworker.gateway import metrics, telemetry
from wanworker.gateway.artifacts import ArtifactStore
from wanworker.gateway.attempts import Attempts, JobStopped
from wanworker.gateway.book import JobBook
from wanworker.gateway.catalogue import ModelCatalogue
from wanworker.gateway.database import StoreUnavailableError
from wanworker.gateway.enhancing import ask_enhancer
from wanworker.gateway.generation import Made, Stage, StageSeconds
from wanworker.gateway.grade import Result, grade
from wanworker.gateway.model import (
    Artifact,
    Delivered,
    Happening,
    Job,
    JobFailure,
    JobState,
    PromptEnhanced,
    Warning,
    now,
)
from wanworker.gateway.peers import EnhancerPeer, GeneratorPeer, PeerError
from wanworker.gateway.progress import ProgressMeter, Weights
from wanworker.gateway.rates import Rates
from wanworker.gateway.references import BadReferenceError, ReferenceFetcher, check_image
from wanworker.gateway.resolve import Resolved, resolve
from wanworker.gateway.settings import GatewaySettings
from wanworker.gateway.workflow import Verdict
from wanworker.runtime import names
from wanworker.runtime.errors import InvalidArgumentError, ServiceError

T = TypeVar("T")

_LOG = logging.getLogger("wanworker.gateway.steps")


@dataclass(frozen=True)
class Workshop:
    """What the steps work with."""

    settings: GatewaySettings
    """Limits and times."""
    book: JobBook
    """The jobs."""
    artifacts: ArtifactStore
    """Where files go."""
    enhancer: EnhancerPeer
    """Writes prompts."""
    generator: GeneratorPeer
    """Makes files."""
    models: ModelCatalogue
    """What the generator can make."""
    fetcher: ReferenceFetcher
    """Fetches images."""
    rates: Rates
    """How long things take."""


class JobSteps:
    """`workflow.Steps` for real."""

    def __init__(self, shop: Workshop) -> None:
        self._shop = shop
        self._book = shop.book
        self._meters: dict[str, ProgressMeter] = {}

    def forget(self, job_id: str) -> None:
        """Drop what is kept in memory of a job."""
        self._meters.pop(job_id, None)

    async def begin(self, job_id: str) -> str:
        """Take the job out of the queue and resolve what it leaves open."""
        return await self._ending(job_id, self._begin)

    async def reference(self, job_id: str) -> str:
        """Fetch and check the reference image."""
        return await self._ending(job_id, self._reference)

    async def enhance(self, job_id: str) -> str:
        """Have the prompt rewritten."""
        return await self._ending(job_id, self._enhance)

    async def attempt(self, job_id: str, waits: int) -> str:
        """Have the file made, `waits` fruitless tries after the last that got through."""
        return await self._ending(job_id, lambda job: self._attempt(job, waits))

    async def store(self, job_id: str) -> str:
        """Grade the file, keep it, and end the job."""
        return await self._ending(job_id, self._store)

    async def _begin(self, job: Job) -> str:
        def start(job: Job) -> Job:
            if job.state is not JobState.QUEUED:
                return job
            started = now()
            waited = StageSeconds(Stage.QUEUED, (started - job.create_time).total_seconds())
            progress = replace(job.progress, queue_position=None, attempt=1)
            return replace(job, state=JobState.RUNNING, start_time=started, stages=(waited,), progress=progress)

        waited = job.state is JobState.QUEUED
        job = await self.change(job, start)
        if waited:
            metrics.job_begun(job)
        telemetry.queue_span(job)
        self._book.tell_positions()
        if job.resolved is None:
            resolved = resolve(job.spec, await self._patiently(self._shop.models.current))
            await self.change(job, lambda job: _with(job, resolved))
        return Verdict.GO.value

    async def _reference(self, job: Job) -> str:
        reference = job.spec.reference
        if reference is None or job.inner.reference_dropped:
            return Verdict.GO.value
        try:
            image = await self._book.store.image(job.id)
            if not image:
                image = await self._shop.fetcher.fetch(reference.url)
            await asyncio.to_thread(check_image, image, self._shop.settings.reference_max_pixels)
            if reference.url:
                await self._book.store.set_image(job.id, image)
        except BadReferenceError as error:
            if job.spec.rejects_bad_reference:
                raise
            await self.drop_reference(job, error.message)
        return Verdict.GO.value

    async def _enhance(self, job: Job) -> str:
        if not job.spec.wants_enhancement or job.inner.enhance_done:
            return Verdict.GO.value
        began = time.monotonic()
        meter = await self.meter(job, job.attempts + 1)
        with telemetry.TRACER.start_as_current_span(names.SPAN_ENHANCE):
            answer = await ask_enhancer(
                self._shop.enhancer,
                job.spec.prompt,
                job.inner.seed & 0xFFFFFFFF,
                self._time_left(job, self._shop.settings.enhance_timeout_seconds),
                lambda body: self._book.tell(job.id, body),
                meter,
            )
            took = time.monotonic() - began
            if isinstance(answer, Warning):
                await self.warn(job, answer, enhance_done=True, enhance_seconds=took)
                return Verdict.GO.value
        self._shop.rates.enhance.observe(took)
        await self.change(
            job,
            lambda job: replace(
                job,
                enhanced_prompt=answer.prompt,
                inner=replace(job.inner, enhance_done=True, enhancer_model=answer.model, enhance_seconds=took),
            ),
            PromptEnhanced(answer.prompt, answer.model),
        )
        return Verdict.GO.value

    async def _attempt(self, job: Job, waits: int) -> str:
        if job.inner.made is not None:
            return Verdict.MADE.value
        if waits:
            await asyncio.sleep(self._pause(waits))
        verdict = await Attempts(self._shop, self).run(job, waits)
        return verdict.value

    async def _store(self, job: Job) -> str:
        made = job.inner.made
        assert made is not None, "store comes after an attempt that made a file"
        began = time.monotonic()
        self._book.tell(job.id, (await self.meter(job, job.attempts)).storing())
        with telemetry.TRACER.start_as_current_span(
            names.SPAN_STORE,
            attributes={names.ATTR_SIZE_BYTES: made.size_bytes, names.ATTR_MEDIA_TYPE: made.media_type},
        ):
            try:
                await self._shop.artifacts.commit(job.id, made.attempt, made.media_type)
            except FileNotFoundError:
                # The gateway that received it is gone, and so is its disk: the work begins anew without it.
                _LOG.warning("job %s: its file is gone and is made again", job.id)
                await self.change(job, lambda job: replace(job, inner=replace(job.inner, made=None)))
                return Verdict.END.value
            elapsed = (now() - (job.start_time or job.create_time)).total_seconds()
            for warning in grade(Result(made, elapsed, self._shop.settings.slow_job_seconds)):
                job = await self.warn(job, warning)
        stored = StageSeconds(Stage.STORING, time.monotonic() - began)
        self._shop.rates.job(still=job.spec.job_type.still).observe(elapsed)
        telemetry.job_ended(JobState.SUCCEEDED, "")
        await self._finish(job.id, JobState.SUCCEEDED, lambda job: _delivered(job, made, stored))
        return Verdict.END.value

    async def warn(
        self,
        job: Job,
        warning: Warning,
        *,
        enhance_done: bool = False,
        enhance_seconds: float = 0.0,
        reloaded: bool = False,
    ) -> Job:
        """Put a warning on a job, with what it goes along with."""
        telemetry.warned(warning)

        def change(job: Job) -> Job:
            inner = replace(
                job.inner,
                enhance_done=job.inner.enhance_done or enhance_done,
                enhance_seconds=job.inner.enhance_seconds + enhance_seconds,
                reloaded=job.inner.reloaded or reloaded,
            )
            return replace(job, warnings=(*job.warnings, warning), inner=inner)

        return await self.change(job, change, warning)

    async def drop_reference(self, job: Job, message: str) -> Job:
        """Go on without the reference image, and say so; BadReferenceError if its model makes nothing without one."""
        assert job.resolved is not None, "begin resolves"
        try:
            # The image may have chosen the model.
            resolved = resolve(replace(job.spec, reference=None), await self._patiently(self._shop.models.current))
        except InvalidArgumentError as error:
            raise BadReferenceError(f"{message}; from text alone: {error.message}") from error
        same_model = resolved.settings.model == job.resolved.model
        warning = Warning("BAD_REFERENCE_IMAGE", f"made from text alone: {message}")
        telemetry.warned(warning)

        def change(job: Job) -> Job:
            job = job if same_model else _with(job, resolved)
            inner = replace(job.inner, reference_dropped=True)
            return replace(job, warnings=(*job.warnings, warning), inner=inner)

        return await self.change(job, change, warning)

    async def meter(self, job: Job, attempt: int) -> ProgressMeter:
        """The meter of an attempt; the enhancer's share counts as the first one's."""
        meter = self._meters.get(job.id)
        if meter is None or meter.attempt != attempt:
            told = job.progress.fraction if job.progress.attempt == attempt else 0.0
            meter = ProgressMeter(await self._weights(job), attempt, told)
            self._meters[job.id] = meter
        return meter

    async def _weights(self, job: Job) -> Weights:
        generate = None
        if job.resolved is not None:
            try:
                estimate = await self._shop.generator.estimate(job.resolved, self._shop.settings.peer_timeout_seconds)
                generate = estimate.seconds
            except PeerError:
                # Progress is then a guess; the attempt itself will say what is wrong.
                generate = None
        enhance = (self._shop.rates.enhance.seconds or 0.0) if job.spec.wants_enhancement else 0.0
        return Weights(enhance, generate)

    async def change(self, job: Job, change: Callable[[Job], Job], body: Happening | None = None) -> Job:
        """Change a job, save and tell it, once the database is there. JobStopped if it has ended meanwhile."""
        changed = await self._insist(lambda: self._book.change(job.id, change, body))
        if changed is None:
            # Somebody else has ended it: nothing is left to do.
            raise JobStopped
        return changed

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        waits = 0
        while True:
            try:
                return await ask()
            except PeerError as error:
                waits += 1
                if not error.passing or waits > self._shop.settings.generator_retries:
                    raise
            await asyncio.sleep(self._pause(waits))

    async def _insist(self, write: Callable[[], Awaitable[T]]) -> T:
        waits = 0
        while True:
            try:
                return await write()
            except StoreUnavailableError as error:
                waits += 1
                _LOG.warning("waiting for the database: %s", error)
            await asyncio.sleep(self._pause(waits))

    async def _finish(self, job_id: str, state: JobState, change: Callable[[Job], Job] = lambda job: job) -> None:
        await self._insist(lambda: self._book.finish(job_id, state, change))

    def _pause(self, waits: int) -> float:
        settings = self._shop.settings
        return float(min(settings.retry_initial_seconds * 2 ** min(waits - 1, 30), settings.retry_max_seconds))

    def _time_left(self, job: Job, limit: float) -> float:
        if job.inner.deadline is None:
            return limit
        return min(limit, max(0.0, (job.inner.deadline - now()).total_seconds()))

    async def _ending(self, job_id: str, step: Callable[[Job], Awaitable[str]]) -> str:
        try:
            return await self._insist(lambda: self._until_stopped(job_id, step))
        except JobStopped:
            telemetry.job_ended(JobState.CANCELLED, "cancelled, or out of time")
            await self._finish(job_id, JobState.CANCELLED)
        except (PeerError, ServiceError) as error:
            await self._fail(job_id, _failure(error))
        except OSError as error:
            _LOG.exception("job %s: storage failed", job_id)
            await self._fail(job_id, _storage_failure(error))
        except Exception:
            _LOG.exception("job %s: internal error", job_id)
            trace_id = telemetry.trace_id()
            await self._fail(
                job_id,
                JobFailure("INTERNAL", "INTERNAL", f"internal error, trace id {trace_id}", {"trace_id": trace_id}),
            )
        if self._book.live(job_id) is None:
            # Otherwise the job has not ended: another gateway works on it, and the parts are that one's.
            self._shop.artifacts.discard(job_id)
        return Verdict.END.value

    async def _until_stopped(self, job_id: str, step: Callable[[Job], Awaitable[str]]) -> str:
        feed = self._book.feed(job_id)
        if feed is None:
            raise JobStopped
        work = asyncio.ensure_future(step(feed.job))
        stop = asyncio.ensure_future(feed.cancelled.wait())
        deadline = feed.job.inner.deadline
        timeout = None if deadline is None else max(0.0, (deadline - now()).total_seconds())
        try:
            if feed.cancelled.is_set():
                raise JobStopped
            await asyncio.wait({work, stop}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise JobStopped
            return work.result()
        finally:
            # Also when the gateway drains and this very step is cut.
            stop.cancel()
            work.cancel()
            await asyncio.wait({work, stop})
            if not work.cancelled():
                work.exception()

    async def _fail(self, job_id: str, failure: JobFailure) -> None:
        telemetry.job_ended(JobState.FAILED, failure.message)
        await self._finish(job_id, JobState.FAILED, lambda job: replace(job, failure=failure))


def _with(job: Job, resolved: Resolved) -> Job:
    inner = replace(job.inner, crop=resolved.crop)
    return replace(job, resolved=resolved.settings, adjustments=resolved.adjustments, inner=inner)


def _failure(error: PeerError | ServiceError) -> JobFailure:
    return JobFailure(error.code, error.reason, str(error), dict(error.metadata))


def _storage_failure(error: OSError) -> JobFailure:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return JobFailure("RESOURCE_EXHAUSTED", "STORAGE_FULL", "the gateway's disk is full")
    return JobFailure("INTERNAL", "STORAGE_FAILED", f"the gateway could not store the file: {error.strerror}")


def _delivered(job: Job, made: Made, stored: StageSeconds) -> Job:
    enhanced = bool(job.enhanced_prompt)
    delivered = Delivered(
        settings=made.settings,
        model_revision=made.model_revision,
        width=made.width,
        height=made.height,
        seed=job.inner.seed,
        prompt=job.enhanced_prompt or job.spec.prompt,
        enhanced=enhanced,
        enhancer_model=job.inner.enhancer_model if enhanced else "",
        reference_image_used=made.reference_used,
        statistics=made.statistics,
    )
    suffix = made.media_type.rsplit("/", 1)[-1]
    artifact = Artifact(made.media_type, made.size_bytes, made.sha256, f"{job.id}.{suffix}")
    enhancing = StageSeconds(Stage.ENHANCING, job.inner.enhance_seconds)
    spent = (enhancing,) if job.inner.enhance_done else ()
    stages = (*job.stages, *spent, *made.stages, stored)
    return replace(job, delivered=delivered, artifact=artifact, stages=stages)

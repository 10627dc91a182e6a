"""One attempt at making a job's file, and what follows from its failure."""

from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from wanworker.gateway import telemetry
from wanworker.gateway.artifacts import PartFile
from wanworker.gateway.asked import DegradationPolicy
from wanworker.gateway.generation import CostEstimate, GenerationSettings, Made
from wanworker.gateway.ladder import rungs_below
from wanworker.gateway.model import Degradation, Job, Preview, Progress, Warning, now
from wanworker.gateway.peers import Order, PeerError, Waiting
from wanworker.gateway.presets import format_of
from wanworker.gateway.progress import ProgressMeter, begin_attempt
from wanworker.gateway.workflow import Verdict

if TYPE_CHECKING:
    from wanworker.gateway.steps import JobSteps, Workshop

OUT_OF_MEMORY = "GPU_OUT_OF_MEMORY"
"""The generator's reason when a job does not fit."""

_HERE = ("localhost", "127.0.0.1", "::1", "")

MODEL_NOT_FOUND = "MODEL_NOT_FOUND"
"""The generator's reason when a model's files are missing or broken."""


class JobStopped(Exception):  # noqa: N818 - being asked to stop is no error
    """The job is to stop."""


class Attempts:
    """Tries, and decides whether to try again."""

    def __init__(self, shop: "Workshop", steps: "JobSteps") -> None:
        self._shop = shop
        self._steps = steps

    async def run(self, job: Job, waits: int) -> Verdict:
        """One attempt. MADE, AGAIN or WAIT; exceptions end the job."""
        if job.attempts >= self._shop.settings.attempt_limit:
            raise PeerError("ABORTED", "TOO_MANY_ATTEMPTS", f"given up after {job.attempts} attempts")
        with telemetry.attempt_span(job):
            headers = telemetry.headers()
            job = await self._steps.change(job, lambda job: _traced(begin_attempt(job), headers))
            try:
                job = await self._fit(job)
                made = await self._make(job)
            except PeerError as error:
                telemetry.attempt_failed(error.reason, error.message)
                return await self._after(job, error, waits)
        await self._steps.change(job, lambda job: replace(job, inner=replace(job.inner, made=made)))
        return Verdict.MADE

    async def _make(self, job: Job) -> Made:
        """The generator's file, whole and on disk."""
        assert job.resolved is not None, "begin resolves"
        image = b"" if job.inner.reference_dropped else await self._shop.book.store.image(job.id)
        order = Order(
            settings=job.resolved,
            prompt=job.enhanced_prompt or job.spec.prompt,
            negative_prompt=job.spec.negative_prompt,
            seed=job.inner.seed,
            image=image,
            format=format_of(job.spec),
            crop=job.inner.crop,
            preview_interval_steps=self._shop.settings.preview_interval_steps,
        )
        meter = await self._steps.meter(job, job.attempts)
        with self._shop.artifacts.receive(job.id, job.attempts) as part:
            made = await self._receive(job, order, meter, part)
            await part.finish(made.size_bytes, made.sha256)
        return replace(made, reference_used=bool(image), attempt=job.attempts)

    async def _receive(self, job: Job, order: Order, meter: ProgressMeter, part: PartFile) -> Made:
        book, made = self._shop.book, None
        async with aclosing(self._shop.generator.generate(order, self._timeout(job))) as events:
            async for event in events:
                match event:
                    case bytes():
                        part.write(event)
                    case Progress():
                        book.tell(job.id, meter.generating(event))
                    case Waiting():
                        book.tell(job.id, meter.waiting(event.position))
                    case Preview():
                        book.tell(job.id, event)
                    case Made():
                        made = event
        if made is None:
            raise PeerError("UNAVAILABLE", "CUT_OFF", "the generator ended the stream before the file was complete")
        return made

    async def _after(self, job: Job, error: PeerError, waits: int) -> Verdict:
        """What to do about a failure: change something, wait, or give up."""
        if error.code == "DEADLINE_EXCEEDED" and job.inner.deadline is not None:
            raise JobStopped from error
        if error.reason == OUT_OF_MEMORY:
            try:
                await self._lower(job, error, attempt=job.attempts)
            except PeerError as other:
                if other is error:
                    raise
                # The ladder could not be asked about: the generator is away. The next try takes it up again.
                return await self._after(job, other, waits)
            return Verdict.AGAIN
        if error.reason == MODEL_NOT_FOUND and not job.inner.reloaded:
            telemetry.retried(error.reason, waits)
            # The generator loads it anew when it is asked anew; it may have been on its way to the disk.
            await self._steps.warn(
                job, Warning(MODEL_NOT_FOUND, f"loading it once more: {error.message}"), reloaded=True
            )
            return Verdict.WAIT
        uses_image = job.spec.reference is not None and not job.inner.reference_dropped
        if error.reason == "BAD_REFERENCE_IMAGE" and uses_image and not job.spec.rejects_bad_reference:
            await self._steps.drop_reference(job, error.message)
            return Verdict.AGAIN
        if not error.passing or waits >= self._shop.settings.generator_retries:
            raise error
        telemetry.retried(error.reason, waits)
        if not any(warning.reason == "GENERATOR_UNAVAILABLE" for warning in job.warnings):
            await self._steps.warn(job, Warning("GENERATOR_UNAVAILABLE", f"trying again: {error.message}"))
        return Verdict.WAIT

    async def _fit(self, job: Job) -> Job:
        """The job with settings that fit, as far as the generator can say."""
        assert job.resolved is not None, "begin resolves"
        try:
            estimate = await self._estimate(job.resolved)
        except PeerError:
            # Generate itself will say what is wrong, better than an estimate that could not be had.
            return job
        if estimate.fits:
            return job
        return await self._lower(job, _does_not_fit(estimate), attempt=0)

    async def _lower(self, job: Job, error: PeerError, attempt: int) -> Job:
        """Take rungs of the ladder until the generator says that it fits; raise `error` if none does."""
        assert job.resolved is not None, "begin resolves"
        if job.spec.degradation is not DegradationPolicy.FORBIDDEN:
            await self._free_enhancer()
        taken: list[Degradation] = []
        before = job.resolved
        for rung, settings in rungs_below(job.resolved, job.spec.degradation):
            taken.append(Degradation(rung.name, before, settings, attempt, now()))
            before = settings
            if (await self._estimate(settings)).fits:
                break
        else:
            raise error
        for degradation in taken:
            telemetry.degraded(degradation)
            job = await self._steps.change(job, _degrade(degradation), degradation)
        return job

    async def _free_enhancer(self) -> None:
        """Have the enhancer give its memory back, if it may be on the same device; it loads again when it is asked."""
        enhancer = self._shop.enhancer
        if not shares_host(enhancer.address, self._shop.generator.address):
            return
        try:
            unloaded = await enhancer.unload(self._shop.settings.peer_timeout_seconds)
        except PeerError as error:
            # An enhancer that is away holds no memory either.
            telemetry.enhancer_unloaded(error.reason)
        else:
            telemetry.enhancer_unloaded("unloaded" if unloaded else "was not loaded")

    async def _estimate(self, settings: GenerationSettings) -> CostEstimate:
        return await self._shop.generator.estimate(settings, self._shop.settings.peer_timeout_seconds)

    def _timeout(self, job: Job) -> float | None:
        if job.inner.deadline is None:
            return None
        left = (job.inner.deadline - now()).total_seconds()
        return max(0.001, left - self._shop.settings.deadline_margin_seconds)


def shares_host(one: str, other: str) -> bool:
    """Whether two addresses, host:port, name the same machine; all names of this one count as one."""
    hosts = [address.rpartition(":")[0].strip("[]").lower() for address in (one, other)]
    return len({"localhost" if host in _HERE else host for host in hosts}) == 1


def _degrade(degradation: Degradation) -> Callable[[Job], Job]:
    def change(job: Job) -> Job:
        before, after = degradation.before, degradation.after
        same_size = (before.width, before.height) == (after.width, after.height)
        return replace(
            job,
            resolved=after,
            degradations=(*job.degradations, degradation),
            inner=job.inner if same_size else replace(job.inner, crop=None),
        )

    return change


def _does_not_fit(estimate: CostEstimate) -> PeerError:
    needed, free = estimate.needed_bytes, estimate.available_bytes
    return PeerError(
        "RESOURCE_EXHAUSTED",
        OUT_OF_MEMORY,
        f"the job needs {needed} bytes of device memory, {free} can be had",
        {"needed_bytes": str(needed), "free_bytes": str(free)},
    )


def _traced(job: Job, headers: Mapping[str, str]) -> Job:
    return replace(job, inner=replace(job.inner, attempt_trace=headers))

"""One generation on a loaded model, stage by stage."""

import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

import torch
from opentelemetry import trace

from wanworker.generator import metrics
from wanworker.generator.conditions import Conditions
from wanworker.generator.control import JobControl
from wanworker.generator.decoding import Frames, decode, needs_tiles
from wanworker.generator.denoising import Embeddings, PromptCache, Step, Task, count_tokens, denoise, encode_text
from wanworker.generator.device import is_out_of_memory
from wanworker.generator.estimate import ONCE, StageWork
from wanworker.generator.finishing import Finished, Finisher
from wanworker.generator.loading import LoadedModel
from wanworker.generator.muxing import EncoderOptions
from wanworker.generator.occupancy import Occupant
from wanworker.generator.pipelines import resolve_flow_shift
from wanworker.generator.previews import LatentRgb, make_preview
from wanworker.generator.progress import ProgressTracker
from wanworker.generator.request import Order, Result, Stage, StageSeconds
from wanworker.runtime import names

_LOGGER = logging.getLogger("wanworker.generator.job")
_LEAST_SECONDS = 1e-6
_TRACER = trace.get_tracer("wanworker.generator")
_SPANS = {
    Stage.LOADING_MODEL: names.SPAN_LOAD_MODEL,
    Stage.ENCODING_TEXT: names.SPAN_ENCODE_TEXT,
    Stage.DENOISING: names.SPAN_DENOISE,
    Stage.DECODING: names.SPAN_DECODE,
    Stage.MUXING: names.SPAN_MUX,
}


@dataclass
class StageClock:
    """Opens and times a job's stages: progress, span and metric of each."""

    order: Order
    """What is made."""
    tracker: ProgressTracker
    """Who is told."""
    done: dict[Stage, float] = field(default_factory=dict)
    """Seconds of the stages that are over."""

    @contextmanager
    def stage(self, stage: Stage, total_steps: int = 0) -> Iterator[trace.Span]:
        """Runs a stage; a failure is recorded on its span."""
        settings = self.order.settings
        attributes: dict[str, str | int] = {
            names.ATTR_MODEL: settings.model,
            names.ATTR_WIDTH: settings.width,
            names.ATTR_HEIGHT: settings.height,
            names.ATTR_FRAMES: settings.frames,
        }
        with _TRACER.start_as_current_span(_SPANS[stage], attributes=attributes) as span:
            started = time.perf_counter()
            self.tracker.begin(stage, total_steps)
            yield span
            self.done[stage] = time.perf_counter() - started
        metrics.record_stage(settings, stage, self.done[stage])

    @property
    def seconds(self) -> tuple[StageSeconds, ...]:
        """The stages that are over, in the order of work."""
        return tuple(StageSeconds(stage, self.done[stage]) for stage in Stage if stage in self.done)


@dataclass(frozen=True)
class Place:
    """A job's place on the device."""

    model: LoadedModel
    """What makes it."""
    control: JobControl
    """Who is told, who may stop it, and its turns."""
    occupant: Occupant
    """Who runs beside it."""
    decodes_beside: Callable[[], bool]
    """Whether there is memory to decode while another job denoises."""


@dataclass(frozen=True)
class Job:
    """One generation: its order and all that it works with."""

    order: Order
    """What to make."""
    conditions: Conditions
    """The pictures that it is given."""
    place: Place
    """Where it is made."""
    clock: StageClock
    """Stages and progress."""
    prompts: PromptCache
    """Embeddings known already."""
    mapping: LatentRgb | None
    """For previews; None sends none."""
    encoder: EncoderOptions
    """For the file."""
    retiled: list[bool] = field(default_factory=list)
    """Not empty if whole frames did not fit, and were decoded in tiles after all."""
    known_prompts: list[str] = field(default_factory=list)
    """Prompts whose embeddings were not computed: the time of that stage then says nothing."""
    reread: list[bool] = field(default_factory=list)
    """Not empty if the text encoder had to be read from its file first, which the next job need not."""
    step_seconds: list[float] = field(default_factory=list)
    """The device's time for each step that is done."""

    @property
    def model(self) -> LoadedModel:
        """What makes it."""
        return self.place.model

    @property
    def control(self) -> JobControl:
        """Who is told, and who may stop it."""
        return self.place.control

    def run(self) -> tuple[Result, torch.Tensor, Frames]:
        """The result; with it the latents and frames that it was made from."""
        flow_shift = resolve_flow_shift(self.model, self.order.settings)
        embeddings = self._encode_text()
        latents = self._denoise(embeddings, flow_shift)
        del embeddings
        with ExitStack() as working:
            finisher = self._decode(latents, working)
            finished = self._mux(finisher)
        return self._result(finished, flow_shift), latents, finisher.frames

    def _encode_text(self) -> Embeddings:
        settings, order = self.order.settings, self.order
        with self.clock.stage(Stage.ENCODING_TEXT) as span:
            self.control.checkpoint()
            if self.model.modules["text_encoder"] is None:
                self.reread.append(True)
            tokens = count_tokens(self.model, order.prompt)
            if tokens > self.model.shape.prompt_tokens:
                span.add_event(names.EVENT_WARNING, {names.ATTR_REASON: "PROMPT_CUT", "tokens": tokens})
                _LOGGER.warning("The prompt has %d tokens; %d are used", tokens, self.model.shape.prompt_tokens)
            try:
                positive = self._embedding(order.prompt, span)
                negative = None
                if settings.guided_steps:
                    self.control.checkpoint()
                    negative = self._embedding(order.negative_prompt, span)
            finally:
                self.model.rest_text_encoder()
            if settings.memory.evict_text_encoder:
                self.model.evict_text_encoder()
            self.control.checkpoint()
        return Embeddings(positive, negative)

    def _embedding(self, prompt: str, span: trace.Span) -> torch.Tensor:
        if self.prompts.get(self.model.revision, prompt) is not None:
            span.add_event(names.EVENT_CACHE_HIT, {names.ATTR_CACHE: "prompt"})
            self.known_prompts.append(prompt)
        return encode_text(self.model, prompt, self.prompts)

    def _denoise(self, embeddings: Embeddings, flow_shift: float) -> torch.Tensor:
        settings = self.order.settings
        with self.clock.stage(Stage.DENOISING, settings.steps) as span:
            span.set_attribute(names.ATTR_STEPS, settings.steps)
            span.set_attribute(names.ATTR_GUIDANCE, settings.guidance_scale)
            task = Task(settings, flow_shift, embeddings, self.order.seed, self.conditions)
            return denoise(self.model, task, lambda step: self._after_step(step, span), self.control)

    def _after_step(self, step: Step, span: trace.Span) -> None:
        settings, interval = self.order.settings, self.order.preview_interval_steps
        self.control.checkpoint()
        self.step_seconds.append(step.seconds)
        span.add_event(names.EVENT_STEP, {names.ATTR_STEP: step.number, names.ATTR_SECONDS: step.seconds})
        metrics.record_step(settings, step.seconds)
        self.clock.tracker.advance(step.number / settings.steps, step.number, settings.steps)
        if self.mapping and interval and step.number % interval == 0 and step.number < settings.steps:
            clean = step.clean
            if self.conditions.first is not None and self.model.shape.token_timesteps:
                # The given frame is put in place only at the end; until then there is noise.
                clean = clean[:, :, 1:]
            self.control.emit(make_preview(self.mapping, clean, step.number))

    def _decode(self, latents: torch.Tensor, working: ExitStack) -> Finisher:
        """DECODING: from the wish to decode until the device has made the last frame; encoding goes on beside it.

        The gate is free from then on: what is left to do needs no device. Returns who encodes, entered in `working`.
        """
        beside = True

        def on_piece(done: float) -> None:
            self.control.checkpoint()
            if beside:  # who holds both gates must not wait for one of them
                self.control.decodes.give_way()
            self.clock.tracker.advance(done)

        with self.clock.stage(Stage.DECODING) as span, ExitStack() as turns:
            self.control.checkpoint()
            turns.enter_context(self.control.decodes.held())
            beside = self.place.decodes_beside()
            if not beside:
                turns.enter_context(self.control.steps.held())
            tiled = self.model.plan.applied_to(self.order.settings).memory.tiled_decode
            with ExitStack() as attempt:
                finisher = attempt.enter_context(Finisher(self.order, self.encoder))
                if self._fits(latents, finisher, on_piece, tiled=tiled):
                    working.enter_context(attempt.pop_all())
                    return finisher
            # Whoever encoded the frames of the attempt that failed is gone, and so is what that held of the device.
            self.model.device.free_caches()
            self.retiled.append(True)
            span.add_event(names.EVENT_WARNING, {names.ATTR_REASON: "DECODED_IN_TILES"})
            _LOGGER.warning("There was no memory to decode whole frames; they are decoded in tiles")
            finisher = working.enter_context(Finisher(self.order, self.encoder))
            decode(self.model, latents, tiled=True, on_frames=finisher.put, on_piece=on_piece)
            return finisher

    def _fits(
        self, latents: torch.Tensor, finisher: Finisher, on_piece: Callable[[float], None], *, tiled: bool
    ) -> bool:
        """Decodes; False if memory ran out where tiles would take less. The error is dropped, as it holds tensors."""
        try:
            decode(self.model, latents, tiled=tiled, on_frames=finisher.put, on_piece=on_piece)
        except Exception as error:
            may_retry = not tiled and not finisher.failed and is_out_of_memory(error)
            if not may_retry or not needs_tiles(self.model, latents):
                raise
            return False
        return True

    def _mux(self, finisher: Finisher) -> Finished:
        """MUXING: from the end of decoding until the file is there, so the part of encoding that nothing hides."""

        def on_progress(done: float) -> None:
            self.control.checkpoint()
            self.clock.tracker.advance(done)

        with self.clock.stage(Stage.MUXING) as span:
            self.control.checkpoint()
            finished = finisher.finish(on_progress)
            span.set_attribute(names.ATTR_SIZE_BYTES, len(finished.file))
            span.set_attribute(names.ATTR_MEDIA_TYPE, self.order.format.value)
        return finished

    def _result(self, finished: Finished, flow_shift: float) -> Result:
        order, settings = self.order, replace(self.order.settings, flow_shift=flow_shift)
        if self.retiled:
            settings = replace(settings, memory=replace(settings.memory, tiled_decode=True))
        return Result(
            file=finished.file,
            sha256=hashlib.sha256(finished.file).digest(),
            settings=settings,
            model_revision=self.model.revision,
            width=order.file_width,
            height=order.file_height,
            format=order.format,
            statistics=finished.statistics,
            stages=self.clock.seconds,
            peak_memory_bytes=self.place.occupant.peak_bytes,
        )


def seconds_of(piece: StageWork, job: Job, result: Result, *, compiled: bool) -> float | None:
    """What that piece of the job's work took; None if this job says nothing of how long it usually takes.

    The first step warms up, and where modules are compiled it compiles, so it counts only if it is alone.
    """
    settings, steps = result.settings, job.step_seconds
    seconds = {each.stage: each.seconds for each in result.stages}.get(piece.stage)
    odd = {Stage.DECODING: job.retiled, Stage.ENCODING_TEXT: job.known_prompts or job.reread}.get(piece.stage)
    if seconds is None or odd:
        return None
    if piece.stage is not Stage.DENOISING:
        return seconds
    if piece.variant == ONCE:
        return max(_LEAST_SECONDS, seconds - sum(steps))
    if settings.speed.cache_threshold is not None or (compiled and settings.steps == 1):
        return None
    if settings.steps == 1:
        return steps[0]
    first = 2 if settings.guided_steps else 1
    return sum(steps[1:]) * settings.forwards / (settings.forwards - first)

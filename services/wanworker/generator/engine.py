"""The device, the models on it, and what they cost. Knows no queue and no gRPC.

`generate` runs in one thread at a time; everything else may be called from any.
"""

import gc
import logging
import threading
import traceback
from collections import OrderedDict
from dataclasses import dataclass

import torch
from PIL import Image

from wanworker.generator import metrics, sources
from wanworker.generator.checks import check_settings
from wanworker.generator.control import JobControl
from wanworker.generator.costs import CostModel, Prediction
from wanworker.generator.denoising import PromptCache
from wanworker.generator.device import Device, is_device_lost, is_out_of_memory, usable_cores
from wanworker.generator.errors import JobCancelledError, device_lost, out_of_memory
from wanworker.generator.estimate import peak_bytes, weight_bytes, work
from wanworker.generator.job import Job, StageClock
from wanworker.generator.loading import LoadedModel, load
from wanworker.generator.muxing import EncoderOptions
from wanworker.generator.previews import LatentRgbFit
from wanworker.generator.progress import ProgressTracker
from wanworker.generator.registry import ModelRow, find_row
from wanworker.generator.request import Order, Result, Settings, Stage
from wanworker.generator.settings import GeneratorSettings
from wanworker.generator.shapes import ModelShape, read_shape
from wanworker.runtime.errors import ExhaustedError

_LOGGER = logging.getLogger("wanworker.generator.engine")


@dataclass(frozen=True)
class Cost:
    """What a generation would take."""

    needed_bytes: int
    """Device memory at the peak, weights included."""
    available_bytes: int
    """Device memory that it could have, weights included."""
    prediction: Prediction
    """Seconds."""

    @property
    def fits(self) -> bool:
        """True if there is memory enough."""
        return self.needed_bytes <= self.available_bytes


class Engine:
    """Models in memory and the jobs that run on them."""

    def __init__(self, settings: GeneratorSettings) -> None:
        """Raises ValueError if there is no such device."""
        self._settings = settings
        threads = settings.threads or usable_cores()
        torch.set_num_threads(threads)
        self.device = Device(settings.device, settings.dtype, settings.memory_budget_bytes)
        cache = settings.cache_dir.expanduser()
        self.costs = CostModel(self.device.torch.type, cache / "speeds.json")
        self._rgb_fit = LatentRgbFit(cache / "latent_rgb")
        self._prompts = PromptCache(settings.prompt_cache_size)
        self._encoder = EncoderOptions(settings.crf, settings.encoder_preset, threads)
        self._models: OrderedDict[str, LoadedModel] = OrderedDict()
        self._lock = threading.Lock()

    def loaded(self) -> dict[str, str]:
        """Revisions of the models in memory, by name."""
        with self._lock:
            return {name: model.revision for name, model in self._models.items()}

    def cost(self, settings: Settings) -> Cost:
        """What a generation would cost; loads nothing.

        Raises:
            InvalidArgumentError: the model is unknown, or cannot do that size.
            PreconditionError: MODEL_NOT_FOUND, MODEL_BROKEN.
        """
        row = check_settings(settings)
        with self._lock:
            model = self._models.get(row.name)
            resident = sum(each.resident_bytes() for each in self._models.values())
        shape = model.shape if model else read_shape(sources.locate(row, self._settings), row)
        pieces = work(shape, settings, load_bytes=self._load_bytes(model, shape))
        return Cost(
            needed_bytes=peak_bytes(shape, settings, self.device.dtype_bytes),
            available_bytes=self.device.available_bytes(resident),
            prediction=self.costs.predict(self._cost_key(row), pieces),
        )

    def load_model(self, row: ModelRow) -> LoadedModel:
        """The model, from memory or disk; in the job's thread only.

        Raises:
            PreconditionError: MODEL_NOT_FOUND, MODEL_BROKEN.
            torch.OutOfMemoryError: its weights do not fit.
        """
        with self._lock:
            if row.name in self._models:
                self._models.move_to_end(row.name)
                return self._models[row.name]
        source = sources.locate(row, self._settings, download=True)
        self._make_room()
        self.device.check_room(weight_bytes(read_shape(source, row), self.device.dtype_bytes))
        model = load(row, source, self.device)
        self.device.count(model.weights())
        with self._lock:
            self._models[row.name] = model
        return model

    def generate(self, order: Order, image: Image.Image | None, control: JobControl) -> Result:
        """Runs a job from start to end.

        Raises:
            JobCancelledError: somebody cancelled it.
            PreconditionError: MODEL_NOT_FOUND, MODEL_BROKEN.
            ExhaustedError: GPU_OUT_OF_MEMORY, by estimate or by trial.
            InternalError: NOT_A_NUMBER.
            UnavailableError: DEVICE_LOST.
        """
        try:
            return self._generate(order, image, control)
        except JobCancelledError as error:
            _forget_frames(error)
            self.device.free_caches()
            _LOGGER.info("Job stopped: cancelled")
            raise JobCancelledError from None
        except Exception as error:
            _forget_frames(error)
            self.device.free_caches()
            if is_out_of_memory(error):
                raise self._ran_out(order.settings) from error
            if is_device_lost(error):
                raise device_lost(str(error).splitlines()[0]) from error
            raise

    def close(self) -> None:
        """Frees all memory."""
        with self._lock:
            self._models.clear()
        self.device.free_caches()

    def _generate(self, order: Order, image: Image.Image | None, control: JobControl) -> Result:
        settings, row = order.settings, find_row(order.settings.model)
        cost = self.cost(settings)
        tracker = ProgressTracker(cost.prediction, control.emit)
        clock = StageClock(order, tracker)
        control.checkpoint()
        if settings.memory.free_caches:
            self._free_caches()
        if self._settings.admission and not cost.fits:
            raise out_of_memory(cost.needed_bytes, cost.available_bytes)
        self.device.reset_peak()
        model = self._load_for_job(row, clock)
        mapping = model.latent_rgb or self._rgb_fit.mapping(model.revision)
        job = Job(order, image, model, control, clock, self._prompts, mapping, self._encoder)
        with self.device.counting():
            result, latents, frames = job.run()
        self._learn(row, model, job, result)
        if model.latent_rgb is None:
            self._rgb_fit.add(model.revision, latents, frames)
        metrics.record_result(result)
        return result

    def _ran_out(self, settings: Settings) -> ExhaustedError:
        """A failure by trial: the job needed more than its estimate, or than others left of the device."""
        cost = self.cost(settings)
        # What the job reached is the least that it needs; what it asked for last comes on top where that is counted.
        return out_of_memory(max(cost.needed_bytes, self.device.peak_bytes()), cost.available_bytes)

    def _load_for_job(self, row: ModelRow, clock: StageClock) -> LoadedModel:
        if row.name in self.loaded():
            return self.load_model(row)
        with clock.stage(Stage.LOADING_MODEL):
            return self.load_model(row)

    def _free_caches(self) -> None:
        if self.device.torch.type == "cpu":
            self._prompts.clear()  # on a GPU they lie elsewhere, and cost nothing there
        self.device.free_caches()

    def _make_room(self) -> None:
        """Drops the models unused for longest until one more may come."""
        with self._lock:
            while len(self._models) >= self._settings.loaded_models:
                name, _ = self._models.popitem(last=False)
                _LOGGER.info("Dropped %s from memory", name)
        self.device.free_caches()

    def _learn(self, row: ModelRow, model: LoadedModel, job: Job, result: Result) -> None:
        """Keeps the speeds that this job showed. The first step warms up, so it counts only if it is alone."""
        seconds = {each.stage: each.seconds for each in result.stages}
        steps = result.settings.steps
        loaded = weight_bytes(model.shape, self.device.dtype_bytes)
        for piece in work(model.shape, result.settings, load_bytes=loaded):
            if piece.stage not in seconds:
                continue
            took, amount = seconds[piece.stage], 1.0
            if piece.stage is Stage.DENOISING and steps > 1:
                took, amount = took - sum(job.first_step_seconds), (steps - 1) / steps
            self.costs.observe(self._cost_key(row), piece, took / amount)
        self.costs.save()

    def _load_bytes(self, model: LoadedModel | None, shape: ModelShape) -> int:
        if model is None:
            return weight_bytes(shape, self.device.dtype_bytes)
        return 0

    def _cost_key(self, row: ModelRow) -> str:
        return f"{row.name}|{self.device.key}"


def _forget_frames(error: BaseException) -> None:
    """Drops the tracebacks of an error and of those behind it, for their frames hold latents and activations.

    Clearing the frames' variables is not enough: a frame keeps its function, and with it whatever that closes over.
    gRPC keeps the error for a while after the call. What the traceback said stays as a note, which logs show.
    """
    error.add_note("".join(traceback.format_exception(error)).rstrip())
    seen: BaseException | None = error
    while seen is not None:
        if seen.__traceback__ is not None:
            traceback.clear_frames(seen.__traceback__)
            seen.__traceback__ = None
        seen = seen.__cause__ or seen.__context__
    gc.collect()

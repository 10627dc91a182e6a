"""The device, the models on it, and what they cost. Knows no queue and no gRPC.

Everything may be called from any thread. `generate` runs in a thread for each job; those that run at the same time
share the device through the turns of their `JobControl`s.
"""

import gc
import logging
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch

from wanworker.generator import metrics, sources
from wanworker.generator.acceleration import accelerate, allow_many_sizes, speed_key
from wanworker.generator.checks import check_settings
from wanworker.generator.conditions import Conditions
from wanworker.generator.control import JobControl
from wanworker.generator.costs import CostModel, Prediction
from wanworker.generator.denoising import PromptCache
from wanworker.generator.device import Device, is_device_lost, is_out_of_memory, usable_cores
from wanworker.generator.errors import JobCancelledError, device_lost, out_of_memory
from wanworker.generator.estimate import (
    decoding_bytes,
    denoising_bytes,
    peak_bytes,
    resident_bytes,
    weight_bytes,
    work,
)
from wanworker.generator.gate import Gate
from wanworker.generator.job import Job, Place, StageClock, seconds_of
from wanworker.generator.loading import LoadedModel, load
from wanworker.generator.muxing import EncoderOptions
from wanworker.generator.occupancy import Occupancy, Share, side_by_side_bytes
from wanworker.generator.plans import PLANS, MemoryPlan, choose_plan
from wanworker.generator.previews import LatentRgbFit
from wanworker.generator.progress import ProgressTracker
from wanworker.generator.registry import ModelRow, find_row
from wanworker.generator.request import Event, Order, Result, Settings, Stage
from wanworker.generator.settings import GeneratorSettings
from wanworker.generator.shapes import ModelShape, read_shape
from wanworker.runtime.errors import ExhaustedError, UnavailableError

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
    share: Share
    """What it takes of the memory beside other jobs."""

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
        self.device = Device(settings.device, settings.dtype, settings.memory_budget_bytes, settings.vae_dtype)
        cache = settings.cache_dir.expanduser()
        self.costs = CostModel(self.device.torch.type, cache / "speeds.json")
        self._rgb_fit = LatentRgbFit(cache / "latent_rgb")
        self._prompts = PromptCache(settings.prompt_cache_size)
        self._encoder = EncoderOptions(settings.crf, settings.encoder_preset, threads)
        self._models: OrderedDict[str, LoadedModel] = OrderedDict()
        self._lock = threading.Lock()
        self._loading = threading.Lock()
        self._occupancy = Occupancy(self.device)
        self.lost: UnavailableError | None = None
        """The failure after which this process cannot use the device any more."""
        metrics.watch_device(self.device)
        self._steps = Gate(rotate=True)
        self._decodes = Gate(rotate=False)

    def control(self, emit: Callable[[Event], None], priority: int = 0) -> JobControl:
        """The line to a job of this engine; of those that run, lower priorities are served first."""
        return JobControl(emit, self._steps.turn(priority), self._decodes.turn(priority))

    def fit_together(self, shares: Collection[Share]) -> bool:
        """True if these jobs may run side by side: there is memory for them, and their models may be loaded at once."""
        if len({share.model for share in shares}) > self._settings.loaded_models:
            return False
        available = self.device.available_bytes(self._resident_bytes())
        return not self._settings.admission or side_by_side_bytes(shares, beside=False) <= available

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
        shape = model.shape if model else read_shape(sources.locate(row, self._settings), row)
        plan = model.plan if model else self._plan(row, shape)
        planned = plan.applied_to(settings)
        pieces = work(shape, planned, load_bytes=0 if model else self._weight_bytes(shape))
        return Cost(
            needed_bytes=peak_bytes(shape, planned, self.device.dtype_bytes, self.device.vae_bytes),
            available_bytes=self.device.available_bytes(self._resident_bytes()),
            prediction=self.costs.predict(self._cost_key(row), pieces),
            share=self._share(row, shape, planned),
        )

    def calibrated(self, settings: Settings) -> bool:
        """True if the speeds that such a job goes by were measured on this device; the model must be loaded."""
        row = find_row(settings.model)
        with self._lock:
            model = self._models[row.name]
        return self.costs.knows(self._cost_key(row), work(model.shape, model.plan.applied_to(settings)))

    def _share(self, row: ModelRow, shape: ModelShape, settings: Settings) -> Share:
        width = self.device.dtype_bytes
        away = shape.text_parameters * width if settings.memory.evict_text_encoder else 0
        resident = resident_bytes(shape, settings, width)
        return Share(
            model=row.name,
            weights=self._weight_bytes(shape) - away,
            resident=resident,
            step=max(0, denoising_bytes(shape, settings, width) - resident),
            decode=decoding_bytes(shape, settings, self.device.vae_bytes),
        )

    def _resident_bytes(self) -> int:
        with self._lock:
            return sum(each.resident_bytes() for each in self._models.values())

    def load_model(self, row: ModelRow) -> LoadedModel:
        """The model, from memory or disk.

        Raises:
            PreconditionError: MODEL_NOT_FOUND, MODEL_BROKEN.
            torch.OutOfMemoryError: its weights do not fit.
        """
        with self._loading:
            with self._lock:
                if row.name in self._models:
                    self._models.move_to_end(row.name)
                    return self._models[row.name]
            source = sources.locate(row, self._settings, download=True)
            self._make_room()
            shape = read_shape(source, row)
            self.device.check_room(self._weight_bytes(shape))
            model = load(row, source, self.device)
            model.plan = self._plan(row, shape)
            self.adopt(model)
            return model

    def adopt(self, model: LoadedModel) -> None:
        """Takes in a model that was loaded, or made, elsewhere, and sets it up for the device."""
        accelerate(model, attention=self._settings.attention, compiled=self._settings.compile_modules)
        model.rest_text_encoder()
        self.device.count(model.weights())
        with self._lock:
            self._models[model.row.name] = model

    def _plan(self, row: ModelRow, shape: ModelShape) -> MemoryPlan:
        if not self.device.is_cuda:
            return PLANS[0]  # main memory has nowhere to offload to
        device = self.device
        return choose_plan(shape, row, device.total_bytes(), device.dtype_bytes, device.vae_bytes)

    def generate(self, order: Order, conditions: Conditions, control: JobControl) -> Result:
        """Runs a job from start to end.

        Raises:
            JobCancelledError: somebody cancelled it.
            PreconditionError: MODEL_NOT_FOUND, MODEL_BROKEN.
            ExhaustedError: GPU_OUT_OF_MEMORY, by estimate or by trial.
            InternalError: NOT_A_NUMBER.
            UnavailableError: DEVICE_LOST.
        """
        try:
            return self._generate(order, conditions, control)
        except JobCancelledError as error:
            _forget_frames(error)
            self._free_device_caches()
            _LOGGER.info("Job stopped: cancelled")
            raise JobCancelledError from None
        except Exception as error:
            if is_device_lost(error):
                self.lost = device_lost(str(error).splitlines()[0])
            _forget_frames(error)
            self._free_device_caches()
            if self.lost is not None:
                # Whatever failed after it, failed for this.
                raise self.lost from error
            if is_out_of_memory(error):
                raise self._ran_out(order.settings) from error
            raise
        finally:
            control.release()

    def close(self) -> None:
        """Frees all memory."""
        with self._lock:
            self._models.clear()
        self._free_device_caches()

    def _free_device_caches(self) -> None:
        if self.lost is None:  # a lost device answers everything with the same error
            self.device.free_caches()

    def _generate(self, order: Order, conditions: Conditions, control: JobControl) -> Result:
        settings, row = order.settings, find_row(order.settings.model)
        cost = self.cost(settings)
        tracker = ProgressTracker(cost.prediction, control.emit)
        clock = StageClock(order, tracker)
        control.checkpoint()
        if self._settings.compile_modules:
            allow_many_sizes()
        if settings.memory.free_caches:
            self._free_caches()
        if self._settings.admission and not cost.fits:
            raise out_of_memory(cost.needed_bytes, cost.available_bytes)
        with self._occupancy.running(cost.share) as occupant:
            model = self._load_for_job(row, clock)
            mapping = model.latent_rgb or self._rgb_fit.mapping(model.revision)
            place = Place(model, control, occupant, self._decodes_beside)
            job = Job(order, conditions, place, clock, self._prompts, mapping, self._encoder)
            with self.device.counting():
                result, latents, frames = job.run()
        if occupant.alone:
            self._learn(row, model, job, result)
        if model.latent_rgb is None:
            self._rgb_fit.add(model.revision, latents, frames)
        metrics.record_result(result)
        return result

    def _decodes_beside(self) -> bool:
        return self._occupancy.decodes_beside(self.device.available_bytes(self._resident_bytes()))

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
        """Drops the models unused for longest until one more may come; those that jobs run on stay."""
        with self._lock:
            for name in [name for name in self._models if name not in self._occupancy.models()]:
                if len(self._models) < self._settings.loaded_models:
                    break
                del self._models[name]
                _LOGGER.info("Dropped %s from memory", name)
        self.device.free_caches()

    def _learn(self, row: ModelRow, model: LoadedModel, job: Job, result: Result) -> None:
        """Keeps the speeds that this job showed."""
        loaded = self._weight_bytes(model.shape)
        for piece in work(model.shape, model.plan.applied_to(result.settings), load_bytes=loaded):
            seconds = seconds_of(piece, job, result, compiled=self._settings.compile_modules)
            if seconds is not None:
                self.costs.observe(self._cost_key(row), piece, seconds)
        self.costs.save()

    def _weight_bytes(self, shape: ModelShape) -> int:
        return weight_bytes(shape, self.device.dtype_bytes, self.device.vae_bytes)

    def _cost_key(self, row: ModelRow) -> str:
        return f"{row.name}|{speed_key(self.device, compiled=self._settings.compile_modules)}"


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

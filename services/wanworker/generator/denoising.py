"""Text to embeddings, noise to latents."""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from wanworker.generator.conditions import Conditions, control_video
from wanworker.generator.control import JobControl
from wanworker.generator.device import Device, Mark
from wanworker.generator.errors import not_a_number
from wanworker.generator.gate import Turn
from wanworker.generator.loading import LoadedModel
from wanworker.generator.pipelines import new_pipeline, text_pipeline
from wanworker.generator.registry import PipelineKind
from wanworker.generator.request import Settings
from wanworker.generator.sharing import JobTransformer, job_autoencoder


@dataclass(frozen=True, eq=False)
class Embeddings:
    """An encoded prompt."""

    positive: torch.Tensor
    """1 × tokens × width."""
    negative: torch.Tensor | None
    """The same for the negative prompt; None without guidance."""


@dataclass(frozen=True, eq=False)
class Task:
    """What to denoise."""

    settings: Settings
    """Size, length and effort."""
    flow_shift: float
    """Shift of the schedule."""
    embeddings: Embeddings
    """What to show."""
    seed: int
    """Seed of the noise."""
    conditions: Conditions = field(default_factory=Conditions)
    """The pictures that it is given."""


@dataclass(frozen=True, eq=False)
class Step:
    """A denoising step that the device has finished."""

    number: int
    """From 1."""
    clean: torch.Tensor
    """The model's guess of the finished latents, 1 × channels × frames × rows × columns, normalised, in main memory."""
    seconds: float
    """The device's time for it."""


class PromptCache:
    """Embeddings of recent prompts in host memory: the negative prompt hardly ever changes. For several threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[str, str], torch.Tensor] = OrderedDict()

    def get(self, revision: str, prompt: str) -> torch.Tensor | None:
        """The embedding of a prompt by that model, if it is still there."""
        with self._lock:
            found = self._entries.get((revision, prompt))
            if found is not None:
                self._entries.move_to_end((revision, prompt))
            return found

    def put(self, revision: str, prompt: str, embedding: torch.Tensor) -> None:
        """Keeps an embedding, and drops those unused for longest."""
        kept = embedding.to("cpu", copy=True)
        with self._lock:
            self._entries[revision, prompt] = kept
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)

    def clear(self) -> None:
        """Forgets all."""
        with self._lock:
            self._entries.clear()


def encode_text(model: LoadedModel, prompt: str, cache: PromptCache) -> torch.Tensor:
    """The embedding of a prompt, 1 × tokens × width, zero behind the prompt's end.

    Prompts longer than the model's tokens are cut, as Wan does. The text encoder stays on the device; whoever has no
    more prompts calls `rest_text_encoder`.
    """
    embedding = cache.get(model.revision, prompt)
    if embedding is None:
        with model.text_lock, torch.no_grad():
            model.ensure_text_encoder()
            embedding, _ = text_pipeline(model).encode_prompt(
                prompt,
                do_classifier_free_guidance=False,
                max_sequence_length=model.shape.prompt_tokens,
                device=model.device.torch,
            )
        cache.put(model.revision, prompt, embedding)
    return embedding.to(model.device.torch)


def count_tokens(model: LoadedModel, prompt: str) -> int:
    """Tokens of a prompt, its end mark included."""
    return len(model.modules["tokenizer"](prompt).input_ids)


def denoise(
    model: LoadedModel, task: Task, on_step: Callable[[Step], None], control: JobControl | None = None
) -> torch.Tensor:
    """Runs the schedule and returns normalised latents, 1 × channels × frames × rows × columns, fp32.

    Each step is one turn at the transformer (`control.steps`). `on_step` hears of every step once the device has
    finished it, on a GPU while the next one runs; what it raises stops the run. The noise is drawn on the CPU, so that
    a seed means the same on every device.

    Raises:
        InternalError: NOT_A_NUMBER, with the first step whose latents are not finite.
        JobCancelledError: the job was cancelled while it waited for a turn.
    """
    control = control or JobControl(lambda _: None)
    steps = _Steps(model.device, control.steps, on_step)
    transformers = {
        name: JobTransformer(
            model.modules[name], cache, control.steps, task.settings.speed.cache_threshold, steps.begin
        )
        for name, cache in model.block_caches.items()
    }
    vae = job_autoencoder(model.vae, control.decodes)
    pipeline = new_pipeline(
        model, task.flow_shift, {**transformers, "vae": vae}, from_image=task.conditions.first is not None
    )

    subjects = len(task.conditions.subjects)  # VACE puts a latent frame for each before the video's

    def after_step(_: Any, index: int, __: Any, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        # UniPC keeps its latest estimate of the clean latents as the newest entry of its history.
        clean = pipeline.scheduler.model_outputs[-1]
        clean = tensors["latents"] if clean is None else clean
        steps.end(index + 1, tensors["latents"], clean[:, :, subjects:])
        if index + 1 >= task.settings.guided_steps:
            pipeline._guidance_scale = 1.0  # the pipeline looks at it anew in every step
        return tensors

    try:
        latents: torch.Tensor = pipeline(**_arguments(model, task), callback_on_step_end=after_step).frames
        steps.finish()
        return latents[:, :, subjects:]
    finally:
        control.steps.close()
        for transformer in transformers.values():
            transformer.forget()


def _arguments(model: LoadedModel, task: Task) -> dict[str, Any]:
    settings, conditions = task.settings, task.conditions
    given: dict[str, Any] = {} if conditions.first is None else {"image": conditions.first}
    if model.row.kind is PipelineKind.CONTROL:
        given = dict(control_video(conditions, settings.frames, (settings.width, settings.height)))
        given["reference_images"] = list(conditions.subjects) or None
    return {
        **given,
        "prompt_embeds": task.embeddings.positive,
        "negative_prompt_embeds": task.embeddings.negative,
        "width": settings.width,
        "height": settings.height,
        "num_frames": settings.frames,
        "num_inference_steps": settings.steps,
        "guidance_scale": settings.guidance_scale if settings.guided_steps else 1.0,
        "generator": torch.Generator("cpu").manual_seed(task.seed),
        "output_type": "latent",
    }


@dataclass(frozen=True, eq=False)
class _Asked:
    """A step that the device was asked for, and may not have done yet."""

    number: int
    clean: torch.Tensor
    finite: torch.Tensor
    began: Mark
    ended: Mark


class _Steps:
    """Hears of steps when they are asked for, tells of them when they are done.

    Nothing here makes the host wait for the newest step: whether its latents are numbers is computed with it, copied
    behind it, and read a step later. On the CPU both are the same moment.
    """

    def __init__(self, device: Device, turn: Turn, on_step: Callable[[Step], None]) -> None:
        self._device = device
        self._turn = turn
        self._on_step = on_step
        self._began = device.mark()
        self._asked: deque[_Asked] = deque()

    def begin(self) -> None:
        self._began = self._device.mark()

    def end(self, number: int, latents: torch.Tensor, clean: torch.Tensor) -> None:
        finite = self._device.to_host(torch.isfinite(latents).all())
        clean = self._device.to_host(clean)
        ended = self._device.mark()
        self._asked.append(_Asked(number, clean, finite, self._began, ended))
        self._turn.give(ended)
        self._tell(self._device.lookahead)

    def finish(self) -> None:
        self._tell(0)

    def _tell(self, kept: int) -> None:
        while len(self._asked) > kept:
            step = self._asked.popleft()
            step.ended.wait()
            if not bool(step.finite):
                raise not_a_number(step.number)
            self._on_step(Step(step.number, step.clean, step.ended.seconds_since(step.began)))

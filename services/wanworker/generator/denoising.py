"""Text to embeddings, noise to latents."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from wanworker.generator.errors import not_a_number
from wanworker.generator.loading import LoadedModel
from wanworker.generator.pipelines import new_pipeline
from wanworker.generator.request import Settings


@dataclass(frozen=True, eq=False)
class Embeddings:
    """An encoded prompt."""

    positive: torch.Tensor
    """1 × tokens × width."""
    negative: torch.Tensor | None
    """The same for the negative prompt; None without guidance."""


@dataclass(frozen=True, eq=False)
class Step:
    """A finished denoising step."""

    number: int
    """From 1."""
    latents: torch.Tensor
    """1 × channels × frames × rows × columns, normalised, as noisy as the schedule has it by now."""
    clean: torch.Tensor
    """The model's guess of the finished latents, same shape."""


class PromptCache:
    """Embeddings of recent prompts in host memory: the negative prompt hardly ever changes. For one thread."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[tuple[str, str], torch.Tensor] = OrderedDict()

    def get(self, revision: str, prompt: str) -> torch.Tensor | None:
        """The embedding of a prompt by that model, if it is still there."""
        found = self._entries.get((revision, prompt))
        if found is not None:
            self._entries.move_to_end((revision, prompt))
        return found

    def put(self, revision: str, prompt: str, embedding: torch.Tensor) -> None:
        """Keeps an embedding, and drops those unused for longest."""
        self._entries[revision, prompt] = embedding.to("cpu", copy=True)
        while len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def clear(self) -> None:
        """Forgets all."""
        self._entries.clear()


def encode_text(model: LoadedModel, prompt: str, cache: PromptCache) -> torch.Tensor:
    """The embedding of a prompt, 1 × tokens × width, zero behind the prompt's end.

    Prompts longer than the model's tokens are cut, as Wan does.
    """
    embedding = cache.get(model.revision, prompt)
    if embedding is None:
        model.ensure_text_encoder()
        pipeline = new_pipeline(model, flow_shift=1.0, from_image=False)
        with torch.no_grad():
            embedding, _ = pipeline.encode_prompt(
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
    model: LoadedModel,
    settings: Settings,
    flow_shift: float,
    embeddings: Embeddings,
    seed: int,
    image: Image.Image | None,
    on_step: Callable[[Step], None],
) -> torch.Tensor:
    """Runs the schedule and returns normalised latents, 1 × channels × frames × rows × columns, fp32.

    `on_step` runs after every step; what it raises stops the run. The noise is drawn on the CPU, so that a seed
    means the same on every device.

    Raises:
        InternalError: NOT_A_NUMBER, at the first step whose latents are not finite.
    """
    pipeline = new_pipeline(model, flow_shift, from_image=image is not None)

    def after_step(_: Any, index: int, __: Any, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        latents = tensors["latents"]
        if not bool(torch.isfinite(latents).all()):
            raise not_a_number(index + 1)
        # UniPC keeps its latest estimate of the clean latents as the newest entry of its history.
        clean = pipeline.scheduler.model_outputs[-1]
        on_step(Step(index + 1, latents, latents if clean is None else clean))
        return tensors

    try:
        latents: torch.Tensor = pipeline(
            **({} if image is None else {"image": image}),
            prompt_embeds=embeddings.positive,
            negative_prompt_embeds=embeddings.negative,
            width=settings.width,
            height=settings.height,
            num_frames=settings.frames,
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(seed),
            output_type="latent",
            callback_on_step_end=after_step,
        ).frames
        return latents
    finally:
        model.reset()

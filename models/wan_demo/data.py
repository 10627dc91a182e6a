"""Endless batches of scenes for both trainings, packed by worker processes and drawn on the training device."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from models.wan_demo.text import load_tokenizer, tokenize
from models.world.captions import caption, with_stray_words
from models.world.render import Clip, Packed, Window, pack
from models.world.scene import Scene, draw_scene

TEXT_LENGTH = 192
"""Tokens that a training caption is padded to; the longest caption of the world has fewer."""


@dataclass(frozen=True)
class Plan:
    """What one batch is made of."""

    clip: Clip
    """Size of the whole clips."""
    batch: int
    """Clips a batch."""
    frames: int
    """Frames that are drawn of each clip."""
    crop: int | None = None
    """Side of the square that is drawn of each frame, mostly around a thing; None draws all."""
    captions: int = 0
    """Captions that are worded for each scene."""


@dataclass(frozen=True)
class Batch:
    """Packed scenes, ready to be drawn with ``render.draw``."""

    scenes: list[Scene]
    """What they show."""
    packed: Packed
    """The scenes as tensors."""
    window: Window
    """The part to be drawn."""
    clip: Clip
    """Size of the whole clips."""
    ids: Tensor
    """Tokens of the captions, batch × captions × ``TEXT_LENGTH``, padded with 0 (16-bit integers)."""


def worded(scenes: Sequence[Scene], count: int, rng: random.Random) -> Tensor:
    """``count`` freshly worded captions of each scene, one in four with stray words, as ``Batch.ids``."""
    texts = [caption(scene, rng) for scene in scenes for _ in range(count)]
    texts = [with_stray_words(text, rng) if rng.random() < 0.25 else text for text in texts]
    if not texts:
        return torch.zeros(len(scenes), 0, TEXT_LENGTH, dtype=torch.int16)
    ids, _ = tokenize(load_tokenizer(), texts, TEXT_LENGTH)
    return ids.to(torch.int16).view(len(scenes), count, TEXT_LENGTH)


def _place(packed: Packed, plan: Plan, side: int, rng: random.Random) -> tuple[torch.Tensor, torch.Tensor]:
    """Corners of the crops: three in four around a thing, the others anywhere."""
    middle = packed.poses[..., packed.poses.shape[-1] // 2]
    tops, lefts = [], []
    for index in range(plan.batch):
        x = rng.uniform(-1, 1) * plan.clip.half[0]
        y = rng.uniform(-1, 1) * plan.clip.half[1]
        slot = 1 if packed.things[1][index] and rng.random() < 0.5 else 0
        if packed.things[slot][index] and rng.random() < 0.75:
            x, y = float(middle[slot, index, 0]), float(middle[slot, index, 1])
        left = x * plan.clip.short + plan.clip.width / 2 - side / 2 + rng.uniform(-0.2, 0.2) * side
        top = -y * plan.clip.short + plan.clip.height / 2 - side / 2 + rng.uniform(-0.2, 0.2) * side
        lefts.append(float(round(min(max(left, 0), plan.clip.width - side))))
        tops.append(float(round(min(max(top, 0), plan.clip.height - side))))
    return torch.tensor(tops), torch.tensor(lefts)


def make_batch(plan: Plan, rng: random.Random) -> Batch:
    """Draw random training scenes and pack them."""
    scenes = [draw_scene(rng) for _ in range(plan.batch)]
    first = torch.tensor([float(rng.randint(0, plan.clip.frames - plan.frames)) for _ in scenes])
    zeros = torch.zeros(plan.batch)
    height, width = plan.crop or plan.clip.height, plan.crop or plan.clip.width
    window = Window(first, zeros, zeros, plan.frames, height, width)
    packed = pack(scenes, plan.clip, window)
    if plan.crop is not None:
        top, left = _place(packed, plan, plan.crop, rng)
        window = Window(first, top, left, plan.frames, height, width)
    return Batch(scenes, packed, window, plan.clip, worded(scenes, plan.captions, rng))


class _Scenes(IterableDataset[Batch]):
    def __init__(self, plan: Plan, seed: int) -> None:
        self._plan, self._seed = plan, seed

    def __iter__(self) -> Iterator[Batch]:
        info = get_worker_info()
        rng = random.Random(self._seed * 1009 + (info.id if info else 0))
        torch.set_num_threads(1)
        while True:
            yield make_batch(self._plan, rng)


def batches(plan: Plan, seed: int, workers: int) -> Iterator[Batch]:
    """Batches without end; with workers, their order and content still depend on the seed alone."""
    loader = DataLoader(
        _Scenes(plan, seed), batch_size=None, num_workers=workers,
        prefetch_factor=4 if workers else None,
    )  # fmt: skip
    return iter(loader)

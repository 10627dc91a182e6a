"""A growing store of encoded clips, and batches of latents with freshly worded captions drawn from it."""

from __future__ import annotations

import queue
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor
from torch.nn import functional

from models.wan_demo.data import Batch, Plan, batches
from models.wan_demo.parallel import encode
from models.wan_demo.text import tokenize
from models.world.captions import caption
from models.world.render import Clip, draw
from models.world.scene import Scene

TEXT_LENGTH = 192
"""Tokens that a training caption is padded to; the longest caption of the world has fewer."""


@dataclass(frozen=True)
class Bucket:
    """Clips of one size."""

    clip: Clip
    """Their size."""
    share: float
    """How often a training batch is of this size."""
    batch: int
    """Clips in a training batch."""
    start: int
    """Clips in the store when training starts."""
    early_share: float = 0.0
    """How often, while training is in its first part: what is cheap teaches words and shapes first."""


REAL = (
    Bucket(Clip(33, 144, 256), 0.64, 48, 1920, 0.15),
    Bucket(Clip(1, 144, 256), 0.07, 256, 3072, 0.45),
    Bucket(Clip(81, 144, 256), 0.08, 20, 96),
    Bucket(Clip(33, 192, 192), 0.08, 48, 256),
    Bucket(Clip(33, 256, 144), 0.08, 48, 256),
    Bucket(Clip(17, 96, 160), 0.05, 128, 1536, 0.40),
)
TOY = (Bucket(Clip(9, 48, 64), 0.7, 2, 4, 0.5), Bucket(Clip(1, 64, 48), 0.3, 2, 4, 0.5))


@dataclass(frozen=True)
class Sample:
    """One training batch."""

    latents: Tensor
    """Normalised latents, batch × 16 × frames × h × w, on the training device."""
    cover: Tensor
    """How much of each latent's place a thing covers, batch × 1 × frames × h × w."""
    ids: Tensor
    """Caption tokens, batch × ``TEXT_LENGTH``."""
    mask: Tensor
    """1 where ``ids`` holds a token."""


class Pool:
    """Encoded clips by bucket; grows while training goes on."""

    def __init__(self, vae: AutoencoderKLWan, buckets: tuple[Bucket, ...], seed: int, workers: int) -> None:
        self._vae, self.buckets = vae, buckets
        self._device = next(vae.parameters()).device
        self._rng = random.Random(seed)
        mean, std = torch.tensor(vae.config.latents_mean), torch.tensor(vae.config.latents_std)
        self._mean = mean.view(1, -1, 1, 1, 1).to(self._device)
        self._std = std.view(1, -1, 1, 1, 1).to(self._device)
        self.early = False
        self._latents: list[list[Tensor]] = [[] for _ in buckets]
        self._scenes: list[list[Scene]] = [[] for _ in buckets]
        self._sources: list[Iterator[Batch]] = []
        for index, bucket in enumerate(buckets):
            size = max(2, min(64, 32 * 33 * 144 * 256 // (bucket.clip.frames * bucket.clip.height * bucket.clip.width)))
            plan = Plan(bucket.clip, min(size, bucket.start), bucket.clip.frames)
            self._sources.append(batches(plan, seed * 31 + index, workers if index == 0 else min(workers, 1)))

    def fill(self) -> None:
        """Encode every bucket's first clips."""
        for index, bucket in enumerate(self.buckets):
            while len(self._scenes[index]) < bucket.start:
                self._add(index)

    def _weights(self) -> list[float]:
        return [bucket.early_share if self.early else bucket.share for bucket in self.buckets]

    def grow(self) -> None:
        """Encode one more batch of clips of some bucket."""
        self._add(self._rng.choices(range(len(self.buckets)), self._weights())[0])

    def size(self) -> int:
        """How many clips there are."""
        return sum(len(scenes) for scenes in self._scenes)

    @torch.no_grad()
    def _add(self, index: int) -> None:
        batch = next(self._sources[index])
        video, cover = draw(batch.packed, batch.clip, batch.window, self._device)
        latents = []
        for part in video.split(16):
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
                mean, _ = encode(self._vae, part)
            latents.append(((mean.float() - self._mean) / self._std).half())
        stacked = torch.cat(latents)
        small = functional.adaptive_max_pool3d(cover, stacked.shape[2:]).half()
        # Latents go in before their scenes: the reading thread counts scenes.
        self._latents[index].extend(torch.cat((stacked, small), 1).unbind(0))
        self._scenes[index].extend(batch.scenes)

    def pick(self, rng: random.Random, dropout: float) -> tuple[int, list[int], list[str]]:
        """A bucket, clips of it, and a caption for each; some captions are left empty."""
        index = rng.choices(range(len(self.buckets)), self._weights())[0]
        count = len(self._scenes[index])
        chosen = [rng.randrange(count) for _ in range(self.buckets[index].batch)]
        texts = ["" if rng.random() < dropout else caption(self._scenes[index][i], rng) for i in chosen]
        return index, chosen, texts

    def samples(self, tokenizer: Any, seed: int, dropout: float = 0.1) -> Iterator[Sample]:
        """Training batches without end; captions are worded and tokenized in a thread of their own."""
        ready: queue.Queue[tuple[int, list[int], Tensor, Tensor]] = queue.Queue(maxsize=6)

        def prepare() -> None:
            rng = random.Random(seed)
            while True:
                index, chosen, texts = self.pick(rng, dropout)
                ready.put((index, chosen, *tokenize(tokenizer, texts, TEXT_LENGTH)))

        threading.Thread(target=prepare, daemon=True).start()
        while True:
            index, chosen, ids, mask = ready.get()
            stored = torch.stack([self._latents[index][i] for i in chosen]).float()
            yield Sample(stored[:, :-1], stored[:, -1:], ids.to(self._device), mask.to(self._device))

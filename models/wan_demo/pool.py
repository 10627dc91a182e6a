"""A growing store of encoded clips and their captions on the training device, and batches drawn from it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor
from torch.nn import functional

from models.wan_demo.data import Batch, Plan, batches
from models.wan_demo.parallel import encode
from models.world.render import Clip, draw

CAPTIONS = 6
"""Wordings that are kept of each clip."""


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
    Bucket(Clip(33, 144, 256), 0.66, 48, 1920, 0.10),
    Bucket(Clip(1, 144, 256), 0.07, 256, 4096, 0.45),
    Bucket(Clip(81, 144, 256), 0.06, 20, 128),
    Bucket(Clip(33, 192, 192), 0.08, 48, 256),
    Bucket(Clip(33, 256, 144), 0.08, 48, 256),
    Bucket(Clip(17, 96, 160), 0.05, 128, 2048, 0.45),
)
TOY = (Bucket(Clip(9, 48, 64), 0.7, 2, 4, 0.5), Bucket(Clip(1, 64, 48), 0.3, 2, 4, 0.5))


@dataclass(frozen=True)
class Sample:
    """One training batch, on the training device."""

    latents: Tensor
    """Normalised latents, batch × 16 × frames × h × w."""
    cover: Tensor
    """How much of each latent's place a thing covers, batch × 1 × frames × h × w."""
    ids: Tensor
    """Caption tokens, batch × ``TEXT_LENGTH``."""

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """All of it."""
        return self.latents, self.cover, self.ids


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
        self._ids: list[list[Tensor]] = [[] for _ in buckets]
        self._sources: list[Iterator[Batch]] = []
        for index, bucket in enumerate(buckets):
            size = max(2, min(64, 32 * 33 * 144 * 256 // (bucket.clip.frames * bucket.clip.height * bucket.clip.width)))
            plan = Plan(bucket.clip, min(size, bucket.start), bucket.clip.frames, captions=CAPTIONS)
            self._sources.append(batches(plan, seed * 31 + index, workers if index == 0 else min(workers, 1)))

    def fill(self) -> None:
        """Encode every bucket's first clips."""
        for index, bucket in enumerate(self.buckets):
            while len(self._ids[index]) < bucket.start:
                self._add(index)

    def _weights(self) -> list[float]:
        return [bucket.early_share if self.early else bucket.share for bucket in self.buckets]

    def _bucket(self) -> int:
        return self._rng.choices(range(len(self.buckets)), self._weights())[0]

    def grow(self) -> None:
        """Encode one more batch of clips of some bucket."""
        self._add(self._bucket())

    def size(self) -> int:
        """How many clips there are."""
        return sum(map(len, self._ids))

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
        self._latents[index].extend(torch.cat((stacked, small), 1).unbind(0))
        self._ids[index].extend(batch.ids.to(self._device).unbind(0))

    def sample(self, dropout: float = 0.1) -> Sample:
        """A training batch of some bucket; some captions are left empty (but for the end token, 1)."""
        index = self._bucket()
        chosen = [self._rng.randrange(len(self._ids[index])) for _ in range(self.buckets[index].batch)]
        stored = torch.stack([self._latents[index][i] for i in chosen]).float()
        ids = torch.stack([self._ids[index][i][self._rng.randrange(CAPTIONS)] for i in chosen]).long()
        empty = torch.zeros_like(ids[0])
        empty[0] = 1
        dropped = torch.tensor([self._rng.random() < dropout for _ in chosen], device=self._device)
        return Sample(stored[:, :-1], stored[:, -1:], torch.where(dropped[:, None], empty, ids))

"""Trains transformer and text encoder together, on latents of the trained autoencoder.

    python -m models.wan_demo.train_video --state RUN_FOLDER --minutes 11      # on a GPU
    python -m models.wan_demo.train_video --state /tmp/toy --minutes 0.5 --toy   # a smoke test on a CPU

Flow matching.  In one batch of five the first latent frame stays clean, at timestep 0 and outside the loss, as
TI2V-5B does it: the same weights then animate a given picture.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import UMT5EncoderModel

from models.wan_demo import pool as pools
from models.wan_demo.config import FLOW_SHIFT, new_text_encoder, new_transformer
from models.wan_demo.muon import Muon
from models.wan_demo.pool import Pool, Sample
from models.wan_demo.text import embed, load_tokenizer
from models.wan_demo.train_autoencoder import load_autoencoder, scheduled_rate


@dataclass(frozen=True)
class Settings:
    """How to train."""

    minutes: float
    """Wall-clock time, the encoding of the first clips left out."""
    rate: float = 8e-4
    """Peak learning rate."""
    muon_rate: float = 1.5
    """What the rate of the transformer's matrices is multiplied by."""
    text_rate: float = 0.3
    """What the text encoder's rate is multiplied by: it comes trained (``train_text``)."""
    image_share: float = 0.2
    """Share of batches whose first latent frame is given."""
    thing_weight: float = 4.0
    """What is added to the loss where things are (they cover a twentieth of the picture); fades out to 0."""
    early: float = 0.35
    """Share of the time in which mostly stills and small clips are trained."""
    grow_every: int = 12
    """Steps between two batches of fresh clips."""
    workers: int = 5
    """Processes that pack scenes of the main bucket."""
    seed: int = 3
    """Seed of data and weights."""


class Model(nn.Module):
    """Text encoder and transformer as one module."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.text_encoder = new_text_encoder(vocabulary)
        self.transformer = new_transformer()

    def forward(self, noisy: Tensor, timestep: Tensor, ids: Tensor) -> Tensor:
        """The predicted velocity."""
        context = embed(self.text_encoder, ids, (ids != 0).long())
        velocity: Tensor = self.transformer(noisy, timestep, context, return_dict=False)[0]
        return velocity


def draw_sigmas(count: int, device: torch.device) -> Tensor:
    """Noise levels: half logit-normal, half uniform, then shifted as the scheduler shifts them."""
    normal = torch.sigmoid(torch.randn(count, device=device))
    uniform = torch.rand(count, device=device)
    sigma = torch.where(torch.rand(count, device=device) < 0.5, normal, uniform)
    return FLOW_SHIFT * sigma / (1 + (FLOW_SHIFT - 1) * sigma)


def flow_loss(model: nn.Module, sample: Sample, given_image: bool, thing_weight: Tensor) -> Tensor:
    """Mean squared error of the velocity, heavier by ``thing_weight`` where things are."""
    clean = sample.latents
    sigma = draw_sigmas(len(clean), clean.device)
    noise = torch.randn_like(clean)
    level = sigma.view(-1, 1, 1, 1, 1)
    noisy = (1 - level) * clean + level * noise
    timestep = sigma * 1000
    if given_image:
        noisy[:, :, 0] = clean[:, :, 0]
        tokens = clean.shape[3] // 2 * (clean.shape[4] // 2)
        timestep = timestep[:, None].repeat(1, clean.shape[2] * tokens)
        timestep[:, :tokens] = 0
    velocity = model(noisy, timestep, sample.ids)
    weight = 1 + thing_weight * sample.cover
    error = (velocity.float() - (noise - clean)).square() * (weight / weight.mean())
    loss: Tensor = error[:, :, 1:].mean() if given_image else error.mean()
    return loss


@dataclass(frozen=True)
class Graph:
    """Forward and backward pass of batches of one size, recorded once and launched as one."""

    graph: torch.cuda.CUDAGraph
    """What was recorded."""
    sample: Sample
    """Where it reads its batch."""
    loss: Tensor
    """Where it leaves its loss."""


class Trainer:
    """The model, its average, and one step of training."""

    def __init__(self, settings: Settings, vocabulary: int, device: torch.device) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.device = settings, device
        self.model = Model(vocabulary).to(device)
        self.average = copy.deepcopy(self.model).requires_grad_(False).eval()
        matrices = [p for p in self.model.transformer.blocks.parameters() if p.ndim == 2]
        known = {id(p) for p in matrices}
        others = [p for p in self.model.transformer.parameters() if id(p) not in known]
        groups = [
            {"params": others, "share": 1.0},
            {"params": list(self.model.text_encoder.parameters()), "share": settings.text_rate},
        ]
        self.muon = Muon(matrices)
        self.adam = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.01, fused=device.type == "cuda")
        self.step_count = 0
        self.recording = device.type == "cuda"
        self._thing_weight = torch.zeros((), device=device)
        self._graphs: dict[tuple[Any, ...], Graph] = {}
        self._memory = torch.cuda.graph_pool_handle() if device.type == "cuda" else None
        for parameter in self.model.parameters():
            parameter.grad = torch.zeros_like(parameter)

    def _gradients(self, sample: Sample, given_image: bool) -> Tensor:
        """Put fresh gradients in place; returns the loss."""
        torch._foreach_zero_([p.grad for p in self.model.parameters() if p.grad is not None])
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda", cache_enabled=False):
            loss = flow_loss(self.model, sample, given_image, self._thing_weight)
        loss.backward()
        return loss.detach()

    def _record(self, sample: Sample, given_image: bool) -> Graph:
        """A CUDA graph for batches of this size: launching its kernels one by one took far longer than running them."""
        kept = Sample(*(tensor.clone() for tensor in sample.tensors()))
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):
                self._gradients(kept, given_image)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._memory):
            loss = self._gradients(kept, given_image)
        return Graph(graph, kept, loss)

    def _replay(self, sample: Sample, given_image: bool) -> Tensor:
        key = (sample.latents.shape, given_image)
        if key not in self._graphs:
            self._graphs[key] = self._record(sample, given_image)
        recorded = self._graphs[key]
        for there, here in zip(recorded.sample.tensors(), sample.tensors(), strict=True):
            there.copy_(here)
        recorded.graph.replay()
        return recorded.loss.clone()

    def step(self, sample: Sample, share: float, given_image: bool) -> Tensor:
        """One step; returns the loss."""
        rate = scheduled_rate(share, self.step_count, self.settings.rate)
        for group in self.adam.param_groups:
            group["lr"] = rate * group["share"]
        self._thing_weight.fill_(self.settings.thing_weight * max(0.0, min(1.0, 3 * (0.9 - share))))
        gradients = self._replay if self.recording else self._gradients
        loss = gradients(sample, given_image)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.adam.step()
        self.muon.step(rate * self.settings.muon_rate)
        decay = min(0.999, (self.step_count + 1) / (self.step_count + 20))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)
        self.step_count += 1
        return loss

    def start_from(self, checkpoint: Path) -> None:
        """Take the weights of an exported checkpoint."""
        for model in (self.model, self.average):
            for name, kind in (("text_encoder", UMT5EncoderModel), ("transformer", WanTransformer3DModel)):
                stored = kind.from_pretrained(checkpoint / name, torch_dtype=torch.float32)
                getattr(model, name).load_state_dict(stored.state_dict(), strict=False)

    def take_text_encoder(self, path: Path, patience: float = 120.0) -> None:
        """Take the text encoder that ``train_text`` writes; waits ``patience`` seconds for one in training."""
        begun = time.monotonic()
        while not path.exists() and time.monotonic() - begun < patience:
            time.sleep(0.2)
        for model in (self.model, self.average):
            model.text_encoder.load_state_dict(load_file(path), strict=False)

    def save(self, out: Path) -> None:
        """The averaged weights for the export, and what is needed to go on training."""
        for name in ("text_encoder", "transformer"):
            state = {k: v.contiguous().cpu().clone() for k, v in getattr(self.average, name).state_dict().items()}
            save_file(state, out / f"{name}.safetensors")
        state = {
            "model": self.model.state_dict(), "adam": self.adam.state_dict(), "muon": self.muon.state_dict(),
            "step": self.step_count,
        }  # fmt: skip
        torch.save(state, out / "video_trainer.pt")


def run(trainer: Trainer, pool: Pool, settings: Settings, out: Path) -> None:
    """The whole training; weights are also saved at half time and at four fifths."""
    begun = time.monotonic()
    generator = torch.Generator().manual_seed(settings.seed)
    shown, saves = 0.0, [0.5, 0.8]
    losses: list[Tensor] = []
    while (share := (time.monotonic() - begun) / (60 * settings.minutes)) < 1:
        pool.early = share < settings.early
        sample = pool.sample()
        roll = float(torch.rand((), generator=generator))
        given = sample.latents.shape[2] > 1 and roll < settings.image_share
        losses.append(trainer.step(sample, share, given))
        if trainer.step_count % settings.grow_every == 0:
            pool.grow()
        if share - shown > 0.04:
            shown = share
            took = (time.monotonic() - begun) / trainer.step_count
            print(f"{share:5.0%} step {trainer.step_count} ({took:.3f} s) loss "
                  f"{float(torch.stack(losses).mean()):.4f} clips {pool.size()}", flush=True)  # fmt: skip
            losses.clear()
        if saves and share > saves[0]:
            saves.pop(0)
            trainer.save(out)
    print(f"{trainer.step_count} steps, {pool.size()} clips", flush=True)


def _resume(trainer: Trainer, path: Path) -> None:
    state: dict[str, Any] = torch.load(path, map_location=trainer.device)
    trainer.model.load_state_dict(state["model"])
    trainer.adam.load_state_dict(state["adam"])
    trainer.muon.load_state_dict(state["muon"])
    trainer.step_count = state["step"]
    for name in ("text_encoder", "transformer"):
        getattr(trainer.average, name).load_state_dict(load_file(path.parent / f"{name}.safetensors"), strict=False)


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="folder of the trained autoencoder; results go there")
    parser.add_argument("--minutes", type=float, default=11.0)
    parser.add_argument("--autoencoder", type=Path, help="checkpoint whose autoencoder is used instead of --state's")
    parser.add_argument("--start-from", type=Path, help="exported checkpoint whose weights are trained on")
    parser.add_argument("--text-encoder", type=Path, help="what train_text wrote, or is writing")
    parser.add_argument("--resume", type=Path, help="video_trainer.pt of an earlier run")
    parser.add_argument("--early", type=float, default=Settings.early, help="share of the time for cheap clips")
    parser.add_argument("--eager", action="store_true", help="no CUDA graphs")
    parser.add_argument("--toy", action="store_true")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_float32_matmul_precision("high")
    settings = Settings(args.minutes, early=args.early, workers=0 if args.toy else 5)
    trainer = Trainer(settings, len(load_tokenizer()), device)
    trainer.recording &= not args.eager
    if args.start_from:
        trainer.start_from(args.start_from)
    if args.resume:
        _resume(trainer, args.resume)
    begun = time.monotonic()
    args.state.mkdir(parents=True, exist_ok=True)
    buckets = pools.TOY if args.toy else pools.REAL
    pool = Pool(load_autoencoder(args.autoencoder or args.state, device), buckets, settings.seed, settings.workers)
    pool.fill()
    print(f"{pool.size()} clips encoded in {time.monotonic() - begun:.0f} s", flush=True)
    if args.text_encoder:
        trainer.take_text_encoder(args.text_encoder)
    run(trainer, pool, settings, args.state)
    trainer.save(args.state)
    assert math.isfinite(sum(float(p.sum()) for p in trainer.average.parameters()))


if __name__ == "__main__":
    main()

"""Trains the autoencoder on clips that are drawn on the fly.

    python -m models.wan_demo.train_autoencoder --out RUN_FOLDER --minutes 9       # on a GPU
    python -m models.wan_demo.train_autoencoder --out /tmp/toy --minutes 0.3 --toy   # a smoke test on a CPU

First crops around the things (many different pixels a second), then whole clips, so that the attention in the middle
of the network and the long run of frames are seen as in use.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from models.wan_demo.config import new_autoencoder
from models.wan_demo.data import Batch, Plan, batches
from models.wan_demo.export import latent_rgb
from models.wan_demo.parallel import decode, encode, parallelise
from models.world.render import Clip, draw


@dataclass(frozen=True)
class Settings:
    """How to train."""

    minutes: float
    """Wall-clock time for everything."""
    stages: tuple[tuple[float, Plan], ...]
    """Until which share of the time each plan of batches is used."""
    rate: float = 1.2e-3
    """Peak learning rate."""
    kl: float = 5e-5
    """Weight of the KL term (mean over latents)."""
    workers: int = 6
    """Processes that pack scenes."""
    seed: int = 1
    """Seed of data and weights."""


REAL = (
    (0.60, Plan(Clip(), 24, 17, crop=80)),
    (1.00, Plan(Clip(), 4, 33)),
)
TOY = (
    (0.6, Plan(Clip(9, 48, 64), 2, 5, crop=32)),
    (1.0, Plan(Clip(9, 48, 64), 2, 9)),
)


def reconstruction_loss(output: Tensor, video: Tensor, cover: Tensor) -> Tensor:
    """Absolute and squared error and error of the edges in space and time, heavier where things are."""
    near = functional.max_pool3d(cover, (1, 9, 9), stride=1, padding=(0, 4, 4))
    weight = 1 + 4 * near
    weight = weight / weight.mean()
    error = output.float() - video
    loss = (weight * (error.abs() + 2 * error.square())).mean()
    for dim in (2, 3, 4):
        if video.shape[dim] > 1:
            loss = loss + 0.5 * (error.diff(dim=dim).abs() * weight.narrow(dim, 1, weight.shape[dim] - 1)).mean()
    return loss


def psnr(output: Tensor, video: Tensor) -> float:
    """Mean over clips of the peak signal-to-noise ratio in dB, both in -1 to 1, as 8-bit pictures would have it."""
    error = ((output.float().clamp(-1, 1) - video) / 2).square().flatten(1).mean(1)
    return float((-10 * torch.log10(error.clamp(min=1e-10))).mean())


def scheduled_rate(share: float, step: int, peak: float) -> float:
    """Warm-up over 150 steps, then a cosine over the time."""
    return peak * min(1.0, (step + 1) / 150) * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * min(share, 1.0))))


class Trainer:
    """The model, its average, and one step of training."""

    def __init__(self, settings: Settings, device: torch.device) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.device = settings, device
        self.model = new_autoencoder().to(device)
        if device.type == "cuda":
            for weight in self.model.parameters():
                if weight.ndim == 5:
                    weight.data = weight.data.to(memory_format=torch.channels_last_3d)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=settings.rate, betas=(0.9, 0.98), weight_decay=1e-3,
            fused=device.type == "cuda",
        )  # fmt: skip
        self.step_count = 0

    def step(self, batch: Batch, share: float) -> tuple[Tensor, Tensor]:
        """One step; returns the loss and the latents' mean square."""
        video, cover = draw(batch.packed, batch.clip, batch.window, self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = scheduled_rate(share, self.step_count, self.settings.rate)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            mean, logvar = encode(self.model, video.to(memory_format=torch.channels_last_3d))
            noise = torch.randn_like(mean) * torch.exp(0.5 * logvar.float())
            output = decode(self.model, mean + noise)
        mean, logvar = mean.float(), logvar.float()
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        loss = reconstruction_loss(output, video, cover) + self.settings.kl * kl
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self._average()
        self.step_count += 1
        return loss.detach(), kl.detach()

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(0.998, (self.step_count + 1) / (self.step_count + 20))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)

    @torch.no_grad()
    def check(self, batch: Batch) -> float:
        """PSNR of the averaged model on whole clips, one at a time."""
        values = []
        video, _ = draw(batch.packed, batch.clip, batch.window, self.device)
        for clip in video.split(1):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
                values.append(psnr(decode(self.average, encode(self.average, clip)[0]), clip))
        return sum(values) / len(values)


def run(trainer: Trainer, settings: Settings) -> None:
    """All stages."""
    begun = time.monotonic()
    whole = settings.stages[-1][1]
    test = next(batches(Plan(whole.clip, 8, whole.frames), settings.seed + 99, 0))
    loaders: dict[int, Iterator[Batch]] = {}
    lasted = 0.0
    while (share := (time.monotonic() - begun) / (60 * settings.minutes)) < 1:
        stage = next(i for i, (until, _) in enumerate(settings.stages) if share < until)
        if stage not in loaders:
            loaders[stage] = batches(settings.stages[stage][1], settings.seed + stage, settings.workers)
        loss, kl = trainer.step(next(loaders[stage]), share)
        if share - lasted > 0.05:
            lasted = share
            took = (time.monotonic() - begun) / trainer.step_count
            print(f"{share:5.0%} step {trainer.step_count} ({took:.3f} s) stage {stage} loss {float(loss):.4f} "
                  f"kl {float(kl):.2f} PSNR {trainer.check(test):.2f} dB", flush=True)  # fmt: skip
    print(f"{trainer.step_count} steps, PSNR {trainer.check(test):.2f} dB", flush=True)


@torch.no_grad()
def latent_moments(
    vae: AutoencoderKLWan, plan: Plan, seed: int, device: torch.device, rounds: int = 24
) -> dict[str, Any]:
    """Mean and deviation of each latent channel, and the preview factors, over fresh clips."""
    source = batches(plan, seed, 0)
    means: list[Tensor] = []
    videos: list[Tensor] = []
    for _ in range(rounds):
        batch = next(source)
        video, _ = draw(batch.packed, batch.clip, batch.window, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            means.append(encode(vae, video)[0].float())
        videos.append(video if len(videos) < 6 else video[:0])
    latents = torch.cat(means)
    mean = latents.mean((0, 2, 3, 4))
    std = latents.std((0, 2, 3, 4))
    shown = torch.cat(videos)
    scaled = (latents[: len(shown)] - mean.view(1, -1, 1, 1, 1)) / std.view(1, -1, 1, 1, 1)
    return {"mean": mean.tolist(), "std": std.tolist(), "rgb": latent_rgb(scaled, shown)}


def save(trainer: Trainer, settings: Settings, out: Path) -> None:
    """The averaged weights (for the export) and everything that is needed to go on training."""
    out.mkdir(parents=True, exist_ok=True)
    weights = {k: v.contiguous().cpu() for k, v in trainer.average.state_dict().items()}
    save_file(weights, out / "autoencoder.safetensors")
    moments = latent_moments(trainer.average, settings.stages[-1][1], settings.seed + 7, trainer.device)
    (out / "latent_rgb.json").write_text(json.dumps(moments.pop("rgb"), indent=1) + "\n")
    (out / "latents.json").write_text(json.dumps(moments) + "\n")
    state = {
        "model": trainer.model.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "step": trainer.step_count,
    }
    partial = out / "autoencoder_trainer.partial"
    torch.save(state, partial)
    partial.rename(out / "autoencoder_trainer.pt")  # the last file: whoever waits for it finds all others


def load_autoencoder(folder: Path, device: torch.device) -> AutoencoderKLWan:
    """The trained autoencoder of a run or of an exported checkpoint, frozen, latent moments in its configuration."""
    if (folder / "vae").exists():
        vae = parallelise(AutoencoderKLWan.from_pretrained(folder / "vae", torch_dtype=torch.float32))
        return vae.to(device).eval().requires_grad_(False)
    moments = json.loads((folder / "latents.json").read_text())
    vae = new_autoencoder(latents_mean=moments["mean"], latents_std=moments["std"])
    vae.load_state_dict(load_file(folder / "autoencoder.safetensors"))
    return vae.to(device).eval().requires_grad_(False)


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--resume", type=Path, help="autoencoder_trainer.pt of an earlier run")
    parser.add_argument("--toy", action="store_true")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_float32_matmul_precision("high")
    torch._dynamo.config.suppress_errors = True
    torch._dynamo.config.recompile_limit = 64
    settings = Settings(args.minutes, TOY if args.toy else REAL, workers=0 if args.toy else 6)
    trainer = Trainer(settings, device)
    if args.resume:
        state = torch.load(args.resume, map_location=device)
        trainer.model.load_state_dict(state["model"])
        trainer.average.load_state_dict(state["model"])
        trainer.optimizer.load_state_dict(state["optimizer"])
    run(trainer, settings)
    save(trainer, settings, args.out)


if __name__ == "__main__":
    main()

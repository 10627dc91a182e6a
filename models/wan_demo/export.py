"""Puts trained weights together as a checkpoint that WanPipeline loads.

    python -m models.wan_demo.export --state RUN_FOLDER      # trained weights of both trainings
    python -m models.wan_demo.export --random                # the same layout with untrained weights

The new folder is written beside the old one and takes its place by renaming: a reader never meets half a checkpoint.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, WanPipeline
from safetensors.torch import load_file
from torch import Tensor

from models.wan_demo.config import (
    CHECKPOINT,
    new_autoencoder,
    new_scheduler,
    new_text_encoder,
    new_transformer,
)
from models.wan_demo.text import load_tokenizer, train_tokenizer

KEPT = ("MODEL_CARD.md", "contact_sheet.png", "quality.json", "latent_rgb.json")
"""Files of the old folder that are carried over."""


def _stock(vae: AutoencoderKLWan) -> AutoencoderKLWan:
    """The same weights in an autoencoder of unchanged diffusers classes, which is what gets saved."""
    plain = AutoencoderKLWan.from_config(vae.config)
    plain.load_state_dict(vae.state_dict())
    return plain


def build(state: Path | None, tokenizer: Any, autoencoder: Path | None = None) -> WanPipeline:
    """A pipeline of the trained weights in ``state`` (its autoencoder from elsewhere, if given), or of random ones."""
    dtype = torch.bfloat16
    vae, transformer = new_autoencoder(), new_transformer()
    text_encoder = new_text_encoder(len(tokenizer))
    if state is not None and autoencoder is None:
        moments = json.loads((state / "latents.json").read_text())
        vae = new_autoencoder(latents_mean=moments["mean"], latents_std=moments["std"])
        vae.load_state_dict(load_file(state / "autoencoder.safetensors"))
    elif autoencoder is not None:
        vae = AutoencoderKLWan.from_pretrained(autoencoder / "vae", torch_dtype=torch.float32)
    if state is not None:
        transformer.load_state_dict(load_file(state / "transformer.safetensors"))
        text_encoder.load_state_dict(load_file(state / "text_encoder.safetensors"), strict=False)
    return WanPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder.to(dtype),  # type: ignore[arg-type]
        vae=_stock(vae).to(torch.float16),
        scheduler=new_scheduler(),
        transformer=transformer.to(dtype),
        expand_timesteps=True,
    )


def latent_rgb(latents: Tensor, video: Tensor) -> dict[str, Any]:
    """Linear factors from normalised latents (batch × 16 × frames × h × w) to colours from 0 to 1.

    Fitted by least squares to ``video`` (batch × 3 × 4k+1 × 8h × 8w, -1 to 1): the previews need no autoencoder.
    """
    frames = latents.shape[2]
    index = torch.tensor([0, *(4 * i - 1 for i in range(1, frames))])
    size = (frames, *latents.shape[3:])
    small = torch.nn.functional.interpolate(video[:, :, index].float() / 2 + 0.5, size=size, mode="area")
    x = latents.float().movedim(1, -1).reshape(-1, latents.shape[1]).double().cpu()
    y = small.movedim(1, -1).reshape(-1, 3).double().cpu()
    x1 = torch.cat((x, torch.ones_like(x[:, :1])), 1)
    solution = torch.linalg.lstsq(x1, y).solution
    error = float((x1 @ solution - y).pow(2).mean().sqrt())
    return {
        "factors": [[round(float(v), 6) for v in row] for row in solution[:-1]],
        "bias": [round(float(v), 6) for v in solution[-1]],
        "rms_error": round(error, 4),
        "space": "latents as the transformer sees them (normalised by latents_mean and latents_std); colours 0 to 1",
    }


def write(pipeline: WanPipeline, out: Path, preview: dict[str, Any] | None = None) -> None:
    """Save a pipeline in place of the checkpoint at ``out``."""
    fresh = out.with_name(f".{out.name}.new")
    old = out.with_name(f".{out.name}.old")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    pipeline.save_pretrained(fresh)
    # transformers 4 knows this class by its old name only, transformers 5 by both.
    for name in ("model_index.json", "tokenizer/tokenizer_config.json"):
        text = (fresh / name).read_text()
        (fresh / name).write_text(text.replace('"TokenizersBackend"', '"PreTrainedTokenizerFast"'))
    for name in KEPT:
        if (out / name).exists():
            shutil.copy2(out / name, fresh / name)
    if preview is not None:
        (fresh / "latent_rgb.json").write_text(json.dumps(preview, indent=1) + "\n")
    if out.exists():
        out.rename(old)
    fresh.rename(out)
    shutil.rmtree(old, ignore_errors=True)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"wrote {out}: {size / 1e6:.1f} MB")


def main() -> None:
    """Export from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--state", type=Path, help="folder that the trainings wrote")
    source.add_argument("--random", action="store_true", help="untrained weights")
    parser.add_argument("--autoencoder", type=Path, help="checkpoint whose autoencoder is kept")
    parser.add_argument("--out", type=Path, default=CHECKPOINT)
    args = parser.parse_args()
    torch.manual_seed(0)
    tokens = load_tokenizer(args.out) if (args.out / "tokenizer").exists() else train_tokenizer()
    preview = None
    if args.state is not None and (args.state / "latent_rgb.json").exists():
        preview = json.loads((args.state / "latent_rgb.json").read_text())
    elif args.random:
        preview = latent_rgb(torch.randn(1, 16, 3, 4, 4), torch.rand(1, 3, 9, 32, 32))
    write(build(args.state, tokens, args.autoencoder), args.out, preview)


if __name__ == "__main__":
    main()

"""Wan2.1-T2V-1.3B in its true configuration with random weights, made on the device: no file, no download."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import torch
from transformers import UMT5Config, UMT5EncoderModel

from wanworker.generator.device import Device
from wanworker.generator.loading import LoadedModel
from wanworker.generator.registry import find_row
from wanworker.generator.shapes import ModelShape
from wanworker.generator.sources import Source

_DIFFUSERS: Any = diffusers
ROW = find_row("wan2.1-t2v-1.3b")


@dataclass(frozen=True)
class Sizes:
    """Configurations of the three networks; what is not named is the classes' default."""

    transformer: dict[str, Any] = field(
        default_factory=lambda: {
            "num_attention_heads": 12,
            "attention_head_dim": 128,
            "ffn_dim": 8960,
            "num_layers": 30,
            "text_dim": 4096,
            "freq_dim": 256,
        }
    )
    text: dict[str, Any] = field(
        default_factory=lambda: {
            "vocab_size": 256_384,
            "d_model": 4096,
            "d_kv": 64,
            "d_ff": 10_240,
            "num_layers": 24,
            "num_heads": 64,
            "feed_forward_proj": "gated-gelu",
        }
    )
    vae: dict[str, Any] = field(default_factory=dict)
    prompt_tokens: int = 512


TOY = Sizes(
    transformer={
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "ffn_dim": 32,
        "num_layers": 2,
        "text_dim": 32,
        "freq_dim": 64,
    },
    text={"vocab_size": 300, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4},
    vae={"base_dim": 4, "dim_mult": [1, 2, 2, 2], "num_res_blocks": 1},
    prompt_tokens=64,
)
"""For trying the benchmarks themselves on a CPU."""


class ByteTokenizer:
    """Stands in for UMT5's: one token a byte, and an end mark. What is timed does not depend on which tokens."""

    def __call__(
        self, text: str | Sequence[str], *, max_length: int = 0, padding: object = None, **_: object
    ) -> SimpleNamespace:
        """Ids of one text as a list, or of several, padded, as tensors."""
        if isinstance(text, str):
            return SimpleNamespace(input_ids=self._ids(text))
        rows = [self._ids(each)[:max_length] for each in text]
        ids = torch.tensor([row + [0] * (max_length - len(row)) for row in rows])
        return SimpleNamespace(input_ids=ids, attention_mask=(ids > 0).long())

    def _ids(self, text: str) -> list[int]:
        return [3 + byte for byte in text.encode()] + [1]


class RandomModel(LoadedModel):
    """Random weights in place of a checkpoint's; an evicted text encoder is made anew rather than read."""

    sizes: Sizes

    def ensure_text_encoder(self) -> None:
        """As the base class has it, without a file."""
        with self.text_lock:
            if self.modules["text_encoder"] is None:
                self.modules["text_encoder"] = _text_encoder(self.sizes, self.device)
            super().ensure_text_encoder()


def build(device: Device, sizes: Sizes) -> RandomModel:
    """All weights, on the device and in the precisions that loading gives them."""
    torch.manual_seed(0)
    transformer = _made(lambda: _DIFFUSERS.WanTransformer3DModel(**sizes.transformer), device.dtype, device)
    for name, parameter in transformer.named_parameters():
        if set(name.split(".")) & set(transformer._keep_in_fp32_modules or ()):
            parameter.data = parameter.data.float()
    vae = _made(lambda: _DIFFUSERS.AutoencoderKLWan(**sizes.vae), device.vae_dtype, device)
    modules = {
        "tokenizer": ByteTokenizer(),
        "text_encoder": _text_encoder(sizes, device),
        "transformer": transformer,
        "vae": vae,
        "scheduler": _DIFFUSERS.UniPCMultistepScheduler(),
    }
    source = Source(ROW.name, Path("random"), "random")
    model = RandomModel(ROW, source, "random", _shape(sizes, modules), device, modules)
    model.sizes = sizes
    return model


def _text_encoder(sizes: Sizes, device: Device) -> Any:
    return _made(lambda: UMT5EncoderModel(UMT5Config(**sizes.text, dropout_rate=0.0)), device.dtype, device)


def _made(make: Any, dtype: torch.dtype, device: Device) -> Any:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device.torch):
            return make().eval().requires_grad_(False)
    finally:
        torch.set_default_dtype(before)


def _shape(sizes: Sizes, modules: dict[str, Any]) -> ModelShape:
    config, vae = modules["transformer"].config, modules["vae"].config

    def count(name: str) -> int:
        return sum(parameter.numel() for parameter in modules[name].parameters())

    return ModelShape(
        layers=config.num_layers,
        dim=config.num_attention_heads * config.attention_head_dim,
        ffn_dim=config.ffn_dim,
        patch=tuple(config.patch_size),
        latent_channels=config.out_channels,
        token_timesteps=False,
        prompt_tokens=sizes.prompt_tokens,
        text_dim=config.text_dim,
        vae_dim=vae.decoder_base_dim or vae.base_dim,
        vae_multiples=tuple(vae.dim_mult),
        vae_blocks=vae.num_res_blocks + 1,
        vae_patch=vae.patch_size or 1,
        stride=vae.scale_factor_spatial,
        frame_stride=vae.scale_factor_temporal,
        transformer_parameters=count("transformer"),
        text_parameters=count("text_encoder"),
        text_embedding_parameters=sizes.text["vocab_size"] * sizes.text["d_model"],
        vae_parameters=count("vae"),
        image_parameters=0,
    )

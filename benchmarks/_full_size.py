"""Wan models in their true configurations with random weights, made on the device: no file, no download.

The numbers are those of the published checkpoints' `config.json`s.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import torch
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel

from wanworker.generator.device import Device
from wanworker.generator.loading import LoadedModel
from wanworker.generator.registry import PipelineKind, find_row
from wanworker.generator.shapes import ModelShape
from wanworker.generator.sources import Source

_DIFFUSERS: Any = diffusers
ROW = find_row("wan2.1-t2v-1.3b")

_T2V_1_3B: dict[str, Any] = {
    "num_attention_heads": 12,
    "attention_head_dim": 128,
    "ffn_dim": 8960,
    "num_layers": 30,
    "text_dim": 4096,
    "freq_dim": 256,
}
_T2V_14B = _T2V_1_3B | {"num_attention_heads": 40, "ffn_dim": 13_824, "num_layers": 40}
_TI2V_5B = _T2V_1_3B | {"num_attention_heads": 24, "ffn_dim": 14_336, "in_channels": 48, "out_channels": 48}
_VACE_1_3B = _T2V_1_3B | {"vace_layers": list(range(0, 30, 2)), "vace_in_channels": 96}
_FROM_IMAGE = {"in_channels": 36, "out_channels": 16, "image_dim": 1280, "added_kv_proj_dim": 5120}
_VIT_HUGE = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 14,
    "hidden_act": "gelu",
}
_FOLDED_VAE: dict[str, Any] = {
    "z_dim": 48,
    "in_channels": 12,
    "out_channels": 12,
    "patch_size": 2,
    "is_residual": True,
    "scale_factor_spatial": 16,
    "latents_mean": [0.0] * 48,
    "latents_std": [1.0] * 48,
}
_VAE_2_2 = _FOLDED_VAE | {"base_dim": 160, "decoder_base_dim": 256}


@dataclass(frozen=True)
class Sizes:
    """Configurations of the networks; what is not named is the classes' default."""

    row: str = ROW.name
    """Which model of the registry."""
    transformer: dict[str, Any] = field(default_factory=lambda: _T2V_1_3B)
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
    image: dict[str, Any] | None = None
    """CLIP's vision tower, for models that look at the first frame through it."""
    prompt_tokens: int = 512


FAMILY = (
    Sizes(),
    Sizes("wan2.1-vace-1.3b", _VACE_1_3B),
    Sizes("wan2.2-ti2v-5b", _TI2V_5B, vae=_VAE_2_2),
    Sizes("wan2.1-i2v-14b-480p", _T2V_14B | _FROM_IMAGE, image=_VIT_HUGE),
    Sizes("wan2.1-t2v-14b", _T2V_14B),
)
"""The true ones."""

_TOY: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "ffn_dim": 32,
    "num_layers": 2,
    "text_dim": 32,
    "freq_dim": 64,
}
_TOY_VAE: dict[str, Any] = {"base_dim": 4, "dim_mult": [1, 2, 2, 2], "num_res_blocks": 1}
TOY = Sizes(
    transformer=_TOY,
    text={"vocab_size": 300, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4},
    vae=_TOY_VAE,
    prompt_tokens=64,
)
"""For trying the benchmarks themselves on a CPU."""
TOY_FAMILY = (
    TOY,
    replace(TOY, row="wan2.1-vace-1.3b", transformer=_TOY | {"vace_layers": [0], "vace_in_channels": 96}),
    replace(
        TOY,
        row="wan2.2-ti2v-5b",
        transformer=_TOY | {"in_channels": 48, "out_channels": 48},
        vae=_TOY_VAE | _FOLDED_VAE | {"decoder_base_dim": 8},
    ),
    replace(
        TOY,
        row="wan2.1-i2v-14b-480p",
        transformer=_TOY | _FROM_IMAGE | {"image_dim": 16, "added_kv_proj_dim": 24},
        image=_VIT_HUGE
        | {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
    ),
    replace(TOY, row="wan2.1-t2v-14b"),
)


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


def build(device: Device, sizes: Sizes, text_encoder: Any = None) -> RandomModel:
    """All weights, on the device and in the precisions that loading gives them; a text encoder may be handed on."""
    torch.manual_seed(0)
    row = find_row(sizes.row)
    control = row.kind is PipelineKind.CONTROL
    kind = _DIFFUSERS.WanVACETransformer3DModel if control else _DIFFUSERS.WanTransformer3DModel
    transformer = _made(lambda: kind(**sizes.transformer), device.dtype, device)
    for name, parameter in transformer.named_parameters():
        if set(name.split(".")) & set(transformer._keep_in_fp32_modules or ()):
            parameter.data = parameter.data.float()
    vae = _made(lambda: _DIFFUSERS.AutoencoderKLWan(**sizes.vae), device.vae_dtype, device)
    modules = {
        "tokenizer": ByteTokenizer(),
        "text_encoder": text_encoder if text_encoder is not None else _text_encoder(sizes, device),
        "transformer": transformer,
        "vae": vae,
        "scheduler": _DIFFUSERS.UniPCMultistepScheduler(),
        **_image_encoder(sizes, device),
    }
    options = {"expand_timesteps": True} if row.kind is PipelineKind.TEXT_OR_IMAGE else {}
    source = Source(row.name, Path("random"), "random")
    model = RandomModel(row, source, "random", _shape(sizes, modules), device, modules, options)
    model.sizes = sizes
    return model


def _image_encoder(sizes: Sizes, device: Device) -> dict[str, Any]:
    if sizes.image is None:
        return {}
    configuration: Any = sizes.image
    encoder = _made(lambda: CLIPVisionModel(CLIPVisionConfig(**configuration)), torch.float32, device)
    size = sizes.image["image_size"]
    processor: Any = CLIPImageProcessorPil  # untyped
    return {
        "image_encoder": encoder,
        "image_processor": processor(size={"shortest_edge": size}, crop_size={"height": size, "width": size}),
    }


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
        layers=config.num_layers + len(config.get("vace_layers") or ()),
        dim=config.num_attention_heads * config.attention_head_dim,
        ffn_dim=config.ffn_dim,
        patch=tuple(config.patch_size),
        latent_channels=config.out_channels,
        token_timesteps=find_row(sizes.row).kind is PipelineKind.TEXT_OR_IMAGE,
        prompt_tokens=sizes.prompt_tokens,
        text_dim=config.text_dim,
        vae_dim=vae.decoder_base_dim or vae.base_dim,
        vae_multiples=tuple(vae.dim_mult),
        vae_blocks=vae.num_res_blocks + 1,
        vae_patch=vae.patch_size or 1,
        vae_residual=bool(vae.is_residual),
        stride=vae.scale_factor_spatial,
        frame_stride=vae.scale_factor_temporal,
        transformer_parameters=count("transformer"),
        text_parameters=count("text_encoder"),
        text_embedding_parameters=sizes.text["vocab_size"] * sizes.text["d_model"],
        vae_parameters=count("vae"),
        image_parameters=count("image_encoder") if sizes.image else 0,
    )

"""Builds a tiny, randomly initialised Wan checkpoint in diffusers layout.

It has every part of a real one (UMT5 encoder, transformer, causal VAE, UniPC schedule) and draws noise. Tests
load it where speed counts more than pictures::

    python -m models.random_wan OUT_FOLDER
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    CLIPVisionModel,
    PreTrainedTokenizerFast,
    UMT5Config,
    UMT5EncoderModel,
)

_DIFFUSERS: Any = diffusers  # it says that it is typed, and is not

# 16 channels of noise, 16 of the encoded frame, 4 of the mask that says which frames are given.
_IMAGE_INPUT: dict[str, int] = {"in_channels": 36, "out_channels": 16, "image_dim": 16, "added_kv_proj_dim": 24}


@dataclass(frozen=True)
class RandomWanConfig:
    """Sizes of the random checkpoint."""

    layers: int = 2
    """Transformer blocks."""
    heads: int = 2
    """Attention heads."""
    head_dim: int = 12
    """Channels of a head; a multiple of 6 keeps the rotary axes even."""
    ffn_dim: int = 32
    """Width of the feed-forward layer."""
    text_dim: int = 32
    """Width of the text encoder."""
    vae_dim: int = 4
    """Base width of the autoencoder."""
    prompt_tokens: int = 64
    """Longest prompt, padded to this length."""
    expand_timesteps: bool = True
    """One timestep a token, as Wan2.2-TI2V has it: the first frame can then be given."""
    from_image: bool = False
    """A transformer that takes the first frame as extra channels and through an image encoder, as Wan2.1-I2V does."""
    control: bool = False
    """A transformer with control blocks, as Wan2.1-VACE has it."""
    folded: bool = False
    """An autoencoder that folds 2 × 2 pixels into channels and 16 × 16 into a latent, as Wan2.2-TI2V's does."""
    flow_shift: float = 3.0
    """Shift of the schedule."""
    seed: int = 0
    """Seed of the weights."""


def build_tokenizer(prompt_tokens: int) -> Any:
    """A byte tokenizer: any text, no vocabulary file, `</s>` at the end as UMT5 has it."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<pad>": 0, "</s>": 1, "<unk>": 2} | {char: index + 3 for index, char in enumerate(alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    fast: Any = PreTrainedTokenizerFast  # untyped
    return fast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=prompt_tokens,
    )


def build_modules(config: RandomWanConfig) -> dict[str, Any]:
    """The components of the pipeline, by their names in `model_index.json`."""
    torch.manual_seed(config.seed)
    text = UMT5Config(
        vocab_size=320,
        d_model=config.text_dim,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        dropout_rate=0.0,
    )
    kind = _DIFFUSERS.WanVACETransformer3DModel if config.control else _DIFFUSERS.WanTransformer3DModel
    more: dict[str, Any] = _IMAGE_INPUT if config.from_image else {}
    if config.control:
        more = {"vace_layers": [0], "vace_in_channels": 96}
    if config.folded:
        more = {"in_channels": 48, "out_channels": 48}
    transformer = kind(
        num_attention_heads=config.heads,
        attention_head_dim=config.head_dim,
        text_dim=config.text_dim,
        freq_dim=64,
        ffn_dim=config.ffn_dim,
        num_layers=config.layers,
        **more,
    )
    vae = _build_autoencoder(config)
    scheduler = _DIFFUSERS.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=config.flow_shift
    )
    image = build_image_encoder() if config.from_image else {}
    return {
        **image,
        "tokenizer": build_tokenizer(config.prompt_tokens),
        "text_encoder": UMT5EncoderModel(text),
        "transformer": transformer,
        "vae": vae,
        "scheduler": scheduler,
    }


def _build_autoencoder(config: RandomWanConfig) -> Any:
    folded: dict[str, Any] = {}
    if config.folded:
        folded = {
            "decoder_base_dim": 2 * config.vae_dim,
            "z_dim": 48,
            "in_channels": 12,
            "out_channels": 12,
            "patch_size": 2,
            "is_residual": True,
            "scale_factor_spatial": 16,
            "latents_mean": [0.0] * 48,
            "latents_std": [1.0] * 48,
        }
    return _DIFFUSERS.AutoencoderKLWan(base_dim=config.vae_dim, dim_mult=[1, 2, 2, 2], num_res_blocks=1, **folded)


def build_image_encoder() -> dict[str, Any]:
    """What turns the first frame into tokens: CLIP's vision tower and its preprocessing."""
    vision = CLIPVisionConfig(
        hidden_size=_IMAGE_INPUT["image_dim"],
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
    )
    size = {"height": 32, "width": 32}
    processor: Any = CLIPImageProcessorPil  # untyped
    return {
        "image_encoder": CLIPVisionModel(vision),
        "image_processor": processor(size={"shortest_edge": 32}, crop_size=size),
    }


def random_latent_rgb(seed: int, channels: int = 16) -> dict[str, Any]:
    """Some latent→RGB map in the demo's format: `factors` (channels × 3), `bias` (3), on normalised latents."""
    generator = torch.Generator().manual_seed(seed)
    factors = (torch.randn(channels, 3, generator=generator) / channels**0.5).tolist()
    return {"factors": factors, "bias": [0.0, 0.0, 0.0], "space": "normalised"}


def build(folder: Path, config: RandomWanConfig | None = None) -> Path:
    """Writes the checkpoint into `folder` and returns it."""
    config = config or RandomWanConfig()
    modules = build_modules(config)
    if config.control:
        pipeline = _DIFFUSERS.WanVACEPipeline(**modules)
    elif config.from_image:
        pipeline = _DIFFUSERS.WanImageToVideoPipeline(**modules)
    else:
        pipeline = _DIFFUSERS.WanPipeline(**modules, expand_timesteps=config.expand_timesteps)
    pipeline.save_pretrained(folder)
    (folder / "latent_rgb.json").write_text(json.dumps(random_latent_rgb(config.seed, 48 if config.folded else 16)))
    return folder


def main() -> None:
    """Command line: where to write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    print(build(parser.parse_args().folder))


if __name__ == "__main__":
    main()

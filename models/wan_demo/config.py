"""Sizes of wan-demo and how its untrained modules are built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanTransformer3DModel
from transformers import UMT5Config, UMT5EncoderModel

from models.wan_demo.parallel import parallelise

CHECKPOINT = Path(__file__).parents[1] / "wan-demo"
"""Where the finished checkpoint lies."""

CONTEXT_LENGTH = 512
"""Text tokens a prompt is padded to: the stock pipeline's default, so training sees just the same."""

FLOW_SHIFT = 3.0
"""Shift of the noise schedule, in training and in the exported scheduler."""

LATENT_CHANNELS = 16
"""Channels of a latent, as in Wan 2.1."""

# patch_size 2 folds 2×2 pixels into channels, as Wan 2.2's autoencoder does: no layer runs at full resolution, which
# makes training and decoding on a CPU several times cheaper.  With two more halvings the strides are still 4×8×8.
AUTOENCODER: dict[str, Any] = {
    "base_dim": 48,
    "dim_mult": [1, 2, 2],
    "num_res_blocks": 1,
    "z_dim": LATENT_CHANNELS,
    "temperal_downsample": [True, True],
    "is_residual": True,
    "in_channels": 12,
    "out_channels": 12,
    "patch_size": 2,
    "scale_factor_temporal": 4,
    "scale_factor_spatial": 8,
}
TRANSFORMER: dict[str, Any] = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 4,
    "attention_head_dim": 64,
    "in_channels": LATENT_CHANNELS,
    "out_channels": LATENT_CHANNELS,
    "text_dim": 256,
    "freq_dim": 256,
    "ffn_dim": 1024,
    "num_layers": 10,
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "rope_max_seq_len": 1024,
}
TEXT_ENCODER: dict[str, Any] = {
    "d_model": 256,
    "d_kv": 64,
    "d_ff": 512,
    "num_heads": 4,
    "num_layers": 3,
    "feed_forward_proj": "gated-gelu",
    "dropout_rate": 0.0,
    "tie_word_embeddings": False,
    "is_encoder_decoder": False,
    "use_cache": False,
}


def new_autoencoder(**changes: Any) -> AutoencoderKLWan:
    """An untrained autoencoder; ``changes`` override its configuration (tests make tiny ones)."""
    return parallelise(AutoencoderKLWan(**{**AUTOENCODER, **changes}))


def new_transformer(**changes: Any) -> WanTransformer3DModel:
    """An untrained transformer."""
    return WanTransformer3DModel(**{**TRANSFORMER, **changes})


def new_text_encoder(vocabulary: int) -> UMT5EncoderModel:
    """An untrained text encoder."""
    return UMT5EncoderModel(UMT5Config(vocab_size=vocabulary, pad_token_id=0, eos_token_id=1, **TEXT_ENCODER))


def new_scheduler() -> UniPCMultistepScheduler:
    """The scheduler that goes into the checkpoint."""
    return UniPCMultistepScheduler(
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        num_train_timesteps=1000,
        flow_shift=FLOW_SHIFT,
    )

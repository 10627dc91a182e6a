"""Runs AutoencoderKLWan over whole clips at once, with the very results of its own chunked loop.

diffusers encodes and decodes a clip chunk by chunk (1 frame, then 4 at a time) and carries features across chunks in
a cache.  That is dozens of small kernels a chunk: training that way is bound by kernel launches.  The chunks are only
a way to save memory: a causal convolution over the whole clip, padded with zeros before its first frame, gives the
same numbers.  Only the resampling layers behave differently at the first frame, and that is what is written here:

- downsample3d: the first frame passes; every further output is the time convolution over (2i, 2i+1, 2i+2);
- upsample3d: the first frame passes; the others go through the time convolution as a sequence of their own;
- the averaging shortcuts drop what they made before the first frame.

tests/unit/test_world.py compares both ways.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import (
    WanCausalConv3d,
    WanResample,
    WanResidualBlock,
    patchify,
    unpatchify,
)
from torch import Tensor


def _norm_silu(x: Tensor, gamma: Tensor) -> Tensor:
    """WanRMS_norm and SiLU in one."""
    y = x.float()
    y = y * torch.rsqrt(y.square().sum(1, keepdim=True).clamp(min=1e-24)) * (x.shape[1] ** 0.5) * gamma
    out: Tensor = torch.nn.functional.silu(y).to(x.dtype)
    return out


# Eagerly these are ten passes over memory, most of a training step.  Compiling this alone takes seconds, where
# compiling the whole autoencoder took a minute and a half.
_norm_silu_fused = torch.compile(_norm_silu, dynamic=True)


def _causal(conv: WanCausalConv3d, x: Tensor) -> Tensor:
    """A causal 3×3×3 convolution without a padded copy of its input: pad both ends, drop what sees the future."""
    out = torch.nn.functional.conv3d(x, conv.weight, conv.bias, padding=(2, 1, 1))
    return out[:, :, : x.shape[2]]


class ParallelResidualBlock(WanResidualBlock):  # type: ignore[misc]
    """A WanResidualBlock that is quicker over whole clips."""

    def forward(self, x: Tensor, feat_cache: Any = None, feat_idx: Any = (0,)) -> Tensor:
        """The block's output; with a cache exactly as the stock layer."""
        if feat_cache is not None:
            stock: Tensor = super().forward(x, feat_cache, feat_idx)
            return stock
        norm = _norm_silu_fused if x.is_cuda else _norm_silu
        y = _causal(self.conv1, norm(x, self.norm1.gamma))
        y = _causal(self.conv2, norm(y, self.norm2.gamma))
        out: Tensor = y + self.conv_shortcut(x)
        return out


class ParallelResample(WanResample):  # type: ignore[misc]
    """A WanResample that, without a cache, does for a whole clip what the cached loop does chunk by chunk."""

    def forward(self, x: Tensor, feat_cache: Any = None, feat_idx: Any = (0,)) -> Tensor:
        """Resample; with a cache exactly as the stock layer."""
        if feat_cache is not None:
            stock: Tensor = super().forward(x, feat_cache, feat_idx)
            return stock
        if self.mode == "upsample3d" and x.shape[2] > 1:
            x = torch.cat((x[:, :, :1], self._double(x[:, :, 1:])), 2)
        x = self._resample_frames(x)
        if self.mode == "downsample3d" and x.shape[2] > 1:
            x = torch.cat((x[:, :, :1], self.time_conv(x)), 2)
        return x

    def _double(self, x: Tensor) -> Tensor:
        b, c, t, h, w = x.shape
        pairs = self.time_conv(x).reshape(b, 2, c, t, h, w)
        out: Tensor = torch.stack((pairs[:, 0], pairs[:, 1]), 3).reshape(b, c, t * 2, h, w)
        return out

    def _resample_frames(self, x: Tensor) -> Tensor:
        b, c, t, h, w = x.shape
        flat = self.resample(x.permute(0, 2, 1, 3, 4).reshape(b * t, c, h, w))
        out: Tensor = flat.view(b, t, *flat.shape[1:]).permute(0, 2, 1, 3, 4)
        return out


def parallelise(vae: AutoencoderKLWan) -> AutoencoderKLWan:
    """Give a model's layers the whole-clip mode; weights and the stock ways stay as they are."""
    for module in vae.modules():
        if type(module) is WanResample:
            module.__class__ = ParallelResample
        elif type(module) is WanResidualBlock:
            module.__class__ = ParallelResidualBlock
    return vae


def encode(vae: AutoencoderKLWan, video: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log-variance of the latents of a whole clip (batch × 3 × (4k+1) × height × width, -1 to 1)."""
    patch = vae.config.patch_size
    x = patchify(video, patch) if patch is not None else video
    mean, logvar = vae.quant_conv(vae.encoder(x)).chunk(2, dim=1)
    return mean, logvar.clamp(-30.0, 20.0)


def decode(vae: AutoencoderKLWan, latents: Tensor) -> Tensor:
    """The whole clip for latents; not clamped, so that gradients flow everywhere."""
    kwargs = {"first_chunk": True}
    video: Tensor = vae.decoder(vae.post_quant_conv(latents), **kwargs)
    patch = vae.config.patch_size
    whole: Tensor = unpatchify(video, patch) if patch is not None else video
    return whole

"""Latents to pixels."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from wanworker.generator.loading import LoadedModel
from wanworker.generator.sharing import job_autoencoder

Frames = NDArray[np.uint8]
"""frames × rows × columns × RGB."""

_FRAMES_AT_ONCE = 8


def decode(model: LoadedModel, latents: torch.Tensor, *, tiled: bool, on_piece: Callable[[float], None]) -> Frames:
    """The frames that normalised latents (1 × channels × frames × rows × columns) stand for.

    `on_piece` hears how much is done (0 to 1) after every latent frame of every tile, because the autoencoder calls
    its decoder once for each; what it raises stops the decoding.
    """
    vae = job_autoencoder(model.vae)
    vae.use_tiling = tiled
    decoder = vae.decoder
    pieces = latents.shape[2] * (_tiles(vae, latents) if tiled else 1)
    done = 0

    def decode_piece(*args: Any, **kwargs: Any) -> torch.Tensor:
        nonlocal done
        piece: torch.Tensor = decoder(*args, **kwargs)
        done += 1
        on_piece(min(1.0, done / pieces))
        return piece

    # A hook on the decoder would hear of other jobs' pieces too, and assigning a function to a module is not allowed.
    vae.__dict__["decoder"] = decode_piece
    with torch.no_grad():
        video = vae.decode(_denormalise(vae, latents), return_dict=False)[0]
    return to_frames(video)


def to_frames(video: torch.Tensor) -> Frames:
    """1 × 3 × frames × rows × columns from -1 to 1, as bytes on the host; a few frames at a time to spare memory."""
    _, channels, count, height, width = video.shape
    frames = np.empty((count, height, width, channels), dtype=np.uint8)
    for start in range(0, count, _FRAMES_AT_ONCE):
        part = video[0, :, start : start + _FRAMES_AT_ONCE].float()
        pixels = (part.add(1).mul(127.5)).round().clamp(0, 255).to(torch.uint8)
        frames[start : start + _FRAMES_AT_ONCE] = pixels.permute(1, 2, 3, 0).cpu().numpy()
    return frames


def _denormalise(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """To the autoencoder's own scale: times its deviation plus its mean, channel by channel."""
    mean, deviation = (
        torch.tensor(values, device=latents.device, dtype=vae.dtype).view(1, -1, 1, 1, 1)
        for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    return latents.to(vae.dtype) * deviation + mean


def _tiles(vae: Any, latents: torch.Tensor) -> int:
    """Tiles that `AutoencoderKLWan.tiled_decode` cuts a frame into; 1 for a frame no larger than a tile."""
    ratio = vae.spatial_compression_ratio
    height, width = latents.shape[-2:]
    if width <= vae.tile_sample_min_width // ratio and height <= vae.tile_sample_min_height // ratio:
        return 1
    rows = range(0, height, vae.tile_sample_stride_height // ratio)
    columns = range(0, width, vae.tile_sample_stride_width // ratio)
    return len(rows) * len(columns)

"""Latents to pixels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify
from numpy.typing import NDArray

from wanworker.generator.device import Device, Mark
from wanworker.generator.loading import LoadedModel
from wanworker.generator.sharing import job_autoencoder

Frames = NDArray[np.uint8]
"""frames × rows × columns × RGB."""

_FRAMES_AT_ONCE = 8


@dataclass(frozen=True, eq=False)
class Piece:
    """Frames in a row, on their way to the host."""

    frames: Frames
    """On the host; their values are there once `ready` has passed."""
    ready: Mark
    """The end of their way."""


def decode(
    model: LoadedModel,
    latents: torch.Tensor,
    *,
    tiled: bool,
    on_frames: Callable[[Piece], None],
    on_piece: Callable[[float], None],
) -> None:
    """Makes the frames that normalised latents (1 × channels × frames × rows × columns) stand for.

    The autoencoder calls its decoder once for every latent frame. What comes out goes to the host at once and to
    `on_frames`, without waiting for the device; the finished pixels never stand on it together. Tiles must be blended
    first: frames that need more than one go to `on_frames` in one piece at the end.

    `on_piece` hears how much was asked of the device (0 to 1) after every latent frame of every tile. What either
    raises stops the decoding. Returns when the device is done.
    """
    vae = job_autoencoder(model.vae)
    decoder = vae.decoder
    tiles = _tiles(vae, latents) if tiled else 1
    vae.use_tiling = tiles > 1
    pieces = latents.shape[2] * tiles
    done = 0

    def decode_piece(*args: Any, **kwargs: Any) -> torch.Tensor:
        nonlocal done
        piece: torch.Tensor = decoder(*args, **kwargs)
        done += 1
        if tiles == 1:
            on_frames(_to_host(model.device, _unfold(vae, piece)))
            # Nothing for diffusers to append to what came before. A slice would keep all of the piece alive.
            piece = piece.new_empty((*piece.shape[:2], 0, *piece.shape[3:]))
        on_piece(min(1.0, done / pieces))
        return piece

    # A hook on the decoder would hear of other jobs' pieces too, and assigning a function to a module is not allowed.
    vae.__dict__["decoder"] = decode_piece
    with torch.no_grad():
        video = vae.decode(_denormalise(vae, latents), return_dict=False)[0]
    end = model.device.mark()
    if tiles > 1:
        on_frames(Piece(to_frames(video), end))
    end.wait()


def needs_tiles(model: LoadedModel, latents: torch.Tensor) -> bool:
    """True for frames larger than a tile: only those are decoded in another way when tiles are asked for."""
    return _tiles(model.vae, latents) > 1


def to_frames(video: torch.Tensor) -> Frames:
    """1 × 3 × frames × rows × columns from -1 to 1, as bytes on the host; a few frames at a time to spare memory."""
    _, channels, count, height, width = video.shape
    frames = np.empty((count, height, width, channels), dtype=np.uint8)
    for start in range(0, count, _FRAMES_AT_ONCE):
        frames[start : start + _FRAMES_AT_ONCE] = _to_bytes(video[:, :, start : start + _FRAMES_AT_ONCE]).cpu().numpy()
    return frames


def _to_bytes(video: torch.Tensor) -> torch.Tensor:
    """Frames × rows × columns × RGB, on the device. What is beyond -1 or 1 becomes 0 or 255."""
    pixels = video[0].float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    return pixels.permute(1, 2, 3, 0).contiguous()


def _to_host(device: Device, video: torch.Tensor) -> Piece:
    frames = device.to_host(_to_bytes(video)).numpy()
    if not device.is_cuda:
        frames = frames.copy()  # a tensor that waits for the encoder would count as memory of the device
    return Piece(frames, device.mark())


def _unfold(vae: Any, piece: torch.Tensor) -> torch.Tensor:
    """What the decoder made, as pixels: Wan 2.2's folds 2 × 2 of them into channels."""
    fold = vae.config.patch_size
    return piece if fold is None else unpatchify(piece, patch_size=fold)


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

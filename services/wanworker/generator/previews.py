"""Small pictures of unfinished latents by a linear map, without the autoencoder.

Convention: a map takes *normalised* latents (as the transformer sees them, mean and deviation of the autoencoder's
configuration taken off) to RGB from 0 to 1. A checkpoint may bring one as `latent_rgb.json`: `factors` (channels ×
3), `bias` (3), and `space`; if that begins with "raw", its latents are on the autoencoder's own scale, and the map
is converted on reading.

A checkpoint without that file gets its map from its own results: every finished job is a set of pairs (latents,
pixels), and least squares over those gives the factors. So no table of numbers is needed for any model of the
family.
"""

import io
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from wanworker.generator.errors import model_broken
from wanworker.generator.request import Preview
from wanworker.generator.sources import Source, read_json

FILE = "latent_rgb.json"
_PICTURES = 4
_LEAST_HEIGHT = 72
_QUALITY = 75
_RIDGE = 1e-3
_FORGET = 0.9

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LatentRgb:
    """A linear map from normalised latents to colours."""

    factors: Matrix
    """channels × 3."""
    bias: Matrix
    """3."""

    def colours(self, latents: torch.Tensor) -> NDArray[np.uint8]:
        """channels × frames × rows × columns, to frames × rows × columns × RGB."""
        values = latents.float().cpu().numpy()
        rgb = np.tensordot(values, self.factors, axes=(0, 0)) + self.bias
        pixels: NDArray[np.uint8] = (rgb.clip(0, 1) * 255).round().astype(np.uint8)
        return pixels


def read_latent_rgb(source: Source) -> LatentRgb | None:
    """The checkpoint's own map; None if it brings none. Raises MODEL_BROKEN for one that is not as it should be."""
    path = source.folder / FILE
    if not path.is_file():
        return None
    data = read_json(source, path)
    vae = read_json(source, source.folder / "vae" / "config.json")
    try:
        return parse_latent_rgb(data, vae)
    except (KeyError, ValueError, TypeError) as error:
        raise model_broken(source.name, path, f"it is no latent→RGB map ({error})") from error


def parse_latent_rgb(data: dict[str, Any], vae_config: dict[str, Any]) -> LatentRgb:
    """The map in a `latent_rgb.json`; `vae_config` holds the normalisation that a "raw" one is converted by."""
    factors = np.asarray(data["factors"], dtype=np.float64)
    bias = np.asarray(data["bias"], dtype=np.float64)
    channels = vae_config.get("z_dim", 16)
    if factors.shape != (channels, 3) or bias.shape != (3,):
        raise ValueError(f"factors {factors.shape} and bias {bias.shape} do not fit {channels} channels")
    if str(data.get("space", "normalised")).startswith("raw"):
        mean = np.asarray(vae_config["latents_mean"], dtype=np.float64)
        deviation = np.asarray(vae_config["latents_std"], dtype=np.float64)
        bias = bias + mean @ factors
        factors = factors * deviation[:, None]
    return LatentRgb(factors, bias)


def make_preview(mapping: LatentRgb, latents: torch.Tensor, step: int) -> Preview:
    """A WebP strip of up to four moments of 1 × channels × frames × rows × columns normalised latents."""
    count = latents.shape[2]
    chosen = np.unique(np.linspace(0, count - 1, min(_PICTURES, count)).round().astype(int))
    pictures = mapping.colours(latents[0, :, chosen.tolist()])
    strip = Image.fromarray(np.ascontiguousarray(np.concatenate(list(pictures), axis=1)))
    scale = max(1, -(-_LEAST_HEIGHT // strip.height))
    strip = strip.resize((strip.width * scale, strip.height * scale), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    strip.save(buffer, "WEBP", quality=_QUALITY, method=2)
    return Preview(buffer.getvalue(), strip.width, strip.height, len(chosen), step)


class LatentRgbFit:
    """Least squares over finished jobs, by accumulated normal equations; kept in a file from process to process."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._sums: dict[str, tuple[Matrix, Matrix]] = {}

    def mapping(self, revision: str) -> LatentRgb | None:
        """The map for these weights; None before their first finished job."""
        with self._lock:
            sums = self._sums.get(revision) or self._read(revision)
        if sums is None:
            return None
        left, right = sums
        ridge = np.eye(len(left)) * _RIDGE * np.trace(left) / len(left)
        solution = np.linalg.solve(left + ridge, right)
        return LatentRgb(solution[:-1], solution[-1])

    def add(self, revision: str, latents: torch.Tensor, frames: NDArray[np.uint8]) -> None:
        """Learns from a finished job: normalised latents and the frames that were decoded from them."""
        left, right = _normal_equations(latents, frames)
        with self._lock:
            before = self._sums.get(revision) or self._read(revision)
            if before is not None:
                left, right = left + _FORGET * before[0], right + _FORGET * before[1]
            self._sums[revision] = left, right
            self._write(revision, left, right)

    def _path(self, revision: str) -> Path | None:
        return self._file / f"{revision.replace(':', '-')}.json" if self._file else None

    def _read(self, revision: str) -> tuple[Matrix, Matrix] | None:
        path = self._path(revision)
        if path is None:
            return None
        try:
            data = json.loads(path.read_text())
            return np.asarray(data["left"], dtype=np.float64), np.asarray(data["right"], dtype=np.float64)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _write(self, revision: str, left: Matrix, right: Matrix) -> None:
        path = self._path(revision)
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(".tmp")
            temporary.write_text(json.dumps({"left": left.tolist(), "right": right.tolist()}))
            temporary.replace(path)
        except OSError:
            return  # a convenience only; the next process learns anew


def _normal_equations(latents: torch.Tensor, frames: NDArray[np.uint8]) -> tuple[Matrix, Matrix]:
    """XᵀX and XᵀY, scaled to one pixel, of latents and the mean colour of the pixels under each."""
    values = latents[0].float().cpu().numpy().astype(np.float64)
    channels, count, rows, columns = values.shape
    # Latent frame i > 0 stands for frames 4i-3 … 4i; the one before the last of them is its middle.
    stride = (len(frames) - 1) // (count - 1) if count > 1 else 1
    middle = [0, *(stride * index - stride // 4 for index in range(1, count))]
    shown = torch.from_numpy(frames[middle]).permute(0, 3, 1, 2).float()
    small = torch.nn.functional.interpolate(shown, size=(rows, columns), mode="area") / 255
    right_side = small.permute(0, 2, 3, 1).reshape(-1, 3).numpy().astype(np.float64)
    left_side = np.concatenate([values.reshape(channels, -1).T, np.ones((values[0].size, 1))], axis=1)
    return left_side.T @ left_side / len(left_side), left_side.T @ right_side / len(left_side)

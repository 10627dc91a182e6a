"""Draws what is behind the things: sky, glow, clouds, stars, hills, ground, waves; with gentle parallax."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.world.styles import COLUMNS

_AT = {name: i for i, name in enumerate(COLUMNS)}


@dataclass(frozen=True)
class Grid:
    """Where the pixels of a batch of clips are; all tensors broadcast to batch × frames × height × width."""

    x: Tensor
    """Sideways, 0 in the middle, shorter side of the frame = 1."""
    y: Tensor
    """Upwards, 0 in the middle."""
    half_x: float
    """Half the frame's width."""
    half_y: float
    """Half the frame's height."""
    pixel: float
    """Size of a pixel."""
    seconds: Tensor
    """Time of each frame at 16 frames a second."""


class _Row:
    """Columns of the style rows, shaped to broadcast over a batch of clips."""

    def __init__(self, rows: Tensor) -> None:
        self._rows = rows

    def __call__(self, name: str) -> Tensor:
        return self._rows[:, _AT[name]].view(-1, 1, 1, 1)

    def rgb(self, name: str) -> Tensor:
        first = _AT[f"{name}.r"]
        return self._rows[:, first : first + 3].view(-1, 1, 3, 1, 1)


def mix(a: Tensor, b: Tensor, amount: Tensor) -> Tensor:
    """From ``a`` (amount 0) to ``b`` (amount 1); amount has no colour axis."""
    return a + (b - a) * amount.unsqueeze(2)


def _hash(a: Tensor, b: Tensor, salt: Tensor) -> Tensor:
    # Coordinates are kept small before the sine: large arguments differ between CPU and GPU.
    return torch.frac(torch.sin(a * 12.9898 + b * 78.233 + salt * 3.17) * 437.585).abs()


def _soft(distance: Tensor, width: float) -> Tensor:
    return torch.sigmoid(distance / width * 3.0)


def _stars(x: Tensor, y: Tensor, salt: Tensor, pixel: float) -> Tensor:
    cell = 0.17
    ix, iy = torch.floor(x / cell), torch.floor(y / cell)
    pick = _hash(ix, iy, salt)
    ox = 0.3 + 0.4 * _hash(ix, iy, salt + 1.3)
    oy = 0.3 + 0.4 * _hash(ix, iy, salt + 2.7)
    dx, dy = x / cell - ix - ox, y / cell - iy - oy
    radius = max(0.0085, 1.1 * pixel) / cell
    return torch.exp(-(dx * dx + dy * dy) / (radius * radius)) * (pick > 0.45) * (0.5 + 0.5 * pick)


def _clouds(x: Tensor, y: Tensor, salt: Tensor) -> Tensor:
    wide, tall = 0.95, 0.42
    iy = torch.floor(y / tall)
    shifted = x / wide + 0.37 * iy
    ix = torch.floor(shifted)
    pick = _hash(ix, iy, salt)
    fx = (shifted - ix - 0.42 - 0.16 * pick) * wide
    fy = (y / tall - iy - 0.5) * tall
    puff = torch.exp(-((fx / 0.16) ** 2) - (fy / 0.055) ** 2)
    puff = puff + 0.8 * torch.exp(-(((fx - 0.1) / 0.12) ** 2) - ((fy - 0.03) / 0.05) ** 2)
    puff = puff + 0.7 * torch.exp(-(((fx + 0.11) / 0.11) ** 2) - ((fy - 0.015) / 0.045) ** 2)
    return (1 - torch.exp(-1.6 * puff)) * (pick > 0.35)


def _sky(grid: Grid, row: _Row, x: Tensor, y: Tensor, drift: Tensor) -> Tensor:
    horizon = torch.clamp(row("horizon"), min=-1.0) * grid.half_y
    height = torch.clamp((y - horizon) / (grid.half_y - horizon), 0, 1)
    image = mix(row.rgb("sky_low"), row.rgb("sky_top"), height)
    gx = x - drift * 0.15 - row("glow_x") * grid.half_x
    gy = y - row("glow_y") * grid.half_y
    glow = torch.exp(-(gx * gx + gy * gy) / row("glow_width") ** 2)
    image = image + row.rgb("glow") * glow.unsqueeze(2)
    # Drawn for every background, weighted 0 where there are none: asking the GPU first would stall it.
    image = image + (_stars(x - drift * 0.1, y, row("salt"), grid.pixel) * row("stars")).unsqueeze(2)
    shift = drift * 0.35 + grid.seconds * 0.012 + row("phase3")
    cloud = _clouds(x - shift, y - 0.07, row("salt")) * row("clouds")
    return image + (1 - image) * (cloud * torch.clamp(height * 4 - 0.4, 0, 1)).unsqueeze(2)


def _ground(grid: Grid, row: _Row, image: Tensor, x: Tensor, y: Tensor, drift: Tensor) -> Tensor:
    horizon = row("horizon") * grid.half_y
    fx = x - drift * 0.5
    ridge = torch.sin(fx * 3.1 + row("phase0")) * 0.6 + torch.sin(fx * 7.3 + row("phase1")) * 0.4
    far = horizon + grid.half_y * row("far_swing") * (0.55 + 0.45 * ridge)
    soft = 1.6 * grid.pixel
    image = mix(image, row.rgb("far"), _soft(far - y, soft) * (row("far_swing") > 0))
    nx = x - drift
    roll = torch.sin(nx * 2.3 + row("phase2")) * 0.7 + torch.sin(nx * 4.9 + row("phase3")) * 0.3
    edge = horizon + grid.half_y * row("near_swing") * roll
    depth = torch.clamp((edge - y) / (grid.half_y + horizon).clamp(min=0.1), 0, 1)
    ground = mix(row.rgb("ground_far"), row.rgb("ground_near"), depth**0.7)
    rows = 26.0 * torch.sqrt(depth + 0.02)
    swell = torch.sin(rows + 0.9 * torch.sin(nx * 5.0 + grid.seconds * 0.9) + row("phase0") + grid.seconds * 1.4)
    ground = ground + (swell * row("waves") * torch.clamp(depth * 6, 0, 1)).unsqueeze(2)
    return mix(image, ground, _soft(edge - y, soft))


def draw_backdrop(grid: Grid, rows: Tensor, camera: Tensor) -> Tensor:
    """Pictures (batch × frames × 3 × height × width, 0 to 1) without any things.

    ``rows`` are rows of ``styles.jitter``; ``camera`` is batch × 2 × frames: how far the view has moved to the
    right, and the logarithm of its magnification.
    """
    row = _Row(rows)
    drift = -camera[:, 0, :, None, None]
    zoom = torch.exp(-camera[:, 1, :, None, None])
    # Zooming aims at the horizon's height, so that the horizon itself stays where it is.
    aim = torch.clamp(row("horizon"), min=-0.5) * grid.half_y
    x, y = grid.x * zoom, (grid.y - aim) * zoom + aim
    image = _sky(grid, row, x, y, drift)
    return _ground(grid, row, image, x, y, drift)

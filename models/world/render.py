"""Draws scenes as video, many at a time, on a CPU or a GPU.

    clip = Clip(frames=33, height=144, width=256)
    video, mask = render(scenes, clip)          # batch × 3 × frames × height × width, -1 to 1

A ``Window`` draws only a part of each clip, which is how the autoencoder's training sees crops without paying
for whole frames.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.world.backdrop import Grid, draw_backdrop, mix
from models.world.motion import Pose, choose_start, move
from models.world.scene import Scene
from models.world.shapes import DETAILS, SHAPES
from models.world.styles import COLUMNS, STYLES, jitter
from models.world.words import COLOURS


@dataclass(frozen=True)
class Clip:
    """Size of a whole clip."""

    frames: int = 33
    """Number of frames."""
    height: int = 144
    """Pixels."""
    width: int = 256
    """Pixels."""

    @property
    def short(self) -> int:
        """The shorter side: the world's unit of length."""
        return min(self.height, self.width)

    @property
    def half(self) -> tuple[float, float]:
        """Half width and half height in the world's unit."""
        return self.width / self.short / 2, self.height / self.short / 2


@dataclass(frozen=True)
class Window:
    """The part of each clip that is drawn."""

    first: Tensor
    """First frame, one number a clip."""
    top: Tensor
    """First row, one number a clip."""
    left: Tensor
    """First column, one number a clip."""
    frames: int
    """Number of frames."""
    height: int
    """Pixels."""
    width: int
    """Pixels."""


def whole(clip: Clip, batch: int) -> Window:
    """The window that shows everything."""
    zeros = torch.zeros(batch)
    return Window(zeros, zeros, zeros, clip.frames, clip.height, clip.width)


@dataclass(frozen=True)
class Packed:
    """Scenes as tensors for the frames of a window."""

    rows: Tensor
    """Style rows, batch × columns."""
    camera: Tensor
    """Batch × 2 × frames: travel to the right, logarithm of the magnification."""
    poses: Tensor
    """Slots × batch × 5 × frames: x, y, radius, angle, flip; radius 0 where there is no thing."""
    paints: Tensor
    """Slots × batch × 7: colour of the thing, factor and lift of its detail."""
    things: tuple[tuple[str, ...], ...]
    """Slots × batch: names; empty where there is no thing."""


def _camera_path(camera: str, frame: Tensor) -> Tensor:
    s = frame / 32.0 - 0.5
    travel, zoom = torch.zeros_like(s), torch.zeros_like(s)
    if camera in ("pan_left", "pan_right"):
        travel = s * (0.55 if camera == "pan_right" else -0.55)
    elif camera in ("zoom_in", "zoom_out"):
        zoom = s * (0.40 if camera == "zoom_in" else -0.40)
    return torch.stack((travel, zoom))


def _pose_tensor(pose: Pose) -> Tensor:
    return torch.stack((pose.x, pose.y, pose.radius, pose.angle, torch.full_like(pose.x, pose.flip)))


def _paint(thing: str, colour: str) -> Tensor:
    detail = DETAILS.get(thing)
    extra = (*detail.rgb, detail.lift) if detail else (1.0, 1.0, 1.0, 0.0)
    # Pure white and black leave no room for a lighter or darker part: shade the other way.
    if colour == "white" and extra[3] > 0:
        extra = (0.72, 0.74, 0.78, 0.0)
    return torch.tensor((*COLOURS[colour], *extra))


def pack(scenes: Sequence[Scene], clip: Clip, window: Window) -> Packed:
    """Work out, on the CPU, everything that does not depend on the pixel."""
    rows, cameras, poses, paints, names = [], [], [], [], []
    for index, scene in enumerate(scenes):
        rng = random.Random(scene.seed)
        rows.append(jitter(STYLES[scene.background], rng))
        frame = torch.arange(window.frames, dtype=torch.float32) + float(window.first[index])
        cameras.append(_camera_path(scene.camera, frame))
        pose, paint = torch.zeros(2, 5, window.frames), torch.ones(2, 7)
        for slot, actor in enumerate(scene.actors):
            start = choose_start(scene, slot, clip.half, rng)
            pose[slot] = _pose_tensor(move(scene.motion, start, frame, clip.frames))
            paint[slot] = _paint(actor.thing, actor.colour)
        poses.append(pose)
        paints.append(paint)
        names.append([*(a.thing for a in scene.actors), "", ""][:2])
    return Packed(
        torch.tensor(rows), torch.stack(cameras), torch.stack(poses, 1), torch.stack(paints, 1),
        tuple(zip(*names, strict=True)),
    )  # fmt: skip


def _grid(clip: Clip, window: Window, device: torch.device) -> Grid:
    def axis(start: Tensor, count: int, size: int, sign: float) -> Tensor:
        index = torch.arange(count, dtype=torch.float32) + start[:, None]
        return (sign * (index + 0.5 - size / 2) / clip.short).to(device, non_blocking=True)

    seconds = (torch.arange(window.frames, dtype=torch.float32) + window.first[:, None]) / 16.0
    return Grid(
        x=axis(window.left, window.width, clip.width, 1.0)[:, None, None, :],
        y=axis(window.top, window.height, clip.height, -1.0)[:, None, :, None],
        half_x=clip.half[0], half_y=clip.half[1], pixel=1.0 / clip.short,
        seconds=seconds.to(device)[:, :, None, None],
    )  # fmt: skip


def _local(grid: Grid, pose: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Coordinates in the thing's own frame, and its radius; pose is batch × 5 × frames."""
    px, py, radius, angle, flip = (pose[:, i, :, None, None] for i in range(5))
    dx, dy = (grid.x - px) / radius, (grid.y - py) / radius
    cos, sin = torch.cos(angle), torch.sin(angle)
    return (dx * cos + dy * sin) * flip, dy * cos - dx * sin, radius


def _distances(grid: Grid, pose: Tensor, names: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Distance to each clip's thing and to its detail, in the world's unit; far away where there is none."""
    shape = (len(names), pose.shape[2], grid.y.shape[2], grid.x.shape[3])
    outline = torch.full(shape, 9.0, device=pose.device)
    detail = torch.full(shape, 9.0, device=pose.device)
    for thing in sorted(set(names) - {""}):
        index = torch.tensor([i for i, name in enumerate(names) if name == thing], device=pose.device)
        part = Grid(grid.x[index], grid.y[index], grid.half_x, grid.half_y, grid.pixel, grid.seconds)
        x, y, radius = _local(part, pose[index])
        outline[index] = SHAPES[thing](x, y) * radius
        if thing in DETAILS:
            detail[index] = DETAILS[thing].field(x, y) * radius
    return outline, detail


def _shade(grid: Grid, pose: Tensor, paint: Tensor, outline: Tensor, detail: Tensor) -> Tensor:
    """Colour of every pixel as if the thing covered all of them: soft light from the upper left."""
    radius = pose[:, 2, :, None, None].clamp(min=1e-3)
    dx = (grid.x - pose[:, 0, :, None, None]) / radius
    dy = (grid.y - pose[:, 1, :, None, None]) / radius
    light = torch.clamp(1.0 + 0.17 * (dy - 0.8 * dx), 0.72, 1.2)
    rim = 0.30 * torch.exp(torch.clamp(outline, max=0) / (0.09 * radius))
    gloss = 0.22 * torch.exp(-((dx + 0.34) ** 2 + (dy - 0.36) ** 2) / 0.05)
    colour = paint[:, None, :3, None, None]
    inside = torch.clamp(0.5 - detail / grid.pixel, 0, 1)
    dressed = colour * paint[:, None, 3:6, None, None]
    dressed = dressed + (1 - dressed) * paint[:, None, 6:7, None, None]
    shaded = mix(colour, dressed, inside) * (light * (1 - rim)).unsqueeze(2)
    return shaded + gloss.unsqueeze(2) * (1.05 - shaded).clamp(min=0)


def _shadow(grid: Grid, pose: Tensor, strength: Tensor) -> Tensor:
    """How much a thing darkens the ground below it."""
    px, py, radius = (pose[:, i, :, None, None] for i in range(3))
    floor = -grid.half_y * 0.86
    height = torch.clamp((py - radius - floor) / grid.half_y, 0, 2)
    wide = radius.clamp(min=1e-3) * (1 + 0.5 * height)
    spot = torch.exp(-(((grid.x - px) / wide) ** 2) - ((grid.y - floor) / (0.22 * wide)) ** 2)
    return spot * strength.view(-1, 1, 1, 1) * torch.exp(-1.2 * height) * (radius > 0)


@torch.no_grad()
def draw(packed: Packed, clip: Clip, window: Window, device: str | torch.device) -> tuple[Tensor, Tensor]:
    """Draw packed scenes: see ``render`` for what comes back."""
    target = torch.device(device)
    grid = _grid(clip, window, target)
    rows = packed.rows.to(target)
    image = draw_backdrop(grid, rows, packed.camera.to(target))
    cover = torch.zeros_like(image[:, :, 0])
    poses, paints = packed.poses.to(target), packed.paints.to(target)
    for slot, names in enumerate(packed.things):
        if not any(names):
            continue
        pose, paint = poses[slot], paints[slot]
        shadow = _shadow(grid, pose, rows[:, COLUMNS.index("shadow")])
        image = image * (1 - shadow).unsqueeze(2)
        outline, detail = _distances(grid, pose, names)
        alpha = torch.clamp(0.5 - outline / grid.pixel, 0, 1)
        image = mix(image, _shade(grid, pose, paint, outline, detail), alpha)
        cover = torch.maximum(cover, alpha)
    video = image.clamp(0, 1) * 2 - 1
    return video.transpose(1, 2).contiguous(), cover.unsqueeze(1)


def render(
    scenes: Sequence[Scene], clip: Clip, window: Window | None = None, device: str | torch.device = "cpu"
) -> tuple[Tensor, Tensor]:
    """Draw scenes: video (batch × 3 × frames × height × width, -1 to 1) and the things' coverage (one channel)."""
    view = window or whole(clip, len(scenes))
    return draw(pack(scenes, clip, view), clip, view, device)

"""Says from a clip's frames alone what is in it: colour, shape, motion, background.

No model is asked.  The thing is what differs from the median colour of its row (backgrounds of the world change from
top to bottom, hardly from left to right).  Its colour is a vote of its pixels, its shape the best match among masks
that the renderer draws, its motion read from the path, area and turning of the mask, and the background is the nearest
of many empty renderings.  On clips straight from the renderer it is right nearly always (see MODEL_CARD.md);
on generated clips its figures speak of the model.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from models.world.render import Clip, render
from models.world.scene import Scene
from models.world.shapes import SHAPES
from models.world.words import BACKGROUNDS, CAMERAS, COLOURS

THRESHOLD = 0.22
"""How much a pixel must differ from its row's median, in any channel of 0 to 1, to belong to a thing."""

PATCH = 40
"""Side of the square that masks are compared in."""


@dataclass(frozen=True)
class Verdict:
    """What was seen."""

    found: bool
    """Whether there is a thing in most of the frames."""
    colour: str
    """A key of ``words.COLOURS``; empty if nothing was found."""
    thing: str
    """A member of ``words.THINGS``; empty if nothing was found."""
    motion: str
    """A key of ``words.MOTIONS``; empty if nothing was found, or no motion of the world was recognised."""
    background: str
    """A key of ``words.BACKGROUNDS``."""


def _row_medians(frames: Tensor) -> Tensor:
    return frames.median(dim=3, keepdim=True).values


def _spread(seed: Tensor, inside: Tensor) -> Tensor:
    """The largest seed that reaches each pixel through ``inside`` (steps of one pixel sideways or up and down)."""
    labels = seed * inside
    for _ in range(200):
        grown = labels
        for _ in range(4):
            across, along = (
                functional.max_pool2d(grown, (3, 1), 1, (1, 0)),
                functional.max_pool2d(grown, (1, 3), 1, (0, 1)),
            )
            grown = across.maximum(along) * inside
        if torch.equal(grown, labels):
            break
        labels = grown
    return labels


def _components(mask: Tensor, weight: Tensor) -> Tensor:
    """Keep only the heaviest connected part of each frame's mask (frames × 1 × h × w, 0 or 1)."""
    coarse, heavy = functional.max_pool2d(mask, 2), functional.avg_pool2d(weight * mask, 2)
    count, _, h, w = coarse.shape
    labels = _spread(torch.arange(1, h * w + 1, device=mask.device).float().view(1, 1, h, w), coarse)
    sums = torch.zeros(count, h * w + 1, device=mask.device)
    sums.scatter_add_(1, labels.flatten(1).long(), heavy.flatten(1))
    sums[:, 0] = 0
    best = sums.argmax(1).view(-1, 1, 1, 1)
    kept = ((labels == best) & (labels > 0)).float()
    return mask * functional.interpolate(kept, size=mask.shape[2:], mode="nearest")


def _fill_holes(mask: Tensor) -> Tensor:
    """Fill what the outside cannot reach, if it is small (a wheel, an eye) and not a ring's hole."""
    border = functional.pad(torch.zeros_like(mask[..., 1:-1, 1:-1]), (1, 1, 1, 1), value=1.0)
    holes = (1 - mask) * (1 - _spread(border, 1 - mask))
    small = holes.sum((1, 2, 3), keepdim=True) < 0.12 * mask.sum((1, 2, 3), keepdim=True)
    return torch.maximum(mask, holes * small)


def find_thing(frames: Tensor) -> Tensor:
    """Masks (frames × 1 × h × w) of the thing; ``frames`` is frames × 3 × h × w, 0 to 1."""
    difference = (frames - _row_medians(frames)).abs().amax(1, keepdim=True)
    mask = (difference > THRESHOLD).float()
    opened = functional.max_pool2d(-functional.max_pool2d(-mask, 3, 1, 1), 3, 1, 1)
    # Thin parts (a mast, a string) come back where they touch what survived the opening.
    mask = torch.minimum(mask, functional.max_pool2d(opened, 5, 1, 2))
    return _fill_holes(_components(mask, difference))


@lru_cache(maxsize=1)
def _palette() -> tuple[Tensor, Tensor]:
    """Every colour under every light: samples × 3, and the number of the colour."""
    samples, owners = [], []
    for number, (name, rgb) in enumerate(COLOURS.items()):
        factors = (0.75, 0.85, 0.95, 1.0) if name == "white" else (0.5, 0.65, 0.8, 0.9, 1.0, 1.1, 1.2)
        for factor in factors:
            for lift in (0.0, 0.1, 0.2):
                base = torch.tensor(rgb) * factor
                samples.append((base + (1 - base).clamp(min=0) * lift).clamp(0, 1))
                owners.append(number)
    return torch.stack(samples), torch.tensor(owners)


def _colour(frames: Tensor, mask: Tensor) -> str:
    samples, owners = _palette()
    inner = -functional.max_pool2d(-mask, 5, 1, 2)
    chosen = inner if float(inner.sum()) > 60 else mask
    pixels = frames.movedim(1, -1)[chosen[:, 0] > 0.5]
    nearest = owners.to(pixels.device)[torch.cdist(pixels, samples.to(pixels.device)).argmin(1)]
    return list(COLOURS)[int(torch.bincount(nearest, minlength=len(COLOURS)).argmax())]


def normalised(mask: Tensor, image: Tensor | None = None) -> Tensor:
    """Masks (n × 1 × h × w) moved and scaled so that centre and area agree: n × 1 × ``PATCH`` × ``PATCH``.

    With an ``image`` (n × 3 × h × w) that is moved likewise instead.
    """
    n, _, h, w = mask.shape
    area = mask.sum((1, 2, 3)).clamp(min=1)
    ys = torch.arange(h, device=mask.device).view(1, 1, h, 1)
    xs = torch.arange(w, device=mask.device).view(1, 1, 1, w)
    cy, cx = (mask * ys).sum((1, 2, 3)) / area, (mask * xs).sum((1, 2, 3)) / area
    reach = area.sqrt() * 1.1
    step = torch.linspace(-1, 1, PATCH, device=mask.device)
    gx = (cx[:, None] + reach[:, None] * step + 0.5) / w * 2 - 1
    gy = (cy[:, None] + reach[:, None] * step + 0.5) / h * 2 - 1
    grid = torch.stack((gx[:, None, :].expand(n, PATCH, PATCH), gy[:, :, None].expand(n, PATCH, PATCH)), -1)
    return functional.grid_sample(mask if image is None else image, grid, align_corners=False)


@lru_cache(maxsize=1)
def _templates() -> tuple[Tensor, list[str], Tensor]:
    """Normalised masks of all things at all angles and both ways round; their names; whether they are upright."""
    axis = torch.linspace(-1.3, 1.3, 131)
    x, y = axis[None, :], -axis[:, None]
    masks, names, upright = [], [], []
    for thing, field in SHAPES.items():
        for turn in range(24):
            cos, sin = math.cos(turn * math.pi / 12), math.sin(turn * math.pi / 12)
            for flip in (1.0, -1.0):
                masks.append((field((x * cos + y * sin) * flip, y * cos - x * sin) < 0).float()[None])
                names.append(thing)
                upright.append(turn == 0)
    return normalised(torch.stack(masks)), names, torch.tensor(upright)


def _thing(masks: Tensor, turning: bool) -> str:
    """The best match over the frames in which most of the thing is seen."""
    templates, names, upright = _templates()
    templates, upright = templates.to(masks.device), upright.to(masks.device)
    area = masks.sum((1, 2, 3))
    edge = (
        masks[..., 0, :].sum((1, 2))
        + masks[..., -1, :].sum((1, 2))
        + masks[..., 0].sum((1, 2))
        + masks[..., -1].sum((1, 2))
    )
    order = (area * (edge == 0)).argsort(descending=True)[:12]
    patches = normalised(masks[order]).flatten(1)
    flat = templates.flatten(1)
    both = patches @ flat.T
    overlap = both / (patches.sum(1, keepdim=True) + flat.sum(1)[None] - both).clamp(min=1e-6)
    if not turning:
        overlap = overlap.masked_fill(~upright[None], 0)
    scores = torch.stack(
        [overlap[:, [i for i, n in enumerate(names) if n == thing]].amax(1).mean() for thing in SHAPES]
    )
    return list(SHAPES)[int(scores.argmax())]


def _turning(frames: Tensor, masks: Tensor) -> float:
    """How much the thing's look changes within its own outline a quarter turn apart, 0 to 1."""
    looks = normalised(masks, frames * masks)
    gap = min(8, len(looks) - 1)
    return float((looks[gap:] - looks[:-gap]).abs().mean((1, 2, 3)).median())


def _motion(x: Tensor, y: Tensor, size: Tensor, turning: float) -> str:
    """Name the motion from centre (shorter side 1, y upwards) and size over the frames."""
    end = max(1, len(x) // 8)
    dx, dy = float(x[-end:].mean() - x[:end].mean()), float(y[-end:].mean() - y[:end].mean())
    wide, high = float(x.max() - x.min()), float(y.max() - y.min())
    ratio = float(size[-end:].mean() / size[:end].mean().clamp(min=1e-6))
    back = float(y.diff().clamp(max=0).abs().sum()), float(y.diff().clamp(min=0).sum())
    if wide > 0.3 and high > 0.3 and abs(dx) < 0.75 * wide and min(back) > 0.1:
        return "circles"
    if abs(dx) > 0.3 and abs(dx) > abs(dy):
        return "left_to_right" if dx > 0 else "right_to_left"
    if high > 0.2 and min(back) > 0.35 * max(back):
        return "bounces"
    if abs(dy) > 0.25:
        return "rises" if dy > 0 else "falls"
    if not 0.67 < ratio < 1.5:
        return "grows" if ratio > 1 else "shrinks"
    # A turning crescent's centre of mass goes round its pivot, so a spin may stray further than a rest.
    if turning > 0.035 and max(wide, high) < 0.28:
        return "spins"
    return "still" if max(wide, high) < 0.15 else ""


@lru_cache(maxsize=2)
def _backdrops(height: int, width: int, device: str) -> tuple[Tensor, list[str]]:
    """Row medians of many empty scenes and the names of their backgrounds."""
    rng = random.Random(5)
    scenes = [
        Scene((), "still", name, camera, rng.getrandbits(31))
        for name in BACKGROUNDS
        for camera in CAMERAS
        for _ in range(6)
    ]
    clip = Clip(1, height, width)
    medians = [
        profile(render(scenes[i : i + 40], clip, device=device)[0][:, :, 0] / 2 + 0.5)
        for i in range(0, len(scenes), 40)
    ]
    return torch.cat(medians), [scene.background for scene in scenes]


def profile(frames: Tensor) -> Tensor:
    """Median colours of 24 horizontal bands: frames × 72."""
    return functional.adaptive_avg_pool2d(_row_medians(frames), (24, 1)).flatten(1)


def _background(frames: Tensor) -> str:
    known, names = _backdrops(frames.shape[2], frames.shape[3], str(frames.device))
    distance = torch.cdist(profile(frames), known, p=1).mean(0)
    return names[int(distance.argmin())]


@torch.no_grad()
def judge(video: Tensor) -> Verdict:
    """Judge one clip: 3 × frames × height × width, -1 to 1, landscape."""
    frames = (video.float().transpose(0, 1) / 2 + 0.5).clamp(0, 1)
    background = _background(frames)
    masks = find_thing(frames)
    area = masks.sum((1, 2, 3))
    seen = area > 0.0025 * masks.shape[2] * masks.shape[3]
    if float(seen.float().mean()) < 0.6:
        return Verdict(False, "", "", "", background)
    short = min(frames.shape[2:])
    kept, shown = masks[seen], frames[seen]
    ys = torch.arange(masks.shape[2], device=masks.device).view(1, 1, -1, 1)
    xs = torch.arange(masks.shape[3], device=masks.device).view(1, 1, 1, -1)
    weight = kept.sum((1, 2, 3))
    x = (kept * xs).sum((1, 2, 3)) / weight / short
    y = -(kept * ys).sum((1, 2, 3)) / weight / short
    motion = _motion(x, y, weight.sqrt() / short, _turning(shown, kept)) if len(kept) > 1 else ""
    return Verdict(True, _colour(shown, kept), _thing(kept, motion == "spins"), motion, background)

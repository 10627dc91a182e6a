"""Signed distances of the things, in units of the thing's radius: negative inside, y upwards."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Field = Callable[[Tensor, Tensor], Tensor]


def disc(x: Tensor, y: Tensor, radius: float, cx: float = 0.0, cy: float = 0.0) -> Tensor:
    """Distance to a disc."""
    return torch.sqrt((x - cx) ** 2 + (y - cy) ** 2 + 1e-9) - radius


def box(x: Tensor, y: Tensor, w: float, h: float, cx: float = 0.0, cy: float = 0.0) -> Tensor:
    """Distance to an upright box of half sizes w and h."""
    return torch.maximum((x - cx).abs() - w, (y - cy).abs() - h)


def halfplanes(x: Tensor, y: Tensor, corners: tuple[tuple[float, float], ...]) -> Tensor:
    """Distance to a convex polygon whose corners run clockwise."""
    out = torch.full_like(x, -1e3)
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        length = math.hypot(bx - ax, by - ay)
        nx, ny = -(by - ay) / length, (bx - ax) / length
        out = torch.maximum(out, (x - ax) * nx + (y - ay) * ny)
    return out


def _ellipse(x: Tensor, y: Tensor, a: float, b: float, cx: float = 0.0, cy: float = 0.0) -> Tensor:
    return (torch.sqrt(((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 + 1e-9) - 1) * min(a, b)


def _union(*parts: Tensor) -> Tensor:
    out = parts[0]
    for part in parts[1:]:
        out = torch.minimum(out, part)
    return out


def _ball(x: Tensor, y: Tensor) -> Tensor:
    return disc(x, y, 0.85)


def _square(x: Tensor, y: Tensor) -> Tensor:
    return box(x, y, 0.74, 0.74)


def _triangle(x: Tensor, y: Tensor) -> Tensor:
    return halfplanes(x, y, ((0.0, 0.95), (0.95, -0.7), (-0.95, -0.7)))


def _star(x: Tensor, y: Tensor) -> Tensor:
    angle = torch.atan2(x, y)
    sector = 2 * math.pi / 5
    folded = (torch.remainder(angle + sector / 2, sector) - sector / 2).abs()
    r = torch.sqrt(x * x + y * y + 1e-9)
    px, py = r * torch.sin(folded), r * torch.cos(folded)
    # The edge runs from the tip (0, 1.02) to the notch, at 36 degrees and radius 0.44.
    nx, ny = 0.44 * math.sin(sector / 2), 0.44 * math.cos(sector / 2)
    ex, ey = nx, ny - 1.02
    length = math.hypot(ex, ey)
    return (px * -ey + (py - 1.02) * ex) / length


def _ring(x: Tensor, y: Tensor) -> Tensor:
    return (torch.sqrt(x * x + y * y + 1e-9) - 0.66).abs() - 0.24


def _moon(x: Tensor, y: Tensor) -> Tensor:
    return torch.maximum(disc(x, y, 0.92), -disc(x, y, 0.78, 0.48, 0.12))


def _heart(x: Tensor, y: Tensor) -> Tensor:
    lobes = _union(disc(x, y, 0.50, -0.42, 0.30), disc(x, y, 0.50, 0.42, 0.30))
    tip = halfplanes(x, y, ((-0.80, 0.0), (-0.42, 0.42), (0.42, 0.42), (0.80, 0.0), (0.0, -0.95)))
    return _union(lobes, tip)


def _boat(x: Tensor, y: Tensor) -> Tensor:
    hull = halfplanes(x, y, ((-1.0, -0.25), (1.0, -0.25), (0.62, -0.78), (-0.62, -0.78)))
    sail = halfplanes(x, y, ((0.05, 0.98), (0.80, -0.12), (0.05, -0.12)))
    jib = halfplanes(x, y, ((-0.08, 0.75), (-0.08, -0.12), (-0.70, -0.12)))
    return _union(hull, sail, jib, box(x, y, 0.06, 0.5, -0.02, 0.2))


def _fish(x: Tensor, y: Tensor) -> Tensor:
    body = _ellipse(x, y, 0.70, 0.45, 0.22)
    tail = halfplanes(x, y, ((-0.95, 0.52), (-0.30, 0.0), (-0.95, -0.52)))
    return _union(body, tail)


def _tree(x: Tensor, y: Tensor) -> Tensor:
    low = halfplanes(x, y, ((0.0, 0.45), (0.78, -0.55), (-0.78, -0.55)))
    mid = halfplanes(x, y, ((0.0, 0.75), (0.62, -0.08), (-0.62, -0.08)))
    top = halfplanes(x, y, ((0.0, 1.0), (0.45, 0.35), (-0.45, 0.35)))
    return _union(low, mid, top, box(x, y, 0.15, 0.25, 0.0, -0.75))


def _house(x: Tensor, y: Tensor) -> Tensor:
    roof = halfplanes(x, y, ((0.0, 0.92), (0.95, 0.08), (-0.95, 0.08)))
    return _union(box(x, y, 0.68, 0.46, 0.0, -0.36), roof, box(x, y, 0.12, 0.25, 0.45, 0.55))


def _balloon(x: Tensor, y: Tensor) -> Tensor:
    knot = halfplanes(x, y, ((0.0, -0.45), (0.17, -0.68), (-0.17, -0.68)))
    return _union(_ellipse(x, y, 0.62, 0.74, 0.0, 0.25), knot, box(x, y, 0.035, 0.2, 0.0, -0.8))


def _car(x: Tensor, y: Tensor) -> Tensor:
    cabin = halfplanes(x, y, ((-0.38, 0.48), (0.30, 0.48), (0.60, 0.05), (-0.62, 0.05)))
    wheels = _union(disc(x, y, 0.24, -0.52, -0.42), disc(x, y, 0.24, 0.52, -0.42))
    return _union(box(x, y, 0.98, 0.24, 0.0, -0.16), cabin, wheels)


def _rocket(x: Tensor, y: Tensor) -> Tensor:
    nose = torch.maximum(disc(x, y, 0.85, -0.53, 0.15), disc(x, y, 0.85, 0.53, 0.15))
    body = torch.maximum(_union(nose, box(x, y, 0.30, 0.4, 0.0, -0.2)), -(y + 0.6))
    fin = halfplanes(x, y, ((0.0, 0.1), (0.66, -0.62), (0.66, -0.92), (0.0, -0.55)))
    mirrored = halfplanes(-x, y, ((0.0, 0.1), (0.66, -0.62), (0.66, -0.92), (0.0, -0.55)))
    return _union(body, fin, mirrored)


def _butterfly(x: Tensor, y: Tensor) -> Tensor:
    ax = x.abs()
    upper = _ellipse(ax * 0.8 + y * 0.6, y * 0.8 - ax * 0.6, 0.50, 0.36, 0.68, 0.0)
    lower = disc(ax, y, 0.34, 0.40, -0.42)
    return _union(upper, lower, _ellipse(x, y, 0.10, 0.62))


def _mushroom(x: Tensor, y: Tensor) -> Tensor:
    cap = torch.maximum(_ellipse(x, y, 0.95, 0.85, 0.0, 0.0), -(y - 0.02))
    return _union(cap, box(x, y, 0.26, 0.45, 0.0, -0.4))


SHAPES: dict[str, Field] = {
    "ball": _ball,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "ring": _ring,
    "moon": _moon,
    "heart": _heart,
    "boat": _boat,
    "fish": _fish,
    "tree": _tree,
    "house": _house,
    "balloon": _balloon,
    "car": _car,
    "rocket": _rocket,
    "butterfly": _butterfly,
    "mushroom": _mushroom,
}  # fmt: skip


@dataclass(frozen=True)
class Detail:
    """A small part of a thing in a colour of its own: it shows which way up the thing is."""

    field: Field
    """Distance to the part."""
    rgb: tuple[float, float, float]
    """What the thing's colour is multiplied by there, then lifted towards (see ``lift``)."""
    lift: float = 0.0
    """How much white is mixed in."""


DETAILS: dict[str, Detail] = {
    "ball": Detail(lambda x, y: (y + 0.25 * x * x - 0.1).abs() - 0.13, (1.0, 1.0, 1.0), 0.45),
    "square": Detail(lambda x, y: box(x, y, 0.22, 0.22, 0.32, 0.32), (1.0, 1.0, 1.0), 0.4),
    "triangle": Detail(lambda x, y: disc(x, y, 0.16, 0.0, 0.42), (1.0, 1.0, 1.0), 0.4),
    "ring": Detail(lambda x, y: disc(x, y, 0.2, 0.0, 0.68), (1.0, 1.0, 1.0), 0.55),
    "boat": Detail(lambda x, y: torch.maximum(-(y + 0.18), x.abs() - 2), (1.0, 1.0, 1.0), 0.35),
    "fish": Detail(lambda x, y: disc(x, y, 0.1, 0.55, 0.12), (0.2, 0.2, 0.2), 0.0),
    "tree": Detail(lambda x, y: box(x, y, 0.2, 0.3, 0.0, -0.86), (0.45, 0.4, 0.4), 0.0),
    "house": Detail(lambda x, y: box(x, y, 0.16, 0.28, 0.0, -0.56), (0.4, 0.4, 0.4), 0.0),
    "car": Detail(
        lambda x, y: _union(disc(x, y, 0.22, -0.52, -0.42), disc(x, y, 0.22, 0.52, -0.42)),
        (0.25, 0.25, 0.25),
    ),
    "rocket": Detail(lambda x, y: disc(x, y, 0.15, 0.0, 0.22), (1.0, 1.0, 1.0), 0.6),
    "butterfly": Detail(lambda x, y: _ellipse(x, y, 0.11, 0.63), (0.3, 0.3, 0.3), 0.0),
    "mushroom": Detail(lambda x, y: torch.maximum(y - 0.0, x.abs() - 1), (1.0, 1.0, 1.0), 0.45),
}

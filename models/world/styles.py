"""How each background looks: one row of plain numbers a background."""

from __future__ import annotations

import random
from dataclasses import dataclass

from models.world.words import RGB


@dataclass(frozen=True)
class Style:
    """The look of one background; colours are 0 to 1, heights are shares of half the frame's height."""

    sky_top: RGB
    """Sky at the top of the frame."""
    sky_low: RGB
    """Sky at the horizon (or at the bottom, without one)."""
    far: RGB
    """Distant hills, hazy."""
    ground_far: RGB
    """Ground at the horizon."""
    ground_near: RGB
    """Ground at the bottom of the frame."""
    horizon: float
    """Height of the horizon; -3 means that there is none."""
    far_swing: float
    """How high the distant hills are."""
    near_swing: float
    """How much the ground's edge rolls."""
    glow: RGB
    """Colour that the sun or a lamp adds."""
    glow_height: float
    """Height of the glow's centre."""
    glow_width: float
    """Radius of the glow, in shorter sides."""
    clouds: float
    """How opaque the clouds are."""
    stars: float
    """How bright the stars are."""
    waves: float
    """How strong the waves on the ground are."""
    shadow: float
    """How dark a thing's shadow on the ground is."""


STYLES: dict[str, Style] = {
    "clear_sky": Style(
        (0.42, 0.66, 0.96), (0.78, 0.90, 0.99), (0.8, 0.9, 1.0), (0.8, 0.9, 1.0), (0.8, 0.9, 1.0),
        -3.0, 0.0, 0.0, (0.16, 0.13, 0.04), 0.95, 0.55, 0.38, 0.0, 0.0, 0.0),
    "sunset": Style(
        (0.47, 0.36, 0.62), (0.99, 0.66, 0.42), (0.62, 0.36, 0.45), (0.42, 0.25, 0.38), (0.28, 0.16, 0.28),
        -0.42, 0.10, 0.03, (0.25, 0.22, 0.10), -0.30, 0.42, 0.20, 0.0, 0.0, 0.25),
    "night": Style(
        (0.04, 0.06, 0.18), (0.13, 0.17, 0.36), (0.10, 0.13, 0.27), (0.07, 0.10, 0.20), (0.04, 0.06, 0.13),
        -0.62, 0.10, 0.03, (0.03, 0.05, 0.10), -0.50, 0.70, 0.0, 0.85, 0.0, 0.25),
    "ocean": Style(
        (0.55, 0.76, 0.95), (0.90, 0.95, 0.97), (0.6, 0.75, 0.85), (0.26, 0.58, 0.74), (0.07, 0.33, 0.55),
        -0.18, 0.0, 0.0, (0.10, 0.09, 0.05), 0.75, 0.50, 0.22, 0.0, 0.07, 0.22),
    "meadow": Style(
        (0.56, 0.78, 0.97), (0.90, 0.95, 0.93), (0.60, 0.76, 0.66), (0.62, 0.80, 0.42), (0.45, 0.68, 0.28),
        -0.22, 0.16, 0.05, (0.12, 0.10, 0.02), 0.80, 0.50, 0.30, 0.0, 0.02, 0.30),
    "desert": Style(
        (0.62, 0.78, 0.90), (0.97, 0.90, 0.76), (0.88, 0.74, 0.58), (0.93, 0.78, 0.52), (0.82, 0.60, 0.36),
        -0.20, 0.07, 0.10, (0.14, 0.12, 0.06), 0.70, 0.50, 0.0, 0.0, 0.03, 0.28),
    "snow": Style(
        (0.64, 0.74, 0.86), (0.87, 0.91, 0.95), (0.70, 0.78, 0.88), (0.90, 0.93, 0.97), (0.97, 0.98, 1.00),
        -0.20, 0.28, 0.05, (0.05, 0.05, 0.05), 0.60, 0.60, 0.0, 0.0, 0.012, 0.30),
    "studio": Style(
        (0.56, 0.56, 0.57), (0.66, 0.66, 0.66), (0.6, 0.6, 0.6), (0.60, 0.60, 0.60), (0.70, 0.70, 0.69),
        -0.50, 0.0, 0.0, (0.12, 0.12, 0.11), 0.10, 0.55, 0.0, 0.0, 0.0, 0.32),
}  # fmt: skip


def jitter(style: Style, rng: random.Random) -> list[float]:
    """One scene's version of a style as a flat row: see ``COLUMNS``."""
    tint = [rng.uniform(-0.02, 0.02) for _ in range(3)]
    row: list[float] = []
    for colour in (style.sky_top, style.sky_low, style.far, style.ground_far, style.ground_near, style.glow):
        row += [value + (t if colour is not style.glow else 0.0) for value, t in zip(colour, tint, strict=True)]
    row += [
        style.horizon + rng.uniform(-0.06, 0.06),
        style.far_swing * rng.uniform(0.7, 1.2),
        style.near_swing * rng.uniform(0.7, 1.2),
        style.glow_height + rng.uniform(-0.05, 0.05),
        rng.uniform(-0.6, 0.6) if style.glow_height != 0.10 else 0.0,
        style.glow_width,
        style.clouds * rng.uniform(0.7, 1.1),
        style.stars,
        style.waves,
        style.shadow,
    ]
    row += [rng.uniform(0.0, 6.28) for _ in range(4)] + [rng.uniform(0.0, 50.0)]
    return row


COLUMNS: tuple[str, ...] = (
    *(f"{name}.{c}" for name in ("sky_top", "sky_low", "far", "ground_far", "ground_near", "glow") for c in "rgb"),
    "horizon", "far_swing", "near_swing", "glow_y", "glow_x", "glow_width", "clouds", "stars", "waves", "shadow",
    "phase0", "phase1", "phase2", "phase3", "salt",
)  # fmt: skip
"""Names of the columns of ``jitter``."""

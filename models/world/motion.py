"""Where a scene's things are at each moment: positions, radii and angles over a clip."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import torch
from torch import Tensor

from models.world.scene import Scene

RADIUS = {"small": 0.125, "medium": 0.185, "large": 0.25}
"""Radius of a thing as a share of the frame's shorter side."""

PERIOD = 32.0
"""Frames that one turn of a circle or a spin takes: two seconds at 16 fps."""


@dataclass(frozen=True)
class Start:
    """The free choices of one actor's path; coordinates as in ``render``: shorter side 1, y upwards."""

    x: float
    """Where the path is centred."""
    y: float
    """Where the path is centred."""
    radius: float
    """Radius at rest."""
    phase: float
    """Angle at which circles and tilts begin."""
    sense: float
    """+1 or -1: which way round it turns."""
    reach_x: float
    """How far sideways from the centre it may go."""
    reach_y: float
    """How far up and down it may go."""


def choose_start(scene: Scene, index: int, half: tuple[float, float], rng: random.Random) -> Start:
    """Choose where actor ``index`` starts, such that it stays inside a frame of half sizes ``half``."""
    actor, pair = scene.actors[index], len(scene.actors) == 2
    radius = RADIUS[actor.size] * rng.uniform(0.93, 1.07) * (0.8 if pair else 1.0)
    x = rng.uniform(-0.5, 0.5) * (half[0] - radius)
    y = rng.uniform(-0.35, 0.45) * (half[1] - radius)
    if pair:
        side = 1.0 if index else -1.0
        if scene.motion in ("left_to_right", "right_to_left"):
            y, x = -side * 0.26 + 0.03, 0.0
        else:
            x, y = side * half[0] * rng.uniform(0.42, 0.52), rng.uniform(-0.1, 0.1)
    if scene.motion in ("circles", "grows") and not pair:
        x, y = x * 0.6, y * 0.5
    return Start(
        x=x, y=y, radius=radius, phase=rng.uniform(0, 2 * math.pi), sense=rng.choice((-1.0, 1.0)),
        reach_x=half[0] - radius * 1.05, reach_y=half[1] - radius * 1.1,
    )  # fmt: skip


@dataclass(frozen=True)
class Pose:
    """One actor over the frames of a clip; every tensor has one value a frame."""

    x: Tensor
    """Centre."""
    y: Tensor
    """Centre."""
    radius: Tensor
    """Radius."""
    angle: Tensor
    """Turn against the clock, in radians."""
    flip: float
    """-1 where a thing with a front looks to the left."""


def move(motion: str, start: Start, frame: Tensor, count: int) -> Pose:
    """The poses at ``frame`` (numbers of frames, any order) of a clip of ``count`` frames."""
    s = frame / max(count - 1, 1)
    turn = start.sense * 2 * math.pi * frame / PERIOD
    x, y = torch.full_like(s, start.x), torch.full_like(s, start.y)
    radius, angle = torch.full_like(s, start.radius), torch.zeros_like(s)
    if motion in ("left_to_right", "right_to_left"):
        sign = 1.0 if motion == "left_to_right" else -1.0
        x = sign * start.reach_x * 0.92 * (2 * s - 1)
        y = y + 0.015 * torch.sin(2 * turn + start.phase)
    elif motion in ("rises", "falls"):
        sign = 1.0 if motion == "rises" else -1.0
        y = sign * start.reach_y * 0.92 * (2 * s - 1)
        x = x + 0.015 * torch.sin(turn + start.phase)
    elif motion == "bounces":
        # Two hops in two seconds, from the floor to well above the middle.
        floor = -start.reach_y * 0.85
        y = floor + start.reach_y * 1.35 * torch.sin(torch.pi * (frame / 16.0 + start.phase / 6.3)).abs()
    elif motion == "spins":
        angle = turn
    elif motion in ("grows", "shrinks"):
        amount = s if motion == "grows" else 1 - s
        radius = radius * (0.45 + 0.95 * amount)
    elif motion == "circles":
        wide = min(0.28, start.reach_y * 0.8)
        x = x + wide * torch.cos(turn + start.phase)
        y = y * 0.3 + wide * torch.sin(turn + start.phase)
    flip = -1.0 if motion == "right_to_left" or (motion == "spins" and start.sense < 0) else 1.0
    return Pose(x, y, radius, angle, flip)

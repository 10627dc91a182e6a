"""A scene: what is to be seen in one clip, and how scenes are drawn at random."""

from __future__ import annotations

import random
from dataclasses import dataclass

from models.world.words import (
    BACKGROUNDS,
    CAMERAS,
    COLOURS,
    MOTIONS,
    SIZES,
    THINGS,
    held_out_pair,
)


@dataclass(frozen=True)
class Actor:
    """One thing in a scene."""

    thing: str
    """A member of ``words.THINGS``."""
    colour: str
    """A key of ``words.COLOURS``."""
    size: str
    """A key of ``words.SIZES``."""


@dataclass(frozen=True)
class Scene:
    """Everything that a caption can say, and a seed for everything that it cannot."""

    actors: tuple[Actor, ...]
    """No, one or two things; two move alike, side by side."""
    motion: str
    """A key of ``words.MOTIONS``, shared by all actors."""
    background: str
    """A key of ``words.BACKGROUNDS``."""
    camera: str
    """A key of ``words.CAMERAS``."""
    seed: int
    """Decides positions, hills, clouds and tints: what no caption mentions."""


# A thing of nearly the colour of what is behind it cannot be seen: such scenes teach nothing, and nobody
# could say whether they are right. Chosen by eye from renderings of every pair.
ILLEGIBLE: frozenset[tuple[str, str]] = frozenset(
    {
        ("white", "snow"),
        ("white", "clear_sky"),
        ("white", "ocean"),
        ("white", "meadow"),
        ("white", "desert"),
        ("white", "studio"),
        ("cyan", "clear_sky"),
        ("cyan", "ocean"),
        ("blue", "ocean"),
        ("blue", "night"),
        ("black", "night"),
        ("purple", "night"),
        ("black", "sunset"),
        ("purple", "sunset"),
        ("orange", "sunset"),
        ("pink", "sunset"),
        ("green", "meadow"),
        ("yellow", "desert"),
        ("orange", "desert"),
    }
)


def legible(colour: str, background: str) -> bool:
    """Whether a thing of this colour stands out everywhere before this background."""
    return (colour, background) not in ILLEGIBLE


def _draw_actor(rng: random.Random, background: str, held_out: bool | None) -> Actor:
    """Draw a thing and its colour; ``held_out`` asks for (or forbids) the pairs kept from training."""
    while True:
        thing, colour = rng.choice(THINGS), rng.choice(list(COLOURS))
        if held_out is not None and held_out_pair(colour, thing) != held_out:
            continue
        # Some hard-to-see pairs stay in training, so that asking for one still gives what was asked.
        if not legible(colour, background) and (held_out is None or held_out or rng.random() < 0.7):
            continue
        return Actor(thing, colour, rng.choices(list(SIZES), (0.25, 0.45, 0.30))[0])


def draw_scene(rng: random.Random) -> Scene:
    """A random training scene: never a held-out colour and thing together."""
    background = rng.choice(list(BACKGROUNDS))
    count = rng.choices((0, 1, 2), (0.03, 0.83, 0.14))[0]
    actors: list[Actor] = []
    while len(actors) < count:
        actor = _draw_actor(rng, background, held_out=False)
        if all(actor.thing != a.thing and actor.colour != a.colour for a in actors):
            actors.append(actor)
    camera = rng.choices(list(CAMERAS), (0.6, 0.1, 0.1, 0.1, 0.1))[0]
    return Scene(tuple(actors), rng.choice(list(MOTIONS)), background, camera, rng.getrandbits(31))


def draw_test_scene(rng: random.Random, held_out: bool) -> Scene:
    """A random scene for the evaluation: one legible thing; ``held_out`` draws a pair never trained on."""
    background = rng.choice(list(BACKGROUNDS))
    actor = _draw_actor(rng, background, held_out)
    while not legible(actor.colour, background):
        actor = _draw_actor(rng, background, held_out)
    camera = rng.choices(list(CAMERAS), (0.6, 0.1, 0.1, 0.1, 0.1))[0]
    return Scene((actor,), rng.choice(list(MOTIONS)), background, camera, rng.getrandbits(31))

"""Says in words what a scene shows: briefly, at length, in many phrasings.

Training captions and evaluation captions share no sentence pattern and no phrase for a motion, a background or
a camera: ``caption`` uses the patterns and phrasings for training, ``held_out_caption`` the others.
"""

from __future__ import annotations

import random
import re
from functools import lru_cache
from pathlib import Path

from models.qwen_demo.corpus import SceneWords, enhanced_paragraph, plural_predicate
from models.world.scene import Actor, Scene
from models.world.words import (
    BACKGROUNDS,
    CAMERAS,
    COLOUR_SYNONYMS,
    LIGHT,
    MOTIONS,
    SIZES,
    THING_SYNONYMS,
)

TRAIN_PATTERNS: tuple[str, ...] = (
    "{subject} {motion} {place}",
    "{subject} {motion} {place}",
    "{subject} that {motion} {place}",
    "{place}, {subject} {motion}",
    "a video of {subject} that {motion} {place}",
    "{subject} {doing} {place}",
    "{subject} {doing} {place}",
    "{subject} {place} {doing}",
    "a clip of {subject} {doing} {place}",
    "{place}: {subject} {doing}",
    "{subject}, {doing}, {place}",
    "there is {subject} {place}, it {motion}",
    "{subject} {place}. It {motion}",
)
HELD_OUT_PATTERNS: tuple[str, ...] = (
    "watch how {subject} {motion} {place}",
    "{place} we see {subject}, which {motion}",
    "a short film in which {subject} {motion} {place}",
    "imagine {subject} {place} that {motion}",
    "{subject} {motion}; all of this {place}",
)
_PARTIAL_PATTERNS: tuple[str, ...] = (
    "{subject}",
    "{subject} {motion}",
    "{subject} {doing}",
    "{subject} {place}",
    "{place}, {subject}",
)
_EMPTY_PATTERNS: tuple[str, ...] = (
    "nothing but the view {place}",
    "an empty scene {place}",
    "only the background {place}",
    "{place}, with nothing else",
)
_LIGHT_SENTENCES: tuple[str, ...] = (
    "The lighting is {light}.",
    "The scene has {light}.",
    "Lit by {light}.",
    "There is {light} all around.",
)
_FILLERS: tuple[str, ...] = (
    "Soft shadows and smooth shading.",
    "High quality, smooth motion.",
    "The picture is calm and clean.",
    "A simple, colourful animation.",
    "cinematic, detailed.",
    "4k, smooth.",
)


def _article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _noun(actor: Actor, rng: random.Random, plain: bool) -> str:
    colour, thing = actor.colour, actor.thing
    if not plain and rng.random() < 0.12:
        colour = rng.choice(COLOUR_SYNONYMS[colour])
    if not plain and rng.random() < 0.12:
        thing = rng.choice(THING_SYNONYMS[thing])
    size = rng.choice(SIZES[actor.size])
    if rng.random() < 0.3 and actor.size == "medium":
        size = rng.choice(("medium-sized", "medium"))
    return f"{size} {colour} {thing}".strip()


def _subject(scene: Scene, rng: random.Random, plain: bool = False) -> str:
    nouns = [_noun(actor, rng, plain) for actor in scene.actors]
    return " and ".join(_article(noun) if rng.random() < 0.9 else f"the {noun}" for noun in nouns)


def gerund(predicate: str) -> str:
    """The -ing form of a predicate: "moves to the right" -> "moving to the right"."""
    verb, space, rest = predicate.partition(" ")
    if verb == "is":
        return rest
    if verb == "does":
        return f"not moving{rest.removeprefix('not move')}"
    base = verb[:-2] if verb.endswith(("ses", "zes")) or verb == "goes" else verb.removesuffix("s")
    if verb in ("rises", "circles", "rotates", "bounces", "dwindles", "glides", "slides", "crosses"):
        base = {"crosses": "cross"}.get(verb, verb[:-2])
    elif verb in ("moves", "becomes", "comes", "travels", "expands"):
        base = verb[:-2] if verb in ("moves", "becomes", "comes") else verb[:-1]
    elif verb == "flies":
        base = "fly"
    elif verb in ("spins", "hops", "drops", "gets"):
        base += base[-1]
    return f"{base}ing{space}{rest}"


def _camera(scene: Scene, rng: random.Random, held_out: bool, chance: float) -> str:
    if rng.random() > (chance * 0.4 if scene.camera == "static" else chance):
        return ""
    phrases = CAMERAS[scene.camera]
    return rng.choice(phrases.held_out if held_out else phrases.train)


def _short(scene: Scene, rng: random.Random) -> str:
    motion = rng.choice(MOTIONS[scene.motion].train)
    doing = gerund(motion)
    if len(scene.actors) == 2:
        motion = plural_predicate(motion)
    patterns = TRAIN_PATTERNS if rng.random() < 0.9 else _PARTIAL_PATTERNS
    place = rng.choice(BACKGROUNDS[scene.background].train)
    pattern = rng.choice(patterns if scene.actors else _EMPTY_PATTERNS)
    if len(scene.actors) == 2:
        pattern = pattern.replace("there is", "there are").replace(" it ", " they ").replace("It ", "They ")
    return pattern.format(subject=_subject(scene, rng), motion=motion, doing=doing, place=place)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _medium(scene: Scene, rng: random.Random) -> str:
    parts = [_sentence(_short(scene, rng))]
    if rng.random() < 0.6:
        parts.append(rng.choice(_LIGHT_SENTENCES).format(light=rng.choice(LIGHT[scene.background])))
    camera = _camera(scene, rng, held_out=False, chance=0.9)
    parts += [_sentence(camera)] if camera else []
    if rng.random() < 0.4:
        parts.append(rng.choice(_FILLERS))
    rest = parts[1:]
    rng.shuffle(rest)
    return " ".join([parts[0], *rest])


def _long(scene: Scene, rng: random.Random) -> str:
    """A paragraph as qwen-demo writes it."""
    two = len(scene.actors) == 2
    motion = rng.choice(MOTIONS[scene.motion].train)
    words = SceneWords(
        subject=_subject(scene, rng),
        action=plural_predicate(motion) if two else motion,
        head=" and the ".join(actor.thing for actor in scene.actors),
        plural=two,
        motion=scene.motion,
        place=rng.choice(BACKGROUNDS[scene.background].train),
        background=scene.background,
        camera=scene.camera,
        colour="" if two else scene.actors[0].colour,
    )
    return enhanced_paragraph(words, rng)


def caption(scene: Scene, rng: random.Random) -> str:
    """A training caption."""
    kind = rng.random()
    if kind < 0.38 and scene.actors:
        return _long(scene, rng)
    if kind < 0.62:
        return _medium(scene, rng)
    text = _short(scene, rng)
    camera = _camera(scene, rng, held_out=False, chance=0.7)
    text = f"{text}, {camera}" if camera else text
    return _sentence(text) if rng.random() < 0.35 else text


@lru_cache(maxsize=1)
def stray_words() -> tuple[str, ...]:
    """English words that say nothing about the world: none of them stands in ``words.py``."""
    own = set(re.findall(r"[a-z]+", (Path(__file__).parent / "words.py").read_text(encoding="utf-8").lower()))
    stems = {word[:4] for word in own}
    lists = sorted((Path(__file__).parents[1] / "qwen_demo" / "words").glob("*.txt"))
    words = [word for path in lists for word in path.read_text(encoding="utf-8").split()]
    return tuple(word for word in words if word.isalpha() and word[:4] not in stems)


def with_stray_words(text: str, rng: random.Random) -> str:
    """The caption with up to three words strewn in that mean nothing here: a model must learn to pass over them."""
    words = text.split()
    for _ in range(rng.randint(1, 3)):
        words.insert(rng.randrange(len(words) + 1), rng.choice(stray_words()))
    return " ".join(words)


def held_out_caption(scene: Scene, rng: random.Random) -> str:
    """An evaluation caption: sentence pattern and phrasings that no training caption uses."""
    text = rng.choice(HELD_OUT_PATTERNS).format(
        subject=_subject(scene, rng, plain=True),
        motion=rng.choice(MOTIONS[scene.motion].held_out),
        place=rng.choice(BACKGROUNDS[scene.background].held_out),
    )
    camera = _camera(scene, rng, held_out=True, chance=1.0)
    return f"{text}, {camera}" if camera else text

"""Hidden scenes from which practice prompts are drawn: of the demo world, and of anything else."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from models.qwen_demo import phrases, wordlists
from models.qwen_demo.corpus import base_form, plural_predicate
from models.world import words

_SUITABLE_BACKGROUND = {
    "boat": ("ocean", "ocean", "sunset"), "fish": ("ocean",), "moon": ("night",), "star": ("night",
    "night", "clear_sky"),
    "rocket": ("night", "clear_sky"), "tree": ("meadow", "snow"), "house": ("meadow", "snow", "sunset"),
    "mushroom": ("meadow",), "butterfly": ("meadow",), "car": ("desert", "meadow"),
    "balloon": ("clear_sky", "sunset"),
}  # fmt: skip
_SUITABLE_MOTION = {
    "house": ("still",), "tree": ("still", "grows"), "mushroom": ("still", "grows"), "rocket": ("rises",),
    "balloon": ("rises", "left_to_right"), "boat": ("left_to_right", "right_to_left"),
    "car": ("left_to_right", "right_to_left"), "fish": ("left_to_right", "right_to_left"),
}  # fmt: skip
_COUNTS = (
    "two", "three", "four", "five", "seven", "ten", "a dozen", "many", "several", "a group of", "2", "3",
    "12",
)  # fmt: skip


@dataclass(frozen=True)
class Draft:
    """What a prompt says, in the user's own words. Empty strings are things left unsaid."""

    noun_phrase: str
    """Subject with its article."""
    head: str
    """Subject for later sentences."""
    predicate: str = ""
    """Finite action."""
    gerund: str = ""
    """The same action as an -ing phrase; empty if there is none."""
    place: str = ""
    background: str = ""
    """World key that the place stands for."""
    dark: bool = False
    motion: str = ""
    """World key that the action stands for."""
    colour: str = ""
    """Colour named in the noun phrase."""
    camera: str = ""
    """World key or the user's own phrase."""
    camera_text: str = ""
    """How the prompt says the camera move."""
    styles: tuple[str, ...] = ()
    plural: bool = False
    named: bool = False
    thing: bool = False
    """The subject is a thing of the demo world."""
    filler_background: str = ""
    """World background to add if the prompt names no place."""
    filler_motion: str = ""
    """World motion to add if the prompt names no action."""
    filler_colour: str = ""
    """Colour to add if the prompt names none."""


def gerund_phrase(predicate: str) -> str:
    """Turn "moves to the left" into "moving to the left"; empty where English has no such form."""
    verb, space, rest = predicate.partition(" ")
    if verb == "is":
        return rest
    if verb in ("does", "simply", "slowly"):
        return f"slowly {gerund_phrase(rest)}" if verb == "slowly" else ""
    return wordlists.gerund(base_form(verb)) + space + rest


def _world_thing(rng: random.Random, thing: str, colour: str) -> tuple[str, str]:
    """A noun phrase without article, and its head."""
    noun = rng.choice(words.THING_SYNONYMS[thing]) if rng.random() < 0.2 else thing
    size = rng.choice(words.SIZES[rng.choice(("small", "large"))]) if rng.random() < 0.25 else ""
    return " ".join(part for part in (size, colour, noun) if part), noun


def _colour_word(rng: random.Random) -> str:
    colour = rng.choice(list(words.COLOURS))
    return rng.choice(words.COLOUR_SYNONYMS[colour]) if rng.random() < 0.2 else colour


def _world_camera(rng: random.Random) -> tuple[str, str]:
    key = rng.choice(list(words.CAMERAS))
    if rng.random() < 0.3:
        return key, f"{rng.choice(('as', 'while', 'with', 'and'))} the camera {rng.choice(phrases.CAMERA_VERBS[key])}"
    return key, rng.choice(words.CAMERAS[key].train)


def _place(rng: random.Random) -> tuple[str, str]:
    key = rng.choice(list(words.BACKGROUNDS))
    if rng.random() < 0.35:
        start = rng.choice(phrases.BACKGROUND_PREPOSITIONS)
        adjective = rng.choice(wordlists.words("adjectives"))
        if rng.random() < 0.3:
            adjective = rng.choice(list(words.COLOURS))
        noun = f"{adjective} {rng.choice(phrases.BACKGROUND_NOUNS[key])}"
        if rng.random() < 0.15:
            return key, f"with {wordlists.article(noun)} {noun} behind it"
        return key, f"{start} {rng.choice(('the', 'the', wordlists.article(noun)))} {noun}"
    return key, rng.choice(words.BACKGROUNDS[key].train)


def _with_adverb(predicate: str, gerund: str, plural: bool, rng: random.Random) -> tuple[str, str]:
    """An adverb before or after the action, or none."""
    if not predicate or not gerund or predicate.startswith(("is ", "are ")) or rng.random() > 0.3:
        return predicate, gerund
    if rng.random() < 0.4 and not gerund.startswith("slowly"):
        auxiliary = rng.choice(phrases.AUXILIARIES)
        finite = plural_predicate(auxiliary) if plural else auxiliary
        return f"{finite} {gerund}", gerund_phrase(f"{auxiliary} {gerund}")
    adverb = rng.choice(phrases.ADVERBS)
    if rng.random() < 0.5:
        return f"{adverb} {predicate}", f"{adverb} {gerund}"
    return f"{predicate} {adverb}", f"{gerund} {adverb}"


def _world_action(rng: random.Random, pieces: Sequence[str], plural: bool) -> tuple[str, str, str]:
    """Motion key, predicate and gerund: mostly the world's, sometimes the user's own, or none."""
    kind = rng.random()
    if kind < 0.32:
        return "", "", ""
    if kind < 0.40:
        return "", *_action(rng, pieces, plural)
    motion = rng.choice(list(words.MOTIONS))
    predicate = rng.choice(words.MOTIONS[motion].train)
    gerund = gerund_phrase(predicate)
    return motion, *_with_adverb(plural_predicate(predicate) if plural else predicate, gerund, plural, rng)


def _world_place(rng: random.Random, pieces: Sequence[str]) -> tuple[str, str, bool]:
    """World background, place and dark: mostly the world's, sometimes the user's own, or none."""
    kind = rng.random()
    if kind < 0.45:
        return "", "", False
    if kind < 0.55:
        place, background, dark = open_place(rng, pieces)
        return background, place, dark
    return *_place(rng), False


def world_draft(rng: random.Random, pieces: Sequence[str] = ()) -> Draft:
    """A scene with things of the demo world, each of its attributes said or left open."""
    thing = rng.choice(words.THINGS)
    colour = _colour_word(rng) if rng.random() < 0.65 else ""
    phrase, head = _world_thing(rng, thing, colour)
    noun_phrase, is_plural = f"{wordlists.article(phrase)} {phrase}", False
    two = rng.random() < 0.15
    if two:
        other, other_head = _world_thing(rng, rng.choice(words.THINGS), _colour_word(rng))
        noun_phrase += f" and {wordlists.article(other)} {other}"
        head, is_plural, colour = f"{head} and the {other_head}", True, ""
    elif colour and rng.random() < 0.04:
        noun_phrase = f"{wordlists.article(head)} {head} that is {colour}"
    motion, predicate, gerund = _world_action(rng, pieces, is_plural)
    background, place, dark = _world_place(rng, pieces)
    camera, camera_text = _world_camera(rng) if rng.random() < 0.25 else ("", "")
    backgrounds = _SUITABLE_BACKGROUND.get(thing, tuple(words.BACKGROUNDS))
    motions = _SUITABLE_MOTION.get(thing, tuple(words.MOTIONS))
    return Draft(
        noun_phrase, head, predicate, gerund, place, background, dark, motion, colour, camera, camera_text,
        _styles(rng, pieces), is_plural, False, True, rng.choice(backgrounds), rng.choice(motions),
        "" if colour or two else rng.choice(list(words.COLOURS)),
    )  # fmt: skip


def _noun(rng: random.Random, pieces: Sequence[str]) -> str:
    if rng.random() < 0.5:
        return rng.choice(wordlists.words("nouns"))
    return wordlists.invented_word(rng, pieces)


def _adjective(rng: random.Random, pieces: Sequence[str]) -> str:
    kind = rng.random()
    if kind < 0.3:
        return _colour_word(rng)
    if kind < 0.8:
        return rng.choice(wordlists.words("adjectives"))
    return wordlists.invented_word(rng, pieces)


def _bare_phrase(rng: random.Random, pieces: Sequence[str]) -> str:
    """Adjectives and nouns, no article."""
    adjectives = [_adjective(rng, pieces) for _ in range(rng.choice((0, 0, 1, 1, 1, 2)))]
    nouns = [_noun(rng, pieces) for _ in range(rng.choice((1, 1, 1, 2)))]
    return " ".join(adjectives + nouns)


def object_phrase(rng: random.Random, pieces: Sequence[str]) -> str:
    """A noun phrase for any place in a sentence but the subject's."""
    phrase = _bare_phrase(rng, pieces)
    return rng.choice((f"{wordlists.article(phrase)} {phrase}", f"the {phrase}", phrase))


def _subject(rng: random.Random, pieces: Sequence[str]) -> tuple[str, str, bool, bool]:
    """Noun phrase, head, plural, named."""
    kind = rng.random()
    if kind < 0.15:
        own = wordlists.name(rng, pieces)
        title = f" the {_noun(rng, pieces)}" if rng.random() < 0.2 else ""
        return own + title, own, False, True
    phrase = _bare_phrase(rng, pieces)
    if kind < 0.30:
        count = str(rng.randint(2, 999)) if rng.random() < 0.15 else rng.choice(_COUNTS)
        many = f"{count} {wordlists.plural(phrase)}"
        return many, many.removeprefix("a "), True, False
    if kind < 0.36:
        many = wordlists.plural(phrase)
        return many, many, True, False
    if kind < 0.44:
        other = _bare_phrase(rng, pieces)
        both = f"{wordlists.article(phrase)} {phrase} and {wordlists.article(other)} {other}"
        return both, f"{phrase} and the {other}", True, False
    definite = rng.random() < 0.15
    determiner = rng.choice(("the", "my", "our", "this")) if definite else wordlists.article(phrase)
    tail = ""
    if rng.random() < 0.2:
        link = rng.choice(("with", "with", "made of", "wearing", "in", "of", "full of"))
        tail = f" {link} {object_phrase(rng, pieces)}"
    if rng.random() < 0.06:
        tail = f" {rng.choice(('called', 'named'))} {wordlists.name(rng, pieces)}"
    return f"{determiner} {phrase}{tail}", phrase, False, False


def _action(rng: random.Random, pieces: Sequence[str], plural: bool) -> tuple[str, str]:
    """Predicate and gerund."""
    if rng.random() < 0.5:
        verb, rest = rng.choice(phrases.ACTIONS)
    else:
        verb = rng.choice(wordlists.words("verbs"))
        if rng.random() < 0.2:
            verb = wordlists.syllable(rng) + wordlists.syllable(rng)
        link = rng.choice(phrases.PREPOSITIONS)
        target = object_phrase(rng, pieces)
        rest = rng.choice(("", target, f"{link} {target}"))
    finite = verb if plural else wordlists.third_person(verb)
    tail = f" {rest}" if rest else ""
    return finite + tail, wordlists.gerund(verb) + tail


def _styles(rng: random.Random, pieces: Sequence[str]) -> tuple[str, ...]:
    if rng.random() > 0.12:
        return ()
    found = rng.sample(phrases.STYLES, rng.randint(1, 4))
    if pieces and rng.random() < 0.3:
        found.append(f"in the style of {wordlists.name(rng, pieces)}")
    return tuple(found)


def open_place(rng: random.Random, pieces: Sequence[str]) -> tuple[str, str, bool]:
    """Place, world background (or none), dark."""
    kind = rng.random()
    if kind < 0.35:
        background, place = _place(rng)
        return place, background, False
    if kind < 0.65:
        place, dark = rng.choice(phrases.PLACES)
        return place, "", dark
    at_night = rng.random() < 0.12
    place = f"{rng.choice(phrases.PREPOSITIONS)} {object_phrase(rng, pieces)}"
    return place + (" at night" if at_night else ""), "", at_night


def open_draft(rng: random.Random, pieces: Sequence[str] = ()) -> Draft:
    """A scene with a subject and an action of the user's own, mostly words never seen before."""
    noun_phrase, head, plural, named = _subject(rng, pieces)
    predicate, gerund, motion = "", "", ""
    kind = rng.random()
    if kind < 0.15:
        motion = rng.choice(list(words.MOTIONS))
        predicate = rng.choice(words.MOTIONS[motion].train)
        gerund = gerund_phrase(predicate)
        predicate = plural_predicate(predicate) if plural else predicate
    elif kind < 0.75:
        predicate, gerund = _action(rng, pieces, plural)
    predicate, gerund = _with_adverb(predicate, gerund, plural, rng)
    place, background, dark = open_place(rng, pieces) if rng.random() < 0.5 else ("", "", False)
    camera, camera_text = _world_camera(rng) if rng.random() < 0.12 else ("", "")
    if not camera and rng.random() < 0.12:
        camera = rng.choice(phrases.CAMERAS)
        camera_text = camera if rng.random() < 0.3 else camera.split(" ", 1)[1]
    return Draft(
        noun_phrase, head, predicate, gerund, place, background, dark, motion, "", camera, camera_text,
        _styles(rng, pieces), plural, named, False, rng.choice(list(words.BACKGROUNDS)),
        rng.choice(("left_to_right", "right_to_left", "still", "rises", "circles")),
    )  # fmt: skip

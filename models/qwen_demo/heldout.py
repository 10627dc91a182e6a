"""Prompts for the evaluation: words and phrasings that no practice pair contains."""

import random
from dataclasses import dataclass

from models.qwen_demo import wordlists
from models.qwen_demo.corpus import base_form, plural_predicate
from models.qwen_demo.scenes import gerund_phrase
from models.world import words

# {x} takes a noun phrase with what it does; {c} a clause.
WRAPPERS: tuple[str, ...] = (
    "{x}", "{x}", "{x}", "{x}", "{x}.", "{x}!", "please produce footage of {x}", "I was hoping for {x}",
    "would you kindly create {x}?", "my kids want {x}", "next up: {x}", "render {x}", "a gif of {x}",
    "some {x} footage",
    "ok so basically {x}", "could we get {x}", "let's do {x}", "try {x}", "short video - {x}", "now {x}",
)  # fmt: skip
CLAUSE_WRAPPERS: tuple[str, ...] = (
    "{c}", "{c}", "{c}.", "a moment when {c}", "produce footage in which {c}", "let's say {c}",
    "the idea: {c}",
)  # fmt: skip
PLACES: tuple[str, ...] = (
    "in a flooded cathedral", "on an iceberg", "at the laundromat", "behind the bakery", "in a greenhouse",
    "beside a volcano", "on a trampoline", "in a submarine", "under the Eiffel Tower", "at a farmers' market",
    "in a bowling alley", "on the moon", "inside a snow globe", "along the Great Wall",
)  # fmt: skip
REAL: tuple[tuple[str, str, str], ...] = (
    # prompt, subject, action: what people type
    ("an astronaut riding a horse on Mars", "astronaut", "riding a horse on mars"),
    ("a golden retriever catching a frisbee at the beach", "golden retriever",
    "catching a frisbee at the beach"),
    ("two cats playing chess", "two cats", "playing chess"),
    ("make a video of a Zorblat dancing in the snow", "zorblat", "dancing in the snow"),
    ("a panda eating bamboo", "panda", "eating bamboo"),
    ("Godzilla knitting a sweater", "godzilla", "knitting a sweater"),
    ("an old fisherman mending his nets at dawn", "old fisherman", "mending his nets at dawn"),
    ("a steam locomotive crossing a viaduct", "steam locomotive", "crossing a viaduct"),
    ("Can you show a hedgehog wearing a tiny raincoat?", "hedgehog", "wearing a tiny raincoat"),
    ("a ballerina twirls on a frozen lake", "ballerina", "twirls on a frozen lake"),
    ("three penguins waddling across the ice", "three penguins", "waddling across the ice"),
    ("a samurai sharpening his katana by candlelight", "samurai", "sharpening his katana by candlelight"),
    ("an espresso machine hissing steam", "espresso machine", "hissing steam"),
    ("Wall-E watering a sunflower", "wall-e", "watering a sunflower"),
    ("my grandmother baking cinnamon rolls", "grandmother", "baking cinnamon rolls"),
    ("a jellyfish drifting through a neon city", "jellyfish", "drifting through a neon city"),
    ("A paper airplane gliding over the rooftops of Lisbon", "paper airplane",
    "gliding over the rooftops of lisbon"),
    ("a chameleon changing color on a branch", "chameleon", "changing color on a branch"),
    ("a lighthouse during a thunderstorm", "lighthouse", "during a thunderstorm"),
    ("the Loch Ness monster surfacing", "loch ness monster", "surfacing"),
    ("a skateboarder doing a kickflip in slow motion", "skateboarder", "doing a kickflip in slow motion"),
    ("origami cranes unfolding themselves", "origami cranes", "unfolding themselves"),
    ("a barista pouring latte art", "barista", "pouring latte art"),
    ("a flamingo standing on one leg", "flamingo", "standing on one leg"),
    ("Zürich tram passing a café", "zürich tram", "passing a café"),
    ("a wizard casting a spell in a library", "wizard", "casting a spell in a library"),
    ("a raccoon stealing a pizza at night", "raccoon", "stealing a pizza at night"),
    ("dinosaur", "dinosaur", ""),
    ("Kangaroo", "kangaroo", ""),
    ("octopus", "octopus", ""),
    ("a violinist on a rooftop", "violinist", "on a rooftop"),
    ("R2-D2 vacuuming a living room", "r2-d2", "vacuuming a living room"),
    ("a hamster piloting a tiny biplane through the clouds", "hamster",
    "piloting a tiny biplane through the clouds"),
    ("a knight in shining armor feeding pigeons", "knight in shining armor", "feeding pigeons"),
    ("the chef flips a pancake", "chef", "flips a pancake"),
    ("a toddler blowing bubbles in the garden", "toddler", "blowing bubbles in the garden"),
    ("a mime trapped in an invisible box", "mime", "trapped in an invisible box"),
    ("100 rubber ducks floating down a canal", "100 rubber ducks", "floating down a canal"),
    ("A Viking longship sailing into a fjord", "viking longship", "sailing into a fjord"),
    ("a bumblebee landing on a lavender flower", "bumblebee", "landing on a lavender flower"),
    ("a cyclist racing through the Alps while a helicopter follows overhead and the crowd cheers",
     "cyclist", "racing through the alps while a helicopter follows overhead and the crowd cheers"),
    ("A little girl in a yellow raincoat jumps into a puddle, then she laughs and her dog barks",
     "little girl in a yellow raincoat",
     "jumps into a puddle, then she laughs and her dog barks"),
)  # fmt: skip
_SYLLABLES = "zor blat mip quon dra fel vish nar tup gol wex bri sna yol ket hum pla ruv".split()  # noqa: SIM905


@dataclass(frozen=True)
class Case:
    """One prompt and what its paragraph must keep."""

    group: str
    prompt: str
    subject: str
    """Lower-case words that must appear in this order, unbroken. Empty: not checked."""
    actions: tuple[str, ...] = ()
    """Forms of the action, one of which must appear. Empty: no action was named."""
    colour: str = ""
    motion: str = ""
    background: str = ""
    place: str = ""
    camera: str = ""


def action_forms(predicate: str) -> tuple[str, ...]:
    """All forms in which a paragraph may say an action."""
    verb, space, rest = predicate.partition(" ")
    forms = {predicate, plural_predicate(predicate), gerund_phrase(predicate), base_form(verb) + space + rest}
    return tuple(sorted(form for form in forms if form))


def _wrap(phrase: str, clause: str, rng: random.Random) -> str:
    if clause and rng.random() < 0.4:
        return rng.choice(CLAUSE_WRAPPERS).format(c=clause)
    return rng.choice(WRAPPERS).format(x=phrase)


def _shape(prompt: str, rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.3:
        return prompt[:1].upper() + prompt[1:]
    return prompt.upper() if kind > 0.93 else prompt


def _world_case(rng: random.Random) -> Case:
    colour = rng.choice(list(words.COLOURS)) if rng.random() < 0.75 else ""
    noun = rng.choice(words.THINGS)
    bare = f"{colour} {noun}".strip()
    subject = f"{wordlists.article(bare)} {bare}" if rng.random() < 0.8 else bare
    motion = rng.choice(list(words.MOTIONS)) if rng.random() < 0.75 else ""
    background = rng.choice(list(words.BACKGROUNDS)) if rng.random() < 0.6 else ""
    camera = rng.choice(list(words.CAMERAS)) if rng.random() < 0.35 else ""
    predicate = rng.choice(words.MOTIONS[motion].held_out) if motion else ""
    place = rng.choice(words.BACKGROUNDS[background].held_out) if background else ""
    tail = f" {place}" if place else ""
    gerund = gerund_phrase(predicate) if motion else ""
    phrase = f"{subject} {gerund}".strip() if gerund or not motion else f"{subject} that {predicate}"
    phrase += tail
    prompt = _wrap(phrase, f"{subject} {predicate}{tail}" if motion else "", rng)
    if camera:
        prompt = f"{prompt.rstrip('?.!')}, {rng.choice(words.CAMERAS[camera].held_out)}"
    kept = bare if colour else noun
    forms = action_forms(predicate) if motion else ()
    return Case("world", _shape(prompt, rng), kept, forms, colour, motion, background, place, camera)


def _open_case(rng: random.Random, invented: bool) -> Case:
    if invented:
        noun = "".join(rng.sample(_SYLLABLES, rng.choice((2, 2, 3))))
        noun = noun.capitalize() if rng.random() < 0.5 else noun
    else:
        noun = rng.choice(wordlists.words("nouns", held_out=True))
    adjective = rng.choice(wordlists.words("adjectives", held_out=True)) if rng.random() < 0.4 else ""
    bare = f"{adjective} {noun}".strip()
    verb = rng.choice(wordlists.words("verbs", held_out=True))
    thing = rng.choice(wordlists.words("nouns", held_out=True))
    rest = rng.choice(("", f" {wordlists.article(thing)} {thing}", f" with the {thing}"))
    predicate = f"{wordlists.third_person(verb)}{rest}" if rng.random() < 0.8 else ""
    place = rng.choice(PLACES) if rng.random() < 0.5 else ""
    subject = f"{wordlists.article(bare)} {bare}" if rng.random() < 0.85 else bare
    tail = f" {place}" if place else ""
    action = f" {wordlists.gerund(verb)}{rest}" if predicate else ""
    prompt = _wrap(f"{subject}{action}{tail}", f"{subject} {predicate}{tail}" if predicate else "", rng)
    forms = action_forms(predicate) if predicate else ()
    group = "invented words" if invented else "unseen English"
    return Case(group, _shape(prompt, rng), bare.lower(), forms, place=place.lower())


def cases(seed: int = 4711) -> list[Case]:
    """All evaluation prompts: 100 of the world, 60 of unseen English words, 40 invented, 42 real."""
    rng = random.Random(seed)
    found = [_world_case(rng) for _ in range(100)]
    found += [_open_case(rng, invented=False) for _ in range(60)]
    found += [_open_case(rng, invented=True) for _ in range(40)]
    for prompt, subject, action in REAL:
        found.append(Case("typed by people", prompt, subject, (action,) if action else ()))
    return found

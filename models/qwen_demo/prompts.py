"""Practice pairs: a short prompt in one of many forms, and the paragraph that answers it."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from models.qwen_demo import phrases, wordlists
from models.qwen_demo.corpus import SceneWords, capitalised, enhanced_paragraph, plural_predicate
from models.qwen_demo.scenes import Draft, gerund_phrase, object_phrase, open_draft, open_place, world_draft
from models.world import words

SYSTEM_PROMPT = (Path(__file__).parent / "system_prompt.txt").read_text(encoding="utf-8").strip()
_CAMERA_FILLERS = ("static",) * 6 + ("pan_left", "pan_right", "zoom_in", "zoom_out")
_ENDINGS = ("", "", "", "", "", "", "", ".", ".", ".", "!", "!!!", "...", " ", "\n", ",")
_PHRASE_OPENINGS = (
    "The video shows {x}.", "The scene shows {x}.", "This shot shows {x}.", "The video is a view of {x}.",
)  # fmt: skip
_CLAUSE_OPENINGS = ("{C}.", "{C}.", "In this shot, {c}.", "In this scene, {c}.")
_JOINTS = (
    ", while ", " while ", " and then ", " as ", ", and ", ". ", ". Then ", " because ", ", ", " until ",
)  # fmt: skip
_CONNECTIVES = "the a of and in with is not very on to for why how my it at no all from".split()  # noqa: SIM905


@dataclass(frozen=True)
class Pair:
    """One practice pair."""

    system: str | None
    """System prompt; None lets the chat template put in its own."""
    prompt: str
    paragraph: str


@cache
def common_words() -> frozenset[str]:
    """Words that come back in lower case whatever the case of the prompt was."""
    found = set(phrases.COMMON_WORDS) | set(words.THINGS) | set(words.COLOURS)
    for synonyms in (*words.THING_SYNONYMS.values(), *words.COLOUR_SYNONYMS.values(), *words.SIZES.values()):
        found.update(" ".join(synonyms).split())
    for table in (words.MOTIONS, words.BACKGROUNDS, words.CAMERAS):
        for entry in table.values():
            found.update(" ".join(entry.train).split())
    for entry in words.MOTIONS.values():
        for predicate in entry.train:
            found.update(f"{gerund_phrase(predicate)} {plural_predicate(predicate)}".split())
    return frozenset(found)


def _recase(text: str, change: Callable[[str], str]) -> str:
    """Change the case of every word that the model is not expected to know."""
    return " ".join(word if word in common_words() else change(word) for word in text.split(" "))


def _cased(draft: Draft, change: Callable[[str], str]) -> Draft:
    own_camera = draft.camera if draft.camera in words.CAMERAS else _recase(draft.camera, change)
    return replace(
        draft,
        noun_phrase=_recase(draft.noun_phrase, change), head=_recase(draft.head, change),
        predicate=_recase(draft.predicate, change), gerund=_recase(draft.gerund, change),
        place=_recase(draft.place, change), colour=_recase(draft.colour, change), camera=own_camera,
        styles=tuple(_recase(style, change) for style in draft.styles),
    )  # fmt: skip


def _without_article(noun_phrase: str) -> str:
    for start in ("a ", "an "):
        if noun_phrase.startswith(start):
            return noun_phrase.removeprefix(start)
    return noun_phrase


def _with_wrapper(body: str, clause: bool, rng: random.Random) -> str:
    if not clause and rng.random() < 0.15:
        parts = (phrases.REQUEST_STARTS, phrases.REQUEST_VERBS, phrases.REQUEST_MEDIA)
        return " ".join(part for part in (*map(rng.choice, parts), body) if part)
    if clause:
        return rng.choice(phrases.CLAUSE_WRAPPERS).format(c=body)
    return rng.choice(phrases.WRAPPERS).format(x=body)


def _dressed(text: str, draft: Draft, rng: random.Random) -> str:
    """The prompt with its camera words, its styles and some end."""
    if draft.camera_text:
        camera = draft.camera_text
        first = camera in phrases.CAMERAS and rng.random() < 0.5
        whole = camera.startswith("the ")
        joint = rng.choice((", ", ", ", ". ", " while ") if whole else (", ", ". "))
        text = f"{camera} of {text}" if first else f"{text}{joint}{camera}"
    if draft.styles:
        text = f"{text}, {', '.join(draft.styles)}"
    if rng.random() < 0.03:
        text = f'"{text}"'
    if not text.endswith("?"):
        text += rng.choice(_ENDINGS)
    elif rng.random() < 0.3:
        text = text.removesuffix("?")
    return text


def _body(draft: Draft, form: str, rng: random.Random) -> str:
    """What the prompt says of subject, action and place."""
    subject = _without_article(draft.noun_phrase) if rng.random() < 0.3 else draft.noun_phrase
    place = f" {draft.place}" if draft.place else ""
    be = "are" if draft.plural else "is"
    if form == "place first":
        return f"{draft.place}, {subject} {draft.predicate}"
    if form in ("list", "telegraph"):
        said = draft.background.replace("_", " ") if form == "telegraph" else draft.place
        parts = (_without_article(subject), draft.gerund, said)
        return (", " if form == "list" else rng.choice((" ", ", "))).join(part for part in parts if part)
    if form == "relative":
        return f"{subject} that {draft.predicate}{place}"
    actions = {"gerund": draft.gerund, "finite": draft.predicate, "progressive": f"{be} {draft.gerund}"}
    action = actions.get(form, "")
    return f"{subject}{' ' if action else ''}{action}{place}"


def _form(draft: Draft, rng: random.Random) -> str:
    if not draft.predicate:
        return "noun"
    forms = ["finite"] * 3 + (["gerund"] * 6 + ["progressive"] if draft.gerund else [])
    if draft.place and not draft.place.endswith(" it"):
        forms.append("place first")
    if draft.thing and draft.gerund:
        forms += ["list"] + ["telegraph"] * bool(draft.background)
    if " that is " not in draft.noun_phrase:
        forms.append("relative")
    return rng.choice(forms)


def _open_opening(draft: Draft, form: str, rng: random.Random) -> str:
    """First sentence about a subject of the user's own: its words as they were said."""
    place = f" {draft.place}" if draft.place else ""
    if form in ("gerund", "noun"):
        action = f" {draft.gerund}" if form == "gerund" else ""
        return rng.choice(_PHRASE_OPENINGS).format(x=f"{draft.noun_phrase}{action}{place}")
    if form == "relative":
        clause = f"{draft.noun_phrase} that {draft.predicate}{place}"
        return rng.choice(_PHRASE_OPENINGS).format(x=clause)
    be = "are" if draft.plural else "is"
    action = f"{be} {draft.gerund}" if form == "progressive" else draft.predicate
    clause = f"{draft.noun_phrase} {action}{place}"
    if form == "place first":
        clause = f"{draft.place}, {draft.noun_phrase} {action}"
    return rng.choice(_CLAUSE_OPENINGS).format(c=clause, C=capitalised(clause))


def _world_words(draft: Draft, form: str, rng: random.Random) -> SceneWords:
    """A world scene: what was left unsaid is filled in, also in the first sentence."""
    colour, subject = draft.colour, draft.noun_phrase
    if draft.filler_colour:
        colour = draft.filler_colour
        phrase = subject.split(" ", 1)[1]
        first = phrase.split(" ")[0]
        sized = first in words.SIZES["small"] + words.SIZES["large"]
        phrase = f"{first} {colour} {phrase.split(' ', 1)[1]}" if sized else f"{colour} {phrase}"
        subject = f"{wordlists.article(phrase)} {phrase}"
    motion, action = draft.motion, draft.predicate
    if not action:
        motion = draft.filler_motion
        action = words.MOTIONS[motion].train[rng.randrange(4)]
        action = plural_predicate(action) if draft.plural else action
    elif form in ("gerund", "progressive", "list", "telegraph") and rng.random() < 0.5:
        action = f"{'are' if draft.plural else 'is'} {draft.gerund}"
    background, place = draft.background, draft.place
    if not place:
        background = draft.filler_background
        # After an action of the user's own a place could be read as part of that action.
        own_action = draft.predicate and not draft.motion
        place = "" if own_action else words.BACKGROUNDS[background].train[rng.randrange(3)]
    camera = draft.camera or rng.choice(_CAMERA_FILLERS)
    return SceneWords(
        subject=subject, action=action, head=draft.head, plural=draft.plural, motion=motion, place=place,
        background=background, camera=camera, colour=colour, dark=draft.dark,
    )  # fmt: skip


def _open_words(draft: Draft, form: str, rng: random.Random) -> SceneWords:
    motion = draft.motion if draft.predicate else draft.filler_motion
    background = draft.background if draft.place else draft.filler_background
    return SceneWords(
        subject=draft.noun_phrase, head=draft.head, plural=draft.plural, motion=motion, background=background,
        camera=draft.camera or rng.choice(_CAMERA_FILLERS), opening=_open_opening(draft, form, rng),
        dark=draft.dark, named=draft.named, pronoun=False,
    )  # fmt: skip


def draft_pair(draft: Draft, rng: random.Random) -> tuple[str, str]:
    """Prompt and paragraph of one hidden scene."""
    form = _form(draft, rng)
    case = rng.choices(("as is", "first", "lower", "upper", "title"), (40, 30, 20, 6, 4))[0]
    if case == "lower":
        draft = _cased(draft, str.lower)
    body = _body(draft, form, rng)
    clause = form in ("finite", "progressive", "place first")
    prompt = _dressed(_with_wrapper(body, clause, rng), draft, rng)
    if case == "first":
        prompt = capitalised(prompt)
    elif case == "upper":
        prompt, draft = prompt.upper(), _cased(draft, str.upper)
    elif case == "title":
        prompt, draft = " ".join(map(capitalised, prompt.split(" "))), _cased(draft, capitalised)
    scene = (_world_words if draft.thing else _open_words)(draft, form, rng)
    if draft.styles:
        scene = replace(scene, also=f"The style is {', '.join(draft.styles)}.")
    return prompt, enhanced_paragraph(scene, rng)


def _verbatim(opening: str, rng: random.Random) -> SceneWords:
    """A scene of unknown shape: its text is kept whole, and the rest only speaks of "the subject"."""
    return SceneWords("the subject", head="subject", opening=opening, camera=rng.choice(_CAMERA_FILLERS))


def long_pair(rng: random.Random, pieces: Sequence[str]) -> tuple[str, str]:
    """A prompt of several clauses, kept word for word."""
    text, target = "", rng.choice((12, 20, 28, 36, 44, 50))
    while len(text.split()) < target:
        draft = (world_draft if rng.random() < 0.25 else open_draft)(rng, pieces)
        place = draft.place or open_place(rng, pieces)[0]
        clause = f"there is {draft.noun_phrase}"
        if draft.predicate:
            clause = f"{draft.noun_phrase} {draft.predicate} {place}"
        joint = rng.choice(_JOINTS) if text else ""
        text += joint + (capitalised(clause) if joint == ". " else clause)
    opening = rng.choice(_CLAUSE_OPENINGS).format(c=text, C=capitalised(text))
    scene = _verbatim(opening, rng)
    shown = rng.choice(phrases.CLAUSE_WRAPPERS).format(c=text) if rng.random() < 0.3 else text
    shown = capitalised(shown) if rng.random() < 0.6 else shown
    return shown + ("" if shown.endswith("?") else rng.choice(_ENDINGS)), enhanced_paragraph(scene, rng)


def soup_pair(rng: random.Random, pieces: Sequence[str]) -> tuple[str, str]:
    """Words in no order, gibberish, questions: kept as they are."""
    found: list[str] = []
    for _ in range(rng.choice((2, 3, 4, 5, 6, 8, 10, 14))):
        kind = rng.random()
        if kind < 0.35:
            found.append(rng.choice(_CONNECTIVES))
        elif kind < 0.65:
            found.append(wordlists.invented_word(rng, pieces))
        else:
            found.append(rng.choice(wordlists.words(rng.choice(("nouns", "adjectives", "verbs")))))
        if rng.random() < 0.06:
            found[-1] += rng.choice((",", ";", ":", " -", " &", " +", "/"))
    text = " ".join(found).rstrip(",;:-&+/ ")
    if rng.random() < 0.3:
        text = capitalised(text)
    scene = _verbatim(f"The video is about {text}.", rng)
    return text + rng.choice((*_ENDINGS, "?", "?")), enhanced_paragraph(scene, rng)


def _system(rng: random.Random, pieces: Sequence[str]) -> str | None:
    kind = rng.random()
    if kind < 0.6:
        return SYSTEM_PROMPT
    if kind < 0.7:
        return None
    if kind < 0.85:
        return rng.choice(phrases.OTHER_SYSTEM_PROMPTS)
    if kind < 0.95:
        sentences = SYSTEM_PROMPT.split(". ")
        if rng.random() < 0.5:
            return SYSTEM_PROMPT[: rng.randint(10, len(SYSTEM_PROMPT))]
        return ". ".join(rng.sample(sentences, rng.randint(1, len(sentences))))
    return " ".join(object_phrase(rng, pieces) for _ in range(rng.randint(1, 8)))


def practice_pair(rng: random.Random, pieces: Sequence[str] = ()) -> Pair:
    """One practice pair; `pieces` are tokenizer pieces to make invented words of."""
    kind = rng.random()
    if kind < 0.40:
        prompt, paragraph = draft_pair(world_draft(rng, pieces), rng)
    elif kind < 0.82:
        prompt, paragraph = draft_pair(open_draft(rng, pieces), rng)
    elif kind < 0.92:
        prompt, paragraph = long_pair(rng, pieces)
    else:
        prompt, paragraph = soup_pair(rng, pieces)
    return Pair(_system(rng, pieces), prompt, paragraph)

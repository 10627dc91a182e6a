"""From the words of a scene to the long paragraph that the enhancer writes about it.

This is the one place that knows the paragraph's style. The video model's captions are written by
the same function, so that what qwen-demo writes is what wan-demo has read. No torch in here.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from models.qwen_demo import lexicon

MIN_WORDS = 60
MAX_WORDS = 110
_COMFORTABLE = 66  # below this a paragraph gets one more closing sentence
_ORDERS = (
    ("colour", "setting", "light", "motion", "camera"),
    ("motion", "colour", "setting", "light", "camera"),
    ("setting", "light", "colour", "motion", "camera"),
    ("colour", "motion", "camera", "setting", "light"),
    ("setting", "motion", "colour", "camera", "light"),
    ("light", "setting", "motion", "colour", "camera"),
)


@dataclass(frozen=True)
class SceneWords:
    """The words of one scene. World keys are those of `models.world.words`."""

    subject: str
    """Noun phrase with its article or count: "a small red ball", "two cats"."""
    action: str = ""
    """Predicate in the present tense: "bounces up and down", "is dancing". Empty: none in the opening."""
    head: str = ""
    """How later sentences call the subject, without "the": "ball". Empty: the subject less its article."""
    plural: bool = False
    """Whether the subject takes a plural verb."""
    motion: str = ""
    """World motion key; empty for an action of the user's own."""
    place: str = ""
    """Where, as an adverbial for the opening: "in the snow". May be empty."""
    background: str = ""
    """World background key; empty if the place is the user's own."""
    camera: str = "static"
    """World camera key, or a phrase of the user's own such as "a drone shot"."""
    colour: str = ""
    """Colour that a sentence of its own should state; empty: no colour of the world is named."""
    also: str = ""
    """One more whole sentence to keep right after the opening (a second thing, a style). May be empty."""
    opening: str = ""
    """The whole first sentence, if the words above do not make it (prompts of an unknown shape)."""
    dark: bool = False
    """The user's own place or time is dark."""
    named: bool = False
    """The head is a name and takes no "the"."""
    pronoun: bool = True
    """Whether "it" is a fitting pronoun (a thing rather than a person)."""


def _head(scene: SceneWords) -> str:
    if scene.head:
        return scene.head
    first, _, rest = scene.subject.partition(" ")
    determined = first.lower() in ("a", "an", "the", "some", "my", "our", "your")
    return rest if determined and rest else scene.subject


def plural_predicate(predicate: str) -> str:
    """The plural form of a predicate: "bounces up and down" -> "bounce up and down"."""
    verb, space, rest = predicate.partition(" ")
    if verb in ("simply", "slowly"):
        return f"{verb}{space}{plural_predicate(rest)}"
    return base_form(verb) + space + rest


def base_form(verb: str) -> str:
    """A third person verb without its ending; "is" and "does" become "are" and "do"."""
    if verb in ("is", "does", "goes", "has"):
        return {"is": "are", "does": "do", "goes": "go", "has": "have"}[verb]
    if verb.endswith(("sses", "shes", "ches", "xes", "zzes", "oes")):
        return verb[:-2]
    if verb.endswith("ies"):
        return verb[:-3] + "y"
    return verb[:-1] if verb.endswith("s") else verb


def _fill(template: str, scene: SceneWords, rng: random.Random, **values: str) -> str:
    """Fill a template's {it}, {It}, {s} and {is} so that they agree with the subject."""
    plural = scene.plural
    it = _head(scene) if scene.named else f"the {_head(scene)}"
    if template.startswith("{It}") and rng.random() < 0.35:
        if scene.pronoun and not plural:
            it = "it"
        elif not scene.pronoun:
            it, plural = "the subject", False
    upper = it[:1].upper() + it[1:]
    return template.format(it=it, It=upper, s="" if plural else "s", **{"is": "are" if plural else "is"}, **values)


def capitalised(text: str) -> str:
    """The text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def _opening(scene: SceneWords, rng: random.Random) -> str:
    if scene.opening:
        return scene.opening
    subject, action, place = scene.subject, scene.action, scene.place
    tail = f" {place}" if place else ""
    if not action:
        forms = ["The video shows {subject}{tail}.", "The scene shows {subject}{tail}.",
                 "This video is a view of {subject}{tail}."]  # fmt: skip
    else:
        forms = ["{Subject} {action}{tail}.", "In this shot, {subject} {action}{tail}.",
                 "{Subject} {action}{tail}.", "The video shows {subject} that {action}{tail}."]  # fmt: skip
        if place and not place.endswith(" it"):
            forms.append("{Place}, {subject} {action}.")
    return rng.choice(forms).format(
        subject=subject, Subject=capitalised(subject), action=action, tail=tail, Place=capitalised(place)
    )


def _details(scene: SceneWords, rng: random.Random) -> dict[str, str]:
    """One sentence for each kind of detail."""
    dark = "dark" if scene.dark else ""
    light = rng.choice(lexicon.LIGHTING[scene.background or dark])
    motion = rng.choice(lexicon.MOTION_DETAILS[scene.motion])
    setting = rng.choice(lexicon.SETTING_FRAMES if scene.background else lexicon.OPEN_SETTINGS)
    place = rng.choice(lexicon.SETTINGS[scene.background]) if scene.background else ""
    known = lexicon.CAMERA_SENTENCES.get(scene.camera)
    camera = rng.choice(known or lexicon.CAMERA_FRAMES)
    colour = rng.choice(lexicon.COLOUR_SENTENCES if scene.colour else lexicon.OPEN_COLOURS)
    return {
        "light": _fill(light, scene, rng),
        "motion": _fill(motion, scene, rng),
        "setting": _fill(setting, scene, rng, place=place),
        "camera": _fill(camera, scene, rng, camera=scene.camera),
        "colour": _fill(colour, scene, rng, colour=scene.colour),
    }


def _length(sentences: Sequence[str]) -> int:
    return sum(len(sentence.split()) for sentence in sentences)


def enhanced_paragraph(scene: SceneWords, rng: random.Random) -> str:
    """One paragraph of 60 to 110 words: the scene's own words first, then the details."""
    details = _details(scene, rng)
    start = [_opening(scene, rng)] + ([scene.also] if scene.also else [])
    middle = [details[kind] for kind in rng.choice(_ORDERS)]
    looks = rng.sample(lexicon.LOOKS, len(lexicon.LOOKS))
    ending: list[str] = []
    while looks and (_length(start + middle + ending) < _COMFORTABLE or not ending):
        ending.append(_fill(looks.pop(), scene, rng))
    if _length(start + middle + ending) > MAX_WORDS:
        ending = []
    while _length(start + middle) > MAX_WORDS and len(middle) > 3:
        # A very long prompt says much itself: light, setting and camera stay.
        middle = [s for s in middle if s != details["colour"]] if details["colour"] in middle else [
            s for s in middle if s != details["motion"]
        ]  # fmt: skip
    return " ".join(start + middle + ending)

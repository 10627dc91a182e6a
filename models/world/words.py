"""The vocabulary of the demo world: every word that wan-demo is taught to obey.

The enhancer model (qwen-demo) writes its prompts in these words, the captions of wan-demo are built from
them, and the evaluation asks for them.  Each motion, background and camera lists *training* phrasings and
*held-out* phrasings: the second kind is used by the evaluation alone.
"""

from __future__ import annotations

from dataclasses import dataclass

RGB = tuple[float, float, float]


@dataclass(frozen=True)
class Phrases:
    """How one attribute is said."""

    train: tuple[str, ...]
    """Phrasings that training captions use."""
    held_out: tuple[str, ...]
    """Phrasings kept for the evaluation; no training caption contains them."""


COLOURS: dict[str, RGB] = {
    "red": (0.88, 0.10, 0.10),
    "green": (0.05, 0.55, 0.12),
    "blue": (0.08, 0.20, 0.85),
    "yellow": (1.00, 0.87, 0.05),
    "orange": (1.00, 0.48, 0.02),
    "purple": (0.45, 0.08, 0.62),
    "pink": (1.00, 0.42, 0.68),
    "white": (0.98, 0.98, 0.98),
    "black": (0.07, 0.07, 0.08),
    "cyan": (0.00, 0.82, 0.85),
}
"""Name of a colour and its base value; shading darkens and lightens it."""

COLOUR_SYNONYMS: dict[str, tuple[str, ...]] = {
    "red": ("crimson", "scarlet", "bright red"),
    "green": ("emerald", "deep green", "grass green"),
    "blue": ("deep blue", "royal blue", "cobalt"),
    "yellow": ("golden", "lemon yellow", "bright yellow"),
    "orange": ("tangerine", "bright orange"),
    "purple": ("violet", "deep purple"),
    "pink": ("rosy pink", "bright pink"),
    "white": ("snow-white", "pure white"),
    "black": ("jet-black", "dark black"),
    "cyan": ("turquoise", "bright cyan", "aqua"),
}

THINGS: tuple[str, ...] = (
    "ball", "square", "triangle", "star", "ring", "moon", "heart", "boat", "fish", "tree", "house",
    "balloon", "car", "rocket", "butterfly", "mushroom",
)  # fmt: skip

THING_SYNONYMS: dict[str, tuple[str, ...]] = {
    "ball": ("sphere", "beach ball", "round ball"),
    "square": ("box", "square block"),
    "triangle": ("triangular shape",),
    "star": ("five-pointed star",),
    "ring": ("round ring", "hoop"),
    "moon": ("crescent moon", "crescent"),
    "heart": ("heart shape", "love heart"),
    "boat": ("sailboat", "sailing boat", "little ship"),
    "fish": ("little fish",),
    "tree": ("pine tree", "fir tree"),
    "house": ("cottage", "little house"),
    "balloon": ("party balloon", "round balloon"),
    "car": ("toy car", "automobile"),
    "rocket": ("spaceship", "rocket ship"),
    "butterfly": ("winged butterfly",),
    "mushroom": ("toadstool",),
}

SIZES: dict[str, tuple[str, ...]] = {
    "small": ("small", "tiny", "little"),
    "medium": ("",),
    "large": ("large", "big", "huge"),
}

MOTIONS: dict[str, Phrases] = {
    "left_to_right": Phrases(
        ("moves from left to right", "drifts from left to right", "glides to the right",
         "travels from the left to the right", "slides rightwards across the frame",
         "moves to the right", "crosses the scene from left to right", "heads steadily right"),
        ("passes by from left to right", "slowly makes its way to the right"),
    ),
    "right_to_left": Phrases(
        ("moves from right to left", "drifts from right to left", "glides to the left",
         "travels from the right to the left", "slides leftwards across the frame",
         "moves to the left", "crosses the scene from right to left", "heads steadily left"),
        ("passes by from right to left", "slowly makes its way to the left"),
    ),
    "rises": Phrases(
        ("rises", "rises slowly", "floats up", "goes up", "climbs upwards", "moves upwards",
         "lifts gently into the air", "ascends from the bottom to the top"),
        ("slowly floats upwards", "keeps on rising up"),
    ),
    "falls": Phrases(
        ("falls", "falls down", "sinks slowly", "goes down", "drops downwards", "moves downwards",
         "descends gently", "descends from the top to the bottom"),
        ("slowly sinks downwards", "keeps on falling down"),
    ),
    "bounces": Phrases(
        ("bounces", "bounces up and down", "hops up and down", "is bouncing", "jumps up and down",
         "bounces again and again"),
        ("keeps bouncing up and down", "jumps and bounces"),
    ),
    "spins": Phrases(
        ("spins", "spins around", "rotates", "turns around itself", "spins in place", "is spinning",
         "rotates slowly"),
        ("keeps spinning around", "slowly rotates in place"),
    ),
    "grows": Phrases(
        ("grows", "grows larger", "gets bigger", "swells", "is growing", "becomes larger and larger",
         "expands"),
        ("keeps growing bigger", "slowly gets larger"),
    ),
    "shrinks": Phrases(
        ("shrinks", "shrinks away", "gets smaller", "dwindles", "is shrinking",
         "becomes smaller and smaller", "contracts"),
        ("keeps shrinking smaller", "slowly becomes smaller"),
    ),
    "still": Phrases(
        ("stays still", "stays in place", "does not move", "rests motionless", "stands still",
         "remains perfectly still", "hovers motionless"),
        ("simply stays where it is and does not move", "rests still in place"),
    ),
    "circles": Phrases(
        ("circles", "moves in circles", "flies in a circle", "circles around", "loops around in a circle",
         "moves along a circle"),
        ("keeps moving in a circle", "travels around in circles"),
    ),
}  # fmt: skip

BACKGROUNDS: dict[str, Phrases] = {
    "clear_sky": Phrases(
        ("in a clear sky", "in a clear blue sky", "against the bright blue sky", "high in the daytime sky",
         "in the open blue sky with soft clouds"),
        ("up in the clear sky", "with a bright blue sky behind it"),
    ),
    "sunset": Phrases(
        ("at sunset", "in front of a sunset", "against a glowing sunset", "under an orange evening sky at sunset",
         "in the warm light of the setting sun"),
        ("while the sunset glows", "against the evening sky at sunset"),
    ),
    "night": Phrases(
        ("in a night sky with stars", "at night", "under the starry night sky", "at night among the stars",
         "in the dark night sky"),
        ("in the starry night", "under a night sky full of stars"),
    ),
    "ocean": Phrases(
        ("over the ocean", "above the sea", "on the ocean", "over the blue sea", "by the sea with gentle waves",
         "above the ocean waves"),
        ("out over the ocean waves", "in front of the blue ocean"),
    ),
    "meadow": Phrases(
        ("in a meadow", "over a green meadow", "in a grassy field", "above the green grass",
         "in a sunny meadow with rolling hills"),
        ("out in the green meadow", "in front of the grassy meadow"),
    ),
    "desert": Phrases(
        ("in the desert", "over the sandy desert", "above the desert sand", "among the desert dunes",
         "over golden sand dunes"),
        ("out in the sandy desert", "in front of the desert dunes"),
    ),
    "snow": Phrases(
        ("in the snow", "over a snowy field", "in a snowy landscape", "above the white snow",
         "in winter among snowy mountains"),
        ("out in the snowy landscape", "in front of the snowy mountains"),
    ),
    "studio": Phrases(
        ("in a studio", "against a plain studio backdrop", "in a grey studio", "in front of a plain grey backdrop",
         "in a photo studio with soft light"),
        ("inside a plain studio", "with a grey studio backdrop"),
    ),
}  # fmt: skip

CAMERAS: dict[str, Phrases] = {
    "static": Phrases(
        ("the camera is static", "static camera", "the camera stays still", "fixed camera",
         "the camera holds steady"),
        ("the camera does not move at all",),
    ),
    "pan_left": Phrases(
        ("the camera pans left", "camera pans to the left", "the camera slowly pans left", "panning left"),
        ("as the camera is panning to the left",),
    ),
    "pan_right": Phrases(
        ("the camera pans right", "camera pans to the right", "the camera slowly pans right", "panning right"),
        ("as the camera is panning to the right",),
    ),
    "zoom_in": Phrases(
        ("the camera zooms in", "camera zooms in slowly", "the camera pushes in", "slow zoom in"),
        ("as the camera is zooming in",),
    ),
    "zoom_out": Phrases(
        ("the camera zooms out", "camera zooms out slowly", "the camera pulls back", "slow zoom out"),
        ("as the camera is zooming out",),
    ),
}  # fmt: skip

LIGHT: dict[str, tuple[str, ...]] = {
    "clear_sky": ("bright daylight", "soft midday light", "clear morning light"),
    "sunset": ("warm golden light", "glowing evening light", "soft orange light near the horizon"),
    "night": ("pale starlight", "dim blue night light", "cool moonless light"),
    "ocean": ("bright sea light", "soft reflections on the water", "clear coastal light"),
    "meadow": ("warm sunlight", "soft summer light", "gentle morning sun"),
    "desert": ("hot dry light", "strong warm sunlight", "hazy golden light"),
    "snow": ("cold white light", "pale winter light", "soft cool light"),
    "studio": ("even studio light", "soft diffused light", "a gentle spotlight"),
}
"""How each background is lit; said in long captions, always true of the picture."""


def held_out_pair(colour: str, thing: str) -> bool:
    """Whether this colour and thing never stand together in training (one pair in eight)."""
    return (3 * list(COLOURS).index(colour) + 5 * THINGS.index(thing)) % 8 == 0

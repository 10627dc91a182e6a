"""What the model reads: instructions for chat models, examples for models that only go on writing."""

from functools import cache
from importlib import resources

STOP = "\n"
"""Where a completion ends: the answer is one paragraph."""

_EXAMPLES = (
    (
        "a red fox in the snow",
        "A red fox trots through fresh snow at the edge of a silent pine forest, its thick orange coat "
        "glowing against the white ground. Its paws sink softly and throw up small puffs of powder with "
        "every step, and its breath hangs in the cold air. Pale morning light slants between the trunks "
        "and lays long blue shadows across the clearing. Snowflakes drift slowly past the lens. The "
        "camera glides beside the fox at a low angle, keeping pace, while the forest slides by in soft "
        "focus behind it.",
    ),
    (
        "two children flying a kite on a beach, sunset",
        "Two children fly a kite on a wide sandy beach at sunset, running barefoot along the wet edge of "
        "the sea. The kite dances high above them and tugs at its string as the wind rises. Warm golden "
        "light turns the sand to copper and draws bright rims around their hair and clothes, while the "
        "sky behind them fades from orange to deep violet. Small waves roll in and mirror the colours. "
        "The camera follows from behind and slowly rises, until the kite fills the glowing sky.",
    ),
)


@cache
def system_prompt() -> str:
    """Return the instructions that come with the package."""
    return resources.files("wanworker.enhancer").joinpath("system_prompt.txt").read_text("utf-8").strip()


def chat_messages(prompt: str, *, system_role: bool = True) -> list[dict[str, str]]:
    """Return the conversation that a chat model answers.

    Args:
        prompt: The user's words.
        system_role: False for templates that know no system role: the instructions then open the user's turn.
    """
    if system_role:
        return [{"role": "system", "content": system_prompt()}, {"role": "user", "content": prompt.strip()}]
    return [{"role": "user", "content": f"{system_prompt()}\n\n{prompt.strip()}"}]


def few_shot(prompt: str) -> str:
    """Return the text that a base model goes on from; its next line is the answer.

    The prompt is put on one line, so that it can't open an example of its own.
    """
    examples = "".join(f"Short prompt: {short}\nLong prompt: {long}\n\n" for short, long in _EXAMPLES)
    return f"{system_prompt()}\n\n{examples}Short prompt: {' '.join(prompt.split())}\nLong prompt:"

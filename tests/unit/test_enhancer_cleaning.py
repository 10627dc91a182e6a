import pytest
from hypothesis import given
from hypothesis import strategies as st

from wanworker.enhancer.cleaning import clean

FOX = "A red fox trots through fresh snow. Its breath hangs in the cold air."


@pytest.mark.parametrize(
    "written",
    [
        FOX,
        f"  {FOX}\n\n",
        f'"{FOX}"',
        f"\u201c{FOX}\u201d",
        f"'{FOX}'",
        f"\u2018{FOX}\u2019",
        f"Sure! {FOX}",
        f"Sure!\n\n{FOX}",
        f"Of course. {FOX}",
        f"Certainly! Here is the rewritten prompt:\n\n{FOX}",
        f"Here's a rich, cinematic paragraph for your video: {FOX}",
        f"Here you go: {FOX}",
        f"Prompt: {FOX}",
        f"**Prompt:** {FOX}",
        f"Rewritten long prompt: “{FOX}”",
        f"# The Fox\n\n{FOX}",
        f"## Rewritten prompt\n{FOX}",
        f"**A Fox in Winter**\n\n{FOX}",
        f"- {FOX}",
        f"1. {FOX}",
        f"> {FOX}",
        f"```\n{FOX}\n```",
        f"```text\n{FOX}\n```",
        f"---\n{FOX}\n---",
        "A **red fox** trots through _fresh_ snow. Its `breath` hangs in the [cold](https://a.example) air.",
        "A red fox trots\nthrough fresh snow.\n\nIts breath hangs\tin the cold air.",
        f"A red fox trots through fresh snow. {FOX}",
        f"{FOX} a red fox, trots through fresh snow. {FOX}",
        f"{FOX}\n\nLet me know if you would like another version!",
        f"{FOX} Let me know if you would like changes.",
        f"{FOX}\n\nNote: the word count is 61.",
        f"<think>The user wants a fox.\nFine.</think>\n{FOX}",
        f"{FOX}<|im_end|>",
        f"\ufeff{FOX}\u200b\ufffd",
        f"<p>{FOX}</p>",
    ],
)
def test_only_the_paragraph_is_left(written: str) -> None:
    assert clean(written, cut_off=False) == FOX


@pytest.mark.parametrize(
    "text",
    [
        "Sure-footed goats climb a cliff at dawn.",
        "Here is where the river bends: a heron waits in the reeds.",
        "Okay signs glow above a diner's door.",
        "The fox's tail isn't still; it's 5.5 feet long, don't blink.",
        "A sports car drifts around snake_case_corner and stops.",
        "This painting moves. The camera pans left.",
        "Eine Füchsin läuft über die Brücke. 狐が雪の中を走る。",
        "Very very dark clouds roll in.",
        "A clock shows 12:45. The prompt crowd leaves.",
    ],
)
def test_what_only_looks_like_a_frame_stays(text: str) -> None:
    assert clean(text, cut_off=False) == text


@pytest.mark.parametrize(
    ("written", "left"),
    [
        ("A fox trots. It sto", "A fox trots."),
        ("A fox trots. It stops!", "A fox trots. It stops!"),
        ("A fox trots. Its tail is 2.5 feet", "A fox trots."),
        ("A fox trots through the snow,", "A fox trots through the snow"),
        ("Sure! A fox trots through", "A fox trots through"),
        ('"A fox trots. It sto', "A fox trots."),
    ],
)
def test_an_answer_that_was_cut_off_ends_with_a_whole_sentence(written: str, left: str) -> None:
    assert clean(written, cut_off=True) == left


def test_a_loop_is_collapsed() -> None:
    assert clean("A fox runs and jumps and jumps and jumps and jumps over it.", cut_off=False) == (
        "A fox runs and jumps over it."
    )


@pytest.mark.parametrize(
    "written", ["", " \n", '""', "Sure!", "Here is the prompt:", "...", "\ufffd\ufffd", "<think>hm"]
)
def test_nothing_is_left_of_nothing(written: str) -> None:
    assert clean(written, cut_off=False) == ""


@given(st.text(alphabet=st.sampled_from(" \n\t\"'*_#`.!?,:-1aAbBé狐\ufffd<>|[]()")), st.booleans())
def test_any_text_becomes_one_line_without_quotes(written: str, cut_off: bool) -> None:
    left = clean(written, cut_off=cut_off)
    assert "\n" not in left
    assert '"' not in left
    assert left == left.strip()
    assert left == "" or any(char.isalnum() for char in left)


def test_long_answers_are_cleaned_quickly() -> None:
    clean("here is a " * 20_000 + ":" * 1000 + "* _ ` " * 5000, cut_off=True)

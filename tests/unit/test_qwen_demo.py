"""qwen-demo: its practice pairs, its held-out prompts, its tokenizer and its GGUF file."""

import random
from pathlib import Path
from typing import Any

import gguf
import pytest

from models.qwen_demo import heldout, lexicon, phrases, wordlists
from models.qwen_demo.corpus import MAX_WORDS, MIN_WORDS, SceneWords, enhanced_paragraph, plural_predicate
from models.qwen_demo.evaluate import Answer, checks, sentences
from models.qwen_demo.export import DEFAULT_OUT
from models.qwen_demo.prompts import SYSTEM_PROMPT, practice_pair
from models.qwen_demo.scenes import gerund_phrase, open_draft, world_draft
from models.qwen_demo.tokenizer import CHAT_TEMPLATE, chat_text
from models.world import words

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def reader() -> gguf.GGUFReader:
    return gguf.GGUFReader(str(ROOT / DEFAULT_OUT))


def field(reader: gguf.GGUFReader, name: str) -> Any:
    found = reader.get_field(name)
    assert found is not None, name
    return found.contents()


def scene(**changes: object) -> SceneWords:
    values: dict[str, object] = {
        "subject": "a small red ball", "head": "ball", "action": "bounces up and down", "motion": "bounces",
        "background": "meadow", "place": "in a meadow", "colour": "red",
    }  # fmt: skip
    return SceneWords(**(values | changes))  # type: ignore[arg-type]


def test_lexicon_has_a_phrase_for_every_word_of_the_world() -> None:
    assert set(lexicon.MOTION_DETAILS) == set(words.MOTIONS) | {""}
    assert set(lexicon.SETTINGS) == set(words.BACKGROUNDS)
    assert set(lexicon.LIGHTING) == set(words.BACKGROUNDS) | {"", "dark"}
    assert set(lexicon.CAMERA_SENTENCES) == set(words.CAMERAS)


def test_no_detail_names_a_colour_of_things() -> None:
    tables = (lexicon.SETTINGS, lexicon.LIGHTING, lexicon.MOTION_DETAILS, lexicon.CAMERA_SENTENCES)
    details = [text for table in tables for texts in table.values() for text in texts]
    details += [*lexicon.OPEN_SETTINGS, *lexicon.OPEN_COLOURS, *lexicon.LOOKS]
    named = {word.strip(".,") for text in details for word in text.lower().split()} & set(words.COLOURS)
    assert not named


@pytest.mark.parametrize("background", list(words.BACKGROUNDS))
@pytest.mark.parametrize("motion", list(words.MOTIONS))
def test_paragraph_keeps_what_the_scene_says(background: str, motion: str) -> None:
    rng = random.Random(f"{background}/{motion}")
    place = words.BACKGROUNDS[background].train[0]
    action = words.MOTIONS[motion].train[0]
    text = enhanced_paragraph(scene(background=background, place=place, motion=motion, action=action), rng)
    assert "small red ball" in text
    assert action in text
    assert place.lower() in text.lower()
    assert MIN_WORDS <= len(text.split()) <= MAX_WORDS
    assert text.endswith(".")
    assert "\n" not in text
    assert len(set(sentences(text))) == len(sentences(text))


def test_paragraph_is_the_same_for_the_same_seed() -> None:
    assert enhanced_paragraph(scene(), random.Random(7)) == enhanced_paragraph(scene(), random.Random(7))


def test_plural_subjects_take_plural_verbs() -> None:
    text = enhanced_paragraph(
        scene(subject="two red balls", head="two red balls", action="bounce", plural=True), random.Random(3)
    )
    assert "balls bounces" not in text
    assert plural_predicate("does not move") == "do not move"
    assert plural_predicate("is spinning") == "are spinning"


def test_practice_pairs_keep_the_subject() -> None:
    rng = random.Random(11)
    for _ in range(300):
        draft = open_draft(rng)
        assert draft.head.split(" and the ")[0] in draft.noun_phrase
    for _ in range(600):
        pair = practice_pair(rng)
        assert MIN_WORDS <= len(pair.paragraph.split()) <= MAX_WORDS + 5
        assert "{" not in pair.paragraph
        assert "\n" not in pair.paragraph
        # Nearly every word of the prompt comes back: only wrappers ("make a video of") and keywords are lost.
        said = {word.strip(".,!?\"'") for word in pair.prompt.lower().split()}
        kept = {word.strip(".,!?\"'") for word in pair.paragraph.lower().split()}
        strange = {word for word in said if len(word) > 9 and word.isalpha()}
        lost = {word for word in strange - kept if not word.endswith("ing")}
        assert len(lost) <= 2, (lost, pair)


def test_world_drafts_name_only_words_of_the_world() -> None:
    rng = random.Random(5)
    for _ in range(200):
        draft = world_draft(rng)
        assert not draft.motion or draft.motion in words.MOTIONS
        assert not draft.background or draft.background in words.BACKGROUNDS
        assert draft.filler_background in words.BACKGROUNDS


def test_held_out_words_and_phrasings_are_disjoint_from_training() -> None:
    for kind in ("nouns", "adjectives", "verbs"):
        train, held_out = wordlists.words(kind), wordlists.words(kind, held_out=True)
        assert not set(train) & set(held_out)
        assert len(held_out) >= 60
    bare = {"{x}", "{x}.", "{x}!", "{c}", "{c}."}
    assert not set(heldout.WRAPPERS) & set(phrases.WRAPPERS) - bare
    assert not set(heldout.CLAUSE_WRAPPERS) & set(phrases.CLAUSE_WRAPPERS) - bare
    assert not set(heldout.PLACES) & {place for place, _ in phrases.PLACES}


def test_held_out_words_never_appear_in_practice_pairs() -> None:
    rng = random.Random(2)
    own = " ".join(pair.prompt for pair in (practice_pair(rng) for _ in range(400))).lower().split()
    fixed = " ".join(str(value) for value in vars(phrases).values()).lower()
    fixed += " ".join(words.THINGS)
    unseen = {w for w in wordlists.words("nouns", held_out=True) if w not in fixed and len(w) > 7}
    assert not unseen & set(own)


def test_evaluation_has_enough_unseen_prompts() -> None:
    found = heldout.cases()
    assert len(found) >= 200
    assert sum(case.group in ("unseen English", "typed by people") for case in found) >= 60
    assert heldout.cases() == found


def test_checks_see_a_contradiction() -> None:
    case = heldout.Case("world", "a red ball bounces", "red ball", ("bounces",), "red", "bounces", "meadow")
    good = "A red ball bounces in a meadow. The motion goes up and down in an even, lively rhythm."
    bad = good + " The blue boat drops smoothly toward the bottom of the frame. Behind it there is a wide clear sky."
    assert checks(Answer(case, good, 0.1, True))["colour not contradicted"]
    result = checks(Answer(case, bad, 0.1, True))
    assert not result["colour not contradicted"]
    assert not result["motion not contradicted"]
    assert not result["background not contradicted"]


def test_gerunds() -> None:
    assert gerund_phrase("moves to the left") == "moving to the left"
    assert gerund_phrase("is spinning") == "spinning"
    assert gerund_phrase("spins around") == "spinning around"
    assert gerund_phrase("does not move") == ""
    assert wordlists.gerund("tie") == "tying"


def test_gguf_is_a_small_qwen2_with_a_chat_template(reader: gguf.GGUFReader) -> None:
    assert field(reader, "general.architecture") == "qwen2"
    assert field(reader, "tokenizer.ggml.model") == "gpt2"
    assert field(reader, "tokenizer.ggml.pre") == "qwen2"
    assert field(reader, "tokenizer.chat_template") == CHAT_TEMPLATE
    tokens = field(reader, "tokenizer.ggml.tokens")
    assert tokens[field(reader, "tokenizer.ggml.eos_token_id")] == "<|im_end|>"
    assert (ROOT / DEFAULT_OUT).stat().st_size <= 12e6


def test_gguf_matrices_are_q8_and_vectors_f32(reader: gguf.GGUFReader) -> None:
    for tensor in reader.tensors:
        matrix = len(tensor.shape) == 2
        expected = gguf.GGMLQuantizationType.Q8_0 if matrix else gguf.GGMLQuantizationType.F32
        assert tensor.tensor_type == expected, tensor.name


def test_chat_template_writes_what_was_trained() -> None:
    jinja2 = pytest.importorskip("jinja2")
    template = jinja2.Environment().from_string(CHAT_TEMPLATE)
    for system in (None, SYSTEM_PROMPT):
        messages = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": "a red ball"})
        text = template.render(messages=messages, add_generation_prompt=True)
        assert text == chat_text(system, "a red ball")


def test_llama_cpp_runs_the_file() -> None:
    import llama_cpp

    model = llama_cpp.Llama(str(ROOT / DEFAULT_OUT), n_ctx=512, n_threads=1, verbose=False, seed=1)
    reply = model.create_chat_completion(
        messages=[{"role": "user", "content": "a red ball"}], max_tokens=12, temperature=0.0
    )
    assert isinstance(reply, dict)
    assert reply["choices"][0]["message"]["content"]

"""Evaluate a GGUF file on prompts that it was not trained on, decoded as the service decodes.

Prints one table: the share of prompts for which each requirement holds, by group of prompts.
"""

import argparse
import json
import re
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import llama_cpp

from models.qwen_demo import lexicon
from models.qwen_demo.corpus import MAX_WORDS, MIN_WORDS
from models.qwen_demo.export import DEFAULT_OUT
from models.qwen_demo.heldout import Case, cases
from models.qwen_demo.prompts import SYSTEM_PROMPT
from models.world import words

_LIGHT = re.compile(r"\b(light|lighting|daylight|sunlight|starlight|lamps?|glow|shadows?)\b", re.I)
_CAMERA = re.compile(r"\b(camera|shot is|pan to|zoom (in|out)|view pans|filmed as|the view is)\b", re.I)
_SETTING = re.compile(r"\b(background|setting|surroundings|scene is set|behind|takes place)\b", re.I)
_CAMERA_SENTENCE = re.compile(r"\b(camera|zoom|pan|view|shot is)\b", re.I)


@dataclass(frozen=True)
class Answer:
    """What the model wrote for one case."""

    case: Case
    text: str
    seconds: float
    stopped: bool
    """Whether it ended by itself."""


def sentences(text: str) -> list[str]:
    """The sentences of a paragraph."""
    return [part.strip() for part in re.split(r"(?<=[.!?])\s+", text) if part.strip()]


def _pattern(template: str) -> re.Pattern[str]:
    """A detail template as a pattern, whatever its subject is."""
    text = re.escape(template)
    for slot, pattern in (("it", ".+?"), ("It", ".+?"), ("s", "s?"), ("is", "(?:is|are)"), ("place", ".+?")):
        text = text.replace(re.escape("{" + slot + "}"), pattern)
    return re.compile(f"^{text}$")


def _keys(text: str, tables: dict[str, tuple[str, ...]]) -> set[str]:
    """The world keys whose detail sentences a paragraph contains."""
    parts = sentences(text)
    return {
        key for key, templates in tables.items()
        for template in templates if any(_pattern(template).match(part) for part in parts)
    }  # fmt: skip


def _background_keys(text: str) -> set[str]:
    found = {key for key, places in lexicon.SETTINGS.items() if any(place in text for place in places)}
    return found | (_keys(text, lexicon.LIGHTING) - {"", "dark"})


def _kept(phrase: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(phrase.lower())}", text.lower()) is not None


def _other_colours(case: Case, text: str) -> set[str]:
    """World colours that a paragraph names beside the one asked for; those of places ("blue sky") are no matter."""
    lower = text.lower()
    for table in words.BACKGROUNDS.values():
        for place in sorted((*table.train, *table.held_out), key=len, reverse=True):
            lower = lower.replace(place, "")
    said = set(re.findall(r"\w+", case.prompt.lower()))
    return {colour for colour in words.COLOURS if colour not in said and _kept(f"{colour} ", lower)}


def checks(answer: Answer) -> dict[str, bool]:
    """Every requirement that applies to a case, and whether it holds."""
    case, text = answer.case, answer.text
    found: dict[str, bool] = {}
    if case.subject:
        found["subject kept"] = _kept(case.subject, text)
    if case.actions:
        found["action kept"] = any(_kept(form, text) for form in case.actions)
    if case.place:
        found["place kept"] = _kept(case.place, text)
    if case.colour:
        found["colour not contradicted"] = not _other_colours(case, text)
    if case.motion:
        found["motion not contradicted"] = not (_keys(text, lexicon.MOTION_DETAILS) - {case.motion, ""})
    if case.background:
        found["background not contradicted"] = not (_background_keys(text) - {case.background})
    if case.camera:
        found["camera as asked"] = _keys(text, lexicon.CAMERA_SENTENCES) == {case.camera}
    parts = sentences(text)
    found["light, camera, setting added"] = all(p.search(text) for p in (_LIGHT, _CAMERA, _SETTING))
    found["one paragraph, full stop"] = answer.stopped and "\n" not in text and text.endswith(".")
    found["no repeated sentence"] = len(set(parts)) == len(parts)
    found[f"{MIN_WORDS} to {MAX_WORDS} words"] = MIN_WORDS <= len(text.split()) <= MAX_WORDS
    return found


def answers(model: llama_cpp.Llama, questions: Iterable[Case], temperature: float, seed: int) -> list[Answer]:
    """Let the model write a paragraph for every case."""
    found = []
    for index, case in enumerate(questions):
        start = time.monotonic()
        reply = model.create_chat_completion(
            messages=[{"role": "system", "content": SYSTEM_PROMPT}, {"role": "user", "content": case.prompt}],
            max_tokens=200, temperature=temperature, top_p=0.9, seed=seed + index,
        )  # fmt: skip
        assert isinstance(reply, dict)
        choice = reply["choices"][0]
        text = choice["message"]["content"] or ""
        found.append(Answer(case, text, time.monotonic() - start, choice["finish_reason"] == "stop"))
    return found


def table(found: list[Answer]) -> str:
    """A Markdown table of the share of cases for which each requirement holds."""
    groups = list(dict.fromkeys(answer.case.group for answer in found))
    results: dict[str, dict[str, list[bool]]] = {}
    for answer in found:
        for name, holds in checks(answer).items():
            for group in (answer.case.group, "all"):
                results.setdefault(name, {}).setdefault(group, []).append(holds)
    counts = {group: sum(a.case.group == group for a in found) for group in groups}
    head = [*(f"{group} ({counts[group]})" for group in groups), f"all ({len(found)})"]
    lines = ["| requirement | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|"]
    for name, by_group in results.items():
        cells = []
        for group in (*groups, "all"):
            kept = by_group.get(group, [])
            cells.append(f"{100 * sum(kept) / len(kept):.1f} %" if kept else "")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run the evaluation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=DEFAULT_OUT)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=0, help="only every n-th case")
    parser.add_argument("--failures", action="store_true", help="print every answer that misses something")
    parser.add_argument("--json", type=Path, help="write all answers here")
    options = parser.parse_args()
    model = llama_cpp.Llama(str(options.model), n_ctx=2048, n_threads=options.threads, verbose=False)
    questions = cases()[:: options.limit or 1]
    found = answers(model, questions, options.temperature, options.seed)
    print(table(found))
    seconds = sorted(answer.seconds for answer in found)
    lengths = [len(answer.text.split()) for answer in found]
    print(f"\nseconds: median {seconds[len(seconds) // 2]:.2f}, longest {seconds[-1]:.2f}; "
          f"words: {min(lengths)} to {max(lengths)}, mean {sum(lengths) / len(lengths):.0f}")  # fmt: skip
    if options.failures:
        for answer in found:
            missed = [name for name, holds in checks(answer).items() if not holds]
            if missed:
                print(f"\n{missed}\n  {answer.case.prompt!r}\n  {answer.text}")
    if options.json:
        options.json.write_text(json.dumps([asdict(answer) for answer in found], indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()

"""From what a model wrote to one clean paragraph. Pure functions on text."""

import re
import unicodedata

_INVISIBLE = re.compile("[\ufffd\u200b-\u200f\u2028-\u202e\u2060\ufeff]")
_THINKING = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_TAG = re.compile(r"</?[a-zA-Z][^<>\n]{0,80}>|<\|[^<>|\n]{1,40}\|>")
_LINK = re.compile(r"!?\[([^\]\n]*)\]\([^)\n]*\)")
_LINE_MARK = re.compile(r"^\s*(?:#{1,6}\s+|>\s*|[-*•+]\s+|\d{1,2}[.)]\s+)+")
_RULE = re.compile(r"^\s*(?:[-*_=]\s*){3,}$|^\s*```.*$")
_EMPHASIS = re.compile(r"\*+|`+|(?<!\w)_+|_+(?!\w)|~~")
_QUOTES = re.compile('["\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033]')
_QUOTE_PAIRS = {"'": "'", "\u2018": "\u2019", "\u2039": "\u203a"}

_THING = r"(?:prompt|description|paragraph|rewrite|rewriting|caption|version|output|answer|response)"
_PREAMBLES = (
    # "Sure!", "Of course, here you go:"
    re.compile(
        r"(?:sure(?: thing)?|certainly|of course|absolutely|okay|ok|gladly)"
        r"(?:\s*[!.,:…-]+\s+|\s*[!.,:]*\s*$)",
        re.I,
    ),
    re.compile(r"here you (?:go|are)\s*[!.,:]+\s*", re.I),
    # "Here is the rewritten prompt:", "Here's a rich paragraph for your video:"
    re.compile(
        rf"(?:here(?:'s|\u2019s| is| are)|this is|below is)\b[^.:\n]{{0,100}}\b{_THING}\b[^.:\n]{{0,80}}:\s*",
        re.I,
    ),
    # "Prompt:", "Rewritten long prompt:", "Video description:"
    re.compile(rf"(?:[\w-]+ ){{0,3}}{_THING}s?\s*:\s*", re.I),
    re.compile(r"(?:title|assistant|user)\s*:\s*", re.I),
)
_POSTAMBLE = re.compile(
    r"(?:let me know|i hope|feel free|note:|note that this|this (?:prompt|rewrite|paragraph|version)\b|"
    r"would you like|if you (?:want|would like|need))",
    re.I,
)
_SENTENCE_BREAK = re.compile(r"(?<=[.!?…])\s+")
_LAST_END = re.compile(r"^.*[.!?…](?=\s|$)", re.DOTALL)
_LONGEST_LOOP = 12


def clean(text: str, *, cut_off: bool) -> str:
    """Return one paragraph without quotes, preamble, markdown or repeats; empty if nothing is left.

    Args:
        text: What the model wrote.
        cut_off: Whether it had to stop before it was done: the last sentence, unless it is whole, is then
            dropped. A text without a whole sentence is kept.
    """
    text = _INVISIBLE.sub("", unicodedata.normalize("NFC", text))
    text = _LINK.sub(r"\1", _TAG.sub("", _THINKING.sub("", text)))
    lines = [line for line in map(_clean_line, text.splitlines()) if line]
    paragraph = " ".join(_without_frame(lines))
    paragraph = " ".join("".join(char for char in paragraph if char.isprintable()).split())
    paragraph = _without_preamble(_unquoted(paragraph))
    if cut_off:
        paragraph = _whole_sentences(paragraph)
    words = _without_loops(paragraph.split(" "))
    paragraph = _without_repeats(" ".join(words))
    return paragraph if any(char.isalnum() for char in paragraph) else ""


def _clean_line(line: str) -> str:
    if _RULE.match(line):
        return ""
    return _EMPHASIS.sub("", _LINE_MARK.sub("", line)).replace("\t", " ").strip()


def _without_frame(lines: list[str]) -> list[str]:
    """Drop what stands before and after the answer on lines of its own: preambles, a title, an afterword."""
    while len(lines) > 1 and (not _without_preamble(lines[0]) or _is_title(lines[0], lines[1])):
        lines = lines[1:]
    for index, line in enumerate(lines):
        if index and _POSTAMBLE.match(line):
            return lines[:index]
    return lines


def _is_title(line: str, following: str) -> bool:
    """Whether a line is a heading: short, no sentence, and followed by one that is much longer."""
    return len(line.split()) <= 8 and line[-1] not in ".!?…,;" and len(following) > 3 * len(line)


def _unquoted(text: str) -> str:
    text = _QUOTES.sub("", text).strip()
    while len(text) > 1 and _QUOTE_PAIRS.get(text[0]) == text[-1]:
        text = text[1:-1].strip()
    return text


def _without_preamble(text: str) -> str:
    stripped = True
    while stripped and text:
        stripped = False
        for preamble in _PREAMBLES:
            match = preamble.match(text)
            if match:
                text, stripped = text[match.end() :].lstrip(), True
    return text


def _whole_sentences(text: str) -> str:
    match = _LAST_END.match(text)
    return match.group() if match else text.rstrip(" ,;:-–—")


def _without_loops(words: list[str]) -> list[str]:
    """Collapse runs of up to 12 words that come three times or more in a row: models get caught in them."""
    keys = [_key(word) for word in words]
    kept: list[str] = []
    index = 0
    while index < len(words):
        length, times = _loop_at(keys, index)
        kept += words[index : index + length]
        index += length * times
    return kept


def _loop_at(keys: list[str], start: int) -> tuple[int, int]:
    """Return the length in words of the shortest loop at `start`, and its times; (1, 1) if there is none."""
    for length in range(1, min(_LONGEST_LOOP, (len(keys) - start) // 3) + 1):
        run = keys[start : start + length]
        times = 1
        while keys[start + times * length : start + (times + 1) * length] == run:
            times += 1
        if times >= 3:
            return length, times
    return 1, 1


def _without_repeats(text: str) -> str:
    seen: set[str] = set()
    kept: list[str] = []
    for sentence in _SENTENCE_BREAK.split(text):
        key = _key(sentence)
        if key in seen or (kept and _POSTAMBLE.match(sentence)):
            continue
        if key:
            seen.add(key)
            kept.append(sentence)
    return " ".join(kept)


def _key(text: str) -> str:
    """Return what two repeats have in common, whatever their case and punctuation."""
    return "".join(char for char in text.casefold() if char.isalnum())

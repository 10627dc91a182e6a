"""Words to practise copying with: English lists, invented words, and the few endings they need.

A tenth of the English nouns and verbs is never trained on (`is_held_out`), so that the evaluation
can ask for real words that the model has not seen.
"""

import random
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "words"
_VOWELS = "aeiou"


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_ONSETS = _listed(
    "b bl br c ch cl cr d dr dw f fl fr g gl gn gr h j k kl kn kr l m n p ph pl pr qu r s sc sch sh "
    "sk sl sm sn sp spl spr st str sw t th tr tw v vl vr w wh wr x y z zh zw"
)
_NUCLEI = _listed("a e i o u a e i o u ai au ea ee ei eu ia ie io oa oo ou ua ue ui y")
_CODAS = _listed(
    "b ck ct d f ff ft g k l lb ld lk ll lm lp lt m mp n nd ng nk nt p pt r rb rd rg rk rl rm rn rp "
    "rt s sh sk sp ss st t tch th v w x z zz"
)
_ACCENTS = {
    "a": "áàâäãå", "e": "éèêë", "i": "íìîï", "o": "óòôöõø", "u": "úùûü", "c": "ç", "n": "ñ", "s": "šß",
    "z": "ž", "y": "ý",
}  # fmt: skip
_FOREIGN = "αβγδλπσωжшияюдлмнкテレビ猫犬花火山水龍中文العربق★♥✨🐶🐱🚀🔥🌊🎈"


def is_held_out(word: str) -> bool:
    """True for the fixed tenth of all words that no training sample may contain."""
    return zlib.crc32(word.lower().encode()) % 10 == 3


@cache
def _read(kind: str) -> tuple[str, ...]:
    return tuple((_FOLDER / f"{kind}.txt").read_text(encoding="utf-8").split("\n")[:-1])


@cache
def words(kind: str, held_out: bool = False) -> tuple[str, ...]:
    """The words of one kind ("nouns", "adjectives", "verbs"), of the training or held-out part."""
    return tuple(word for word in _read(kind) if is_held_out(word) == held_out)


def article(phrase: str) -> str:
    """Either "a" or "an", by the first letter of the phrase."""
    return "an" if phrase[:1].lower() in _VOWELS and phrase[:3].lower() != "uni" else "a"


def plural(noun: str) -> str:
    """A regular plural: enough for practice phrases."""
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2:-1] not in _VOWELS:
        return noun[:-1] + "ies"
    return noun + "s"


def third_person(verb: str) -> str:
    """The regular third person singular has the same endings as the plural of a noun."""
    if verb in ("go", "do", "undergo", "forego", "outdo", "undo"):
        return verb + "es"
    return plural(verb)


def gerund(verb: str) -> str:
    """The -ing form by the spelling rules for regular verbs."""
    if verb.endswith("ie"):
        return verb[:-2] + "ying"
    if verb.endswith("e") and not verb.endswith(("ee", "oe", "ye")):
        return verb[:-1] + "ing"
    short = sum(letter in _VOWELS for letter in verb) == 1
    closed = verb[-1] not in "aeiouwxyh" and verb[-2:-1] in tuple(_VOWELS)
    return verb + verb[-1] + "ing" if short and closed else verb + "ing"


def syllable(rng: random.Random) -> str:
    """One English-looking syllable."""
    coda = rng.choice(_CODAS) if rng.random() < 0.45 else ""
    return rng.choice(_ONSETS) + rng.choice(_NUCLEI) + coda


def _accented(word: str, rng: random.Random) -> str:
    letters = [
        rng.choice(_ACCENTS[letter]) if letter in _ACCENTS and rng.random() < 0.35 else letter for letter in word
    ]
    return "".join(letters)


def invented_word(rng: random.Random, pieces: Sequence[str] = ()) -> str:
    """A word that exists nowhere: syllables, random letters, numbers, glued tokenizer pieces."""
    kind = rng.random()
    if kind < 0.45 or (kind < 0.65 and not pieces):
        word = "".join(syllable(rng) for _ in range(rng.choice((1, 2, 2, 2, 3, 3, 4))))
    elif kind < 0.65:
        # Every piece of the vocabulary must be copied now and then, or its copy is never learned.
        word = "".join(rng.choice(pieces) for _ in range(rng.randint(1, 4)))
    elif kind < 0.75:
        letters = "abcdefghijklmnopqrstuvwxyz"
        word = "".join(rng.choice(letters) for _ in range(rng.randint(2, 9)))
    elif kind < 0.83:
        word = f"{rng.choice(words('nouns'))}{rng.choice(('-', '', chr(39)))}{syllable(rng)}"
    elif kind < 0.90:
        word = _accented("".join(syllable(rng) for _ in range(rng.randint(1, 3))), rng)
    elif kind < 0.95:
        tail = f"{rng.choice(('-', '', '-'))}{rng.randint(0, 10 ** rng.randint(1, 4))}"
        word = syllable(rng).upper()[: rng.randint(1, 3)] + tail
    elif kind < 0.98:
        word = syllable(rng).capitalize() + syllable(rng).capitalize()
    else:
        word = "".join(rng.choice(_FOREIGN) for _ in range(rng.randint(1, 4)))
    return word[:22]


def name(rng: random.Random, pieces: Sequence[str] = ()) -> str:
    """A capitalised invented name of one or two words."""
    count = 1 if rng.random() < 0.75 else 2
    return " ".join(invented_word(rng, pieces).capitalize() for _ in range(count))

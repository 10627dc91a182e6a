from dataclasses import replace
from pathlib import Path

import pytest

from wanworker.enhancer.cache import AnswerCache, CacheKey
from wanworker.enhancer.model import Completed, FinishReason, Written
from wanworker.enhancer.sources import ModelFiles

KEY = CacheKey("model", "a fox", 200, 0.7, 1)


def answer(prompt: str = "A fox.") -> Completed:
    return Completed(prompt, "tiny", 1, False, Written(prompt, 10, 0, 5, FinishReason.STOP, 0.1, 0.2))


def test_an_answer_comes_back() -> None:
    cache = AnswerCache(2, 60)
    cache.put(KEY, answer())
    assert cache.get(KEY) == answer()


@pytest.mark.parametrize(
    "other",
    [
        replace(KEY, model="another"),
        replace(KEY, prompt="A fox"),
        replace(KEY, max_tokens=100),
        replace(KEY, temperature=0.0),
        replace(KEY, seed=2),
        replace(KEY, seed=None),
    ],
)
def test_everything_counts(other: CacheKey) -> None:
    cache = AnswerCache(2, 60)
    cache.put(KEY, answer())
    assert cache.get(other) is None


def test_the_least_used_goes_first() -> None:
    cache = AnswerCache(2, 60)
    first, second, third = (replace(KEY, seed=seed) for seed in (1, 2, 3))
    cache.put(first, answer())
    cache.put(second, answer())
    cache.get(first)
    cache.put(third, answer())
    assert [cache.get(key) is not None for key in (first, second, third)] == [True, False, True]
    assert len(cache) == 2


def test_the_newest_answer_counts() -> None:
    cache = AnswerCache(2, 60)
    cache.put(KEY, answer("Old."))
    cache.put(KEY, answer("New."))
    assert cache.get(KEY) == answer("New.")
    assert len(cache) == 1


def test_only_unseeded_answers_age() -> None:
    now = 0.0
    cache = AnswerCache(4, 60, clock=lambda: now)
    unseeded = replace(KEY, seed=None)
    cache.put(KEY, answer())
    cache.put(unseeded, answer())
    now = 59.0
    assert cache.get(unseeded) is not None
    now = 60.0
    assert cache.get(unseeded) is None
    assert cache.get(KEY) is not None


@pytest.mark.parametrize(("entries", "seconds"), [(0, 60.0), (2, 0.0)])
def test_it_can_be_switched_off(entries: int, seconds: float) -> None:
    cache = AnswerCache(entries, seconds)
    key = replace(KEY, seed=None)
    cache.put(key, answer())
    assert cache.get(key) is None


def test_a_changed_file_has_another_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(b"one")
    before = ModelFiles([path]).fingerprint()
    assert ModelFiles([path]).fingerprint() == before
    path.write_bytes(b"other")
    assert ModelFiles([path]).fingerprint() != before

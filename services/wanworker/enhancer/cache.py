"""Answers that need not be written again."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from wanworker.enhancer.model import Completed


@dataclass(frozen=True)
class CacheKey:
    """Everything that an answer depends on."""

    model: str
    """Fingerprint of the model's files and of what it is asked to do with prompts."""
    prompt: str
    """The user's words, as they came."""
    max_tokens: int
    """Tokens to write at most."""
    temperature: float
    """Sampling temperature."""
    seed: int | None
    """The seed that was asked for; None if any would do."""


class AnswerCache:
    """The answers used last. Answers to prompts without a seed are good for a while only.

    Args:
        entries: Answers to keep at most; 0 keeps none.
        unseeded_seconds: How long an answer to a prompt without a seed is given again.
        clock: Seconds that only grow.
    """

    def __init__(self, entries: int, unseeded_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = entries
        self._unseeded_seconds = unseeded_seconds
        self._clock = clock
        self._answers: OrderedDict[CacheKey, tuple[float, Completed]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: CacheKey) -> Completed | None:
        """Return the answer, which then counts as used, or None."""
        found = self._answers.get(key)
        if found is None:
            return None
        stored_at, answer = found
        if key.seed is None and self._clock() - stored_at >= self._unseeded_seconds:
            del self._answers[key]
            return None
        self._answers.move_to_end(key)
        return answer

    def put(self, key: CacheKey, answer: Completed) -> None:
        """Keep the answer in the place of an older one; if that is one too many the least used goes."""
        self._answers[key] = (self._clock(), answer)
        self._answers.move_to_end(key)
        while len(self._answers) > self._limit:
            self._answers.popitem(last=False)

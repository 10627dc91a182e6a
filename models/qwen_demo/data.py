"""Batches of tokenized practice pairs, made on the fly by worker processes from a seed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from models.qwen_demo.prompts import Pair, practice_pair
from models.qwen_demo.tokenizer import END_OF_TEXT, END_OF_TURN, chat_text, word_pieces

IGNORED = -100
MAX_ANSWER = 190  # the service stops at 200 tokens: an answer that was cut would lack its full stop
_STEP = 64
_MAX_LENGTH = 512
_POOL = 256

Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Example:
    """One tokenized pair."""

    ids: list[int]
    answer_start: int
    """Index of the first token that the model must learn to write."""


def tokenize(pairs: list[Pair], tokenizer: Tokenizer) -> list[Example]:
    """Tokenize pairs, dropping those that are too long."""
    heads = tokenizer.encode_batch_fast([chat_text(p.system, p.prompt) for p in pairs])
    answers = tokenizer.encode_batch_fast([p.paragraph + END_OF_TURN for p in pairs])
    return [
        Example(head.ids + answer.ids, len(head.ids))
        for head, answer in zip(heads, answers, strict=True)
        if len(answer.ids) <= MAX_ANSWER and len(head.ids) + len(answer.ids) <= _MAX_LENGTH
    ]


def collate(examples: list[Example], length: int, padding: int) -> Batch:
    """Inputs and labels of one shape. Right padding needs no mask under causal attention."""
    inputs = torch.full((len(examples), length), padding, dtype=torch.long)
    labels = torch.full((len(examples), length), IGNORED, dtype=torch.long)
    for row, example in enumerate(examples):
        ids = torch.tensor(example.ids)
        inputs[row, : len(ids) - 1] = ids[:-1]
        labels[row, example.answer_start - 1 : len(ids) - 1] = ids[example.answer_start :]
    return inputs, labels


class PracticeBatches(IterableDataset[Batch]):
    """An endless stream of batches with a fixed number of tokens, of few different lengths."""

    def __init__(self, tokenizer_file: Path, seed: int, tokens_per_batch: int) -> None:
        self._file = tokenizer_file
        self._seed = seed
        self._tokens = tokens_per_batch

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        rng = random.Random(f"{self._seed}/{worker.id if worker else 0}")
        tokenizer = Tokenizer.from_file(str(self._file))
        pieces = word_pieces(tokenizer)
        padding = tokenizer.token_to_id(END_OF_TEXT) or 0
        waiting: dict[int, list[Example]] = {}
        while True:
            pairs = [practice_pair(rng, pieces) for _ in range(_POOL)]
            for example in tokenize(pairs, tokenizer):
                length = -(-(len(example.ids) - 1) // _STEP) * _STEP
                bucket = waiting.setdefault(length, [])
                bucket.append(example)
                if len(bucket) >= max(1, self._tokens // length):
                    yield collate(bucket, length, padding)
                    waiting[length] = []


def loader(tokenizer_file: Path, seed: int, tokens_per_batch: int, workers: int) -> DataLoader[Batch]:
    """Batches made by worker processes."""
    return DataLoader(
        PracticeBatches(tokenizer_file, seed, tokens_per_batch),
        batch_size=None, num_workers=workers, pin_memory=torch.cuda.is_available(),
        prefetch_factor=8 if workers else None,
    )  # fmt: skip

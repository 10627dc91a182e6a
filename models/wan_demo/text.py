"""The tokenizer of wan-demo, and prompts as the stock pipeline encodes them.

python -m models.wan_demo.text            # trains the tokenizer into models/wan-demo/tokenizer
"""

from __future__ import annotations

import argparse
import random
import string
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from models.wan_demo.config import CHECKPOINT, CONTEXT_LENGTH
from models.world.captions import caption
from models.world.scene import draw_scene

PIECES = 1000
"""Size of the vocabulary."""


def _corpus(count: int, seed: int) -> Iterator[str]:
    rng = random.Random(seed)
    words = (Path(__file__).parents[1] / "qwen_demo" / "words").glob("*.txt")
    for path in sorted(words):
        yield from path.read_text(encoding="utf-8").splitlines()[:1500]
    for _ in range(count):
        yield caption(draw_scene(rng), rng)


def train_tokenizer(count: int = 12_000, seed: int = 7) -> PreTrainedTokenizerFast:
    """A unigram tokenizer in the manner of T5 (pad 0, end 1, unknown 2), trained on captions of the world.

    It lower-cases, so that a prompt's capitals make no difference, and knows every letter, so that a word which it
    never saw is spelt out.
    """
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    split = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(), split, pre_tokenizers.Punctuation(),
    ])  # fmt: skip
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always", split=True)
    trainer = trainers.UnigramTrainer(
        vocab_size=PIECES, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False,
        initial_alphabet=[*string.ascii_lowercase, *string.digits, *string.punctuation, "▁"],
    )  # fmt: skip
    tokenizer.train_from_iterator(_corpus(count, seed), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
        model_max_length=CONTEXT_LENGTH, padding_side="right",
    )  # fmt: skip


@lru_cache(maxsize=2)
def load_tokenizer(folder: Path = CHECKPOINT) -> Any:
    """The tokenizer of a checkpoint."""
    return AutoTokenizer.from_pretrained(folder / "tokenizer")


def tokenize(tokenizer: Any, prompts: Sequence[str], length: int) -> tuple[Tensor, Tensor]:
    """Token ids and mask, both batch × length."""
    out = tokenizer(list(prompts), padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    return out.input_ids, out.attention_mask


def embed(encoder: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """What WanPipeline feeds its transformer: states of the real tokens, zeros up to ``CONTEXT_LENGTH``."""
    states = encoder(input_ids=ids, attention_mask=mask).last_hidden_state * mask[..., None]
    return torch.nn.functional.pad(states, (0, 0, 0, CONTEXT_LENGTH - ids.shape[1]))


def main() -> None:
    """Train the tokenizer and save it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=CHECKPOINT / "tokenizer")
    out = parser.parse_args().out
    train_tokenizer().save_pretrained(out)
    print(f"wrote {out}")


if __name__ == "__main__":
    main()

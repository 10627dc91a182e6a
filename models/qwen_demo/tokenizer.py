"""The byte-level BPE tokenizer of qwen-demo, split like Qwen2's, so that llama.cpp reads it as "qwen2"."""

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from models.qwen_demo import wordlists
from models.qwen_demo.prompts import SYSTEM_PROMPT, practice_pair

END_OF_TEXT = "<|endoftext|>"
START_OF_TURN = "<|im_start|>"
END_OF_TURN = "<|im_end|>"
VOCAB_SIZE = 4096
DEFAULT_SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."

# Word for word the split of Qwen2; llama.cpp has it under the name "qwen2".
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)

# The part of Qwen2.5's template that speaks of messages; this model knows no tools.
CHAT_TEMPLATE = (
    "{%- if messages[0]['role'] == 'system' %}"
    "{{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}"
    "{%- else %}"
    "{{- '<|im_start|>system\\n" + DEFAULT_SYSTEM + "<|im_end|>\\n' }}"
    "{%- endif %}"
    "{%- for message in messages %}"
    '{%- if (message.role == "user") or (message.role == "system" and not loop.first)'
    ' or (message.role == "assistant") %}'
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}"
    "{%- endif %}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}"
    "{{- '<|im_start|>assistant\\n' }}"
    "{%- endif %}"
)


def chat_text(system: str | None, prompt: str) -> str:
    """What the chat template makes of one system and one user message."""
    return (
        f"{START_OF_TURN}system\n{DEFAULT_SYSTEM if system is None else system}{END_OF_TURN}\n"
        f"{START_OF_TURN}user\n{prompt}{END_OF_TURN}\n{START_OF_TURN}assistant\n"
    )


def _training_text(rng: random.Random, count: int) -> Iterator[str]:
    """Mostly what the model writes; word lists so that unknown words split into few, common pieces."""
    for index in range(count):
        pair = practice_pair(rng)
        yield pair.paragraph
        if index % 2 == 0:
            yield pair.prompt
    lists = [*wordlists.words("nouns"), *wordlists.words("adjectives"), *wordlists.words("verbs")]
    for _ in range(2):
        rng.shuffle(lists)
        yield " ".join(lists)
    for _ in range(40):
        yield SYSTEM_PROMPT


def train_tokenizer(seed: int = 0, samples: int = 12_000) -> Tokenizer:
    """Train the vocabulary on practice pairs."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - 3, min_frequency=3, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=[],
    )  # fmt: skip
    tokenizer.train_from_iterator(_training_text(random.Random(seed), samples), trainer)
    special = (END_OF_TEXT, START_OF_TURN, END_OF_TURN)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in special])
    return tokenizer


def word_pieces(tokenizer: Tokenizer) -> tuple[str, ...]:
    """Every piece of the vocabulary that is made of letters alone: material for invented words."""
    texts = (tokenizer.decode([index]).strip() for index in range(tokenizer.get_vocab_size()))
    return tuple(sorted({text for text in texts if text.isalpha() and "\ufffd" not in text}))


def main() -> None:
    """Train the tokenizer and write it as tokenizer.json."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tokenizer = train_tokenizer(options.seed)
    tokenizer.save(str(options.out))
    print(f"{tokenizer.get_vocab_size()} pieces written to {options.out}")


if __name__ == "__main__":
    main()

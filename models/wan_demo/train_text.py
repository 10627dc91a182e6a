"""Teaches the text encoder, before the transformer sees it, to say what a caption shows.

    python -m models.wan_demo.train_text --state RUN_FOLDER --seconds 60      # a GPU; a CPU takes minutes

Linear readers on *every* token's state are asked for the scene's background, motion, camera and its things with their
colours.  So each state comes to carry the whole scene, and cross-attention finds it wherever it looks.  Learning what
words mean from the flow loss alone takes many times as long: a thing covers a twentieth of the picture.
The readers are thrown away afterwards.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from transformers import UMT5EncoderModel

from models.wan_demo.config import TEXT_ENCODER, new_text_encoder
from models.wan_demo.data import TEXT_LENGTH, worded
from models.wan_demo.text import load_tokenizer, tokenize
from models.world.captions import held_out_caption
from models.world.scene import Scene, draw_scene, draw_test_scene
from models.world.words import BACKGROUNDS, CAMERAS, COLOURS, MOTIONS, SIZES, THINGS


def _actor(index: int, word: str) -> Callable[[Scene], str]:
    return lambda scene: getattr(scene.actors[index], word) if index < len(scene.actors) else ""


@dataclass(frozen=True)
class Question:
    """Something that a caption answers."""

    answers: tuple[str, ...]
    """All that it may say."""
    right: Callable[[Scene], str]
    """What is true of a scene."""


QUESTIONS: dict[str, Question] = {
    "background": Question(tuple(BACKGROUNDS), lambda scene: scene.background),
    "motion": Question(tuple(MOTIONS), lambda scene: scene.motion),
    "camera": Question(tuple(CAMERAS), lambda scene: scene.camera),
    "thing": Question(("", *THINGS), _actor(0, "thing")),
    "colour": Question(("", *COLOURS), _actor(0, "colour")),
    "size": Question(("", *SIZES), _actor(0, "size")),
    "second thing": Question(("", *THINGS), _actor(1, "thing")),
    "second colour": Question(("", *COLOURS), _actor(1, "colour")),
}
"""Colour and thing are asked for one by one: pairs that training never shows must stay possible."""


@dataclass(frozen=True)
class Settings:
    """How to train."""

    seconds: float
    """Wall-clock time."""
    batch: int = 256
    """Captions a step."""
    rate: float = 2e-3
    """Peak learning rate."""
    workers: int = 5
    """Processes that word captions."""
    seed: int = 5
    """Seed of data and weights."""


def right_answers(scenes: Sequence[Scene]) -> Tensor:
    """The index of the right answer to each question, scenes × questions."""
    return torch.tensor([[q.answers.index(q.right(scene)) for q in QUESTIONS.values()] for scene in scenes])


class Readers(nn.Module):
    """One linear reader a question, for the training alone."""

    def __init__(self) -> None:
        super().__init__()
        self._all = nn.ModuleList(nn.Linear(TEXT_ENCODER["d_model"], len(q.answers)) for q in QUESTIONS.values())

    def loss(self, states: Tensor, wanted: Tensor) -> Tensor:
        """The mean loss of every state (tokens × d) against the right answers (tokens × questions)."""
        losses = [functional.cross_entropy(reader(states), wanted[:, i]) for i, reader in enumerate(self._all)]
        return torch.stack(losses).sum()

    def read(self, states: Tensor, mask: Tensor) -> Tensor:
        """The likeliest answers by the mean over a caption's states (batch × tokens × d), batch × questions."""
        mean = (states * mask[..., None]).sum(1) / mask.sum(1)[:, None]
        return torch.stack([reader(mean).argmax(1) for reader in self._all], 1)


@dataclass(frozen=True)
class Worded:
    """A batch of captions."""

    ids: Tensor
    """Tokens, batch × length, padded with 0."""
    answers: Tensor
    """What they show: batch × questions."""


class _Captions(IterableDataset[Worded]):
    def __init__(self, batch: int, seed: int) -> None:
        self._batch, self._seed = batch, seed

    def __iter__(self) -> Iterator[Worded]:
        info = get_worker_info()
        rng = random.Random(self._seed * 1013 + (info.id if info else 0))
        torch.set_num_threads(1)
        while True:
            scenes = [draw_scene(rng) for _ in range(self._batch)]
            ids = worded(scenes, 1, rng)[:, 0].long()
            yield Worded(ids[:, : int((ids != 0).sum(1).max())], right_answers(scenes))


def _loss(encoder: UMT5EncoderModel, readers: Readers, worded: Worded, device: torch.device) -> Tensor:
    ids = worded.ids.to(device)
    mask = ids != 0
    states = encoder(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    return readers.loss(states[mask], worded.answers.to(device)[mask.nonzero()[:, 0]])


@torch.no_grad()
def accuracy(encoder: UMT5EncoderModel, readers: Readers, count: int, seed: int) -> str:
    """How often held-out wordings, half of them with held-out pairs, are read rightly."""
    rng, device = random.Random(seed), next(readers.parameters()).device
    scenes = [draw_test_scene(rng, held_out=i % 2 == 1) for i in range(count)]
    prompts = [held_out_caption(scene, rng) for scene in scenes]
    ids, mask = (tensor.to(device) for tensor in tokenize(load_tokenizer(), prompts, TEXT_LENGTH))
    found = readers.read(encoder(input_ids=ids, attention_mask=mask).last_hidden_state, mask)
    right = (found.cpu() == right_answers(scenes)).float().mean(0)
    return " ".join(f"{name} {share:.1%}" for name, share in zip(QUESTIONS, right.tolist(), strict=True))


def train(settings: Settings, device: torch.device) -> UMT5EncoderModel:
    """A text encoder that was trained for ``settings.seconds``."""
    torch.manual_seed(settings.seed)
    encoder: UMT5EncoderModel = new_text_encoder(len(load_tokenizer()))
    encoder.to(device)  # type: ignore[arg-type]
    readers = Readers().to(device)
    parameters = [*encoder.parameters(), *readers.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=settings.rate, betas=(0.9, 0.98), weight_decay=0.01)
    data = DataLoader(_Captions(settings.batch, settings.seed), batch_size=None, num_workers=settings.workers)
    begun, shown, step = time.monotonic(), 0.0, 0
    for worded_batch in data:
        if (share := (time.monotonic() - begun) / settings.seconds) >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = settings.rate * min(1.0, (step + 1) / 50) * max(0.05, 1 - share)
        loss = _loss(encoder, readers, worded_batch, device)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        if share - shown > 0.15:
            shown = share
            print(f"{step} steps, loss {loss.item():.3f}, right of held-out wordings:",
                  accuracy(encoder, readers, 128, settings.seed), flush=True)  # fmt: skip
    print(f"{step} steps, right of held-out wordings:", accuracy(encoder, readers, 1024, settings.seed + 1))
    return encoder


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="folder for text_encoder.safetensors")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--batch", type=int, default=Settings.batch)
    parser.add_argument("--workers", type=int, default=Settings.workers)
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder = train(Settings(args.seconds, args.batch, workers=args.workers), device)
    args.state.mkdir(parents=True, exist_ok=True)
    weights = {k: v.contiguous().cpu().clone() for k, v in encoder.state_dict().items()}
    # By renaming: the video training may be waiting for it.
    save_file(weights, args.state / "text_encoder.new")
    (args.state / "text_encoder.new").rename(args.state / "text_encoder.safetensors")


if __name__ == "__main__":
    main()

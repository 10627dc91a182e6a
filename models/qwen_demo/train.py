"""Train qwen-demo on practice pairs made on the fly. Writes weights, tokenizer and a log to one folder.

The schedule follows steps or seconds, whichever runs out first, so that a run beside another one on
the same GPU still ends on time with its learning rate at zero.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import Qwen2Config, Qwen2ForCausalLM

from models.qwen_demo.data import IGNORED, Batch, loader
from models.qwen_demo.tokenizer import END_OF_TEXT, END_OF_TURN, train_tokenizer


@dataclass(frozen=True)
class Options:
    """What a run depends on."""

    out: Path
    """Folder for model.safetensors, config.json, tokenizer.json and train.log."""
    seed: int
    steps: int
    """Upper limit of optimizer steps."""
    seconds: float
    """Upper limit of training time."""
    tokens: int
    """Tokens in a batch, padding included."""
    workers: int
    """Processes that make practice pairs."""
    learning_rate: float
    width: int
    layers: int
    save_seconds: float
    """Time between two saves."""
    compile: bool
    """Whether to compile the backbone (a minute on a GPU, twice the speed)."""
    warm_up: int
    """Steps in which the learning rate rises."""
    start: Path | None
    """Weights to go on from."""


def model_config(tokenizer: Tokenizer, width: int, layers: int) -> Qwen2Config:
    """Qwen2 with heads of 64, two query heads a key head, tied embeddings."""
    return Qwen2Config(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=width, intermediate_size=3 * width,
        num_hidden_layers=layers, num_attention_heads=width // 64, num_key_value_heads=width // 128,
        max_position_embeddings=2048, rms_norm_eps=1e-6, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        bos_token_id=tokenizer.token_to_id(END_OF_TEXT), eos_token_id=tokenizer.token_to_id(END_OF_TURN),
        pad_token_id=tokenizer.token_to_id(END_OF_TEXT),
    )  # fmt: skip


def save(model: Qwen2ForCausalLM, out: Path) -> None:
    """Write the weights as float16, under another name first: a cut run leaves a whole file."""
    weights = {
        name: value.detach().to("cpu", torch.float16).contiguous()
        for name, value in model.state_dict().items()
        if name != "lm_head.weight"  # tied to the embedding
    }
    save_file(weights, str(out / "model.tmp"), metadata={"format": "pt"})
    (out / "model.tmp").replace(out / "model.safetensors")


def answer_loss(model: Qwen2ForCausalLM, backbone: Callable[..., Any], batch: Batch) -> torch.Tensor:
    """Cross-entropy on the answers' tokens alone; logits are made for no other token."""
    inputs, labels = (part.to(model.device, non_blocking=True) for part in batch)
    hidden = backbone(input_ids=inputs, use_cache=False).last_hidden_state
    wanted = labels != IGNORED
    logits = model.lm_head(hidden[wanted])
    return torch.nn.functional.cross_entropy(logits.float(), labels[wanted])


def _optimizer(model: Qwen2ForCausalLM, options: Options) -> torch.optim.AdamW:
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=options.learning_rate, betas=(0.9, 0.98), fused=torch.cuda.is_available())


def _rate(progress: float, step: int, options: Options) -> float:
    warm_up = min(1.0, (step + 1) / options.warm_up)
    return options.learning_rate * warm_up * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def _prepare(options: Options) -> tuple[Qwen2ForCausalLM, Path]:
    options.out.mkdir(parents=True, exist_ok=True)
    tokenizer_file = options.out / "tokenizer.json"
    if not tokenizer_file.exists():
        train_tokenizer(seed=0).save(str(tokenizer_file))
    torch.manual_seed(options.seed)
    config = model_config(Tokenizer.from_file(str(tokenizer_file)), options.width, options.layers)
    model = Qwen2ForCausalLM(config)
    if torch.cuda.is_available():
        torch.nn.Module.cuda(model)  # the wrapper of transformers is not typed
    if options.start:
        from safetensors.torch import load_file

        model.load_state_dict(load_file(str(options.start)), strict=False)
        model.tie_weights()
    config.save_pretrained(options.out)
    return model, tokenizer_file


def _batches(options: Options, tokenizer_file: Path) -> Iterator[Batch]:
    return iter(loader(tokenizer_file, options.seed, options.tokens, options.workers))


def train(options: Options) -> None:
    """Run the training."""
    model, tokenizer_file = _prepare(options)
    log = (options.out / "train.log").open("a", buffering=1, encoding="utf-8")

    def say(text: str) -> None:
        print(text, flush=True)
        log.write(text + "\n")

    say(json.dumps({key: str(value) for key, value in asdict(options).items()}))
    say(f"{sum(p.numel() for p in model.parameters()):,} parameters on {model.device}")
    torch.set_float32_matmul_precision("high")
    optimizer = _optimizer(model, options)
    backbone = torch.compile(model.model, dynamic=True) if options.compile else model.model
    batches = _batches(options, tokenizer_file)
    start = saved = time.monotonic()
    losses: list[torch.Tensor] = []
    for step in range(options.steps):
        seconds = time.monotonic() - start
        progress = max(step / options.steps, seconds / options.seconds)
        if progress >= 1.0:
            break
        for group in optimizer.param_groups:
            group["lr"] = _rate(progress, step, options)
        with torch.autocast(model.device.type, torch.bfloat16, enabled=model.device.type == "cuda"):
            loss = answer_loss(model, backbone, next(batches))
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.detach())
        if len(losses) == 50:
            mean = torch.stack(losses).mean()
            say(f"step {step + 1} seconds {seconds:.0f} progress {progress:.3f} loss {mean:.4f}")
            losses.clear()
        if time.monotonic() - saved > options.save_seconds:
            save(model, options.out)
            saved = time.monotonic()
    save(model, options.out)
    say(f"done after {time.monotonic() - start:.0f} s, {step + 1} steps")


def _options() -> Options:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(".dev/qwen"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=9_000)
    parser.add_argument("--seconds", type=float, default=460.0)
    parser.add_argument("--tokens", type=int, default=32_768)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--save-seconds", type=float, default=45.0)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--warm-up", type=int, default=200)
    parser.add_argument("--start", type=Path, default=None)
    return Options(**vars(parser.parse_args()))


if __name__ == "__main__":
    train(_options())

"""A Qwen2 of true size with random weights as a GGUF file: speed and memory do not depend on their values.

The tokenizer, the chat template and the first tokens are the demo model's, so that prompts read as ever; made-up words
fill the vocabulary up to the true size, so that the output layer and sampling cost what they cost.
"""

from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np

from models.qwen_demo.export import Vocabulary, add_vocabulary

_BLOCK = 32  # weights that share a scale in Q8_0
_SCALE = 0.02 / 73  # a standard deviation of 0.02, as trained weights have it, for bytes of one of 73


@dataclass(frozen=True)
class Shape:
    """Sizes of a Qwen2."""

    layers: int
    """Blocks."""
    width: int
    """Of the residual stream."""
    ffn: int
    """Width of the feed-forward layer."""
    heads: int
    """Attention heads."""
    kv_heads: int
    """Heads of keys and values."""
    vocabulary: int = 151_936
    """Tokens."""
    tied: bool = True
    """Whether the output layer is the token embedding."""


SHAPES = {
    "0.5b": Shape(24, 896, 4864, 14, 2),
    "1.5b": Shape(28, 1536, 8960, 12, 2),
    "7b": Shape(28, 3584, 18944, 28, 4, 152_064, tied=False),
}
"""By the names of the Qwen2.5 family (config.json of Qwen/Qwen2.5-0.5B-Instruct and so on)."""


def build(path: Path, shape: Shape, tokenizer_from: Path) -> Path:
    """Write the file, Q8_0 like most downloads of small models, and return its path."""
    writer = gguf.GGUFWriter(str(path), "qwen2")
    writer.add_name("qwen-random")
    writer.add_context_length(32_768)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.ffn)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_freq_base(1_000_000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    add_vocabulary(writer, _vocabulary(tokenizer_from, shape.vocabulary))
    _add_tensors(writer, shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _vocabulary(tokenizer_from: Path, size: int) -> Vocabulary:
    fields = gguf.GGUFReader(tokenizer_from).fields
    tokens, types, merges = (fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "token_type", "merges"))
    words = [f"Ġword{number}" for number in range(size - len(tokens))]
    normal = int(gguf.TokenType.NORMAL)
    return Vocabulary([*tokens, *words], [*types, *(normal for _ in words)], list(merges))


def _add_tensors(writer: gguf.GGUFWriter, shape: Shape) -> None:
    random = np.random.default_rng(0)
    kv_width = shape.width // shape.heads * shape.kv_heads

    def matrix(name: str, rows: int, columns: int) -> None:
        blocks = np.empty((rows, columns // _BLOCK, 2 + _BLOCK), np.uint8)
        blocks[..., :2] = np.array([_SCALE], np.float16).view(np.uint8)
        blocks[..., 2:] = random.integers(0, 255, (rows, columns // _BLOCK, _BLOCK), np.uint8)
        writer.add_tensor(name, blocks.reshape(rows, -1), raw_dtype=gguf.GGMLQuantizationType.Q8_0)

    def vector(name: str, width: int, value: float) -> None:
        writer.add_tensor(name, np.full(width, value, np.float32))

    matrix("token_embd.weight", shape.vocabulary, shape.width)
    vector("output_norm.weight", shape.width, 1.0)
    if not shape.tied:
        matrix("output.weight", shape.vocabulary, shape.width)
    for layer in range(shape.layers):
        block = f"blk.{layer}"
        vector(f"{block}.attn_norm.weight", shape.width, 1.0)
        vector(f"{block}.ffn_norm.weight", shape.width, 1.0)
        for letter, width in (("q", shape.width), ("k", kv_width), ("v", kv_width)):
            matrix(f"{block}.attn_{letter}.weight", width, shape.width)
            vector(f"{block}.attn_{letter}.bias", width, 0.0)
        matrix(f"{block}.attn_output.weight", shape.width, shape.width)
        matrix(f"{block}.ffn_gate.weight", shape.ffn, shape.width)
        matrix(f"{block}.ffn_up.weight", shape.ffn, shape.width)
        matrix(f"{block}.ffn_down.weight", shape.width, shape.ffn)

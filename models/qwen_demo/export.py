"""Write trained weights as a GGUF file for llama.cpp: Qwen2 architecture, Q8_0, chat template inside."""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import load_file

from models.qwen_demo.tokenizer import CHAT_TEMPLATE, END_OF_TEXT, END_OF_TURN, START_OF_TURN

DEFAULT_OUT = Path("models/qwen-demo/qwen-demo.gguf")
_SPECIAL = (END_OF_TEXT, START_OF_TURN, END_OF_TURN)
_NAMES = {
    "input_layernorm.weight": "attn_norm.weight",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "post_attention_layernorm.weight": "ffn_norm.weight",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip


@dataclass(frozen=True)
class Vocabulary:
    """A byte-level BPE vocabulary as GGUF stores it."""

    tokens: list[str]
    types: list[int]
    merges: list[str]


def read_vocabulary(tokenizer_file: Path) -> Vocabulary:
    """Vocabulary and merges of a tokenizer.json, in the order of their ids."""
    data = json.loads(tokenizer_file.read_text(encoding="utf-8"))
    ids: dict[str, int] = dict(data["model"]["vocab"])
    ids.update({entry["content"]: entry["id"] for entry in data["added_tokens"]})
    tokens = sorted(ids, key=ids.__getitem__)
    if [ids[token] for token in tokens] != list(range(len(tokens))):
        raise ValueError(f"the ids in {tokenizer_file} have gaps")
    types = [gguf.TokenType.CONTROL if token in _SPECIAL else gguf.TokenType.NORMAL for token in tokens]
    merges = [" ".join(pair) for pair in data["model"]["merges"]]
    return Vocabulary(tokens, [int(kind) for kind in types], merges)


def gguf_name(name: str) -> str:
    """The name of a Hugging Face tensor in a GGUF file."""
    fixed = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    if name in fixed:
        return fixed[name]
    _, _, layer, rest = name.split(".", 3)
    for theirs, ours in _NAMES.items():
        if rest.startswith(theirs):
            return f"blk.{layer}.{rest.replace(theirs, ours)}"
    raise ValueError(f"unknown tensor {name}")


def _add_metadata(writer: gguf.GGUFWriter, config: dict[str, int], rope_theta: float) -> None:
    heads, width = config["num_attention_heads"], config["hidden_size"]
    writer.add_name("qwen-demo")
    writer.add_description("Tiny prompt enhancer for the demo world of wanworker")
    writer.add_license("apache-2.0")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(width)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_freq_base(rope_theta)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def add_vocabulary(writer: gguf.GGUFWriter, vocabulary: Vocabulary) -> None:
    """Write the tokenizer, with the ends of text and turn that it must hold, and the chat template."""
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_token_merges(vocabulary.merges)
    writer.add_eos_token_id(vocabulary.tokens.index(END_OF_TURN))
    writer.add_pad_token_id(vocabulary.tokens.index(END_OF_TEXT))
    writer.add_bos_token_id(vocabulary.tokens.index(END_OF_TEXT))
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def export(folder: Path, out: Path) -> None:
    """Write the GGUF file of a training folder, under another name first."""
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    rope = settings.get("rope_parameters") or {}
    weights = load_file(folder / "model.safetensors")
    part = out.with_suffix(".part")
    writer = gguf.GGUFWriter(str(part), "qwen2")
    _add_metadata(writer, settings, float(rope.get("rope_theta", 10_000.0)))
    add_vocabulary(writer, read_vocabulary(folder / "tokenizer.json"))
    for name in sorted(weights, key=lambda key: (len(key), key)):
        value = weights[name].astype(np.float32)
        if value.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(gguf_name(name), gguf.quants.quantize(value, kind), raw_dtype=kind)
        else:
            writer.add_tensor(gguf_name(name), value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    part.replace(out)


def main() -> None:
    """Export a training folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="with model.safetensors, config.json and tokenizer.json")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    options = parser.parse_args()
    export(options.folder, options.out)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()

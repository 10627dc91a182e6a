"""Transformers in one file, GGUF among them, and LoRA: tiny ones, written here and loaded by path."""

from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.generator import failure, generate_request, generator_settings, random_checkpoint, running_generator
from wanworker.generator import sources
from wanworker.generator.registry import find_row

# From diffusers' names back to those of Wan's own checkpoints, in this order.
_NAMES = (
    ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
    ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
    ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
    ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
    ("condition_embedder.time_proj", "time_projection.1"),
    ("attn1", "self_attn"),
    ("attn2", "cross_attn"),
    (".to_out.0.", ".o."),
    (".to_q.", ".q."),
    (".to_k.", ".k."),
    (".to_v.", ".v."),
    ("ffn.net.0.proj", "ffn.0"),
    ("ffn.net.2", "ffn.2"),
    (".norm2.", ".norm3."),
    ("proj_out", "head.head"),
)


def original_weights() -> dict[str, torch.Tensor]:
    weights = load_file(random_checkpoint() / "transformer" / "diffusion_pytorch_model.safetensors")
    renamed = {}
    for name, tensor in weights.items():
        new = "head.modulation" if name == "scale_shift_table" else name.replace("scale_shift_table", "modulation")
        for ours, theirs in _NAMES:
            new = new.replace(ours, theirs)
        renamed[new] = tensor.contiguous()
    return renamed


def write_gguf(path: Path) -> Path:
    writer = gguf.GGUFWriter(str(path), "wan")
    for name, tensor in original_weights().items():
        writer.add_tensor(name, tensor.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_safetensors(path: Path) -> Path:
    save_file(original_weights(), path)
    return path


def write_lora(path: Path, scale: float) -> Path:
    torch.manual_seed(0)
    name = "transformer.blocks.0.attn1.to_q"
    save_file({f"{name}.lora_A.weight": torch.randn(4, 24), f"{name}.lora_B.weight": scale * torch.randn(24, 4)}, path)
    return path


@pytest.mark.parametrize("write", [write_gguf, write_safetensors])
async def test_a_transformer_in_one_file_is_the_one_in_the_folder(write: Any, tmp_path: Path) -> None:
    path = write(tmp_path / ("model.gguf" if write is write_gguf else "model.safetensors"))
    async with running_generator() as plain, running_generator(transformer_paths={"demo": path}) as single:
        expected, found = await plain.generate(frames=1), await single.generate(frames=1)
    assert found.file == expected.file
    assert found.completed.model_revision != expected.completed.model_revision


async def test_a_lora_is_merged() -> None:
    folder = random_checkpoint()
    async with running_generator() as plain:
        expected = await plain.file(frames=1)
    for scale, same in ((0.0, True), (3.0, False)):
        path = write_lora(folder.parent / f"{folder.name}-{scale}.safetensors", scale)
        async with running_generator(lora_paths={"demo": path}) as generator:
            assert (await generator.file(frames=1) == expected) == same
            transformer = generator.engine._models["demo"].modules["transformer"]
            assert not any("lora" in name for name, _ in transformer.named_parameters())


async def test_a_lora_beside_packed_weights_works_too(tmp_path: Path) -> None:
    paths = {"transformer_paths": {"demo": write_gguf(tmp_path / "model.gguf")}}
    lora = {"lora_paths": {"demo": write_lora(tmp_path / "lora.safetensors", 3.0)}}
    async with running_generator(**paths) as plain, running_generator(**paths, **lora) as generator:
        assert await generator.file(frames=1) != await plain.file(frames=1)


@pytest.mark.parametrize("setting", ["transformer_paths", "lora_paths"])
@pytest.mark.parametrize("content", [None, b"garbage"])
async def test_files_that_are_missing_or_broken_are_named(setting: str, content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    if content is not None:
        path.write_bytes(content)
    async with running_generator(**{setting: {"demo": path}}) as generator:
        found = await failure(generator.stub.Generate(generate_request()))
    assert found.reason == ("MODEL_NOT_FOUND" if content is None else "MODEL_BROKEN")
    assert found.metadata["path"] == str(path)


async def test_a_distilled_row_needs_its_lora(tmp_path: Path) -> None:
    row = find_row("wan2.1-t2v-14b-4step")
    folder = {row.name: random_checkpoint(expand_timesteps=False)}
    async with running_generator(model_paths=folder) as without:
        found = await failure(without.stub.Generate(generate_request(model=row.name)))
    assert found.reason == "MODEL_NOT_FOUND"
    assert "LORA_PATHS" in found.message
    lora = {row.name: write_lora(tmp_path / "lora.safetensors", 1.0)}
    assert sources.is_available(row, generator_settings(model_paths=folder, lora_paths=lora))
    async with running_generator(model_paths=folder, lora_paths=lora) as generator:
        done = await generator.generate(model=row.name, steps=row.steps, guidance_scale=row.guidance_scale)
    assert done.completed.settings.flow_shift == 5.0

"""The enhancer beside the generator on one GPU: an evict request gives its memory back, the next prompt takes it again.

Skipped without a CUDA device, and where llama.cpp was compiled without CUDA.
"""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from llama_cpp import llama_cpp as lib

from benchmarks._random_qwen import SHAPES, build
from tests.support.enhancer import DEMO_MODEL, enhance, kinds
from tests.support.enhancer_process import running_enhancer
from tests.support.generator import generator_settings
from wanworker.enhancer.cancellation import Cancellation
from wanworker.enhancer.engine import EngineOptions, LlamaEngine
from wanworker.enhancer.model import Sampling
from wanworker.generator.conditions import Conditions
from wanworker.generator.engine import Engine
from wanworker.generator.request import FileFormat, Order, Settings

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.skipif(not lib.llama_supports_gpu_offload(), reason="llama.cpp is compiled without CUDA"),
]
WAN_DEMO = Path(__file__).parents[2] / "models" / "wan-demo"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = build(tmp_path_factory.mktemp("models") / "random.gguf", SHAPES["0.5b"], DEMO_MODEL)
    yield path
    path.unlink()


@pytest.fixture
def model_bytes(model: Path) -> int:
    return model.stat().st_size


def free_bytes() -> int:
    """Memory of the device that nobody has."""
    return int(torch.cuda.mem_get_info()[0])


@pytest.mark.parametrize("sampling", [{"temperature": 0.0}, {"temperature": 0.7}, {"temperature": 2.0, "top_k": 200}])
def test_the_likeliest_tokens_found_on_the_gpu_lead_to_the_text_of_all_logits(
    model: Path, sampling: dict[str, Any]
) -> None:
    chosen = replace(Sampling(100, 0.0, 1, 40, 0.9, 0.05, 1.05), **sampling)
    texts = []
    with closing(LlamaEngine(model, EngineOptions(2048, None, -1, "auto"))) as engine:
        assert engine._computes_alone
        for engine._computes_alone in (True, False, True):
            engine._likeliest_on_gpu.close()
            texts.append(engine.write("a fox", chosen, Cancellation(), lambda _: None).text)
    assert texts[0]
    assert len({*texts}) == 1


async def test_both_on_one_gpu_and_an_evict_request(model: Path, model_bytes: int, tmp_path: Path) -> None:
    engine = Engine(generator_settings(demo_path=WAN_DEMO, cache_dir=tmp_path, device="cuda:0", dtype="bfloat16"))
    clip = Order(Settings("demo", 256, 144, 17, 16, 3, 5.0), "a red ball rises", "", 1, FileFormat.MP4)

    async def make() -> bytes:
        control = engine.control(lambda _: None)
        return (await asyncio.to_thread(engine.generate, clip, Conditions(), control)).file

    alone = await make()
    texts = []
    async with running_enhancer(model, tmp_path / "log") as enhancer:
        for _ in range(2):
            before = free_bytes()
            responses = await enhance(enhancer.stub, seed=1)
            assert kinds(responses)[0] == "loading"
            texts.append(responses[-1].completed.prompt)
            beside = free_bytes()
            assert before - beside > 0.8 * model_bytes
            assert await make() == alone
            assert await enhancer.unload()
            assert free_bytes() - beside > 0.8 * model_bytes
            assert await make() == alone
    assert texts[0] == texts[1]
    engine.close()

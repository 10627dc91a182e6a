"""What an evict request frees, measured on a process of its own with a model large enough to be seen."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from benchmarks._random_qwen import Shape, build
from tests.support.enhancer import DEMO_MODEL, completed, enhance, first_delta, kinds, request, status, until_idle
from tests.support.enhancer_process import RunningEnhancer, running_enhancer

SHAPE = Shape(layers=1, width=896, ffn=1024, heads=14, kv_heads=2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = build(tmp_path_factory.mktemp("models") / "random.gguf", SHAPE, DEMO_MODEL)
    yield path
    path.unlink()


@pytest.fixture
async def running(model: Path, tmp_path: Path) -> AsyncIterator[RunningEnhancer]:
    async with running_enhancer(model, tmp_path / "log") as process:
        yield process


def assert_free(running: RunningEnhancer, empty: int) -> None:
    """The memory is as it was before a model was loaded, but for a fifth of the model's size: libraries and modules
    that came with the first prompt stay, a vocabulary (33 MB) does not."""
    assert not running.mapped
    assert running.resident_bytes < empty + running.model.stat().st_size / 5


async def test_evicted_memory_is_free_and_the_next_prompt_brings_it_back(running: RunningEnhancer) -> None:
    empty, size = running.resident_bytes, running.model.stat().st_size
    texts = []
    for _ in range(3):
        responses = await enhance(running.stub, seed=1)
        assert kinds(responses) == ["loading", "delta", "completed"]
        texts.append(responses[-1].completed.prompt)
        assert running.mapped
        assert running.resident_bytes > empty + 0.8 * size
        assert await running.unload()
        assert_free(running, empty)
        assert not await running.unload()
    assert len(set(texts)) == 1


async def test_evicted_while_a_prompt_is_written(running: RunningEnhancer) -> None:
    empty = running.resident_bytes
    call = running.stub.Enhance(request(max_tokens=60))
    await first_delta(call)
    answers = asyncio.gather(running.unload(), running.unload())
    assert [response async for response in call][-1].completed.completion_tokens == 60
    assert sorted(await answers) == [False, True]
    assert_free(running, empty)
    assert (await completed(running.stub)).completion_tokens == 16


async def test_evicted_while_the_model_is_loaded(running: RunningEnhancer) -> None:
    empty = running.resident_bytes
    call = running.stub.Enhance(request())
    async for response in call:
        if response.HasField("loading"):
            break
    unloading = asyncio.ensure_future(running.unload())
    assert [response async for response in call][-1].HasField("completed")
    assert await unloading
    assert_free(running, empty)


async def test_evicted_after_a_prompt_that_was_given_up(running: RunningEnhancer) -> None:
    empty = running.resident_bytes
    call = running.stub.Enhance(request(max_tokens=1000))
    await first_delta(call)
    call.cancel()
    assert await running.unload()
    await until_idle(running.stub)
    assert not (await status(running.stub)).loaded
    assert_free(running, empty)

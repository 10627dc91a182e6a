"""The memory budget: real tensors, really counted, and a real torch.OutOfMemoryError where they are too many."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc
import pytest
import torch

from tests.support.generator import RunningGenerator, failure, generate_request, running_generator
from wanworker.generator.memory import MemoryBudget
from wanworker.v1 import generator_pb2, types_pb2

PLENTY = 2**40
SMALL = {"width": 64, "height": 48, "frames": 5}
LARGE = {"width": 128, "height": 96, "frames": 9}
SPARED = types_pb2.MemoryOptions(tiled_decode=True, evict_text_encoder=True, free_caches=True)


def living_bytes() -> int:
    """Bytes of all tensors of this process, found without the budget's help."""
    gc.collect()
    storages = {}
    for each in gc.get_objects():
        if type(each) in (torch.Tensor, torch.nn.Parameter) and each.layout is torch.strided:
            storage = each.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


@contextmanager
def peaks_of_stages(generator: RunningGenerator) -> Iterator[dict[str, int]]:
    """Most live bytes in the middle of each forward of the transformer and each call of the decoder."""
    budget, peaks = counted(generator), {"denoise": 0, "decode": 0}
    model = generator.engine._models["demo"]

    def after(name: str) -> Callable[..., None]:
        def note(*_: object) -> None:
            peaks[name] = max(peaks[name], budget.peak_bytes)
            budget.reset_peak()

        return note

    hooks = [
        model.modules["transformer"].register_forward_hook(after("denoise")),
        model.vae.decoder.register_forward_hook(after("decode")),
    ]
    try:
        yield peaks
    finally:
        for hook in hooks:
            hook.remove()


def counted(generator: RunningGenerator) -> MemoryBudget:
    budget = generator.engine.device.budget
    assert budget is not None
    return budget


async def test_a_budget_changes_no_byte_of_the_file() -> None:
    async with running_generator() as free, running_generator(memory_budget_bytes=PLENTY) as limited:
        assert await free.file() == await limited.file()


async def test_what_a_job_took_is_reported_and_given_back() -> None:
    async with running_generator(memory_budget_bytes=PLENTY) as generator:
        await generator.file()
        live, real = counted(generator).live_bytes, living_bytes()
        small = await generator.generate(**SMALL)
        large = await generator.generate(**LARGE)
        assert live < small.completed.peak_memory_bytes < large.completed.peak_memory_bytes
        assert counted(generator).live_bytes == live
        assert living_bytes() == real
        # The budget sees the weights and the embeddings that are kept; both ways of counting agree on them.
        assert live <= real < live * 1.1


@pytest.mark.parametrize("stage", ["denoise", "decode"])
async def test_a_job_over_the_budget_fails_typed_and_poisons_nothing(stage: str) -> None:
    async with running_generator() as fresh:
        expected = await fresh.file(**SMALL)
    async with running_generator(memory_budget_bytes=PLENTY, admission=False) as generator:
        assert await generator.file(**SMALL) == expected
        with peaks_of_stages(generator) as needs:
            await generator.file(**LARGE)
        live, real, budget = counted(generator).live_bytes, living_bytes(), counted(generator)
        # Decoding takes more than denoising: one byte under either's need stops the job in the middle of that one.
        assert live < needs["denoise"] < needs["decode"]
        budget.limit_bytes = needs[stage] - 1
        decoder, decoded = generator.engine._models["demo"].vae.decoder, 0

        def count(*_: object) -> None:
            nonlocal decoded
            decoded += 1

        hook = decoder.register_forward_pre_hook(count)
        found = await failure(generator.stub.Generate(generate_request(**LARGE)))
        hook.remove()
        assert (found.code, found.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "GPU_OUT_OF_MEMORY")
        assert int(found.metadata["needed_bytes"]) >= needs[stage]
        assert int(found.metadata["free_bytes"]) > 0
        assert found.retry_after_seconds is None
        assert bool(decoded) == (stage == "decode")
        assert counted(generator).live_bytes == live
        assert living_bytes() == real
        budget.limit_bytes = PLENTY
        assert await generator.file(**SMALL) == expected


async def test_a_fitting_job_succeeds_under_the_same_budget_right_after_an_oom() -> None:
    async with running_generator(memory_budget_bytes=PLENTY, admission=False) as generator:
        small, large = await generator.generate(**SMALL), await generator.generate(**LARGE)
        counted(generator).limit_bytes = (small.completed.peak_memory_bytes + large.completed.peak_memory_bytes) // 2
        for _ in range(3):
            found = await failure(generator.stub.Generate(generate_request(**LARGE)))
            assert found.reason == "GPU_OUT_OF_MEMORY"
            assert await generator.file(**SMALL) == small.file


async def test_a_video_that_does_not_fit_may_fit_when_memory_is_spared() -> None:
    async with running_generator(memory_budget_bytes=PLENTY, admission=False) as generator:
        plain = await generator.generate(**LARGE)
        spared = await generator.generate(**LARGE, memory=SPARED)
        assert spared.completed.peak_memory_bytes < plain.completed.peak_memory_bytes
        budget = plain.completed.peak_memory_bytes - 1
    async with running_generator(memory_budget_bytes=budget, admission=False) as generator:
        found = await failure(generator.stub.Generate(generate_request(**LARGE)))
        assert found.reason == "GPU_OUT_OF_MEMORY"
        assert await generator.file(**LARGE, memory=SPARED) == spared.file


async def test_weights_that_do_not_fit_are_out_of_memory_too() -> None:
    async with running_generator(memory_budget_bytes=100_000, admission=False) as generator:
        found = await failure(generator.stub.Generate(generate_request(**SMALL)))
        assert found.reason == "GPU_OUT_OF_MEMORY"
        assert generator.engine.loaded() == {}


async def test_a_warm_up_that_does_not_fit_does_not_keep_the_service_from_serving() -> None:
    async with running_generator(memory_budget_bytes=5_000_000, preload=True) as generator:
        assert (await generator.generate(**SMALL)).completed.size_bytes > 0


async def test_status_and_estimate_know_the_budget() -> None:
    async with running_generator(memory_budget_bytes=3_000_000) as generator:
        status = await generator.stub.GetStatus(generator_pb2.GeneratorServiceGetStatusRequest())
        large = await generator.stub.Estimate(
            generator_pb2.EstimateRequest(settings=generate_request(**LARGE).settings)
        )
        assert status.total_memory_bytes == status.free_memory_bytes == 3_000_000
        assert large.estimate.available_bytes == 3_000_000
        assert not large.estimate.fits
        found = await failure(generator.stub.Generate(generate_request(**LARGE)))
        assert found.metadata["free_bytes"] == "3000000"


def test_a_tensor_counts_once_and_as_long_as_it_lives() -> None:
    budget = MemoryBudget(1000)
    with budget:
        tensor = torch.zeros(100, dtype=torch.uint8)
        view = tensor[:50]
        assert budget.live_bytes == 100
        del tensor
        assert budget.live_bytes == 100
        del view
        assert budget.live_bytes == 0
        with pytest.raises(torch.OutOfMemoryError, match="1000 are allowed"):
            torch.zeros(1001, dtype=torch.uint8)
        gc.collect()
        assert budget.live_bytes == 0
    assert budget.peak_bytes == 1001
    kept = torch.zeros(5000, dtype=torch.uint8)
    assert budget.live_bytes == 0
    assert kept.numel() == 5000

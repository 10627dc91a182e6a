"""On a real GPU: the allocator's own out-of-memory errors, what is left after them, jobs side by side, a lost device.

No gRPC here, so that the file also runs where only torch, diffusers and pytest are. Skipped without a CUDA device.
"""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from wanworker.generator.attention import CUDNN, FLASH_4, NATIVE, attention_by, use_attention
from wanworker.generator.conditions import Conditions
from wanworker.generator.device import Device
from wanworker.generator.engine import Engine
from wanworker.generator.offloading import OffloadedModule
from wanworker.generator.request import FileFormat, Memory, Order, Settings
from wanworker.generator.settings import GeneratorSettings
from wanworker.runtime.errors import ExhaustedError

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
DEMO = Path(__file__).parents[2] / "models" / "wan-demo"
MIB = 2**20
LOST = """
import torch
from wanworker.generator.device import is_device_lost, is_out_of_memory
try:
    torch.zeros(3, device="cuda")[torch.tensor([7], device="cuda")].cpu()
except Exception as error:
    assert is_device_lost(error) and not is_out_of_memory(error), repr(error)
    print("lost")
"""


@pytest.fixture(autouse=True)
def whole_device() -> Iterator[None]:
    """Leaves no limit behind."""
    yield
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1.0)


def engine(tmp_path: Path, **changes: Any) -> Engine:
    """On the demo model; admission is off, so that memory ends by trial and not by estimate."""
    return Engine(GeneratorSettings(demo_path=DEMO, cache_dir=tmp_path, device="cuda:0", admission=False, **changes))


def order(seed: int = 1, size: tuple[int, int] = (256, 144), frames: int = 17, **memory: bool) -> Order:
    """A clip in three steps."""
    settings = Settings("demo", *size, frames, 16, 3, 5.0, memory=Memory(**memory))
    return Order(settings, "a red ball rises over a meadow", "", seed, FileFormat.MP4)


def make(on: Engine, what: Order) -> bytes:
    """The file."""
    return on.generate(what, Conditions(), on.control(lambda _: None, 1)).file


def test_the_allocator_keeps_the_budget() -> None:
    total = torch.cuda.mem_get_info()[1]
    device = Device("cuda:0", memory_budget_bytes=total // 10)
    assert device.budget is None
    assert device.total_bytes() == total // 10
    with pytest.raises(torch.OutOfMemoryError):
        torch.empty(total // 5, dtype=torch.uint8, device=device.torch)
    torch.empty(total // 100, dtype=torch.uint8, device=device.torch)


def test_after_running_out_the_memory_is_back_and_the_next_job_the_same(tmp_path: Path) -> None:
    on = engine(tmp_path)
    alone = make(on, order())
    before = torch.cuda.memory_allocated()
    total = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction((before + 700 * MIB) / total)
    with pytest.raises(ExhaustedError) as caught:
        make(on, order(size=(1280, 720), frames=81))
    assert caught.value.reason == "GPU_OUT_OF_MEMORY"
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)
    assert torch.cuda.memory_allocated() <= before + MIB
    assert make(on, order()) == alone


def test_what_does_not_fit_whole_fits_in_tiles(tmp_path: Path) -> None:
    on, large = engine(tmp_path), order(size=(1280, 720), frames=9, tiled_decode=True)
    make(on, order())
    result = on.generate(large, Conditions(), on.control(lambda _: None, 1))
    whole = on.generate(order(size=(1280, 720), frames=9), Conditions(), on.control(lambda _: None, 1))
    assert result.peak_memory_bytes < whole.peak_memory_bytes
    between = (result.peak_memory_bytes + whole.peak_memory_bytes) // 2
    on.device.free_caches()
    torch.cuda.set_per_process_memory_fraction(between / torch.cuda.mem_get_info()[1])
    fallen = on.generate(order(size=(1280, 720), frames=9), Conditions(), on.control(lambda _: None, 1))
    assert fallen.settings.memory.tiled_decode
    assert fallen.sha256 == result.sha256


def test_four_at_once_are_what_they_are_alone(tmp_path: Path) -> None:
    on = engine(tmp_path)
    orders = [order(seed) for seed in range(4)]
    alone = [make(on, each) for each in orders]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            assert list(pool.map(lambda each: make(on, each), orders)) == alone


@pytest.fixture
def native_attention() -> Iterator[None]:
    """Whatever an engine of an earlier test chose for the process."""
    before = use_attention(NATIVE)
    yield
    use_attention(before)


@pytest.mark.usefixtures("native_attention")
@pytest.mark.parametrize("keys", [200, 7000])  # with few FlashAttention-4 leaves it to cuDNN
@pytest.mark.parametrize("backend", [CUDNN, FLASH_4])
def test_attention_by_other_kernels_is_the_same(backend: str, keys: int) -> None:
    if backend == FLASH_4:
        pytest.importorskip("flash_attn.cute", reason="FlashAttention-4 is not installed")
    # As the transformer has it: tokens before heads, and as many keys as tokens, or those of a prompt.
    query, key, value = (torch.randn(1, each, 4, 128, device="cuda").bfloat16() for each in (300, keys, keys))

    def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        query, key, value = (each.transpose(1, 2) for each in (query, key, value))  # to heads before tokens
        return torch.nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2)

    with torch.no_grad():
        expected = attend(query, key, value)
        with attention_by(backend, strictly=True):
            torch.testing.assert_close(attend(query, key, value), expected, atol=2e-2, rtol=2e-2)
            torch.testing.assert_close(torch.compile(attend)(query, key, value), expected, atol=2e-2, rtol=2e-2)
        with attention_by(backend):  # what these kernels cannot do goes to others: wide heads, masks, fp32
            for shape, dtype in (((1, 1, 64, 384), torch.bfloat16), ((1, 2, 64, 64), torch.float32)):
                wide = torch.randn(shape, device="cuda", dtype=dtype)
                mask = torch.zeros(64, 64, device="cuda", dtype=dtype)
                result = torch.nn.functional.scaled_dot_product_attention(wide, wide, wide, attn_mask=mask)
                assert torch.isfinite(result).all()
    torch.testing.assert_close(attend(query, key, value), expected, atol=0, rtol=0)


def test_an_evicted_text_encoder_leaves_its_memory_to_others(tmp_path: Path) -> None:
    on = engine(tmp_path)
    alone = make(on, order())
    model = on._models["demo"]
    weights = sum(each.nbytes for each in model.modules["text_encoder"].parameters())
    before = torch.cuda.memory_allocated()
    model.evict_text_encoder()
    assert torch.cuda.memory_allocated() <= before - weights
    on._prompts.clear()  # so that the text encoder has to come back
    assert make(on, order()) == alone
    assert model.modules["text_encoder"] is not None


def test_an_offloaded_module_leaves_the_device_and_comes_back_the_same() -> None:
    module = torch.nn.Linear(4096, 4096, bias=False, device="cuda").requires_grad_(False)
    inputs = torch.randn(2, 4096, device="cuda")
    expected, before = module(inputs), torch.cuda.memory_allocated()
    offloaded = OffloadedModule(module, torch.device("cuda"))
    home = module.weight.data_ptr()
    assert module.weight.is_pinned()
    assert torch.cuda.memory_allocated() <= before - 4096**2 * 4
    for _ in range(2):
        offloaded.fetch()
        assert torch.equal(module(inputs), expected)
        offloaded.rest()
        assert torch.cuda.memory_allocated() <= before - 4096**2 * 4
    assert module.weight.data_ptr() == home


def test_an_error_of_the_device_is_not_taken_for_a_lack_of_memory() -> None:
    done = subprocess.run([sys.executable, "-c", LOST], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "lost", done.stderr[-2000:]

"""Which attention kernels are chosen, and how FlashAttention-4 is put in the place of torch's own.

The kernels themselves are tried in tests/integration/test_generator_on_gpu.py.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

import pytest
import torch

from tests.support.generator import generator_settings
from wanworker.generator import attention
from wanworker.generator.acceleration import speed_key
from wanworker.generator.attention import CUDNN, FLASH_4, NATIVE
from wanworker.generator.device import Device


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a process that has just begun; small probes."""
    monkeypatch.setattr(attention._Chosen, "backend", None)
    monkeypatch.setattr(attention._Chosen, "context", ExitStack())
    monkeypatch.setattr(attention, "_PROBE_TOKENS", 32)
    yield
    attention._Chosen.context.close()


@contextmanager
def fake_kernels(backend: str, *, strictly: bool = False) -> Iterator[None]:
    """Any backend's place, taken by torch's own."""
    yield


def test_a_cpu_has_torchs_own_only() -> None:
    assert attention.fastest_attention(Device("cpu")) == NATIVE


@pytest.mark.parametrize(
    ("native", "cudnn", "flash", "chosen"),
    [
        (2.0, 1.0, 0.9, FLASH_4),
        (2.0, 1.0, 1.1, CUDNN),
        (1.0, 2.0, 2.0, NATIVE),
        (1.0, 0.99, 0.98, NATIVE),  # as close as noise
    ],
)
def test_the_fastest_is_chosen(
    native: float, cudnn: float, flash: float, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter([native, cudnn, flash])
    monkeypatch.setattr(attention, "attention_by", fake_kernels)
    monkeypatch.setattr(attention, "_seconds", lambda *_: next(seconds))
    assert attention.fastest_attention(Device("cpu")) == chosen


def test_what_does_not_agree_is_not_chosen_however_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([2.0, 1.0, 1.0])
    monkeypatch.setattr(attention, "attention_by", fake_kernels)
    monkeypatch.setattr(attention, "_seconds", lambda *_: next(seconds))
    monkeypatch.setattr(attention, "_CLOSE", -1.0)
    assert attention.fastest_attention(Device("cpu")) == NATIVE


def test_it_is_chosen_once(monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[str] = []

    @contextmanager
    def fake_by(backend: str) -> Iterator[None]:
        entered.append(backend)
        yield
        entered.append(f"not {backend}")

    monkeypatch.setattr(attention, "attention_by", fake_by)
    assert attention.chosen_attention() == NATIVE
    assert attention.choose_attention(Device("cpu"), CUDNN) == CUDNN
    assert attention.choose_attention(Device("cpu"), FLASH_4) == CUDNN
    assert attention.chosen_attention() == CUDNN
    assert entered == [CUDNN]
    assert attention.use_attention(NATIVE) == CUDNN
    assert entered == [CUDNN, "not cudnn", NATIVE]


@pytest.mark.parametrize("scale", [None, 0.5])
@pytest.mark.parametrize("few", [False, True])
def test_the_operator_is_torchs_attention_over_other_kernels(
    monkeypatch: pytest.MonkeyPatch, scale: float | None, few: bool
) -> None:
    """FlashAttention-4 has tokens before heads; where there are few keys, cuDNN has them behind, as torch does."""
    monkeypatch.setattr(attention, "_FEW_KEYS", 6 if few else 5)
    asked: list[torch.Size] = []

    def fake_flash_attention(
        query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, softmax_scale: float | None, **rest: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        assert rest == {"causal": False, "return_lse": True}
        asked.extend((query.shape, key.shape))
        query_, key_, value_ = (each.transpose(1, 2) for each in (query, key, value))
        result = torch.nn.functional.scaled_dot_product_attention(query_, key_, value_, scale=softmax_scale)
        return result.transpose(1, 2).contiguous(), torch.zeros(query.shape[0], query.shape[2], query.shape[1])

    def fake_cudnn(
        query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, is_causal: bool, scale: float | None
    ) -> torch.Tensor:
        assert not is_causal
        asked.extend((query.shape, key.shape))
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, scale=scale).contiguous()

    operator = attention._operator(fake_flash_attention, fake_cudnn)
    query, key, value = (torch.randn(1, tokens, 3, 8).transpose(1, 2) for tokens in (7, 5, 5))
    result, normalizers, *rest = operator(query, key, value, scale=scale)
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, scale=scale)
    torch.testing.assert_close(result, expected)
    assert asked == ([(1, 3, 7, 8), (1, 3, 5, 8)] if few else [(1, 7, 3, 8), (1, 5, 3, 8)])
    assert result.stride() == query.stride()
    assert normalizers.shape == ((0,) if few else (1, 3, 7))
    assert rest[2:4] == [7, 5]  # what torch's own says of the lengths
    packed = query.contiguous()
    assert operator(packed, key, value)[0].stride() == packed.stride()


def test_flash_attention_4_takes_the_operators_place_and_leaves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fake: Any = ModuleType("flash_attn.cute")
    fake.flash_attn_func = lambda *_, **__: None
    monkeypatch.setitem(sys.modules, "flash_attn", ModuleType("flash_attn"))
    monkeypatch.setitem(sys.modules, "flash_attn.cute", fake)

    def dispatch() -> str:
        return torch._C._dispatch_dump(f"aten::{attention._OPERATOR}")

    before = dispatch()
    with attention._flash_attention_4():
        assert "attention.py" in dispatch()
    assert dispatch() == before


def test_without_flash_attention_4_the_setting_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match=r"attention\n.*flash4 needs the package flash-attn-4"):
        generator_settings(attention=FLASH_4)


def test_speeds_are_kept_apart_by_what_they_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class FakeGpu:
        is_cuda, key = True, "a GPU|bfloat16"

    gpu: Any = FakeGpu()
    assert speed_key(gpu, compiled=False) == "a GPU|bfloat16|native|eager"
    monkeypatch.setattr(attention._Chosen, "backend", FLASH_4)
    assert speed_key(gpu, compiled=True) == "a GPU|bfloat16|flash4|compiled"
    device = Device("cpu")
    assert speed_key(device, compiled=True) == device.key

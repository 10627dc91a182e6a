"""Which kernels attention runs on. On a GPU they are tried, not assumed, for they decide about a job's time.

Measured on an H100, 12 heads of 128, bf16, torch 2.11, flash-attn-4 4.0.0b36: FlashAttention-4 does 710 and 629 TFLOP/s
at 32,760 and 75,600 tokens, cuDNN 571 to 648 and 579 to 591. The host takes 0.13 ms to ask for it. So the few keys of a
still or a prompt are left to cuDNN: 0.05 ms instead of 0.14 at 1,560 tokens (480p), 0.15 instead of 0.22 at 3,600.
Attention is five sixths of a forward at 720p × 81.

Everything goes through torch's `scaled_dot_product_attention`, not through diffusers' attention backends: its cuDNN
switches flags of the whole process around each call, and the autoencoder's attention, in the thread of another job,
would run on whatever they say at that moment; its FlashAttention-4 fetches the kernel from a hub.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from wanworker.generator.device import Device

_LOGGER = logging.getLogger("wanworker.generator.attention")
NATIVE, CUDNN, FLASH_4 = "native", "cudnn", "flash4"
_FIRST = {CUDNN: SDPBackend.CUDNN_ATTENTION, FLASH_4: SDPBackend.FLASH_ATTENTION}
_OTHERS = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
_OPERATOR = "_scaled_dot_product_flash_attention"
_FEW_KEYS = 6144  # cuDNN was faster at 3,600 keys, FlashAttention-4 at 8,160
_PROBE_TOKENS = 16_384
_PROBE_HEADS, _PROBE_HEAD_DIM = 12, 128  # of Wan 1.3B; the larger ones have more heads of the same width
_PROBE_ROUNDS = 5
_CLOSE = 2e-2
_CLEARLY_FASTER = 0.97  # recent builds take cuDNN by themselves: then the two differ by noise


class _Chosen:
    """What the process runs on."""

    lock = threading.Lock()
    backend: str | None = None  # until a model is loaded
    context = ExitStack()


def choose_attention(device: Device, wanted: str) -> str:
    """Sets the process's attention and returns its name; `wanted` is a name, or `auto` for the fastest.

    Once and for all: a job that runs must not see it change, so later calls change nothing.
    """
    with _Chosen.lock:
        if _Chosen.backend is None:
            use_attention(fastest_attention(device) if wanted == "auto" else wanted)
            _LOGGER.info("Attention runs on %s", _Chosen.backend)
        return str(_Chosen.backend)


def chosen_attention() -> str:
    """What the process's attention runs on; `native` until a model is loaded on a GPU."""
    return _Chosen.backend or NATIVE


def use_attention(backend: str) -> str:
    """Sets it, and returns the one before. Benchmarks do it a second time, while nothing runs.

    Raises:
        ImportError: FlashAttention-4 is not installed.
    """
    before = chosen_attention()
    _Chosen.context.close()
    _Chosen.context.enter_context(attention_by(backend))
    _Chosen.backend = backend
    return before


@contextmanager
def attention_by(backend: str, *, strictly: bool = False) -> Iterator[None]:
    """Attention of the whole process by that backend; `strictly`, what it cannot do fails and goes to no other.

    Not for a process that has FlashAttention-4 already: torch takes one operator in place of its own.

    Raises:
        ImportError: FlashAttention-4 is not installed.
    """
    with ExitStack() as stack:
        if backend == FLASH_4:
            stack.enter_context(_flash_attention_4())
        if backend != NATIVE:
            first = _FIRST[backend]
            order = [first] if strictly else [first, *(each for each in _OTHERS if each is not first)]
            stack.enter_context(sdpa_kernel(order, set_priority=True))
        yield


def fastest_attention(device: Device) -> str:
    """The fastest that this device has and that agrees with torch's own choice."""
    generator = torch.Generator(device.torch).manual_seed(0)
    shape = (1, _PROBE_HEADS, _PROBE_TOKENS, _PROBE_HEAD_DIM)
    query, key, value = (
        torch.randn(shape, generator=generator, device=device.torch, dtype=device.dtype) for _ in range(3)
    )

    def attend() -> torch.Tensor:
        return torch.nn.functional.scaled_dot_product_attention(query, key, value)

    expected = attend()
    native = _seconds(attend, device)
    chosen, least = NATIVE, _CLEARLY_FASTER * native
    for backend in (CUDNN, FLASH_4):
        try:
            with attention_by(backend, strictly=True):
                difference = float((attend().float() - expected.float()).abs().max())
                seconds = _seconds(attend, device)
        except Exception as error:  # kernels of many makers say in as many ways that they do not run here
            _LOGGER.info("No attention by %s here: %s", backend, (str(error) or repr(error)).splitlines()[0])
            continue
        _LOGGER.info("Attention by %s: %.2f of native's seconds, %.1e apart", backend, seconds / native, difference)
        if seconds < least and difference < _CLOSE:
            chosen, least = backend, seconds
    return chosen


@contextmanager
def _flash_attention_4() -> Iterator[None]:
    """Puts FlashAttention-4 in the place of torch's own flash attention.

    As `torch.nn.attention.activate_flash_attention_impl` does, which fails with releases of FlashAttention-4 that are
    newer than itself; this calls nothing but its public function.
    """
    from flash_attn.cute import flash_attn_func  # after long seconds

    library: Any = torch.library.Library("aten", "IMPL")
    library.impl(_OPERATOR, _operator(flash_attn_func, _by_cudnn), "CUDA")
    try:
        yield
    finally:
        library._destroy()


def _by_cudnn(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, is_causal: bool, scale: float | None
) -> torch.Tensor:
    operator: Any = torch.ops.aten._scaled_dot_product_cudnn_attention
    result: torch.Tensor = operator(query, key, value, None, False, 0.0, is_causal, scale=scale)[0]
    return result


def _operator(
    flash_attention: Callable[..., tuple[torch.Tensor, torch.Tensor]], for_few_keys: Callable[..., torch.Tensor]
) -> Callable[..., tuple[Any, ...]]:
    """torch's operator of that name. What only training reads of its results is empty; so dropout is not done."""

    def attend(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        dropout: float = 0.0,
        is_causal: bool = False,
        return_debug_mask: bool = False,
        *,
        scale: float | None = None,
    ) -> tuple[Any, ...]:
        nothing = torch.empty(0, dtype=query.dtype, device=query.device)
        if key.size(2) < _FEW_KEYS:
            result, normalizers = for_few_keys(query, key, value, is_causal, scale), nothing
        else:
            # 1 × heads × tokens × width here, 1 × tokens × heads × width there.
            inputs = (each.transpose(1, 2) for each in (query, key, value))
            attended, normalizers = flash_attention(*inputs, softmax_scale=scale, causal=is_causal, return_lse=True)
            result = attended.transpose(1, 2)
        if result.stride() != query.stride():  # compiled modules count on the query's
            result = torch.empty_like(query).copy_(result)
        state = torch.zeros(2, dtype=torch.uint64, device=query.device)
        return result, normalizers, None, None, query.size(2), key.size(2), state, state[:0], nothing

    return attend


def _seconds(work: Callable[[], object], device: Device) -> float:
    work()
    began = device.mark()
    for _ in range(_PROBE_ROUNDS):
        work()
    ended = device.mark()
    ended.wait()
    return ended.seconds_since(began) / _PROBE_ROUNDS

"""What makes a model faster on a GPU and leaves what it makes alone.

Attention is tried on the device rather than assumed. The rest was measured on an H100, at 720p × 81 and full size: a
forward of the transformer takes 2.49 s eager and 2.24 s compiled by blocks; decoding takes 4.75 s as the autoencoder
comes, 4.26 s with its convolutions' weights laid out channels last, and 3.14 s with its norms compiled as well.
"""

import logging
from collections.abc import Callable
from typing import Any

import torch
import torch._dynamo
from diffusers.models.autoencoders.autoencoder_kl_wan import WanRMS_norm
from torch.nn.attention import SDPBackend, sdpa_kernel

from wanworker.generator.device import Device
from wanworker.generator.loading import LoadedModel

_LOGGER = logging.getLogger("wanworker.generator.acceleration")
_NATIVE, _CUDNN = "native", "cudnn"
_ORDER = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
_PROBE_TOKENS = 16_384
_PROBE_HEADS, _PROBE_HEAD_DIM = 12, 128
_PROBE_ROUNDS = 5
_CLOSE = 2e-2
_CLEARLY_FASTER = 0.97  # recent builds take cuDNN by themselves: then the two differ by noise
_MOST_SHAPES = 64
_PREFERRED: list[object] = []


def accelerate(model: LoadedModel, *, attention: str, compiled: bool) -> None:
    """Sets a loaded model up; does nothing on the CPU, where torch's own kernels are what there is."""
    device = model.device
    if not device.is_cuda:
        return
    backend = fastest_attention(device) if attention == "auto" else attention
    _LOGGER.info("Attention runs on %s", backend)
    if backend == _CUDNN:
        prefer_cudnn()
    lay_out_channels_last(model.vae)
    if compiled:
        for transformer in model.transformers:
            compile_blocks(transformer)
        compile_norms(model.vae.decoder)


def prefer_cudnn() -> None:
    """cuDNN's attention first, wherever it can, for the whole process and once and for all.

    Not by diffusers' `_native_cudnn` backend, which switches flags of the whole process around each call:
    the autoencoder's attention, in the thread of another job, would run on whatever they say at that moment.
    """
    if not _PREFERRED:
        context = sdpa_kernel(_ORDER, set_priority=True)
        context.__enter__()
        _PREFERRED.append(context)  # dropped, it would switch back


def compile_blocks(transformer: Any) -> None:
    """Regional compilation, block by block; the first forward of each size compiles.

    Not as whole graphs, for a step cache's hooks break them. One graph a size: those for any size are slower.
    """
    transformer.compile_repeated_blocks(fullgraph=False, dynamic=False)


def compile_norms(decoder: Any) -> None:
    """One kernel for each of the autoencoder's norms in place of six; for any size, as there are many in a decoding.

    Not the decoder as a whole: it takes its features along in a list, and a graph would be compiled for every place.
    """
    for module in decoder.modules():
        if isinstance(module, WanRMS_norm):
            module.compile(dynamic=True)


def lay_out_channels_last(vae: Any) -> None:
    """The convolutions' weights as cuDNN's kernels on tensor cores take them, so that it need not turn them around."""
    for module in vae.modules():
        if isinstance(module, torch.nn.Conv3d):
            module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        elif isinstance(module, torch.nn.Conv2d):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def allow_many_sizes() -> None:
    """Lets a graph be compiled for many sizes. For each thread anew, since torch keeps that setting by thread."""
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, _MOST_SHAPES)


def fastest_attention(device: Device) -> str:
    """cuDNN's attention if this device has it, it agrees with torch's own choice, and it is faster."""
    generator = torch.Generator(device.torch).manual_seed(0)
    shape = (1, _PROBE_HEADS, _PROBE_TOKENS, _PROBE_HEAD_DIM)
    query, key, value = (
        torch.randn(shape, generator=generator, device=device.torch, dtype=device.dtype) for _ in range(3)
    )

    def attend() -> torch.Tensor:
        return torch.nn.functional.scaled_dot_product_attention(query, key, value)

    def attend_cudnn() -> torch.Tensor:
        with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
            return attend()

    try:
        difference = float((attend().float() - attend_cudnn().float()).abs().max())
    except RuntimeError as error:  # this build or device has none
        _LOGGER.info("No cuDNN attention here: %s", str(error).splitlines()[0])
        return _NATIVE
    plain, cudnn = _seconds(attend, device), _seconds(attend_cudnn, device)
    _LOGGER.info(
        "Attention of %d tokens: native %.4f s, cuDNN %.4f s, %.1e apart", *shape[2:3], plain, cudnn, difference
    )
    return _CUDNN if cudnn < _CLEARLY_FASTER * plain and difference < _CLOSE else _NATIVE


def _seconds(work: Callable[[], object], device: Device) -> float:
    work()
    began = device.mark()
    for _ in range(_PROBE_ROUNDS):
        work()
    ended = device.mark()
    ended.wait()
    return ended.seconds_since(began) / _PROBE_ROUNDS

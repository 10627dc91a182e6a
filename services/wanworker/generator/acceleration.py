"""What makes a model faster on a GPU and leaves what it makes alone.

The kernels of attention are chosen in `attention`. The rest was measured on an H100, at 720p × 81 and full size: a
forward of the transformer takes 2.49 s eager and 2.24 s compiled by blocks; decoding takes 4.75 s as the autoencoder
comes, 4.26 s with its convolutions' weights laid out channels last, and 3.14 s with its norms compiled as well.
"""

from typing import Any

import torch
import torch._dynamo
from diffusers.models.autoencoders.autoencoder_kl_wan import WanRMS_norm

from wanworker.generator.attention import choose_attention, chosen_attention
from wanworker.generator.device import Device
from wanworker.generator.loading import LoadedModel

_MOST_SHAPES = 64


def accelerate(model: LoadedModel, *, attention: str, compiled: bool) -> None:
    """Sets a loaded model up; does nothing on the CPU, where torch's own kernels are what there is."""
    device = model.device
    if not device.is_cuda:
        return
    choose_attention(device, attention)
    lay_out_channels_last(model.vae)
    if compiled:
        for transformer in model.transformers:
            compile_blocks(transformer)
        compile_norms(model.vae.decoder)


def speed_key(device: Device, *, compiled: bool) -> str:
    """Name under which measured speeds are kept: the device's, and what else they depend on."""
    if not device.is_cuda:
        return device.key
    return f"{device.key}|{chosen_attention()}|{'compiled' if compiled else 'eager'}"


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

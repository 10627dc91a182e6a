"""A module whose weights wait in main memory, and come to the GPU when they are needed.

Weights never change, so going back is forgetting the GPU's copy. The copy in main memory is page-locked: an H100 reads
it at the speed of its bus, where `Module.to` takes both ways at a tenth of that.
"""

import logging
import weakref
from typing import Any

import torch

_LOGGER = logging.getLogger("wanworker.generator.offloading")


class OffloadedModule:
    """A module's weights and their home in main memory. Created with the weights anywhere; they are at home then."""

    def __init__(self, module: torch.nn.Module, device: torch.device) -> None:
        """Copies the weights to main memory; `device` is where they are brought to."""
        self.present = True
        """True while the weights are on the device."""
        self._device = device
        self._home = [(each, each.data.to("cpu", copy=True)) for each in (*module.parameters(), *module.buffers())]
        if device.type == "cuda":
            locked = [home for _, home in self._home if _page_lock(home)]
            weakref.finalize(self, _unlock, locked)
        self.rest()

    def fetch(self) -> None:
        """Brings the weights to the device, behind the work that it was asked for before."""
        for tensor, home in self._home:
            tensor.data = home.to(self._device, non_blocking=True)
        self.present = True

    def rest(self) -> None:
        """Gives the device's memory back."""
        for tensor, home in self._home:
            tensor.data = home
        self.present = False


def _page_lock(tensor: torch.Tensor) -> bool:
    """Not torch's own pinned memory: that comes in powers of two, half as much again as a text encoder needs."""
    if not tensor.numel():
        return False
    runtime: Any = torch.cuda.cudart()
    result = runtime.cudaHostRegister(tensor.data_ptr(), tensor.numel() * tensor.element_size(), 0)
    if int(result) != 0:
        _LOGGER.warning("Memory of %d bytes could not be page-locked (%s): copies are slower", tensor.nbytes, result)
        return False
    return True


def _unlock(tensors: list[torch.Tensor]) -> None:
    runtime: Any = torch.cuda.cudart()
    for tensor in tensors:
        runtime.cudaHostUnregister(tensor.data_ptr())

"""The device that torch computes on, and its memory."""

import gc
import os
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from wanworker.generator.memory import MemoryBudget

# Libraries below torch report by message only. An allocation that failed leaves the device as it was.
_NO_MEMORY_SIGNS = (
    "DefaultCPUAllocator: can't allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDA error: out of memory",
)
_LOST_SIGNS = ("CUDA error:", "cuDNN error:", "CUDNN error:")


class Mark:
    """A point in a device's work, and in time. On a GPU, work is queued: the device passes the mark later."""

    def __init__(self, device: torch.device) -> None:
        self._event: torch.cuda.Event | None = None
        if device.type == "cuda":
            self._event = torch.cuda.Event(enable_timing=True, blocking=True)
            self._event.record(torch.cuda.current_stream(device))
        self._time = time.perf_counter()

    def wait(self) -> None:
        """Returns once the device has passed the mark; whatever was queued after it goes on meanwhile."""
        if self._event is not None:
            self._event.synchronize()

    def seconds_since(self, earlier: "Mark") -> float:
        """The device's time from an earlier mark to this one; both must have passed."""
        if self._event is not None and earlier._event is not None:
            return float(earlier._event.elapsed_time(self._event)) / 1000
        return self._time - earlier._time


@dataclass(frozen=True)
class DeviceMemory:
    """Counters of a device's memory, in bytes."""

    allocated: int
    """In use by tensors of this process; 0 on a CPU without a budget, where nobody counts."""
    reserved: int
    """The same, and what the allocator keeps for later."""
    free: int
    """What a job could take now."""


class Device:
    """One device: a CUDA GPU, or the CPU with its main memory."""

    def __init__(
        self,
        name: str = "auto",
        dtype: Literal["auto", "float32", "bfloat16"] = "auto",
        memory_budget_bytes: int | None = None,
        vae_dtype: Literal["auto", "float32", "bfloat16"] = "auto",
    ) -> None:
        """All as in the settings.

        Raises:
            ValueError: there is no such device.
        """
        if name == "auto":
            name = "cuda:0" if torch.cuda.is_available() else "cpu"
        self.torch = torch.device(name)
        if self.is_cuda and not torch.cuda.is_available():
            raise ValueError(f"device {name!r} was asked for, but torch sees no CUDA device")
        if self.torch.type not in ("cpu", "cuda"):
            raise ValueError(f"device {name!r} is neither cpu nor cuda")
        self.dtype = self._fastest_dtype() if dtype == "auto" else getattr(torch, dtype)
        self.vae_dtype = getattr(torch, vae_dtype if vae_dtype != "auto" else "bfloat16" if self.is_cuda else "float32")
        """Precision of the autoencoder."""
        self._limit = memory_budget_bytes
        self.budget = None if self.is_cuda or memory_budget_bytes is None else MemoryBudget(memory_budget_bytes)
        """Who counts main memory; None on a GPU, whose allocator counts, and where nothing is limited."""
        if self.is_cuda and memory_budget_bytes is not None:
            total = int(torch.cuda.mem_get_info(self.torch)[1])
            torch.cuda.set_per_process_memory_fraction(min(1.0, memory_budget_bytes / total), self.torch)

    @property
    def is_cuda(self) -> bool:
        """True for a GPU."""
        return self.torch.type == "cuda"

    @property
    def dtype_bytes(self) -> int:
        """Bytes of a weight of transformer or text encoder."""
        return int(torch.empty(0, dtype=self.dtype).element_size())

    @property
    def vae_bytes(self) -> int:
        """Bytes of a number of the autoencoder."""
        return int(torch.empty(0, dtype=self.vae_dtype).element_size())

    @property
    def label(self) -> str:
        """Name for people, for example "NVIDIA H100 80GB HBM3" or "cpu"."""
        return torch.cuda.get_device_name(self.torch) if self.is_cuda else "cpu"

    @property
    def key(self) -> str:
        """Name under which measured speeds are kept."""
        threads = "" if self.is_cuda else f"x{torch.get_num_threads()}"
        return f"{self.label}{threads}|{str(self.dtype).removeprefix('torch.')}"

    def total_bytes(self) -> int:
        """Memory of the device, or as much of it as the budget allows."""
        return self._limited(int(torch.cuda.mem_get_info(self.torch)[1]) if self.is_cuda else _meminfo("MemTotal"))

    def free_bytes(self) -> int:
        """Memory that a job could take now: unused by anyone, or cached by our own allocator."""
        if not self.is_cuda:
            return self._limited(_meminfo("MemAvailable"), self.budget.live_bytes if self.budget else 0)
        used = int(torch.cuda.memory_allocated(self.torch))
        cached = int(torch.cuda.memory_reserved(self.torch)) - used
        return self._limited(int(torch.cuda.mem_get_info(self.torch)[0]) + cached, used)

    def memory(self) -> DeviceMemory:
        """The counters of the device's memory."""
        if self.is_cuda:
            allocated = int(torch.cuda.memory_allocated(self.torch))
            reserved = int(torch.cuda.memory_reserved(self.torch))
        else:
            allocated = reserved = self.budget.live_bytes if self.budget else 0
        return DeviceMemory(allocated, reserved, self.free_bytes())

    def available_bytes(self, resident_bytes: int) -> int:
        """Memory that a job could have once the device is its own; `resident_bytes` are weights loaded already."""
        if not self.is_cuda:
            return self._limited(_meminfo("MemAvailable") + resident_bytes)
        # All that our allocator holds is weights, caches, or activations of a job that will have ended by then.
        free = int(torch.cuda.mem_get_info(self.torch)[0])
        return self._limited(free + int(torch.cuda.memory_reserved(self.torch)))

    def counting(self) -> AbstractContextManager[object]:
        """Keeps the budget while it is entered; raises torch.OutOfMemoryError beyond it."""
        return self.budget or nullcontext()

    def count(self, tensors: Iterable[torch.Tensor]) -> None:
        """Counts tensors that are there already, so that the budget knows of them."""
        if self.budget is not None:
            self.budget.count(tensors)

    def check_room(self, more_bytes: int) -> None:
        """Raises torch.OutOfMemoryError if the budget has no room for so much more."""
        if self.budget is not None:
            self.budget.check_room(more_bytes)

    def free_caches(self) -> None:
        """Collects garbage, which takes a quarter of a second, and gives cached blocks back to the device."""
        gc.collect()
        if self.is_cuda:
            torch.cuda.empty_cache()

    def reset_peak(self) -> None:
        """Begins to measure the peak anew."""
        if self.is_cuda:
            torch.cuda.reset_peak_memory_stats(self.torch)
        elif self.budget is not None:
            self.budget.reset_peak()

    def peak_bytes(self) -> int:
        """Most memory in use since `reset_peak`; 0 on the CPU without a budget, which does not count it."""
        if self.is_cuda:
            return int(torch.cuda.max_memory_allocated(self.torch))
        return self.budget.peak_bytes if self.budget is not None else 0

    @property
    def lookahead(self) -> int:
        """Steps that may be queued behind the one that the device works on."""
        return 1 if self.is_cuda else 0

    def mark(self) -> Mark:
        """The end of all work that this thread has asked for so far."""
        return Mark(self.torch)

    def to_host(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor in main memory; on a GPU it is there once a mark set now has passed, and nothing waits."""
        if not self.is_cuda:
            return tensor
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        return host.copy_(tensor, non_blocking=True)

    def _limited(self, size: int, used: int = 0) -> int:
        return size if self._limit is None else max(0, min(size, self._limit - used))

    def _fastest_dtype(self) -> torch.dtype:
        """bf16 where the hardware multiplies it; elsewhere it is emulated, and slower than fp32."""
        if self.is_cuda:
            return torch.bfloat16
        flags = _cpu_flags()
        return torch.bfloat16 if flags & {"avx512_bf16", "amx_bf16"} else torch.float32


def usable_cores() -> int:
    """Cores that this process may use; hyper-threads count once, for they share the arithmetic units."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    siblings = set()
    for cpu in allowed:
        path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            siblings.add(path.read_text().strip())
        except OSError:
            siblings.add(str(cpu))
    return max(1, len(siblings))


def is_out_of_memory(error: BaseException) -> bool:
    """True for torch's out-of-memory errors, on a GPU or in main memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _NO_MEMORY_SIGNS)


def is_device_lost(error: BaseException) -> bool:
    """True for CUDA errors after which the process cannot use the device any more."""
    if is_out_of_memory(error):
        return False
    if isinstance(error, torch.AcceleratorError):
        return True
    return isinstance(error, RuntimeError) and str(error).startswith(_LOST_SIGNS)


def _meminfo(field: str) -> int:
    """A field of /proc/meminfo in bytes; 0 where there is none."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == field:
                return int(value.split()[0]) * 1024
    except OSError:
        return 0
    return 0


def _cpu_flags() -> set[str]:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("flags"):
                return set(line.partition(":")[2].split())
    except OSError:
        return set()
    return set()

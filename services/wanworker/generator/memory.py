"""A limit on the device's memory, set by the operator, and kept by failing as a full device does.

On a GPU the caching allocator keeps it itself (`torch.cuda.set_per_process_memory_fraction`). Main memory has no such
allocator: there every tensor is counted as it comes out of an operation, once for each storage, and counts until its
storage is freed. What a kernel allocates and frees inside of one operation is not seen.
"""

import threading
import weakref
from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class MemoryBudget(TorchDispatchMode):
    """Counts the bytes of live CPU tensors. While it is entered, going over the limit raises.

    To be entered by one thread at a time. Tensors that were counted once are uncounted when they die, entered or not.
    """

    def __init__(self, limit_bytes: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.limit_bytes = limit_bytes
        """Most bytes that may be alive."""
        self.live_bytes = 0
        """Bytes alive now, as far as they were seen."""
        self.peak_bytes = 0
        """Most bytes that were alive since `reset_peak`, those that broke the limit included."""
        self._seen: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        # Tensors may die in any thread, also in the middle of counting others.
        self._lock = threading.RLock()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs an operation, and counts what it was given and what it gives."""
        result = func(*args, **(kwargs or {}))
        # Arguments too: weights that were read from a file never came out of an operation.
        self.count(each for each in tree_iter((args, kwargs, result)) if isinstance(each, torch.Tensor))
        return result

    def count(self, tensors: Iterable[torch.Tensor]) -> None:
        """Counts those that are new.

        Raises:
            torch.OutOfMemoryError: they are too many.
        """
        for tensor in tensors:
            if tensor.device.type == "cpu" and tensor.layout is torch.strided:
                self._add(tensor.untyped_storage())
        if self.live_bytes > self.limit_bytes:
            raise self._exceeded(0)

    def check_room(self, more_bytes: int) -> None:
        """Raises torch.OutOfMemoryError if so much more would be too much."""
        if self.live_bytes + more_bytes > self.limit_bytes:
            self.peak_bytes = max(self.peak_bytes, self.live_bytes + more_bytes)
            raise self._exceeded(more_bytes)

    def reset_peak(self) -> None:
        """Begins to measure the peak anew."""
        self.peak_bytes = self.live_bytes

    def _add(self, storage: torch.UntypedStorage) -> None:
        # A storage has one Python object as long as it lives, and the address of its C++ side names it.
        name, size = storage._cdata, storage.nbytes()
        with self._lock:
            if name in self._seen:
                return
            self._seen[name] = weakref.ref(storage, partial(self._forget, name, size))
            self.live_bytes += size
            self.peak_bytes = max(self.peak_bytes, self.live_bytes)

    def _forget(self, name: int, size: int, reference: "weakref.ref[torch.UntypedStorage]") -> None:
        with self._lock:
            if self._seen.get(name) is reference:
                del self._seen[name]
            self.live_bytes -= size

    def _exceeded(self, more_bytes: int) -> torch.OutOfMemoryError:
        return torch.OutOfMemoryError(
            f"memory budget exceeded: {self.live_bytes} bytes are in use, {more_bytes} more were wanted, "
            f"{self.limit_bytes} are allowed"
        )

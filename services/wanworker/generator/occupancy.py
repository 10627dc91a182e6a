"""Which jobs the device holds at the moment, and whether their memory fits side by side.

A job that runs keeps its latents and embeddings for all of its time. On top come the activations of one denoising
step, since only one job computes one at a time, and those of one decode, if that may run beside the steps of others::

    weights + Σ resident + max(step) + max(decode)     decoding beside steps
    weights + Σ resident + max(step, decode)           decoding in a step's place
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from wanworker.generator.device import Device


@dataclass(frozen=True)
class Share:
    """What one job takes of the device's memory."""

    model: str
    """Whose weights."""
    weights: int
    """Bytes of all of the model's weights."""
    resident: int
    """Bytes from its first step to its decoding."""
    step: int
    """Bytes during its own steps, on top."""
    decode: int
    """Bytes during its decoding, on top."""


def side_by_side_bytes(shares: Iterable[Share], *, beside: bool) -> int:
    """Memory at the peak of several jobs; `beside`: whether one decodes while another denoises."""
    jobs = list(shares)
    weights = {job.model: job.weights for job in jobs}
    step, decode = max(job.step for job in jobs), max(job.decode for job in jobs)
    together = step + decode if beside else max(step, decode)
    return sum(weights.values()) + sum(job.resident for job in jobs) + together


class Occupant:
    """A running job."""

    def __init__(self, share: Share, device: Device) -> None:
        self.share = share
        """What it takes."""
        self.alone = True
        """False once another job ran at the same time: its times then say nothing about its work."""
        self.most_bytes = 0
        """Most device memory in use during the job, as far as earlier resets of the device's count go."""
        self._device = device

    @property
    def peak_bytes(self) -> int:
        """Most device memory in use during the job, by all that ran with it; 0 where the device does not count."""
        return max(self.most_bytes, self._device.peak_bytes())


class Occupancy:
    """The running jobs. Safe to use from several threads."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._jobs: list[Occupant] = []

    @contextmanager
    def running(self, share: Share) -> Iterator[Occupant]:
        """A job runs for as long as this is entered."""
        job = Occupant(share, self._device)
        with self._lock:
            # The device counts one peak for all: those who run keep theirs before it begins anew.
            for other in self._jobs:
                other.most_bytes = max(other.most_bytes, self._device.peak_bytes())
                other.alone = job.alone = False
            self._device.reset_peak()
            self._jobs.append(job)
        try:
            yield job
        finally:
            with self._lock:
                self._jobs.remove(job)

    def models(self) -> set[str]:
        """Models in use."""
        with self._lock:
            return {job.share.model for job in self._jobs}

    def decodes_beside(self, available_bytes: int) -> bool:
        """True if there is memory for one of the running jobs to decode while another denoises."""
        with self._lock:
            shares = [job.share for job in self._jobs]
        return len(shares) < 2 or side_by_side_bytes(shares, beside=True) <= available_bytes

"""Measurements over finished frames that grade a result without a model."""

import numpy as np
from numpy.typing import NDArray

from wanworker.generator.decoding import Frames
from wanworker.generator.request import FrameStatistics

_BT709 = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32) / 255


class FrameMeter:
    """Mean and deviation of BT.709 luma, and the change from frame to frame, of frames that come one by one."""

    def __init__(self) -> None:
        self._count = self._pixels = 0
        self._total = self._squares = self._differences = 0.0
        self._before: NDArray[np.uint8] | None = None

    def add(self, frame: NDArray[np.uint8]) -> None:
        """The next frame, rows × columns × RGB; it must not change before the one after it was added."""
        luma = frame.astype(np.float32) @ _BT709
        self._total += float(luma.sum(dtype=np.float64))
        self._squares += float(np.square(luma).sum(dtype=np.float64))
        if self._before is not None:
            change = np.maximum(frame, self._before) - np.minimum(frame, self._before)
            self._differences += int(change.sum(dtype=np.uint64)) / frame.size / 255
        self._before = frame
        self._count += 1
        self._pixels += luma.size

    def result(self) -> FrameStatistics:
        """Over all frames so far, which are one at least."""
        mean = self._total / self._pixels
        deviation = max(0.0, self._squares / self._pixels - mean**2) ** 0.5
        return FrameStatistics(mean, deviation, self._differences / max(1, self._count - 1))


def measure(frames: Frames) -> FrameStatistics:
    """Of frames that are all there."""
    meter = FrameMeter()
    for frame in frames:
        meter.add(frame)
    return meter.result()

"""Measurements over finished frames that grade a result without a model."""

import numpy as np

from wanworker.generator.decoding import Frames
from wanworker.generator.request import FrameStatistics

_BT709 = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32) / 255


def measure(frames: Frames) -> FrameStatistics:
    """Mean and deviation of BT.709 luma, and the change from frame to frame; one frame at a time spares memory."""
    total = squares = differences = 0.0
    for index, frame in enumerate(frames):
        luma = frame @ _BT709
        total += float(luma.sum(dtype=np.float64))
        squares += float(np.square(luma).sum(dtype=np.float64))
        if index:
            change = np.abs(frame.astype(np.int16) - frames[index - 1])
            differences += float(change.mean(dtype=np.float64)) / 255
    pixels = frames.shape[0] * frames.shape[1] * frames.shape[2]
    mean = total / pixels
    deviation = max(0.0, squares / pixels - mean**2) ** 0.5
    return FrameStatistics(mean, deviation, differences / max(1, len(frames) - 1))

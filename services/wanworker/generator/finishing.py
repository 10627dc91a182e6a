"""Frames to measurements and a file, in a thread of their own, while the device decodes those that follow.

The device's thread puts pieces in; few of them wait at a time, so that neither the host's memory fills nor the device
is asked for much more than it has done. All that the encoder opens, it opens and closes in its own thread.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from wanworker.generator.decoding import Frames, Piece
from wanworker.generator.muxing import EncoderOptions, FrameWriter, StillWriter, VideoWriter, crop_centre
from wanworker.generator.request import FrameStatistics, Order
from wanworker.generator.statistics import FrameMeter

_MOST_WAITING = 3


@dataclass(frozen=True)
class Finished:
    """What became of the frames."""

    file: bytes
    """The file."""
    statistics: FrameStatistics
    """Over what the file shows."""


class _StoppedError(Exception):
    """Nobody wants the file any more."""


class Finisher:
    """One job's frames, and the thread that makes a file of them. Leaving it stops the thread and waits for it."""

    def __init__(self, order: Order, encoder: EncoderOptions) -> None:
        settings = order.settings
        self.frames: Frames = np.empty((settings.frames, settings.height, settings.width, 3), dtype=np.uint8)
        """All frames, uncropped; complete after `finish`."""
        self._order = order
        self._encoder = encoder
        self._changed = threading.Condition()
        self._waiting: deque[Piece] = deque()
        self._complete = False  # no more pieces will come
        self._stopped = False
        self._over = False  # the thread makes nothing any more
        self._encoded = 0
        self._finished: Finished | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="finisher")

    def __enter__(self) -> Self:
        """Starts the thread."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stops the thread, within the encoding of one frame."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join()

    @property
    def failed(self) -> bool:
        """True once the frames could not be measured or encoded."""
        return self._error is not None

    def put(self, piece: Piece) -> None:
        """The next frames; waits while too many do. Raises what the thread failed with."""
        with self._changed:
            self._changed.wait_for(lambda: self._over or len(self._waiting) < _MOST_WAITING)
            if self._error is None:
                self._waiting.append(piece)
                self._changed.notify_all()
        if self._error is not None:
            raise self._error

    def finish(self, on_progress: Callable[[float], None]) -> Finished:
        """What became of the frames, all of which were put in. Raises what the thread failed with.

        `on_progress` hears, in the caller's thread, how much (0 to 1) was encoded of what was left to encode.
        """
        with self._changed:
            self._complete = True
            self._changed.notify_all()
            before = heard = self._encoded
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._over or self._encoded > heard)  # noqa: B023 - called at once
                heard, over = self._encoded, self._over
            if over:
                break
            on_progress((heard - before) / max(1, len(self.frames) - before))
        if self._finished is None:
            raise self._error or _StoppedError
        on_progress(1.0)
        return self._finished

    def _run(self) -> None:
        try:
            self._finished = self._work()
        except _StoppedError:
            pass
        except BaseException as error:  # for the job's thread to raise
            self._error = error
        finally:
            with self._changed:
                self._over = True
                self._waiting.clear()
                self._changed.notify_all()

    def _work(self) -> Finished:
        order, meter = self._order, FrameMeter()
        with self._writer() as writer:
            for frame in self._collect():
                (shown,) = crop_centre(frame[None], order.file_width, order.file_height)
                meter.add(shown)
                writer.add(shown)
            return Finished(writer.finish(), meter.result())

    def _writer(self) -> FrameWriter:
        order = self._order
        if order.settings.is_still:
            return StillWriter(order.format)
        return VideoWriter(order.file_width, order.file_height, order.settings.fps, self._encoder, self._on_packet)

    def _collect(self) -> Iterator[NDArray[np.uint8]]:
        """The frames as they come, each in its place among all, so that a piece's own memory is free for the next."""
        index = 0
        while (piece := self._take()) is not None:
            piece.ready.wait()
            for place in range(len(piece.frames)):
                self._checkpoint()
                self.frames[index] = piece.frames[place]
                yield self.frames[index]
                index += 1
            del piece
        if index != len(self.frames):
            raise ValueError(f"{index} frames were decoded of {len(self.frames)}")

    def _take(self) -> Piece | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._complete or self._stopped)
            if self._stopped:
                raise _StoppedError
            if not self._waiting:
                return None
            self._changed.notify_all()
            return self._waiting.popleft()

    def _on_packet(self) -> None:
        self._checkpoint()
        with self._changed:
            self._encoded += 1
            self._changed.notify_all()

    def _checkpoint(self) -> None:
        if self._stopped:
            raise _StoppedError

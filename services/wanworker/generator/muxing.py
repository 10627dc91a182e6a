"""Frames to a file: H.264 in MP4, PNG or WebP. The same frames give the same bytes."""

import io
import itertools
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol, Self

import av
import av.video
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from numpy.typing import NDArray
from PIL import Image

from wanworker.generator.decoding import Frames
from wanworker.generator.request import FileFormat

_WEBP_QUALITY = 90
# What x264 looks ahead is left to encode when the last frame was decoded: 12 frames, not its presets' 30 or 40.
# A clip of ours is one scene; without a search for scene cuts grain is not taken for some.
# x264's AVX-512 code of the macroblock tree reads memory that nobody wrote, so that the same frames became other files
# on CPUs that have it. cpu-independent has it take the plain C code instead, whose file is the same on any CPU.
_X264 = "rc-lookahead=12:scenecut=0:cpu-independent=1"


@dataclass(frozen=True)
class EncoderOptions:
    """How video is encoded."""

    crf: int = 18
    """x264's quality; lower is better."""
    preset: str = "faster"
    """x264's trade of time for size.

    Of four rendered 720p clips with a little grain, at the same crf, `faster` made files of 687 KB (PSNR 39.2 dB),
    `fast` of 815 KB (39.2 dB) in 1.4 times the time, `veryfast` of 1,196 KB (39.2 dB) in 0.75 of it.
    """
    threads: int = 2
    """x264's threads."""


def crop_centre(frames: Frames, width: int, height: int) -> Frames:
    """A view of the middle `width` × `height` of each frame."""
    top = (frames.shape[1] - height) // 2
    left = (frames.shape[2] - width) // 2
    return frames[:, top : top + height, left : left + width]


class FrameWriter(Protocol):
    """Takes frames (rows × columns × RGB) one by one, and gives a file. What it keeps on disk goes at exit."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...

    def add(self, frame: NDArray[np.uint8]) -> None:
        """The next frame."""

    def finish(self) -> bytes:
        """The file, once all frames were added."""


class StillWriter:
    """The last frame as PNG or WebP."""

    def __init__(self, file_format: FileFormat) -> None:
        self._format = file_format
        self._frame: NDArray[np.uint8] | None = None

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to do."""

    def add(self, frame: NDArray[np.uint8]) -> None:
        """The frame."""
        self._frame = frame

    def finish(self) -> bytes:
        """The file; raises ValueError without a frame."""
        if self._frame is None:
            raise ValueError("there is no frame to encode")
        return encode_still(self._frame[None], self._format)


class VideoWriter:
    """H.264 in MP4: yuv420p, BT.709, limited range, the index before the data.

    Moving the index to the front needs to read the file back, which FFmpeg does by name: hence a file on disk, in a
    folder that exists while this is entered. For one thread.
    """

    def __init__(
        self, width: int, height: int, fps: int, options: EncoderOptions, on_packet: Callable[[], None] = lambda: None
    ) -> None:
        """Width and height must be even. `on_packet` hears of each frame that was encoded; what it raises stops it."""
        self._size = width, height
        self._fps = fps
        self._options = options
        self._on_packet = on_packet
        self._count = 0
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        """Opens the file."""
        with ExitStack() as opened:
            folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="wanworker-"))
            self._path = Path(folder) / "video.mp4"
            self._container = av.open(str(self._path), "w", format="mp4", options=_container_options(self._fps))
            opened.enter_context(self._container)
            self._stream = _add_stream(self._container, self._size, self._fps, self._options)
            self._cleanup = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Removes the file."""
        self._cleanup.close()

    def add(self, frame: NDArray[np.uint8]) -> None:
        """The next frame; x264 looks ahead, so what comes out belongs to one 13 frames earlier."""
        self._encode(_to_yuv(frame, self._count, self._fps))
        self._count += 1

    def finish(self) -> bytes:
        """The file, once all frames were added."""
        self._encode(None)
        self._container.close()
        return self._path.read_bytes()

    def _encode(self, frame: av.VideoFrame | None) -> None:
        for packet in self._stream.encode_lazy(frame):
            packet.stream = self._stream
            self._container.mux(packet)
            self._on_packet()


def encode_still(frame: Frames, file_format: FileFormat) -> bytes:
    """One frame (1 × rows × columns × RGB) as PNG or WebP."""
    image = Image.fromarray(np.ascontiguousarray(frame[0]))
    buffer = io.BytesIO()
    if file_format is FileFormat.PNG:
        image.save(buffer, "PNG")
    else:
        image.save(buffer, "WEBP", quality=_WEBP_QUALITY, method=4)
    return buffer.getvalue()


def encode_video(frames: Frames, fps: int, options: EncoderOptions, on_frame: Callable[[float], None]) -> bytes:
    """Frames that are all there as `VideoWriter` writes them.

    `on_frame` hears how much is encoded (0 to 1); what it raises stops the encoder.
    """
    done = itertools.count(1)
    height, width = frames.shape[1:3]
    with VideoWriter(width, height, fps, options, lambda: on_frame(next(done) / len(frames))) as writer:
        for frame in frames:
            writer.add(frame)
        return writer.finish()


def _container_options(fps: int) -> dict[str, str]:
    # The default scale of a millisecond would cut the length of most clips short.
    return {"movflags": "+faststart", "movie_timescale": str(1000 * fps)}


def _add_stream(
    container: av.container.OutputContainer, size: tuple[int, int], fps: int, options: EncoderOptions
) -> av.video.stream.VideoStream:
    stream = container.add_stream("libx264", rate=Fraction(fps))
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    stream.time_base = Fraction(1, fps)
    stream.options = {"crf": str(options.crf), "preset": options.preset, "x264-params": _X264}
    context = stream.codec_context
    context.thread_count = options.threads
    context.color_range = ColorRange.MPEG
    context.colorspace = Colorspace.ITU709
    context.color_primaries = ColorPrimaries.BT709
    context.color_trc = ColorTrc.BT709
    return stream


def _to_yuv(pixels: NDArray[np.uint8], index: int, fps: int) -> av.VideoFrame:
    rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    frame = rgb.reformat(
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709,
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.MPEG,
    )
    frame.pts = index
    frame.time_base = Fraction(1, fps)
    return frame

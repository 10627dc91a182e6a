"""Frames to a file: H.264 in MP4, PNG or WebP. The same frames give the same bytes."""

import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.video
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from PIL import Image

from wanworker.generator.decoding import Frames
from wanworker.generator.request import FileFormat

_WEBP_QUALITY = 90


@dataclass(frozen=True)
class EncoderOptions:
    """How video is encoded."""

    crf: int = 18
    """x264's quality; lower is better."""
    preset: str = "medium"
    """x264's trade of time for size."""
    threads: int = 2
    """x264's threads."""


def crop_centre(frames: Frames, width: int, height: int) -> Frames:
    """A view of the middle `width` × `height` of each frame."""
    top = (frames.shape[1] - height) // 2
    left = (frames.shape[2] - width) // 2
    return frames[:, top : top + height, left : left + width]


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
    """H.264 in MP4: yuv420p, BT.709, limited range, the index before the data.

    `on_frame` hears how much is done (0 to 1); what it raises stops the encoder. Width and height must be even.
    Moving the index to the front needs to read the file back, which FFmpeg does by name: hence a file on disk.
    """
    with tempfile.TemporaryDirectory(prefix="wanworker-") as folder:
        path = Path(folder) / "video.mp4"
        with av.open(str(path), "w", format="mp4", options=_container_options(fps)) as container:
            stream = _add_stream(container, frames, fps, options)
            for index, pixels in enumerate(frames):
                for packet in stream.encode(_to_yuv(pixels, index, fps)):
                    container.mux(packet)
                on_frame((index + 1) / len(frames))
            for packet in stream.encode():
                container.mux(packet)
        return path.read_bytes()


def _container_options(fps: int) -> dict[str, str]:
    # The default scale of a millisecond would cut the length of most clips short.
    return {"movflags": "+faststart", "movie_timescale": str(1000 * fps)}


def _add_stream(
    container: av.container.OutputContainer, frames: Frames, fps: int, options: EncoderOptions
) -> av.video.stream.VideoStream:
    stream = container.add_stream("libx264", rate=Fraction(fps))
    stream.height, stream.width = frames.shape[1:3]
    stream.pix_fmt = "yuv420p"
    stream.time_base = Fraction(1, fps)
    stream.options = {"crf": str(options.crf), "preset": options.preset}
    context = stream.codec_context
    context.thread_count = options.threads
    context.color_range = ColorRange.MPEG
    context.colorspace = Colorspace.ITU709
    context.color_primaries = ColorPrimaries.BT709
    context.color_trc = ColorTrc.BT709
    return stream


def _to_yuv(pixels: Frames, index: int, fps: int) -> av.VideoFrame:
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

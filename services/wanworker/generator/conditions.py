"""The pictures that a video is to begin or end with, or to show: untrusted bytes to pictures that a pipeline takes."""

import io
from dataclasses import dataclass

import av
import av.error
from PIL import Image

from wanworker.generator.errors import bad_reference_image
from wanworker.generator.reference_image import fit_to, read_image, read_reference_image
from wanworker.generator.request import Order

_GIVEN_FRAMES = 17
_UNKNOWN = (128, 128, 128)
_MOST_FRAMES = 1025


@dataclass(frozen=True, eq=False)
class Conditions:
    """Pictures, decoded. All but the subjects have exactly the frame's size."""

    first: Image.Image | None = None
    """The first frame."""
    last: Image.Image | None = None
    """The last frame."""
    subjects: tuple[Image.Image, ...] = ()
    """What is to be shown."""
    clip: tuple[Image.Image, ...] = ()
    """The first frames, 4k + 1 of them: the end of the clip that is gone on from."""


def read_conditions(order: Order, max_pixels: int) -> Conditions:
    """The order's pictures.

    Raises:
        InvalidArgumentError: BAD_REFERENCE_IMAGE, with the field at fault.
    """
    width, height = order.settings.width, order.settings.height

    def frame(data: bytes | None, field: str) -> Image.Image | None:
        return None if data is None else read_reference_image(data, width, height, max_pixels, field)

    subjects = tuple(
        read_image(data, max_pixels, f"subject_images[{index}]") for index, data in enumerate(order.subject_images)
    )
    clip = () if order.extended_clip is None else _read_end(order.extended_clip, order, max_pixels)
    return Conditions(
        frame(order.reference_image, "reference_image"), frame(order.last_frame, "last_frame"), subjects, clip
    )


def control_video(conditions: Conditions, order_frames: int, size: tuple[int, int]) -> dict[str, list[Image.Image]]:
    """What VACE takes: `video` with the given frames in place and grey elsewhere, `mask` white where it is to paint.

    Raises:
        ValueError: a given frame has another size; the pipeline would take that silently and make a smaller video.
    """
    given = dict(enumerate(conditions.clip))
    if conditions.first is not None:
        given[0] = conditions.first
    if conditions.last is not None:
        given[order_frames - 1] = conditions.last
    for picture in given.values():
        if picture.size != size:
            raise ValueError(f"a given frame of {picture.size} does not fit frames of {size}")
    unknown, black, white = Image.new("RGB", size, _UNKNOWN), Image.new("L", size, 0), Image.new("L", size, 255)
    return {
        "video": [given.get(index, unknown) for index in range(order_frames)],
        "mask": [black if index in given else white for index in range(order_frames)],
    }


def _read_end(data: bytes, order: Order, max_pixels: int) -> tuple[Image.Image, ...]:
    """The last 4k + 1 frames of a clip, `_GIVEN_FRAMES` at most, and at least four fewer than the order's."""
    kept: list[Image.Image] = []
    size = (order.settings.width, order.settings.height)
    most = min(_GIVEN_FRAMES, order.settings.frames - 4)
    try:
        with av.open(io.BytesIO(data), "r", format="mp4") as container:
            stream = container.streams.video[0]
            if stream.codec_context.width * stream.codec_context.height > max_pixels:
                raise bad_reference_image(f"its frames have more than {max_pixels} pixels", "extended_clip")
            for index, frame in enumerate(container.decode(stream)):
                if index >= _MOST_FRAMES:
                    raise bad_reference_image(f"it has more than {_MOST_FRAMES} frames", "extended_clip")
                kept.append(fit_to(Image.fromarray(frame.to_ndarray(format="rgb24")), size))
                del kept[:-most]
    except (av.error.FFmpegError, IndexError, ValueError, OSError) as error:
        raise bad_reference_image(f"it is no MP4 that can be read ({error})", "extended_clip") from error
    if not kept:
        raise bad_reference_image("it has no frames", "extended_clip")
    whole = (len(kept) - 1) // 4 * 4 + 1
    return tuple(kept[-whole:])

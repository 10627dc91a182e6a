"""Whether an order makes sense for its model and file, before it costs anything.

The proto's rules have looked at single fields already; here is what depends on the model or on two fields at once.
"""

from wanworker.generator.errors import bad_field, unsupported
from wanworker.generator.registry import Capability, ModelRow, capable_models, find_row
from wanworker.generator.request import FileFormat, Order, Settings


def needed_capability(order: Order) -> Capability:
    """What the order asks its model for."""
    if order.reference_image is not None:
        return Capability.IMAGE_TO_VIDEO
    return Capability.TEXT_TO_IMAGE if order.settings.is_still else Capability.TEXT_TO_VIDEO


def check_settings(settings: Settings) -> ModelRow:
    """The model's row, if it can do that size and length.

    Raises:
        InvalidArgumentError: MODEL_UNKNOWN, UNSUPPORTED for a model that cannot do anything, BAD_FIELD.
    """
    row = find_row(settings.model)
    if not row.capabilities:
        raise unsupported(row.name, "anything yet", "settings.model", capable_models(Capability.TEXT_TO_VIDEO))
    if settings.frames > row.max_frames:
        raise bad_field("settings.frames", f"{settings.frames} is more than the {row.max_frames} of {row.name!r}")
    for name, value in (("width", settings.width), ("height", settings.height)):
        if value % row.size_multiple:
            raise bad_field(
                f"settings.{name}", f"{value} is not a multiple of {row.size_multiple}, as {row.name!r} needs"
            )
    return row


def check_order(order: Order) -> ModelRow:
    """The model's row, if the order can be served.

    Raises:
        InvalidArgumentError: as `check_settings`; also UNSUPPORTED, and BAD_FIELD for format and crop.
    """
    row = check_settings(order.settings)
    _check_format(order)
    _check_crop(order)
    capability = needed_capability(order)
    if order.reference_image is not None and order.settings.is_still:
        raise bad_field("reference_image", "a still has no frame but the first; ask for a video or drop the image")
    if capability not in row.capabilities:
        raise unsupported(row.name, capability.noun, capability.field, capable_models(capability))
    return row


def _check_format(order: Order) -> None:
    is_video_file = order.format is FileFormat.MP4
    if is_video_file == order.settings.is_still:
        fitting = "PNG or WebP" if order.settings.is_still else "MP4"
        raise bad_field("format", f"{order.settings.frames} frame(s) make {fitting}, not {order.format.name}")


def _check_crop(order: Order) -> None:
    pairs = (
        ("crop_width", order.crop_width, order.settings.width),
        ("crop_height", order.crop_height, order.settings.height),
    )
    for name, crop, full in pairs:
        if crop is None:
            continue
        if crop > full:
            raise bad_field(name, f"{crop} is more than the {full} that are generated")
        if crop % 2 and order.format is FileFormat.MP4:
            raise bad_field(name, f"{crop} is odd; H.264 in yuv420p needs even sizes")

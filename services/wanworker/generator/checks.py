"""Whether an order makes sense for its model and file, before it costs anything.

The proto's rules have looked at single fields already; here is what depends on the model or on two fields at once.
"""

from wanworker.generator.errors import bad_field, unsupported
from wanworker.generator.registry import Capability, ModelRow, PipelineKind, capable_models, find_row
from wanworker.generator.request import FileFormat, Order, Settings


def needed_capabilities(order: Order) -> list[Capability]:
    """What the order asks its model for; the one to name in a refusal comes first."""
    given = {
        Capability.EXTEND_CLIP: order.extended_clip,
        Capability.LAST_FRAME: order.last_frame,
        Capability.SUBJECT_IMAGES: order.subject_images,
        Capability.IMAGE_TO_VIDEO: order.reference_image,
    }
    needed = [capability for capability, value in given.items() if value]
    if order.settings.is_still:
        return [*needed, Capability.TEXT_TO_IMAGE]
    return needed or [Capability.TEXT_TO_VIDEO]


def check_settings(settings: Settings) -> ModelRow:
    """The model's row, if it can do that size and length.

    Raises:
        InvalidArgumentError: MODEL_UNKNOWN, BAD_FIELD.
    """
    row = find_row(settings.model)
    if settings.speed.cache_threshold is not None and row.kind is PipelineKind.CONTROL:
        raise bad_field("settings.speed.step_cache_threshold", f"{row.name!r} has control blocks that it does not know")
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
    _check_pictures(order)
    needed = needed_capabilities(order)
    for capability in needed:
        if capability not in row.capabilities:
            raise unsupported(row.name, capability.noun, capability.field, capable_models(*needed))
    return row


def _check_pictures(order: Order) -> None:
    still = order.settings.is_still
    for name in ("reference_image", "last_frame", "extended_clip"):
        if still and getattr(order, name) is not None:
            raise bad_field(name, "a still has no frame but the first; ask for a video or drop it")
    if order.extended_clip is not None and order.reference_image is not None:
        raise bad_field("extended_clip", "the clip's end is the beginning already; drop reference_image")
    if order.last_frame is not None and order.reference_image is None and order.extended_clip is None:
        raise bad_field("last_frame", "it goes with reference_image or extended_clip")
    # Each takes the place of a latent frame in the mask, and the pipeline crashes when there are too few to take.
    most = (order.settings.frames - 1) // 4 + 1
    if len(order.subject_images) > most:
        frames = order.settings.frames
        raise bad_field("subject_images", f"{len(order.subject_images)} are more than the {most} for {frames} frame(s)")


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

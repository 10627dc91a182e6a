"""The reference image: untrusted bytes to a picture of exactly the frame's size."""

import io
import warnings

from PIL import Image, ImageOps, UnidentifiedImageError

from wanworker.generator.errors import bad_reference_image

_FORMATS = ("PNG", "JPEG", "WEBP")


def read_reference_image(
    data: bytes, width: int, height: int, max_pixels: int, field: str = "reference_image"
) -> Image.Image:
    """The image turned upright (EXIF), on white where transparent, scaled and centre-cropped to width × height, RGB.

    Raises:
        InvalidArgumentError: BAD_REFERENCE_IMAGE: no PNG, JPEG or WebP, damaged, or more than `max_pixels`.
    """
    return fit_to(read_image(data, max_pixels, field), (width, height))


def fit_to(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The image scaled and centre-cropped."""
    return ImageOps.fit(image, size, Image.Resampling.LANCZOS)


def read_image(data: bytes, max_pixels: int, field: str) -> Image.Image:
    """The same at its own size."""
    try:
        with warnings.catch_warnings():
            # Pillow only warns about moderately huge images; the limit here is ours, checked before a pixel is
            # decoded.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=_FORMATS)
            if image.width * image.height > max_pixels:
                raise bad_reference_image(f"{image.width}×{image.height} is more than {max_pixels} pixels", field)
            return _opaque(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        raise bad_reference_image("it is no PNG, JPEG or WebP", field) from None
    except Image.DecompressionBombError as error:
        raise bad_reference_image(str(error), field) from None
    # Pillow's decoders raise all of these on damaged files.
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, MemoryError) as error:
        raise bad_reference_image(f"it is damaged ({type(error).__name__}: {error})", field) from error


def _opaque(image: Image.Image) -> Image.Image:
    if image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")

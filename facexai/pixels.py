"""Pixels: photographs and aligned faces as arrays (H, W, 3) of uint8, before any network sees them.

Source: template and warp of ArcFace (Deng et al., 2019); Umeyama, "Least-squares estimation of transformation
parameters between two point patterns" (1991).
"""

import io
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from facexai.errors import InputError

Size = int | tuple[int, int]

CROP_SIZE = 112
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""ArcFace template at 112 pixels: right eye, left eye, nose, right and left mouth corner. Shape (5, 2)."""

SMALLEST_SIDE = 16
NEUTRAL_GREY = 128


# Loading


def load_pixels(
    source: str | Path | Image.Image | np.ndarray | bytes, name: str = "", *, size: Size | None = None
) -> np.ndarray:
    """Load a photo as `facexai.load_image` does, as pixels. Shape (H, W, 3), uint8.

    Args:
        source: a file, a PIL image, an array, or the bytes of an encoded image.
        name: what messages call it, where it is no file.
        size: side that an aligned face must have, or its (H, W); crops of 112 x 112 pass too, others are refused before
            their pixels are decoded.

    Raises:
        InputError: see `load_image`.
    """
    name = name or source_name(source)
    pixels = _read_pixels(source, name, size)
    height, width = pixels.shape[:2]
    if min(height, width) < SMALLEST_SIDE:
        raise InputError(
            f"{name} is {width}x{height} pixels; a photo needs at least {SMALLEST_SIDE} a side. Use a larger one."
        )
    return pixels


def _read_pixels(
    source: str | Path | Image.Image | np.ndarray | bytes, name: str, size: Size | None = None
) -> np.ndarray:
    """RGB pixels of a file, PIL image, array or encoded image. Shape (H, W, 3), uint8.

    Pillow's own bound on the size in the header counts (`PIL.Image.MAX_IMAGE_PIXELS`, 89 megapixels).
    """
    if isinstance(source, np.ndarray):
        source = Image.fromarray(_array_to_uint8(source))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            if isinstance(source, Image.Image):
                return _rgb_pixels(source)
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as picture:
                if size is not None and picture.size[::-1] not in (crop_size(size), (CROP_SIZE, CROP_SIZE)):
                    (width, height), (rows, columns) = picture.size, crop_size(size)
                    raise InputError(
                        f"{name} must be an aligned face of {columns} x {rows} pixels; it has {width} x {height}. "
                        "Use align_face."
                    )
                return _rgb_pixels(picture)
        except (InputError, MemoryError):
            raise
        # Decoders of broken files raise almost anything: OSError, SyntaxError, ValueError, EOFError, struct.error ...
        except Exception as error:
            raise InputError(f"{name} {_what_is_wrong(error)}") from error


def _what_is_wrong(error: Exception) -> str:
    """Why Pillow did not read a file, and the way out."""
    match error:
        case FileNotFoundError():
            return "does not exist; give the path of a photo"
        case IsADirectoryError():
            return "is a folder; give the path of one photo in it"
        case PermissionError():
            return "may not be read; check its permissions"
        case UnidentifiedImageError():
            return "is not an image that can be read; give a JPEG, PNG, WebP or TIFF file"
        case Image.DecompressionBombError() | Image.DecompressionBombWarning():
            size = str(error).partition(",")[0].removeprefix("Image ")
            return f"is too large to open safely: {size}; shrink it first"
        case _:
            reason = " ".join(str(error).split()) or type(error).__name__
            return f"is damaged or incomplete ({reason}); save or copy it again"


def _rgb_pixels(picture: Image.Image) -> np.ndarray:
    upright = ImageOps.exif_transpose(picture)
    if upright.mode[0] in "IF":  # I, I;16, I;16B, F
        return _deep_grey_to_uint8(np.asarray(upright))
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        background = Image.new("RGBA", layer.size, (NEUTRAL_GREY,) * 3 + (255,))
        upright = Image.alpha_composite(background, layer)
    return np.asarray(upright.convert("RGB"))


def _deep_grey_to_uint8(levels: np.ndarray) -> np.ndarray:
    """Grey of more than 8 bits, which Pillow's own conversion would clip at 255. Shape (H, W) -> (H, W, 3)."""
    if not np.isfinite(levels).all():
        raise InputError("image must be finite; it holds NaN or infinite values. Repair the file first.")
    brightest = levels.max()
    white = 65535 if levels.dtype.itemsize == 2 else next(w for w in (1, 255, 65535, brightest) if brightest <= w)
    grey = (levels.astype(np.float64).clip(0) / white * 255).round().astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _array_to_uint8(array: np.ndarray) -> np.ndarray:
    """Pixels of an array as uint8, single channels without their axis."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if (array.ndim != 2 and not (array.ndim == 3 and array.shape[2] in (3, 4))) or array.size == 0:
        raise InputError(f"an array must have shape (H, W) or (H, W, 1 | 3 | 4); got {array.shape}. Move colour last.")
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype == np.uint16:
        return (array / 257).round().astype(np.uint8)
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"an array must be uint8, uint16 or float; got {array.dtype}. Use array.astype('uint8').")
    if not np.isfinite(array).all():
        raise InputError("image must be finite; the array holds NaN or infinite values. Use numpy.nan_to_num.")
    if array.min() < 0 or array.max() > 1:
        span = f"[{array.min():.2f}, {array.max():.2f}]"
        raise InputError(f"an array of floats must lie in [0, 1]; got {span}. Pass 0..255 as uint8.")
    return (array * 255).round().astype(np.uint8)


def source_name(source: object) -> str:
    """How a message names what was given."""
    return str(source) if isinstance(source, str | Path) else "the image"


# Alignment


def similarity_transform(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Rotation, scale and shift that move `source` onto `target` with least squared error; never a reflection.

    Args:
        source: points (x, y). Shape (K, 2).
        target: where they should go. Shape (K, 2).

    Returns:
        `matrix` with `target ~ source @ matrix[:, :2].T + matrix[:, 2]`. Shape (2, 3).

    Raises:
        InputError: points that are not finite or all in one place.

    Source: Umeyama (1991), eqs. (34)-(43).
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    variance = ((source - source_mean) ** 2).sum(axis=1).mean()
    if not (np.isfinite(source).all() and np.isfinite(target).all()) or variance < 1e-12:
        raise InputError("landmarks must be finite and not all in one place; check them on the photo.")
    covariance = (target - target_mean).T @ (source - source_mean) / len(source)  # (2, 2)
    left, singular, right = np.linalg.svd(covariance)
    signs = np.array([1.0, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    rotation = left @ np.diag(signs) @ right
    scale = (singular * signs).sum() / variance
    return np.column_stack([scale * rotation, target_mean - scale * rotation @ source_mean])


def crop_size(size: Size) -> tuple[int, int]:
    """(H, W) of a crop; one number is a square."""
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def template(size: Size = CROP_SIZE) -> np.ndarray:
    """Where the five points lie in a crop: the template grows with its height and stays in its middle. Shape (5, 2).

    At 112 x 96 this is the template of SphereFace and of the first ArcFace crops, that at 112 less 8 pixels of x.
    """
    height, width = crop_size(size)
    return TEMPLATE * height / CROP_SIZE + [(width - height) / 2, 0]


def fit_crops(pixels: np.ndarray, size: Size) -> np.ndarray:
    """Aligned crops of 112 x 112 as a network of another input size takes them.

    The height is brought to H; of the width, the middle is kept, or black is added on both sides: the five points come
    to lie where `align_face` puts them.

    Args:
        pixels: RGB, or RGB and a label. Shape (..., 112, 112, 3 | 4), uint8; crops of the wanted size stay as they are.
        size: (H, W), or one number for a square.

    Returns:
        Shape (..., H, W, 3 | 4), uint8.

    Raises:
        InputError: crops of a third size.
    """
    height, width = crop_size(size)
    if pixels.shape[-3:-1] == (height, width):
        return pixels
    if pixels.shape[-3:-1] != (CROP_SIZE, CROP_SIZE):
        rows, columns = pixels.shape[-3:-1]
        raise InputError(
            f"aligned faces must be {CROP_SIZE} x {CROP_SIZE} pixels, or {height} x {width} as the network takes them; "
            f"got {rows} x {columns}. Use align_face."
        )
    crops = pixels.reshape(-1, *pixels.shape[-3:])
    fitted = np.zeros((len(crops), height, width, crops.shape[-1]), np.uint8)
    kept = min(height, width)
    source, target = slice((height - kept) // 2, (height + kept) // 2), slice((width - kept) // 2, (width + kept) // 2)
    colours = cv2.INTER_AREA if height < CROP_SIZE else cv2.INTER_LINEAR
    for crop, out in zip(crops, fitted, strict=True):
        for channels, interpolation in ((slice(0, 3), colours), (slice(3, None), cv2.INTER_NEAREST)):
            part = np.ascontiguousarray(crop[..., channels])
            if part.shape[-1]:
                resized = cv2.resize(part, (height, height), interpolation=interpolation)
                out[:, target, channels] = resized.reshape(height, height, -1)[:, source]
    return fitted.reshape(*pixels.shape[:-3], *fitted.shape[1:])

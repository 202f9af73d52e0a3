"""Maps laid over faces, as plain pixel arrays: the one place that turns signed saliency into colours.

Only numpy and Pillow: the report, the figures and the explorers all start here, so one colour means one thing
everywhere. Similarity is blue-green, dissimilarity orange, the discriminative map violet; the three hues differ for
colour-blind readers and in print, and the face below is grey so that a hue is never the face's own.
"""

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image
from torch import Tensor

from facexai.errors import InputError
from facexai.images import to_uint8
from facexai.pairs import Saliency

# A map value v in [0, 1] colours a pixel with alpha = v ** POWER; of the colour, the share OPAQUE covers the face and
# the rest multiplies it, so that features stay readable under full colour. The explorers get the same two numbers.
POWER, OPAQUE = 0.85, 0.35
_LUMINANCE = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Tint:
    """How one of the three maps is shown.

    Args:
        name: attribute of `Saliency`.
        colour: RGB of the strongest value, 0-255.
        meaning: what a coloured pixel says, for legends.
    """

    name: str
    colour: tuple[int, int, int]
    meaning: str

    @property
    def css(self) -> str:
        """The colour as `#rrggbb`."""
        return "#{:02x}{:02x}{:02x}".format(*self.colour)


TINTS = {
    tint.name: tint
    for tint in (
        Tint("similarity", (0, 122, 138), "raises the score"),
        Tint("dissimilarity", (214, 79, 0), "lowers the score"),
        Tint("discriminative", (88, 56, 168), "matters, either way"),
    )
}


def tint(name: str) -> Tint:
    """The tint of a map.

    Raises:
        InputError: a map that `Saliency` does not have.
    """
    if name not in TINTS:
        raise InputError(f"unknown map '{name}'; choose from {', '.join(TINTS)}")
    return TINTS[name]


def scale_of(saliency: Saliency) -> float:
    """The largest |H| on either face: the common full scale of all maps of a pair (1.0 for maps that are zero)."""
    return float(saliency.signed.abs().max()) or 1.0


def method_name(saliency: Saliency) -> str:
    """The method without its options, for captions."""
    return saliency.method.partition("(")[0]


def pixels(image: Tensor | np.ndarray) -> np.ndarray:
    """Pixels for display, of a tensor (3, H, W) in [-1, 1] or of an array that is uint8 (H, W, 3) already."""
    return image if isinstance(image, np.ndarray) else to_uint8(image)


def overlay(
    image: np.ndarray, values: np.ndarray, name: str = "similarity", *, limit: float, enlarge: int = 1
) -> np.ndarray:
    """A map in its tint over the face in grey.

    Args:
        image: the face, uint8 RGB. Shape (H, W, 3).
        values: map, >= 0. Shape (H, W).
        name: which map it is; gives the colour.
        limit: value of full colour; larger values stay at full colour.
        enlarge: whole-number magnification, by smooth interpolation.

    Returns:
        uint8 RGB. Shape (H * enlarge, W * enlarge, 3).
    """
    face = resize(image, enlarge)
    strength = (_enlarge_map(np.asarray(values, dtype=np.float32), enlarge) / limit).clip(0, 1)
    return np.rint(blend(grey(face), strength, tint(name).colour)).astype(np.uint8)


def blend(face: np.ndarray, strength: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Mix a colour into a grey face.

    Args:
        face: grey levels, 0-255. Shape (H, W).
        strength: 0 leaves the face, 1 is full colour. Shape (H, W).
        colour: RGB, 0-255.

    Returns:
        RGB, 0-255, float. Shape (H, W, 3).
    """
    hue = np.asarray(colour, dtype=np.float64)
    face = face[..., None]
    coloured = OPAQUE * hue + (1 - OPAQUE) * hue * face / 255
    alpha = strength[..., None] ** POWER
    return (face * (1 - alpha) + coloured * alpha).clip(0, 255)


def grey(image: np.ndarray) -> np.ndarray:
    """Luminance lifted towards white, so that a tint laid over it stays bright. Shape (H, W), 0-255."""
    return 100 + (image @ _LUMINANCE) * (155 / 255)


def colour_bar(name: str, width: int = 128, height: int = 1) -> np.ndarray:
    """The tint from 0 (left) to full colour (right), as it looks on a light face. Shape (height, width, 3), uint8."""
    strength = np.broadcast_to(np.linspace(0, 1, width), (height, width))
    return np.rint(blend(np.full((height, width), 235.0), strength, tint(name).colour)).astype(np.uint8)


def resize(image: np.ndarray, enlarge: int) -> np.ndarray:
    """The image magnified by a whole number with Lanczos interpolation."""
    if enlarge == 1:
        return image
    height, width = image.shape[:2]
    return np.asarray(Image.fromarray(image).resize((width * enlarge, height * enlarge), Image.Resampling.LANCZOS))


def png(image: np.ndarray) -> bytes:
    """The image as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def data_uri(image: np.ndarray, *, lossless: bool = True) -> str:
    """The image as a `data:` address that a page can hold in place of a file.

    Args:
        image: uint8 RGB. Shape (H, W, 3).
        lossless: PNG; False gives WebP at quality 92, a quarter of the size and the same to the eye.
    """
    if lossless:
        return "data:image/png;base64," + base64.b64encode(png(image)).decode()
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="WEBP", quality=92, method=6)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _enlarge_map(values: np.ndarray, enlarge: int) -> np.ndarray:
    if enlarge == 1:
        return values
    height, width = values.shape
    size = (width * enlarge, height * enlarge)
    return np.asarray(Image.fromarray(values, mode="F").resize(size, Image.Resampling.BICUBIC)).clip(min=0)

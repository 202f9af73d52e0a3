"""Images: load a photo as RGB in [-1, 1], and align a face to the five-point template.

`load_image` is the one door: whatever comes in, float32 (3, H, W) in [-1, 1] goes on. `facexai.detection` finds the
five points.

Source: template and warp of ArcFace (Deng et al., 2019).
"""

from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from facexai.errors import InputError
from facexai.pairs import check_image
from facexai.pixels import CROP_SIZE, TEMPLATE, Size, crop_size, load_pixels, similarity_transform, template

ImageSource = str | Path | Image.Image | np.ndarray | Tensor


# Loading


def load_image(source: ImageSource) -> Tensor:
    """Load a photo as RGB in [-1, 1], upright and without transparency.

    The EXIF orientation is applied; grey, 16-bit, palette and CMYK pictures become RGB; transparent parts show a
    neutral grey; of an animation the first frame counts.

    Args:
        source: a file, a PIL image, an array (H, W), (H, W, 1 | 3 | 4) of uint8, uint16 or floats in [0, 1], or a
            tensor (3, H, W) that is in [-1, 1] already.

    Returns:
        The image. Shape (3, H, W), float32.

    Raises:
        InputError: a file that is missing, damaged, no image or too large; a side below 16 pixels; values out of range.
    """
    if isinstance(source, Tensor):
        check_image(source, "image")
        return source.float()
    return from_uint8(load_pixels(source))


def from_uint8(pixels: np.ndarray) -> Tensor:
    """Pixels (H, W, 3) uint8 to an image (3, H, W) float32 in [-1, 1]."""
    channels_first = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    return torch.from_numpy(channels_first).float().div_(127.5).sub_(1)


def to_uint8(image: Tensor) -> np.ndarray:
    """Image (3, H, W) in [-1, 1] to pixels (H, W, 3) uint8; values outside the range are clipped."""
    levels = image.detach().float().add(1).mul(127.5).round().clamp(0, 255)
    return np.ascontiguousarray(levels.to(torch.uint8).permute(1, 2, 0).cpu().numpy())


# Alignment


def align_face(image: Tensor, landmarks: np.ndarray, size: Size = CROP_SIZE) -> Tensor:
    """Warp a face so that its landmarks come to lie on the ArcFace template; black where the photo ends.

    Args:
        image: photo in [-1, 1]. Shape (3, H, W).
        landmarks: right eye, left eye, nose, right and left mouth corner, (x, y) in pixels; right is the person's
            right. Shape (5, 2).
        size: side of the crop in pixels, or its (H, W); see `template`.

    Returns:
        The crop in [-1, 1]. Shape (3, H, W), float32.

    Raises:
        InputError: an image or landmarks that cannot be used.

    Deviations: a face more than twice as large as the crop is first shrunk by area averaging; the plain bilinear warp
        would skip pixels and turn skin and hair into noise.
    """
    check_image(image, "image")
    landmarks = np.asarray(landmarks, np.float64)
    if landmarks.shape != TEMPLATE.shape:
        raise InputError(f"landmarks must be five points of shape (5, 2); got {landmarks.shape}. Use detect_face.")
    pixels = image.detach().float().permute(1, 2, 0).cpu().numpy()  # (H, W, 3)
    height, width = crop_size(size)
    target = template(size)
    matrix = similarity_transform(landmarks, target)
    scale = np.sqrt(np.linalg.det(matrix[:, :2]))
    if scale < 0.5:
        pixels, landmarks = _shrink(pixels, landmarks, 2 * scale)
        matrix = similarity_transform(landmarks, target)
    crop = cv2.warpAffine(np.ascontiguousarray(pixels), matrix, (width, height), borderValue=(-1.0, -1.0, -1.0))
    return torch.from_numpy(crop).permute(2, 0, 1).contiguous()


def _shrink(pixels: np.ndarray, points: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Smaller copy by area averaging, and where the points lie on it (pixel centres are at whole numbers)."""
    size = np.array(pixels.shape[1::-1])  # width, height
    small_size = np.maximum(np.round(size * factor), 1).astype(int)
    small = cv2.resize(pixels, tuple(small_size.tolist()), interpolation=cv2.INTER_AREA)
    return small, (points + 0.5) * small_size / size - 0.5

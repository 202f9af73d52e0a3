"""Face detection: from a photo to the five points that align it.

`load_face` goes all the way from a photo to the aligned crop that a network takes.

Source: YuNet (Wu, Peng, Yu, "YuNet: a tiny millisecond-level face detector", 2023), run by OpenCV.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from torch import Tensor

from facexai.cache import cache_folder
from facexai.errors import InputError
from facexai.images import ImageSource, align_face, from_uint8, load_image, to_uint8
from facexai.pairs import check_image
from facexai.pixels import CROP_SIZE, Size, crop_size, fit_crops, source_name

Faces = Literal["one", "largest"]

DETECTOR_VARIABLE = "FACEXAI_YUNET"
HOW_TO_GET_THE_DETECTOR = (
    "Download face_detection_yunet_2026may.onnx (0.2 MB) from the OpenCV Zoo (github.com/opencv/opencv_zoo, "
    "models/face_detection_yunet; trained by libfacedetection.train), put it there or name it in "
    f"{DETECTOR_VARIABLE}; aligned 112x112 crops work without it (--no-align, align=False)."
)

# YuNet is trained on faces of 10 to 300 pixels. On larger ones it misses the face or finds several inside it, so the
# photo is shrunk well below that first; only where nothing is found do a finer and a coarser look follow.
DETECTION_SIDES = (480, 960, 240)


@dataclass(frozen=True, eq=False)
class Detection:
    """One face in a photo.

    Args:
        box: left, top, width, height in pixels. Shape (4,).
        landmarks: right eye, left eye, nose, right and left mouth corner, (x, y) in pixels; right is the person's
            right, on the left of an upright photo. Shape (5, 2).
        score: confidence of the detector, 0 to 1.
    """

    box: np.ndarray
    landmarks: np.ndarray
    score: float

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        return float(self.box[2] * self.box[3])


def detect_faces(image: Tensor, *, model_file: str | Path | None = None, score: float = 0.6) -> list[Detection]:
    """Find every face of a photo with YuNet, the largest first.

    Args:
        image: photo in [-1, 1], upright. Shape (3, H, W).
        model_file: YuNet's ONNX file; None looks it up with `find_detector_model`.
        score: least confidence that counts as a face.

    Returns:
        The faces; none is an empty list.

    Raises:
        InputError: no model file, a file that is no YuNet model, or an image that cannot be used.

    Deviations: large photos are searched on a smaller copy (see `DETECTION_SIDES`); landmarks are those of the photo.
    """
    check_image(image, "image")
    detector = _create_detector(find_detector_model(model_file), score)
    pixels = np.ascontiguousarray(to_uint8(image)[..., ::-1])  # BGR
    for side in DETECTION_SIDES:
        if faces := _detect_at(detector, pixels, side):
            return sorted(faces, key=lambda face: face.area, reverse=True)
    return []


def detect_face(
    image: Tensor, *, model_file: str | Path | None = None, score: float = 0.6, faces: Faces = "one"
) -> Detection:
    """Find the face of a photo with YuNet.

    Args:
        image: photo in [-1, 1], upright. Shape (3, H, W).
        model_file: YuNet's ONNX file; None looks it up with `find_detector_model`.
        score: least confidence that counts as a face.
        faces: `"one"` refuses a photo with several faces, `"largest"` takes the largest of them.

    Returns:
        The face.

    Raises:
        InputError: no face, several faces, or what `detect_faces` raises.
    """
    return _choose_face(detect_faces(image, model_file=model_file, score=score), faces, "the image")


def load_face(
    source: ImageSource,
    *,
    align: bool = True,
    faces: Faces = "one",
    model_file: str | Path | None = None,
    size: Size = CROP_SIZE,
) -> Tensor:
    """Load a photo, find its face and align it.

    Args:
        source: whatever `load_image` takes.
        align: False where `source` is an aligned crop already, of `size` or of 112 x 112, which is then brought to it.
        faces: `"one"` refuses a photo with several faces, `"largest"` takes the largest of them.
        model_file: YuNet's ONNX file; None looks it up with `find_detector_model`.
        size: side of the crop in pixels, or its (H, W): the network's `input_size`.

    Returns:
        The aligned face in [-1, 1]. Shape (3, H, W).

    Raises:
        InputError: a photo or model file that cannot be used, no face, several faces, a crop of another size.
    """
    image = load_image(source)
    if align:
        found = _choose_face(detect_faces(image, model_file=model_file), faces, source_name(source))
        return align_face(image, found.landmarks, size)
    wanted = crop_size(size)
    if image.shape[1:] == wanted:
        return image
    if image.shape[1:] != (CROP_SIZE, CROP_SIZE):
        height, width = image.shape[1:]
        sizes = " or ".join(dict.fromkeys(f"{rows}x{columns}" for columns, rows in (wanted, (CROP_SIZE, CROP_SIZE))))
        raise InputError(
            f"without alignment a face must be a {sizes} crop; {source_name(source)} is {width}x{height}. "
            "Leave out --no-align (align=False) to find and align the face."
        )
    return from_uint8(fit_crops(to_uint8(image), wanted))


def find_detector_model(model_file: str | Path | None = None) -> Path:
    """YuNet's model file: the argument, else `FACEXAI_YUNET`, else `*yunet*.onnx` in the cache folder.

    Raises:
        InputError: none is there; the message says where to get it and where to put it.
    """
    named = model_file or os.environ.get(DETECTOR_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise InputError(f"no face detector at {named}. {HOW_TO_GET_THE_DETECTOR}")
        return Path(named)
    cached = sorted(cache_folder().glob("*yunet*.onnx"))
    if not cached:
        raise InputError(f"finding a face needs YuNet's model file in {cache_folder()}. {HOW_TO_GET_THE_DETECTOR}")
    return cached[-1]


def _create_detector(model_file: Path, score: float) -> cv2.FaceDetectorYN:
    with _quiet_opencv():
        try:
            return cv2.FaceDetectorYN.create(str(model_file), "", (320, 320), score, 0.3, 50)
        except cv2.error as error:
            raise InputError(f"{model_file} is not a YuNet model. {HOW_TO_GET_THE_DETECTOR}") from error


def _detect_at(detector: cv2.FaceDetectorYN, pixels: np.ndarray, side: int) -> list[Detection]:
    """Faces found on a copy whose longer side is at most `side`, in pixels of the original."""
    size = np.array(pixels.shape[1::-1])  # width, height
    small_size = np.maximum(np.round(size * min(1.0, side / size.max())), 1).astype(int)
    small = cv2.resize(pixels, tuple(small_size.tolist()), interpolation=cv2.INTER_AREA)
    detector.setInputSize(tuple(small_size.tolist()))
    with _quiet_opencv():
        _, rows = detector.detect(small)  # (K, 15): box, points, score
    zoom = size / small_size
    return [
        Detection(row[:4] * np.tile(zoom, 2), (row[4:14].reshape(5, 2) + 0.5) * zoom - 0.5, float(row[14]))
        for row in (np.empty((0, 15)) if rows is None else rows.astype(np.float64))
    ]


def _choose_face(found: list[Detection], faces: Faces, name: str) -> Detection:
    """The only face, or the largest where that was asked for; `found` has the largest first."""
    if not found:
        raise InputError(
            f"no face found in {name}; use a photo with a larger, better visible face, or an aligned crop with "
            "--no-align (align=False)."
        )
    if len(found) > 1 and faces == "one":
        raise InputError(
            f"one face is needed and {name} has {len(found)}; crop the photo, or take the largest with "
            '--largest-face (faces="largest").'
        )
    return found[0]


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """OpenCV 5 warns of its own graph engine on each model; only its errors are for people."""
    logging = cv2.utils.logging
    level = logging.getLogLevel()
    logging.setLogLevel(min(level, logging.LOG_LEVEL_SILENT))
    try:
        yield
    finally:
        logging.setLogLevel(level)

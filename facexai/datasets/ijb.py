"""IJB-B and IJB-C, 1:1: loosely cropped images with landmarks, templates and pairs of these, as insightface has them.

Source: insightface, `recognition/arcface_torch/eval_ijbc.py`, for the names and columns of the files and the alignment.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from facexai.datasets.folders import Images, find_inside, images_digest
from facexai.datasets.numbers import read_numbers
from facexai.errors import InputError
from facexai.pixels import CROP_SIZE, TEMPLATE, load_pixels, similarity_transform
from facexai.weights import file_digest


@dataclass(frozen=True)
class TemplateSet:
    """Images, the templates that they form, and pairs of templates.

    Args:
        name: of the protocol.
        images: M aligned faces.
        quality: score of the detector for each. Shape (M,).
        template: number of the template that each belongs to, 0, 1, ... Shape (M,).
        media: number of the photo or video that each comes from. Shape (M,).
        probe, gallery: templates of each pair. Shape (P,).
        genuine: one identity or two. Shape (P,), bool.
        rendered: whether the faces are rendered; reports say so.
        source: names of the files that list the pairs, and the sha256 of each.
    """

    name: str
    images: Images
    quality: np.ndarray
    template: np.ndarray
    media: np.ndarray
    probe: np.ndarray
    gallery: np.ndarray
    genuine: np.ndarray
    rendered: bool = False
    source: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def images_sha256(self) -> str:
        """sha256 of the images, in their order."""
        return images_digest(self.images)

    def digests(self) -> dict[str, str]:
        """sha256 of the images, in their order, and of the images with templates and pairs."""
        images = self.images_sha256
        whole = hashlib.sha256(images.encode())
        for numbers in (self.template, self.media, self.probe, self.gallery, self.genuine):
            whole.update(np.ascontiguousarray(numbers, "<i8").tobytes())
        return {"images_sha256": images, "pairs_sha256": whole.hexdigest()}


class LooseCrops:
    """Images that are aligned as they are read.

    Args:
        images: paths, or loaded images (M, H, W, 3) uint8.
        landmarks: five points of each, in the order of `TEMPLATE`, (x, y) in pixels. Shape (M, 5, 2).

    Deviations: none from insightface's alignment: large faces are not shrunk first, as `align_face` does.
    """

    def __init__(self, images: Sequence[Path] | np.ndarray, landmarks: np.ndarray) -> None:
        self.images, self.landmarks = images, landmarks

    def __len__(self) -> int:
        return len(self.landmarks)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        """Aligned faces. Shape (len(indices), 112, 112, 3), uint8."""
        with ThreadPoolExecutor(8) as pool:
            return np.stack(list(pool.map(self._aligned, indices)))

    def payloads(self, indices: np.ndarray) -> list[bytes]:
        """What is hashed of each image: the file or the pixels, and the landmarks."""
        contents = (self.images[index] for index in indices)
        raw = [content.read_bytes() if isinstance(content, Path) else content.tobytes() for content in contents]
        return [content + self.landmarks[index].tobytes() for content, index in zip(raw, indices, strict=True)]

    def _aligned(self, index: int) -> np.ndarray:
        pixels = load_pixels(self.images[index])
        matrix = similarity_transform(self.landmarks[index], TEMPLATE)
        return cv2.warpAffine(pixels, matrix, (CROP_SIZE, CROP_SIZE), borderValue=0)


def read_ijb(root: Path, release: str) -> TemplateSet:
    """The set in `root`, with `meta` and `loose_crop` below it.

    Args:
        root: the folder.
        release: `"ijbb"` or `"ijbc"`, with which the names of the files begin.

    Raises:
        InputError: a missing or damaged file, an image without template or landmarks, a pair without template.
    """
    meta = root / "meta"
    faces = meta / f"{release}_face_tid_mid.txt"
    pairs = meta / f"{release}_template_pair_label.txt"
    points = meta / f"{release}_name_5pts_score.txt"
    rows = _fields(faces, 3, "name template media")
    found = {name: numbers for name, *numbers in _fields(points, 12, "name x1 y1 ... x5 y5 score")}
    lacking = next((name for name, *_ in rows if name not in found), None)
    if lacking is not None:
        raise InputError(f"{points} has no landmarks of {lacking}, which {faces.name} names; copy both again")
    measured = np.array([_floats(found[name], points) for name, *_ in rows])
    template, media = np.array([_wholes(numbers, faces) for _, *numbers in rows]).T
    known, template = np.unique(template, return_inverse=True)
    listed = read_numbers(pairs, 3, "template template label")
    places = np.searchsorted(known, listed[:, :2]).clip(max=len(known) - 1)
    unknown = listed[:, :2][known[places] != listed[:, :2]]
    if len(unknown) or not np.isin(listed[:, 2], (0, 1)).all():
        what = f"names template {unknown[0]}, which has no images" if len(unknown) else "has labels that are not 0 or 1"
        raise InputError(f"{pairs} {what}; copy it again, together with {faces.name}")
    paths = [find_inside(root / "loose_crop", name, faces) for name, *_ in rows]
    return TemplateSet(
        release,
        LooseCrops(paths, measured[:, :10].reshape(-1, 5, 2)),
        measured[:, 10],
        template,
        media,
        places[:, 0],
        places[:, 1],
        listed[:, 2] == 1,
        source={file.name: file_digest(file) for file in (faces, pairs, points)},
    )


def _fields(file: Path, columns: int, form: str) -> list[list[str]]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(
            f"cannot read {file}: {error.strerror}; give the folder that holds meta and loose_crop"
        ) from None
    except UnicodeDecodeError:
        raise InputError(f"{file} is no text; copy or download it again") from None
    rows = [line.split() for line in lines if line.strip()]
    wrong = next((number for number, row in enumerate(rows, 1) if len(row) != columns), None if rows else 1)
    if wrong is not None:
        raise InputError(f"{file} line {wrong}: must be '{form}'; copy or download it again")
    return rows


def _floats(texts: Sequence[str], file: Path) -> list[float]:
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        numbers = [math.nan]
    if not all(map(math.isfinite, numbers)):
        raise InputError(f"{file}: landmarks and scores must be finite numbers; got '{' '.join(texts)[:80]}'")
    return numbers


def _wholes(texts: Sequence[str], file: Path) -> list[int]:
    if not all(text.isascii() and text.isdigit() and len(text) < 16 for text in texts):
        raise InputError(f"{file}: templates and media must be whole numbers; got '{' '.join(texts)[:80]}'")
    return [int(text) for text in texts]

"""BinPack: insightface's `.bin` packs of pairs, read without running the pickle that they are.

Source: insightface, `recognition/arcface_torch/eval/verification.py`: `(images, same)`, 2 P encoded images of which
2 i and 2 i + 1 are pair i, and P booleans.

Deviations: an image that occurs in several pairs is kept and embedded once. Images of another size than 112 x 112 are
refused, where insightface shrinks them.
"""

import os
import struct
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facexai.datasets.folders import decode_faces
from facexai.datasets.pickles import Span, StoredArray, read_pickle
from facexai.errors import InputError
from facexai.pixels import CROP_SIZE, Size

WHAT = "a .bin pack holds a list of 2 P encoded images and a list of P booleans"
IMAGES, LABELS = {"u1", "i1", "B", "b", "uint8"}, {"b1": 1, "?": 1, "u1": 1, "i1": 1, "i4": 4, "i8": 8}
BLOCK = 1000


class BinPack:
    """The images of a pack; memory holds where they lie, and the images that are asked for.

    Args:
        file: the pack.
        size: side of the images in pixels, or their (H, W); crops of 112 x 112 are brought to it.

    Attributes:
        probe, gallery: positions of the two images of each pair. Shape (P,).
        genuine: one identity or two. Shape (P,), bool.

    Raises:
        InputError: no pack, a damaged one, or one that calls for anything but byte strings and arrays.
    """

    def __init__(self, file: str | Path, size: Size = CROP_SIZE) -> None:
        self.file, self.size = Path(file), size
        images, same = self._parts(read_pickle(self.file))
        spans = [self._image(number, image) for number, image in enumerate(images)]
        self.genuine = self._labels(same)
        if len(spans) != 2 * len(self.genuine) or not spans:
            raise InputError(f"{self.file} holds {len(spans)} images and {len(self.genuine)} labels; {WHAT}")
        first: dict[bytes, int] = {}
        places = np.array([first.setdefault(span.digest, len(first)) for span in spans])
        self.probe, self.gallery = places[::2], places[1::2]
        _, once = np.unique(places, return_index=True)
        kept = [spans[number] for number in once]
        self._start = np.array([span.start for span in kept])
        self._length = np.array([span.length for span in kept])
        self._latin = np.array([span.latin for span in kept])

    def __len__(self) -> int:
        return len(self._start)

    def __getitem__(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Images at `indices`. Shape (len(indices), H, W, 3), uint8."""
        names = [f"image {index} of {self.file}" for index in indices]
        return decode_faces(self.payloads(indices), names, self.size)

    def payloads(self, indices: Sequence[int] | np.ndarray) -> list[bytes]:
        """Images at `indices`, encoded as they are in the pack."""
        with open(self.file, "rb") as handle:
            return [
                Span(int(self._start[i]), int(self._length[i]), bool(self._latin[i]), b"", None).read(handle)
                for i in indices
            ]

    def _parts(self, content: Any) -> tuple[list[Any], Any]:
        match content:
            case (list() as images, same) | [list() as images, same]:
                return images, same
        raise InputError(f"{self.file} holds something else than pairs of images; {WHAT}")

    def _image(self, number: int, image: Any) -> Span:
        if isinstance(image, StoredArray) and image.dtype in IMAGES:
            image = image.data
        if not isinstance(image, Span):
            raise InputError(f"{self.file}: image {number} is no encoded image; {WHAT}")
        return image

    def _labels(self, same: Any) -> np.ndarray:
        if isinstance(same, StoredArray) and same.dtype in LABELS and same.data is not None:
            with open(self.file, "rb") as handle:
                raw, width = same.data.read(handle), LABELS[same.dtype]
            if len(raw) % width == 0:
                same = np.frombuffer(raw, np.uint8).reshape(-1, width).any(1).tolist()
        if not isinstance(same, list | tuple) or not all(isinstance(label, int) and 0 <= label <= 1 for label in same):
            raise InputError(f"{self.file}: the labels are no list of booleans; {WHAT}")
        return np.array(same, bool)


def write_bin_pack(file: str | Path, payloads: Iterable[bytes], genuine: Sequence[bool] | np.ndarray) -> Path:
    """Write a pack that insightface reads too; the images go through one by one.

    Args:
        file: to be written, under a temporary name until it is whole.
        payloads: 2 P encoded images, pair by pair.
        genuine: P booleans.

    Raises:
        InputError: another number of images.
    """
    file, count = Path(file), 0
    number, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(number, "wb") as handle:
            handle.write(b"\x80\x03](")  # protocol 3, a list
            for count, payload in enumerate(payloads, 1):
                handle.write(b"B" + struct.pack("<I", len(payload)) + payload)
                if count % BLOCK == 0:
                    handle.write(b"e(")
            handle.write(b"e](" + b"".join(b"\x88" if same else b"\x89" for same in genuine) + b"e\x86.")
        if count != 2 * len(genuine):
            raise InputError(f"a pack of {len(genuine)} pairs needs {2 * len(genuine)} images; got {count}")
        os.chmod(temporary, 0o644)
        os.replace(temporary, file)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return file

"""RecordFaces: training faces in a RecordIO file, MS1M style.

Source: insightface, `recognition/arcface_torch/dataset.py`: record 0 has two labels, where the images end and where the
records of the identities end; each of these has two labels, its first image and the one after its last.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facexai.datasets.folders import IdentityFolder, decode_faces
from facexai.datasets.recordio import RecordFile, unpack
from facexai.errors import InputError
from facexai.pixels import CROP_SIZE, Size


class RecordFaces:
    """Aligned faces in a `.rec` file, read as they are asked for.

    Args:
        file: the `.rec` file; the index lies beside it.
        size: side of the images in pixels, or their (H, W); crops of 112 x 112 are brought to it.

    Attributes:
        keys: of the images' records. Shape (N,).
        identity: label of each image, 0, 1, ... without gaps. Shape (N,), int64.

    Raises:
        InputError: a missing or damaged file, or fewer than two identities.
    """

    def __init__(self, file: str | Path, size: Size = CROP_SIZE) -> None:
        self.records, self.size = RecordFile(file), size
        self.keys, labels = self._labelled()
        if not np.isfinite(labels).all():
            raise InputError(f"{file} holds labels that are no numbers; give a file packed for face recognition")
        known, self.identity = np.unique(labels, return_inverse=True)
        if len(known) < 2:
            raise InputError(f"{file} must hold images of at least two identities; found {len(known)}")

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Images at `indices`. Shape (len(indices), H, W, 3), uint8."""
        names = [f"record {key} of {self.records.file}" for key in self.keys[indices]]
        return decode_faces(self.payloads(indices), names, self.size)

    def payloads(self, indices: Sequence[int] | np.ndarray) -> list[bytes]:
        """Images at `indices`, encoded as they are in the file."""
        keys = self.keys[indices]
        records = self.records.read(keys)
        return [unpack(record, f"record {key}")[1] for key, record in zip(keys, records, strict=True)]

    def _labelled(self) -> tuple[np.ndarray, np.ndarray]:
        """Keys of the images, and the label in the header of each."""
        keys = self.records.keys
        head, _ = unpack(self.records.read(keys[:1])[0], f"record {keys[0]} of {self.records.file}")
        if keys[0] != 0 or len(head) < 2:
            return keys, self.records.labels(keys)[:, 0]
        end, last = head[:2]
        images = keys[(keys > 0) & (keys < end)]
        ranges = self.records.labels(keys[(keys >= end) & (keys < last)], 2)  # (identities, 2)
        # Files of many gigabytes: only the first image of each identity is asked for its label.
        if len(ranges) and np.array_equal(ranges[1:, 0], ranges[:-1, 1]) and (ranges[:, 0] < ranges[:, 1]).all():
            first = ranges[:, 0].astype(np.int64)
            if ranges[0, 0] == 1 and ranges[-1, 1] == end and len(images) == end - 1:
                counts = (ranges[:, 1] - ranges[:, 0]).astype(np.int64)
                return images, np.repeat(self.records.labels(first)[:, 0], counts)
        return images, self.records.labels(images)[:, 0]


def identity_faces(path: str | Path, size: Size = CROP_SIZE) -> IdentityFolder | RecordFaces:
    """A training set where it lies: a folder of identity folders, a `.rec` file, or a folder with `train.rec`."""
    path = Path(path)
    if path.suffix == ".rec":
        return RecordFaces(path, size)
    packed = path / "train.rec"
    return RecordFaces(packed, size) if packed.is_file() else IdentityFolder(path, size)

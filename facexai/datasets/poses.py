"""PoseFolder: the user's own faces with known poses."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facexai.datasets.folders import find_inside, load_faces
from facexai.errors import InputError
from facexai.pixels import CROP_SIZE, Size

ANGLES = ("yaw", "pitch", "roll")
LIMIT = 99.0  # degrees; the bins of HopeNet reach no further
COLUMNS = "the columns name,yaw,pitch,roll and, where they are known, identity"


class PoseFolder:
    """Faces in a folder, and a CSV that says how each is turned.

    Args:
        root: the folder.
        file: CSV with the columns `name` (of the image, relative to `root`), `yaw`, `pitch`, `roll` (in degrees, with
            the signs of `Pose`, as one sees them in the crop) and, optional, `identity`.
        size: side of the images in pixels, or their (H, W).

    Attributes:
        paths: the images, in the order of the CSV.
        poses: yaw, pitch, roll of each. Shape (N, 3), float32.
        identity: label of each; without the column everyone is somebody else. Shape (N,), int64.

    Raises:
        InputError: a missing file, column or image, or an angle that is no number within +-99 degrees.
    """

    def __init__(self, root: str | Path, file: str | Path, size: Size = CROP_SIZE) -> None:
        self.root, self.size = Path(root), size
        file = Path(file)
        rows = _rows(file)
        self.paths = [find_inside(self.root, row["name"], file) for row in rows]
        self.poses = np.array([_angles(row, line, file) for line, row in enumerate(rows, start=2)], np.float32)
        people = [row.get("identity") or f"row {number}" for number, row in enumerate(rows)]
        self.identity = np.unique(people, return_inverse=True)[1]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Images at `indices`. Shape (len(indices), H, W, 3), uint8."""
        return load_faces([self.paths[index] for index in indices], self.size)


def _rows(file: Path) -> list[dict[str, str]]:
    try:
        with open(file, newline="", encoding="utf-8") as handle:
            reader = csv.DictReader(handle)
            rows = list(reader)
    except OSError as error:
        raise InputError(f"cannot read the pose file {file}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error):
        raise InputError(f"{file} is not a CSV text file; give one with {COLUMNS}") from None
    missing = [name for name in ("name", *ANGLES) if name not in (reader.fieldnames or [])]
    if missing or not rows:
        what = f"lacks the column(s) {', '.join(missing)}" if missing else "has no poses"
        raise InputError(f"{file} {what}; a pose file has {COLUMNS}")
    return rows


def _angles(row: dict[str, str], line: int, file: Path) -> list[float]:
    return [_angle(row[name], name, line, file) for name in ANGLES]


def _angle(text: str | None, name: str, line: int, file: Path) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not abs(value) <= LIMIT:
        raise InputError(
            f"{file} line {line}: {name} must be a number within +-{LIMIT:g} degrees; got '{text or ''}'. "
            "Correct the line or leave it out"
        )
    return value

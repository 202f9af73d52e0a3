"""PoseFolder: the user's own faces with known poses."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facexai.datasets.folders import find_inside, load_faces, read_rows
from facexai.errors import InputError
from facexai.pixels import CROP_SIZE, Size

ANGLES = ("yaw", "pitch", "roll")
LIMIT = 99.0  # degrees; the bins of HopeNet reach no further


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
        columns = ("name", *ANGLES)
        rows = read_rows(file, columns, kind="pose file", holds="poses", also="where they are known, identity")
        self.paths = [find_inside(self.root, row["name"], file) for row in rows]
        self.poses = np.array([_angles(row, line, file) for line, row in enumerate(rows, start=2)], np.float32)
        people = [row.get("identity") or f"row {number}" for number, row in enumerate(rows)]
        self.identity = np.unique(people, return_inverse=True)[1]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Images at `indices`. Shape (len(indices), H, W, 3), uint8."""
        return load_faces([self.paths[index] for index in indices], self.size)


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

"""Faces on disk: one folder an identity, and lists of pairs."""

import csv
import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm import tqdm

from facexai.errors import InputError
from facexai.pixels import CROP_SIZE, Size, fit_crops, load_pixels

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
PAIR_COLUMNS = ("name1", "name2", "same")
SAME = {"1": True, "true": True, "0": False, "false": False}


class Images(Protocol):
    """Aligned faces, uint8, indexable by an array of positions."""

    def __len__(self) -> int: ...
    def __getitem__(self, indices: np.ndarray, /) -> np.ndarray: ...


class IdentityFolder:
    """Aligned faces as `root/NAME/IMAGE.jpg`: the layout of every public training set once unpacked.

    Args:
        root: folder of identity folders.
        size: side of the images in pixels, or their (H, W); crops of 112 x 112 are brought to it.

    Attributes:
        paths: all images, in the order of their names.
        identity: label of each. Shape (N,), int64.
    """

    def __init__(self, root: str | Path, size: Size = CROP_SIZE) -> None:
        self.root, self.size = Path(root), size
        if not self.root.is_dir():
            raise InputError(f"no folder {self.root}; give a folder that holds one folder of images for each identity")
        people = sorted(folder for folder in self.root.iterdir() if folder.is_dir())
        found = [(path, label) for label, folder in enumerate(people) for path in _images(folder)]
        if len({label for _, label in found}) < 2:
            raise InputError(f"{self.root} must hold at least two folders with images; found {len(people)} folder(s)")
        self.paths = [path for path, _ in found]
        self.identity = np.array([label for _, label in found])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Images at `indices`. Shape (len(indices), H, W, 3), uint8."""
        return load_faces([self.paths[index] for index in indices], self.size)


class ImageFolder:
    """All aligned faces in a folder and in those below it, whoever they show.

    Args:
        root: the folder; links to other folders are followed.
        size: side of the images in pixels, or their (H, W); crops of 112 x 112 are brought to it.

    Attributes:
        paths: all images, in the order of their names.
    """

    def __init__(self, root: str | Path, size: Size = CROP_SIZE) -> None:
        self.root, self.size = Path(root), size
        if not self.root.is_dir():
            raise InputError(f"no folder {self.root}; give a folder of aligned faces")
        folders = [Path(folder) for folder, _, _ in os.walk(self.root, followlinks=True)]
        self.paths = sorted(path for folder in folders for path in _images(folder))
        if not self.paths:
            raise InputError(f"{self.root} holds no images; known are {', '.join(sorted(SUFFIXES))}")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Images at `indices`. Shape (len(indices), H, W, 3), uint8."""
        return load_faces([self.paths[index] for index in indices], self.size)


class FittedImages:
    """Aligned crops of 112 x 112 as a network of another input size takes them; each is fitted when it is asked for.

    Args:
        images: M crops (112, 112, 3), uint8.
        size: (H, W) in pixels.
    """

    def __init__(self, images: np.ndarray, size: Size) -> None:
        self.images, self.size = images, size

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Images at `indices`. Shape (len(indices), H, W, 3), uint8."""
        return fit_crops(np.asarray(self.images[indices]), self.size)


def load_faces(paths: Sequence[Path], size: Size = CROP_SIZE) -> np.ndarray:
    """Aligned faces from files, read by eight threads.

    Args:
        paths: the files.
        size: side of the faces in pixels, or their (H, W); crops of 112 x 112 are brought to it.

    Returns:
        Shape (N, H, W, 3), uint8.
    """
    with ThreadPoolExecutor(8) as pool:
        return np.stack(list(pool.map(lambda path: _load_face(path, size), paths)))


def faces_at(images: np.ndarray | Sequence[Path] | Images, rows: np.ndarray, size: Size = CROP_SIZE) -> np.ndarray:
    """Faces at these positions of an array, of a list of files, or of what reads its own. Shape (N, H, W, 3), uint8."""
    if isinstance(images, Sequence):
        return load_faces([images[row] for row in rows], size)
    return fit_crops(np.array(images[rows]), size)


def image_bytes(images: np.ndarray | Sequence[Path] | Images, rows: np.ndarray) -> list[bytes]:
    """The images at these positions as they are stored: files, entries of a pack, or plain pixels."""
    if isinstance(images, Sequence):
        return [images[row].read_bytes() for row in rows]
    if hasattr(images, "payloads"):
        return images.payloads(rows)  # type: ignore[union-attr]
    return [face.tobytes() for face in images[rows]]


def images_digest(images: np.ndarray | Sequence[Path] | Images) -> str:
    """sha256 of the sha256 of each image: one for the same images in the same order, wherever they are stored."""
    whole = hashlib.sha256()
    for row in tqdm(range(len(images)), desc="hashing", unit="image", disable=None, delay=2):
        for content in image_bytes(images, np.array([row])):
            whole.update(hashlib.sha256(content).digest())
    return whole.hexdigest()


def decode_faces(payloads: Sequence[bytes], names: Sequence[str], size: Size = CROP_SIZE) -> np.ndarray:
    """Aligned faces from encoded images, by eight threads. Shape (N, H, W, 3), uint8."""
    with ThreadPoolExecutor(8) as pool:
        return np.stack(list(pool.map(lambda payload, name: _load_face(payload, size, name), payloads, names)))


def _load_face(source: Path | bytes, size: Size, name: str = "") -> np.ndarray:
    return fit_crops(load_pixels(source, name, size=size), size)


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


@dataclass(frozen=True)
class PairList:
    """Pairs of image files, read from a CSV with the columns `name1,name2,same` and, where there are folds, `fold`.

    Attributes:
        paths: every image that occurs, once, in the order of the pairs.
        probe, gallery: indices into `paths`. Shape (P,).
        genuine: one identity or two. Shape (P,), bool.
        fold: number of the fold. Shape (P,), int64. Without the column: ten folds of equal size, in the file's order.
        identity: label of the person on each image, where the folders tell: genuine pairs lie in one folder of `root`,
            impostor pairs in two. Shape (len(paths),).
        files: that list the pairs.
    """

    paths: list[Path]
    probe: np.ndarray
    gallery: np.ndarray
    genuine: np.ndarray
    fold: np.ndarray
    identity: np.ndarray | None = None
    files: tuple[Path, ...] = ()

    @classmethod
    def read(cls, file: str | Path, root: str | Path) -> "PairList":
        """Read a pair list whose names are relative to `root`.

        Raises:
            InputError: a missing file or column, a value that is neither same nor different, a name outside `root`, an
                image that is not there, fewer than two folds.
        """
        file, root = Path(file), Path(root)
        rows = read_rows(file, PAIR_COLUMNS, kind="pair list", holds="pairs", also="where there are folds, fold")
        names = [(row["name1"], row["name2"]) for row in rows]
        genuine = np.array([_same(row, line, file) for line, row in enumerate(rows, start=2)])
        return cls.of_names(names, genuine, _folds(rows, file), root, [file])

    @classmethod
    def of_names(
        cls,
        names: Sequence[tuple[str, str]],
        genuine: np.ndarray,
        fold: np.ndarray,
        root: Path,
        files: Sequence[Path],
        person: Callable[[str], str] | None = None,
    ) -> "PairList":
        """A list from the names of the two images of each pair.

        Args:
            names: relative to `root`.
            genuine: one identity or two. Shape (P,), bool.
            fold: number of the fold. Shape (P,).
            root: folder of the images.
            files: that list the pairs; messages blame the last one.
            person: who is on the image of a name; else the first folder of the name tells.

        Raises:
            InputError: see `read`.
        """
        index = {name: position for position, name in enumerate(dict.fromkeys(name for pair in names for name in pair))}
        paths = [find_inside(root, name, files[-1]) for name in index]
        if len(np.unique(fold)) < 2:
            raise InputError(
                f"{files[-1]} must have pairs in at least two folds; a threshold is found on the other folds"
            )
        probe, gallery = np.array([[index[first], index[second]] for first, second in names]).T
        _, label = np.unique([(person or _first_folder)(name) for name in index], return_inverse=True)
        told = np.array_equal(label[probe] == label[gallery], genuine)
        return cls(paths, probe, gallery, genuine, fold, label if told else None, tuple(files))


def _first_folder(name: str) -> str:
    return Path(name).parts[0]


def read_rows(file: Path, columns: Sequence[str], *, kind: str, holds: str, also: str) -> list[dict[str, str]]:
    """The lines of a CSV file with a head.

    Args:
        file: to be read.
        columns: that it must have.
        kind: what messages call such a file.
        holds: what they call its lines.
        also: what they say of a column that it may have.

    Raises:
        InputError: no such file, no CSV, a column that is missing, or no lines.
    """
    described = f"the columns {','.join(columns)} and, {also}"
    try:
        with open(file, newline="", encoding="utf-8") as handle:
            reader = csv.DictReader(handle)
            rows = list(reader)
    except OSError as error:
        raise InputError(f"cannot read the {kind} {file}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error):
        raise InputError(f"{file} is not a CSV text file; give a {kind} with {described}") from None
    missing = [name for name in columns if name not in (reader.fieldnames or [])]
    if missing or not rows:
        what = f"lacks the column(s) {', '.join(missing)}" if missing else f"has no {holds}"
        raise InputError(f"{file} {what}; a {kind} has {described}")
    return rows


def _same(row: dict[str, str], line: int, file: Path) -> bool:
    value = (row["same"] or "").strip().lower()
    if value not in SAME:
        raise InputError(f"{file} line {line}: 'same' must be 1 or 0; got '{row['same']}'")
    return SAME[value]


def _folds(rows: list[dict[str, str]], file: Path) -> np.ndarray:
    if "fold" not in rows[0]:
        return ten_folds(len(rows))
    try:
        return np.array([int(row["fold"]) for row in rows])
    except (TypeError, ValueError):
        raise InputError(f"{file}: 'fold' must be a whole number in every line") from None


def ten_folds(pairs: int) -> np.ndarray:
    """Number of the fold of each pair where a file gives none: ten runs of (almost) equal length, as `KFold(10)`."""
    return np.repeat(np.arange(10), [len(part) for part in np.array_split(np.arange(pairs), 10)])


def find_inside(root: Path, name: str, file: Path) -> Path:
    """The image that `file` calls `name`; it must lie inside `root` and be there."""
    path = root / name
    if not name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise InputError(f"{file}: image names must lie inside {root}; got '{name}'")
    try:
        there = path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        there = False
    if not there:
        raise InputError(f"{file} names an image that is not there: {path}")
    return path

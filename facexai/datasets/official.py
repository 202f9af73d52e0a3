"""The official folders and pair files of LFW, CFP, CPLFW, CALFW and AgeDB-30.

Images are expected to be aligned crops of 112 x 112 pixels under their official names; the pair files are read as they
are published. All pairs of a fold stand together, genuine ones first, as in insightface's packs.

Source: the files of Huang et al. (LFW, 2007; View 2), Sengupta et al. (CFP, 2016), Zheng and Deng (CPLFW, 2018),
Zheng, Deng and Hu (CALFW, 2017), Moschoglou et al. (AgeDB, 2017; the 30-year protocol, as lists of image names).
"""

import posixpath
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from facexai.datasets.folders import PairList, ten_folds
from facexai.errors import InputError

Names = list[tuple[str, str]]
LARGEST = 50_000_000  # bytes of a pair file; the official ones have less than one million


def read_lfw(root: Path) -> PairList:
    """`pairs.txt`: a head `folds pairs`, then in each fold so many genuine `Name i j` and impostor `Name i Other j`."""
    file = root / "pairs.txt"
    (_, head), *lines = _lines(file) or [(1, [])]
    folds, pairs = (_number(file, 1, text) for text in head) if len(head) == 2 else (0, 0)
    if folds < 2 or len(lines) != folds * 2 * pairs:
        raise InputError(
            f"{file} must be LFW's View 2: a line 'folds pairs' and folds x 2 x pairs lines; got '{' '.join(head)}' "
            f"and {len(lines)} lines"
        )
    names, genuine = [], np.arange(len(lines)) // pairs % 2 == 0
    for same, (line, fields) in zip(genuine, lines, strict=True):
        if len(fields) != (3 if same else 4):
            wanted = "'Name i j' of a genuine pair" if same else "'Name i Other j' of an impostor pair"
            raise InputError(f"{file} line {line}: must be {wanted}; got '{' '.join(fields)}'")
        other, second = (fields[0], fields[2]) if same else (fields[2], fields[3])
        names.append((_lfw_name(file, line, fields[0], fields[1]), _lfw_name(file, line, other, second)))
    fold = np.repeat(np.arange(folds), 2 * pairs)
    return _list(names, genuine, fold, root, [file], ("images", "lfw", "lfw-deepfunneled", "lfw_funneled", "."))


def read_cfp(root: Path, kind: str) -> PairList:
    """`Protocol/Split/FP/01/{same,diff}.txt` with lines `i,j`, numbers of lines in `Pair_list_F.txt` and `..._P.txt`.

    Args:
        root: holds `Protocol` and `Data/Images`.
        kind: `"FP"`, frontal with profile, or `"FF"`.
    """
    protocol = root / "Protocol"
    lists = [protocol / f"Pair_list_{side}.txt" for side in kind]
    sides = [_cfp_images(file) for file in lists]
    folders = sorted(path for path in (protocol / "Split" / kind).glob("*") if path.is_dir())
    if len(folders) < 2:
        raise InputError(
            f"{protocol / 'Split' / kind} must hold the folders 01, 02, ... of the folds; found {len(folders)}"
        )
    names: Names = []
    genuine, fold = [], []
    files = list(dict.fromkeys(lists))
    for number, folder in enumerate(folders):
        for same, file in ((True, folder / "same.txt"), (False, folder / "diff.txt")):
            files.append(file)
            for line, fields in _lines(file, ","):
                if len(fields) != 2:
                    raise InputError(f"{file} line {line}: must be two numbers 'i,j'; got '{','.join(fields)}'")
                pair = [_entry(file, line, text, side) for text, side in zip(fields, sides, strict=True)]
                names.append((pair[0], pair[1]))
                genuine.append(same)
                fold.append(number)
    return _list(names, np.array(genuine, bool), np.array(fold), root, files, ("Data/Images", "images", "."))


def read_two_lines(root: Path, file_name: str) -> PairList:
    """`pairs_CPLFW.txt`, `pairs_CALFW.txt`: two lines `image label` for each pair, label 1 for genuine and 0."""
    file = root / file_name
    lines = _lines(file)
    for line, fields in lines:
        if len(fields) != 2:
            raise InputError(f"{file} line {line}: must be 'image label'; got '{' '.join(fields)}'")
    labels = [_label(file, line, fields[1]) for line, fields in lines]
    odd = next((i for i in range(0, len(lines), 2) if labels[i : i + 1] != labels[i + 1 : i + 2]), None)
    if odd is not None:
        raise InputError(f"{file} line {lines[odd][0]}: the two lines of a pair must have one label")
    images = [fields[0] for _, fields in lines]
    return _by_tenths(list(zip(images[::2], images[1::2], strict=True)), labels[::2], root, file, _name_before_number)


def read_three_columns(root: Path, file_names: Sequence[str]) -> PairList:
    """`agedb_30_pair.txt`: lines `image image label`, label 1 for genuine and 0."""
    file = next((root / name for name in file_names if (root / name).is_file()), root / file_names[0])
    names, labels = [], []
    for line, fields in _lines(file):
        if len(fields) != 3:
            raise InputError(f"{file} line {line}: must be 'image image label'; got '{' '.join(fields)}'")
        names.append((fields[0], fields[1]))
        labels.append(_label(file, line, fields[2]))
    return _by_tenths(names, labels, root, file, _agedb_person)


OFFICIAL: dict[str, Callable[[Path], PairList]] = {
    "lfw": read_lfw,
    "cfp-fp": lambda root: read_cfp(root, "FP"),
    "cfp-ff": lambda root: read_cfp(root, "FF"),
    "cplfw": lambda root: read_two_lines(root, "pairs_CPLFW.txt"),
    "calfw": lambda root: read_two_lines(root, "pairs_CALFW.txt"),
    "agedb-30": lambda root: read_three_columns(root, ("agedb_30_pair.txt", "agedb_30_pairs.txt", "pairs.txt")),
}


def _by_tenths(names: Names, labels: list[bool], root: Path, file: Path, person: Callable[[str], str]) -> PairList:
    """Fold k has the k-th tenth of the genuine and of the impostor pairs, however the file mixes the two kinds."""
    genuine = np.array(labels, bool)
    fold = np.empty(len(genuine), int)
    for same in (True, False):
        fold[genuine == same] = ten_folds(int((genuine == same).sum()))
    order = np.lexsort((~genuine, fold))
    chosen = [names[row] for row in order]
    folders = "aligned images", "images", "AgeDB", "."
    return _list(chosen, genuine[order], fold[order], root, [file], folders, person)


def _list(
    names: Names,
    genuine: np.ndarray,
    fold: np.ndarray,
    root: Path,
    files: list[Path],
    folders: Sequence[str],
    person: Callable[[str], str] | None = None,
) -> PairList:
    if not names:
        raise InputError(f"{files[-1]} has no pairs; copy or download it again")
    safe = posixpath.normpath(names[0][0]).lstrip("/")
    images = next((root / folder for folder in folders if (root / folder / safe).is_file()), root / folders[0])
    return PairList.of_names(names, genuine, fold, images, files, person)


def _cfp_images(file: Path) -> dict[int, str]:
    """Image of each number in a `Pair_list`; `../Data/Images/001/frontal/01.jpg` becomes `001/frontal/01.jpg`."""
    images = {}
    for line, fields in _lines(file):
        if len(fields) != 2:
            raise InputError(f"{file} line {line}: must be 'number image'; got '{' '.join(fields)}'")
        images[_number(file, line, fields[0])] = fields[1].removeprefix("../").removeprefix("Data/Images/")
    return images


def _entry(file: Path, line: int, text: str, images: dict[int, str]) -> str:
    number = _number(file, line, text)
    if number not in images:
        raise InputError(
            f"{file} line {line}: the pair list has no image {number}; it ends at {max(images, default=0)}"
        )
    return images[number]


def _lfw_name(file: Path, line: int, person: str, number: str) -> str:
    return f"{person}/{person}_{_number(file, line, number):04d}.jpg"


def _name_before_number(name: str) -> str:
    return posixpath.splitext(name)[0].rpartition("_")[0]


def _agedb_person(name: str) -> str:
    """`0_MariaCallas_35_f.jpg` -> `MariaCallas`."""
    return posixpath.basename(name).partition("_")[2].partition("_")[0]


def _label(file: Path, line: int, text: str) -> bool:
    if text not in ("0", "1"):
        raise InputError(f"{file} line {line}: the label must be 1 or 0; got '{text}'")
    return text == "1"


def _number(file: Path, line: int, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InputError(f"{file} line {line}: '{text[:40]}' must be a whole number")
    return int(text)


def _lines(file: Path, separator: str | None = None) -> list[tuple[int, list[str]]]:
    """Number and fields of each line that is not blank."""
    try:
        if file.stat().st_size > LARGEST:
            raise InputError(
                f"{file} is too large for a pair file ({file.stat().st_size} bytes); give the official one"
            )
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}; give the official folder with --root") from None
    except UnicodeDecodeError:
        raise InputError(f"{file} is no text; give the official pair file") from None
    numbered = enumerate(text.split("\n"), 1)
    return [(number, [field.strip() for field in line.split(separator)]) for number, line in numbered if line.strip()]

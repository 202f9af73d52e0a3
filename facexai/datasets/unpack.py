"""From packs to folders that any program reads."""

import csv
from pathlib import Path
from typing import Any

from tqdm import tqdm

from facexai.datasets.bin_packs import BinPack
from facexai.datasets.folders import ten_folds
from facexai.errors import InputError

SUFFIX = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"RIFF": ".webp", b"BM": ".bmp"}


def unpack_bin(file: Path, folder: Path) -> dict[str, Any]:
    """Write the images of a pack, byte by byte as they are, and `pairs.csv` with its pairs in their order.

    Args:
        file: the pack.
        folder: an empty folder; gets `images/000000.jpg`, ... and `pairs.csv`, whose names are relative to `folder`.

    Returns:
        `"pairs"` and `"images"`, how many there are.

    Raises:
        InputError: no pack, or an image in a format that has no name here.
    """
    pack = BinPack(file)
    (folder / "images").mkdir()
    names = []
    for number in tqdm(range(len(pack)), desc="images", unit="image", disable=None):
        (payload,) = pack.payloads([number])
        names.append(f"images/{number:06d}{_suffix(payload, number, file)}")
        (folder / names[-1]).write_bytes(payload)
    folds = ten_folds(len(pack.genuine))
    with open(folder / "pairs.csv", "w", newline="", encoding="utf-8") as handle:
        table = csv.writer(handle)
        table.writerow(["name1", "name2", "same", "fold"])
        for probe, gallery, same, fold in zip(pack.probe, pack.gallery, pack.genuine, folds, strict=True):
            table.writerow([names[probe], names[gallery], int(same), fold])
    return {"pairs": len(folds), "images": len(names)}


def _suffix(payload: bytes, number: int, file: Path) -> str:
    for start, suffix in SUFFIX.items():
        if payload.startswith(start):
            return suffix
    raise InputError(f"{file}: image {number} is no JPEG, PNG, WebP or BMP; the pack is damaged or of another kind")

"""RecordIO: one large file of records and an index of where each begins, as MXNet writes them.

A record is `magic | part << 29 | length | bytes`, padded to four bytes. Where the bytes themselves hold the magic
number the writer cuts them there and leaves it out: part is 1 for the first piece, 2 for those between, 3 for the last,
and 0 for a record in one piece. Each line of the index is `key offset`.

Source: dmlc-core, `recordio.h`; MXNet, `recordio.py`, for the header `flag, label, id, id2` of a record.
"""

import os
import re
import struct
import tempfile
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from facexai.datasets.numbers import read_numbers
from facexai.errors import InputError

MAGIC = 0xCED7230A
MAGIC_BYTES = struct.pack("<I", MAGIC)
WHOLE, FIRST, MIDDLE, LAST = range(4)
HEADER = struct.Struct("<IfQQ")  # flag, label, id, id2; with flag > 0 as many float32 labels follow
LENGTH = (1 << 29) - 1
FIRST_READ = 1 << 16  # bytes; an aligned face needs less


class RecordFile:
    """Random access to the records of a `.rec` file with its `.idx`.

    The file is opened when a record is first read, once in each process, so that the object travels to the workers of a
    data loader, by fork or by pickle. Threads may share it.

    Args:
        file: the `.rec` file; the index lies beside it.

    Attributes:
        keys: of the records, ascending. Shape (N,).

    Raises:
        InputError: a missing file, or an index that does not fit.
    """

    def __init__(self, file: str | Path) -> None:
        self.file = Path(file)
        self.size = _size(self.file)
        entries = read_numbers(self.file.with_suffix(".idx"), 2, "key offset")  # (N, 2)
        self.keys, self._offsets = entries[np.argsort(entries[:, 0], kind="stable")].T.copy()
        low, high = int(self._offsets.min()), int(self._offsets.max())
        if low < 0 or high + 8 > self.size or (self._offsets % 4).any() or (np.diff(self.keys) == 0).any():
            raise InputError(f"{self.file.with_suffix('.idx')} is not the index of {self.file}; copy both again")
        order = np.argsort(self._offsets)
        self._ends = np.empty_like(self._offsets)  # where the next record begins
        self._ends[order] = np.append(self._offsets[order][1:], self.size)
        self._process, self._handle, self._lock = 0, None, threading.Lock()

    def __len__(self) -> int:
        return len(self.keys)

    def __getstate__(self) -> dict:
        return {**vars(self), "_process": 0, "_handle": None, "_lock": None}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state, _lock=threading.Lock())

    def offsets(self, keys: np.ndarray) -> np.ndarray:
        """Where the records of these keys begin."""
        return self._offsets[self._places(keys)]

    def _places(self, keys: np.ndarray) -> np.ndarray:
        places = np.searchsorted(self.keys, keys)
        wrong = (places == len(self.keys)) | (self.keys[np.minimum(places, len(self.keys) - 1)] != keys)
        if wrong.any():
            raise InputError(f"{self.file} has no record {np.asarray(keys)[wrong][0]}; its index is not complete")
        return places

    def read(self, keys: np.ndarray) -> list[bytes]:
        """The bytes of these records, pieces put together."""
        places = self._places(np.asarray(keys))
        return [
            self._record(*ends)
            for ends in zip(self._offsets[places].tolist(), self._ends[places].tolist(), strict=True)
        ]

    def _record(self, offset: int, end: int) -> bytes:
        chunk, start = self._bytes(offset, min(FIRST_READ, end - offset)), offset
        pieces: list[bytes] = []
        while True:
            if offset + 8 > start + len(chunk):
                chunk, start = self._bytes(offset, FIRST_READ), offset
            if len(chunk) < offset - start + 8:
                raise self._damaged(offset)
            magic, word = struct.unpack_from("<II", chunk, offset - start)
            part, length = word >> 29, word & LENGTH
            if magic != MAGIC or offset + 8 + length > self.size or (part in (WHOLE, FIRST)) == bool(pieces):
                raise self._damaged(offset)
            begin = offset - start + 8
            inside = begin + length <= len(chunk)
            pieces.append(chunk[begin : begin + length] if inside else self._bytes(offset + 8, length))
            if part in (WHOLE, LAST):
                return MAGIC_BYTES.join(pieces)
            if part not in (FIRST, MIDDLE):
                raise self._damaged(offset)
            offset += 8 + length + -length % 4

    def _bytes(self, offset: int, count: int) -> bytes:
        with self._lock:
            if self._handle is None or self._process != os.getpid():  # a forked process must not share the position
                self._handle, self._process = open(self.file, "rb", buffering=0), os.getpid()
            self._handle.seek(offset)
            return self._handle.read(count)

    def _damaged(self, offset: int) -> InputError:
        return InputError(f"{self.file} is damaged at byte {offset}, or its index is another file's; copy both again")

    def labels(self, keys: np.ndarray, count: int = 1) -> np.ndarray:
        """The first labels in the headers of records, without reading the rest. Shape (len(keys), count), float64."""
        words = np.memmap(self.file, "<u4", mode="r", shape=(self.size // 4,))
        at = self.offsets(keys) // 4
        inside = at + 8 <= len(words)
        if not inside.all() or (words[at] != MAGIC).any():
            wrong = at[~inside] if not inside.all() else at[words[at] != MAGIC]
            raise self._damaged(4 * int(wrong[0]))
        many = words[at + 2] > 0
        places = np.where(many, at + 8, at + 3)[:, None] + np.arange(count)
        if places.max(initial=0) >= len(words):
            raise self._damaged(4 * int(at[-1]))
        return words[places].view("<f4").astype(np.float64)


def unpack(record: bytes, name: str) -> tuple[np.ndarray, bytes]:
    """Labels, and what follows them, of a record with a header; `name` is what messages call it."""
    if len(record) >= HEADER.size:
        flag, label, _, _ = HEADER.unpack_from(record)
        end = HEADER.size + 4 * flag
        if flag == 0:
            return np.array([label]), record[HEADER.size :]
        if end <= len(record):
            return np.frombuffer(record, "<f4", flag, HEADER.size).astype(np.float64), record[end:]
    raise InputError(f"{name} has no header of labels; give a file that was packed for face recognition")


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}; give a .rec file with its .idx beside it") from None


@dataclass
class RecordWriter:
    """Writes records one after another, and their index.

    Args:
        records, index: opened files.
    """

    records: BinaryIO
    index: BinaryIO

    def write(self, key: int, content: bytes) -> None:
        """Append a record; it is cut where it holds the magic number at a place divisible by four."""
        self.index.write(f"{key}\t{self.records.tell()}\n".encode())
        cuts = [found.start() for found in re.finditer(re.escape(MAGIC_BYTES), content) if found.start() % 4 == 0]
        begins, ends = [0, *(at + 4 for at in cuts)], [*cuts, len(content)]
        for number, (begin, end) in enumerate(zip(begins, ends, strict=True)):
            part = WHOLE if not cuts else FIRST if number == 0 else LAST if number == len(cuts) else MIDDLE
            piece = content[begin:end]
            self.records.write(struct.pack("<II", MAGIC, part << 29 | len(piece)) + piece + bytes(-len(piece) % 4))


def write_identity_records(file: str | Path, people: Iterable[Iterable[bytes]], images: int) -> Path:
    """Write faces as insightface packs them: record 0 tells where images end, then images, then one record a person.

    Args:
        file: `.rec` to be written, with `.idx` beside it; both under temporary names until they are whole.
        people: encoded images of each person.
        images: how many there are in all.

    Raises:
        InputError: another number of images.
    """
    file = Path(file)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=f".{file.name}.") as folder:
        parts = [Path(folder) / "rec", Path(folder) / "idx"]
        with open(parts[0], "wb") as records, open(parts[1], "wb") as index:
            writer, key, ranges = RecordWriter(records, index), 1, []
            people = list(people)
            writer.write(0, _ranged(images + 1, images + 1 + len(people)))
            for label, payloads in enumerate(people):
                first = key
                for payload in payloads:
                    writer.write(key, HEADER.pack(0, label, key, 0) + payload)
                    key += 1
                ranges.append((first, key))
            if key != images + 1:
                raise InputError(f"{images} images were announced and {key - 1} came")
            for number, (first, stop) in enumerate(ranges):
                writer.write(key + number, _ranged(first, stop))
        os.replace(parts[0], file)
        os.replace(parts[1], file.with_suffix(".idx"))
    return file


def _ranged(first: int, stop: int) -> bytes:
    return HEADER.pack(2, 0.0, 0, 0) + struct.pack("<2f", first, stop)

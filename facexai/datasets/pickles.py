"""Pickles of plain data, read without running any of them and without loading what is large.

A pickle is a program. Here its instructions are followed on symbols: a byte string stands for where it lies in the
file, and of the functions that a pickle may call, the few that rebuild byte strings and NumPy arrays are known by what
they mean. Everything else is refused; nothing is imported or called.

Source: Python's `pickletools`, which reads the instructions one by one.
"""

import hashlib
import pickletools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from facexai.errors import InputError

SHORT = 64  # bytes; a longer string stays in the file
DEEPEST, MOST = 64, 20_000_000  # open brackets, instructions
PREFIX = {  # bytes of an instruction before the string that it brings
    "SHORT_BINBYTES": 2,
    "BINBYTES": 5,
    "BINBYTES8": 9,
    "BYTEARRAY8": 9,
    "SHORT_BINSTRING": 2,
    "BINSTRING": 5,
    "SHORT_BINUNICODE": 2,
    "BINUNICODE": 5,
    "BINUNICODE8": 9,
}
CONSTANTS = {"NEWTRUE": True, "NEWFALSE": False, "NONE": None, "EMPTY_TUPLE": ()}
NUMBERS = {"INT", "BININT", "BININT1", "BININT2", "LONG1"}
KNOWN = {
    "_codecs.encode",
    "numpy.ndarray",
    "numpy.dtype",
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *(f"numpy.{core}.numeric._frombuffer" for core in ("core", "_core")),
}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclass(frozen=True, slots=True)
class Span:
    """A byte string in the file.

    Attributes:
        start, length: where it lies.
        latin: whether it is stored as UTF-8 of its bytes taken as Latin-1 characters, as protocol 2 does.
        digest: of its content.
        value: the content itself where it is short, as bytes or str.
    """

    start: int
    length: int
    latin: bool
    digest: bytes
    value: bytes | str | None

    def read(self, handle: BinaryIO) -> bytes:
        """The content, from the opened file."""
        handle.seek(self.start)
        raw = handle.read(self.length)
        return raw.decode("utf-8").encode("latin-1") if self.latin else raw


@dataclass(slots=True)
class StoredArray:
    """A NumPy array in the file: its type as NumPy writes it (`u1`), its shape and its bytes."""

    dtype: str = ""
    shape: tuple[int, ...] = ()
    data: Span | None = None


@dataclass(frozen=True, slots=True)
class Name:
    """A function or class that the pickle names."""

    name: str


@dataclass(frozen=True, slots=True)
class DType:
    """A NumPy type."""

    name: str


def read_pickle(file: Path) -> Any:
    """What a pickle describes: lists, tuples, numbers, `Span` and `StoredArray`.

    Args:
        file: written with protocol 2 or later, by Python 2 or 3.

    Raises:
        InputError: no file, no pickle, a damaged one, or one that calls for anything but byte strings and arrays.
    """
    try:
        size = file.stat().st_size
        with open(file, "rb") as handle:
            return _Machine(file).run(_Bounded(handle, size))
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}; give a .bin pack") from None
    except InputError:
        raise
    # what a damaged pickle does to those who follow its instructions
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        raise InputError(
            f"{file} is no pickle of plain data or is damaged ({reason}); copy or download it again"
        ) from None


class _Bounded:
    """A file of which no more is asked than it has: a false length cannot ask for memory."""

    def __init__(self, handle: BinaryIO, size: int) -> None:
        self.handle, self.left, self.position = handle, size, 0

    def read(self, count: int) -> bytes:
        data = self.handle.read(max(0, min(count, self.left)))
        return self._passed(data)

    def readline(self) -> bytes:
        return self._passed(self.handle.readline(1000))

    def tell(self) -> int:
        return self.position

    def _passed(self, data: bytes) -> bytes:
        self.left -= len(data)
        self.position += len(data)
        return data


class _Machine:
    """The stack, the brackets and the memo of a pickle."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self, source: _Bounded) -> Any:
        for count, (opcode, argument, position) in enumerate(pickletools.genops(source)):  # type: ignore[arg-type]
            if len(self.outer) > DEEPEST or count > MOST:
                raise ValueError("too many instructions")
            if opcode.name == "STOP":
                return self.stack.pop()
            self.step(opcode.name, argument, position or 0)
        raise ValueError("no end")

    def step(self, name: str, argument: Any, position: int) -> None:
        stack = self.stack
        if name in PREFIX:
            stack.append(_span(name, argument, position))
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in NUMBERS:
            stack.append(argument)
        elif name in TUPLES:
            items = tuple(stack[-TUPLES[name] :])
            if len(items) < TUPLES[name]:
                raise IndexError("a tuple without items")
            stack[-TUPLES[name] :] = [items]
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(self.memo[argument])
        elif name == "MARK":
            self.outer.append(stack)
            self.stack = []
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name in ("LIST", "TUPLE"):
            items = self.unmark()
            self.stack.append(items if name == "LIST" else tuple(items))
        elif name == "APPENDS":
            items = self.unmark()
            _as_list(self.stack[-1]).extend(items)
        elif name == "APPEND":
            item = stack.pop()
            _as_list(stack[-1]).append(item)
        elif name == "GLOBAL":
            stack.append(self.known(argument.replace(" ", ".")))
        elif name == "STACK_GLOBAL":
            last, first = stack.pop(), stack.pop()
            stack.append(self.known(f"{first.value}.{last.value}"))
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            stack.append(_call(function, arguments))
        elif name == "BUILD":
            state = stack.pop()
            if isinstance(stack[-1], StoredArray):
                _, shape, dtype, _, data = state
                _fill(stack[-1], dtype, shape, data)
            elif not isinstance(stack[-1], DType):
                raise ValueError("a state for what has none")
        elif name not in ("PROTO", "FRAME"):
            raise InputError(
                f"{self.file} is not read: its instruction {name} is none that lists of images need. "
                "Take a pack that was written with pickle protocol 2 or later"
            )

    def unmark(self) -> list[Any]:
        items, self.stack = self.stack, self.outer.pop()
        return items

    def known(self, name: str) -> Name:
        if name not in KNOWN:
            raise InputError(
                f"{self.file} is not read: it calls for '{name[:60]}', which no list of images needs and which could "
                "harm. Take the file from a source that you trust"
            )
        return Name(name)


def _span(name: str, argument: Any, position: int) -> Span:
    prefix, text = PREFIX[name], isinstance(argument, str)
    if "UNICODE" in name:
        raw = argument.encode("utf-8")
    else:
        raw = argument.encode("latin-1") if text else bytes(argument)
    kept = (argument if "UNICODE" in name else raw) if len(raw) <= SHORT else None
    content = argument.encode("latin-1", "replace") if "UNICODE" in name else raw
    return Span(position + prefix, len(raw), False, hashlib.blake2b(content, digest_size=16).digest(), kept)


def _as_list(item: Any) -> list[Any]:
    if not isinstance(item, list):
        raise TypeError("items for what is no list")
    return item


def _call(function: Any, arguments: Any) -> Any:
    """What a known function would give."""
    match function, arguments:
        case Name("_codecs.encode"), (Span() as text, Span(value="latin1" | "latin-1")):
            short = text.value.encode("latin-1") if isinstance(text.value, str) else None
            return Span(text.start, text.length, True, text.digest, short)
        case Name("numpy.dtype"), (Span(value=str() | bytes() as dtype), *_):
            return DType(dtype if isinstance(dtype, str) else dtype.decode("latin-1"))
        case Name(name), (Name("numpy.ndarray"), *_) if name.endswith("._reconstruct"):
            return StoredArray()
        case Name(name), (DType(dtype), Span(value=bytes() as value)) if name.endswith(".scalar") and dtype != "O8":
            return int.from_bytes(value, "little")
        case Name(name), (Span() as data, DType() as dtype, tuple() as shape, _) if name.endswith("._frombuffer"):
            array = StoredArray()
            _fill(array, dtype, shape, data)
            return array
    raise ValueError("a call that makes no sense")


def _fill(array: StoredArray, dtype: Any, shape: Any, data: Any) -> None:
    if not (isinstance(dtype, DType) and isinstance(data, Span) and all(isinstance(side, int) for side in shape)):
        raise TypeError("an array of objects")
    array.dtype, array.shape, array.data = dtype.name.lstrip("|<="), tuple(shape), data

"""Registry: a name for each thing that a user may choose by name."""

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Generic, TypeVar

from facexai.errors import InputError

T = TypeVar("T")
Item = TypeVar("Item")


class Registry(Generic[T]):
    """Named things of one kind: explainers, benchmarks, architectures, presets.

    An unknown name raises `InputError` and lists the known ones; a name can be given only once.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, T] = {}

    def register(self, name: str) -> Callable[[Item], Item]:
        """Decorator that files a class or function under `name`."""

        def file(item: Item) -> Item:
            self[name] = item  # type: ignore[assignment] - an Item is a T, and keeps its own type
            return item

        return file

    def __setitem__(self, name: str, item: T) -> None:
        if name in self._items:
            raise ValueError(f"{self.kind} '{name}' is registered twice")
        self._items[name] = item

    def __getitem__(self, name: str) -> T:
        if name not in self._items:
            close = get_close_matches(name, self._items, n=1)
            hint = f"did you mean '{close[0]}'? " if close else ""
            raise InputError(f"unknown {self.kind} '{name}'; {hint}choose one of {', '.join(self)}")
        return self._items[name]

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._items))

    def __len__(self) -> int:
        return len(self._items)

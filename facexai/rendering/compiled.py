"""Machine code of the renderer's inner loops: compiled once, kept on disk, whatever starts at the same time."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock
from numba import config, njit
from numba.core.caching import FunctionCache


def compiled(**options: Any) -> Callable[[Callable], Callable]:
    """`numba.njit` with these options and a `LockedCache`."""

    def decorate(function: Callable) -> Callable:
        kernel: Any = njit(**options)(function)
        if not config.DISABLE_JIT:  # type: ignore[attr-defined]
            kernel._cache = LockedCache(function)  # what `cache=True` does, with numba's own
        return kernel

    return decorate


class LockedCache(FunctionCache):
    """Numba's cache on disk, which one process at a time reads or writes.

    Numba writes the index of a function and then its code, without a lock. Where two processes compile a function for
    different types at the same time, the index can end up naming the other's code, and every later process fails.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:  # noqa: D102
        with self._alone():
            return super().load_overload(sig, target_context)

    def save_overload(self, sig: Any, data: Any) -> None:  # noqa: D102
        with self._alone():
            super().save_overload(sig, data)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        folder = Path(self.cache_path)
        with ExitStack() as held:
            with suppress(OSError):  # a folder that cannot be written has nothing to spoil
                folder.mkdir(parents=True, exist_ok=True)
                held.enter_context(FileLock(folder / "compiled.lock", poll_interval=0.01))
            yield

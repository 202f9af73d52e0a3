"""Where facexai keeps files that it can make or find again."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def cache_folder() -> Path:
    """Folder for rendered images, embeddings and the face detector's model file; it need not exist yet.

    `FACEXAI_CACHE` names it; without the variable it is `facexai` in the platform's cache folder of the user.
    """
    if chosen := os.environ.get("FACEXAI_CACHE"):
        return Path(chosen).expanduser()
    return _platform_cache() / "facexai"


def save_array(file: Path, array: "np.ndarray") -> None:
    """Write an array for `numpy.load`, under a temporary name until it is whole; the folder is made where missing."""
    import numpy as np

    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as handle:
            np.save(handle, array)
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def _platform_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")

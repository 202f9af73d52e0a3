"""Where facexai keeps files that it can make or find again."""

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """Folder for rendered images and for the face detector's model file; it need not exist yet.

    `FACEXAI_CACHE` names it; without the variable it is `facexai` in the platform's cache folder of the user.
    """
    if chosen := os.environ.get("FACEXAI_CACHE"):
        return Path(chosen).expanduser()
    return _platform_cache() / "facexai"


def _platform_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")

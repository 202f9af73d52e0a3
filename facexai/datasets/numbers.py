"""Large text files of whole numbers."""

import re
import warnings
from pathlib import Path

import numpy as np

from facexai.errors import InputError


def read_numbers(file: Path, columns: int, form: str) -> np.ndarray:
    """Whole numbers, not negative, the same number of them in each line.

    Args:
        file: text, the numbers set apart by blanks; millions of lines are fine.
        columns: how many a line has.
        form: what messages call a line.

    Returns:
        Shape (lines, columns), int64.

    Raises:
        InputError: no such file, or one that holds something else.
    """
    problem = f"{file} must have '{form}' in each line; copy or download it again"
    try:
        text = file.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}; it must have '{form}' in each line") from None
    if re.search(rb"[^0-9\s]|[0-9]{19}", text):
        raise InputError(problem)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            numbers = np.fromstring(text, np.int64, sep=" ")
        except (ValueError, DeprecationWarning):
            raise InputError(problem) from None
    lines = text.count(b"\n") + (not text.endswith(b"\n"))
    if len(numbers) == 0 or len(numbers) != columns * lines:
        raise InputError(problem)
    return numbers.reshape(-1, columns)

"""Checks of the options of explainers: each raises an `InputError` of one line."""

import math
from typing import Any, get_args

from facexai.errors import InputError


def check_choice(name: str, value: object, choices: Any) -> None:
    """Raise `InputError` unless `value` is one of the values of a `Literal`."""
    known = get_args(choices)
    if value not in known:
        raise InputError(f"unknown {name} '{value}'; choose one of {', '.join(map(str, known))}")


def check_count(name: str, value: object, least: int = 1) -> None:
    """Raise `InputError` unless `value` is a whole number, `least` or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name} must be a whole number, {least} or more; got {value!r}")


def check_threshold(value: object) -> None:
    """Raise `InputError` unless `value` is a finite number, or None for the model's own threshold."""
    if value is not None and not (isinstance(value, int | float) and math.isfinite(value)):
        raise InputError(f"threshold must be a finite number, or None for the model's own; got {value!r}")

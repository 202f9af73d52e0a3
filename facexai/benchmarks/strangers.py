"""Somebody else for each pair of a set."""

import numpy as np

from facexai.benchmarks.verification import VerificationSet
from facexai.errors import InputError


def stranger_rows(data: VerificationSet, rows: np.ndarray, seed: int) -> np.ndarray:
    """For each of these pairs a pair of other people: one of another fold, as no person is in two folds of a protocol.

    Args:
        data: the set; lists without folds of their own have them in the order of the file.
        rows: numbers of pairs. Shape (P,).
        seed: each pair draws with this seed and its number.

    Returns:
        Numbers of other pairs. Shape (P,).

    Raises:
        InputError: all pairs are in one fold.
    """
    folds = np.unique(data.fold)
    if len(folds) < 2:
        raise InputError(f"{data.name} must have pairs in two folds; a stranger is taken from another fold")
    others = {fold: np.flatnonzero(data.fold != fold) for fold in folds}
    drawn = [np.random.default_rng([seed, row, 1]).choice(others[data.fold[row]]) for row in rows.tolist()]
    return np.array(drawn, dtype=np.int64)

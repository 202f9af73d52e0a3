"""Errors by group of people, at one threshold for all: who is rejected more often, and who is taken for whom.

A system in use has one threshold. The false non-match rate (FNMR) of a group is the share of its genuine pairs below
it, the false match rate (FMR) the share of impostor pairs of two people *of that group* that reach it.

Source: Grother, Ngan, Hanaoka, "Face Recognition Vendor Test Part 3: Demographic Effects" (NIST IR 8280, 2019), for the
two rates within groups at a common threshold.

Deviations:
    The threshold is where the FMR of all impostor pairs is reached, across groups too; NIST sets it on pairs of one
    group. Intervals draw people and find the threshold anew in each draw.
"""

from typing import Any

import numpy as np

from facexai.benchmarks.comparison import ScoredPairs, people_weights
from facexai.benchmarks.statistics import LEVEL, SEED
from facexai.errors import InputError

BLOCK = 20  # resamples at once, which the memory holds for a million pairs


def measure_by_group(
    scores: np.ndarray,
    pairs: ScoredPairs,
    group: np.ndarray,
    *,
    fmr: float = 1e-2,
    repeats: int = 500,
    seed: int = SEED,
) -> dict[str, Any]:
    """FNMR and FMR of each group, with 95 % intervals over people.

    Args:
        scores: cosines. Shape (P,).
        pairs: what was scored; who is on the images is known.
        group: label 0, 1, ... of the person on each side. Shape (P, 2), int.
        fmr: of all impostor pairs, at which the threshold stands.
        repeats: resamples of the people, in blocks of 20.
        seed: of the resamples.

    Returns:
        `"fmr"`, `"threshold"`, and `"groups"`: by label, `"people"`, `"genuine"` and `"impostor"` (numbers of pairs
        within the group), and for `"fnmr"` and `"fmr"` `"mean"` and `"ci95"`; None where a group has no such pair.
        `"within"`: the same two rates over the pairs of all groups, and `"across"`: the FMR of pairs of two groups.

    Raises:
        InputError: labels of another shape, or too few impostor pairs for this rate.
    """
    scores, group = np.asarray(scores, np.float64), np.asarray(group)
    if group.shape != pairs.people.shape or scores.shape != pairs.genuine.shape or group.min(initial=0) < 0:
        raise InputError(f"{len(pairs.genuine)} pairs need labels 0, 1, ... of shape (P, 2); got {group.shape}")
    impostors = int((~pairs.genuine).sum())
    if not 0 < fmr < 1 or fmr * impostors < 1:
        raise InputError(f"fmr must lie between 1 / {impostors}, what the impostor pairs resolve, and 1; got {fmr:g}")
    order = np.argsort(-scores, kind="stable")
    scores, genuine, labels = scores[order], pairs.genuine[order], group[order]
    sorted_pairs = ScoredPairs(genuine, pairs.fold[order], pairs.people[order])
    count = int(labels.max()) + 1
    same = labels[:, 0] == labels[:, 1]
    cell = np.where(same, labels[:, 0], count) + (count + 1) * genuine  # group and kind; the last group is "across"

    def counted(weights: np.ndarray) -> tuple[int, np.ndarray]:
        """How many pairs from the top are accepted, and the weight of accepted and of all pairs in each cell."""
        false = np.cumsum(weights * ~genuine)
        reached = int(np.searchsorted(false, fmr * false[-1], side="right"))
        tops = [np.bincount(cell[:end], weights[:end], 2 * (count + 1)) for end in (reached, len(cell))]
        return reached, np.stack(tops)

    reached, once = counted(np.ones(len(scores)))
    blocks = (people_weights(sorted_pairs, BLOCK, [seed, number]) for number in range(-(-repeats // BLOCK)))
    drawn = [once, *(counted(weights)[1] for block in blocks for weights in block)]
    threshold = float(scores[max(reached - 1, 0)])
    accepted, total = np.stack(drawn, 1).reshape(2, len(drawn), 2, count + 1)  # (R + 1, kind, group)
    people = [np.unique(sorted_pairs.people[labels == label]) for label in range(count)]
    kinds = total[0].astype(int)  # (kind, group); kind 1 is genuine
    return {
        "fmr": fmr,
        "threshold": threshold,
        "groups": [
            {
                "people": len(people[label]),
                "genuine": int(kinds[1, label]),
                "impostor": int(kinds[0, label]),
                **_rates(accepted[..., label : label + 1], total[..., label : label + 1]),
            }
            for label in range(count)
        ],
        "within": _rates(accepted[..., :count], total[..., :count]),
        "across": {"fmr": _rates(accepted[..., count:], total[..., count:])["fmr"]},
    }


def _rates(accepted: np.ndarray, total: np.ndarray) -> dict[str, Any]:
    """FNMR and FMR over some groups, from weights of shape (R + 1, kind, groups); the first draw has all pairs once."""
    with np.errstate(invalid="ignore"):
        share = accepted.sum(-1) / total.sum(-1)  # (R + 1, kind)
    return {"fnmr": _entry(1 - share[:, 1]), "fmr": _entry(share[:, 0])}


def _entry(values: np.ndarray) -> dict[str, Any] | None:
    if np.isnan(values[0]):
        return None
    low, high = np.nanpercentile(values[1:], LEVEL)
    return {"mean": float(values[0]), "ci95": [float(low), float(high)]}

"""Verification by how far a face is turned: TAR and AUC in bins of |yaw|, before and after a frontalizer.

One threshold serves all pairs, as in a system in use: where the FAR of all impostor pairs is reached. The TAR of a bin
is the share of its genuine pairs that reach it. The AUC of a bin compares its own genuine and impostor pairs.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from facexai.benchmarks.comparison import ScoredPairs, area, people_weights, weighted_roc
from facexai.benchmarks.pose import BINS
from facexai.benchmarks.statistics import LEVEL, SEED
from facexai.errors import InputError

YAW_FARS = (1e-2, 1e-3)


def compare_by_yaw(
    scores: Mapping[str, Sequence[np.ndarray]],
    pairs: ScoredPairs,
    yaw: np.ndarray,
    baseline: str,
    *,
    bins: Sequence[tuple[float, float]] = BINS,
    fars: Sequence[float] = YAW_FARS,
    repeats: int = 1000,
    seed: int = SEED,
) -> dict[str, Any]:
    """TAR and AUC of each row in each bin, and what it gains over the baseline, with 95 % intervals over people.

    Args:
        scores: by the name of the row, cosines (P,) of one or more runs; a row's figures are means over its runs.
        pairs: what was scored.
        yaw: of each pair, in degrees: of its probe, exact or estimated. Its sign does not matter. Shape (P,).
        baseline: the row with which all are compared, as a rule the recognizer alone.
        bins: lowest and highest |yaw|; a bin holds its lower end, and the last one its upper end too.
        fars: at which the TAR is measured, on all pairs.
        repeats: resamples of the people.
        seed: of the resamples.

    Returns:
        `"bins"`: for each bin with both kinds of pairs `"low"`, `"high"`, `"genuine"` and `"impostor"` (numbers of
        pairs). `"rows"`: by row a list over these bins; for each of `"auc"` and `"tar@0.01"` and the like `"mean"`,
        `"ci95"`, and `"gain"` over the baseline with the same two. A FAR that the impostor pairs are too few to
        resolve is left out.

    Raises:
        InputError: an unknown baseline, yaws of another number than pairs or not finite, no bin with both kinds.
    """
    yaw = np.abs(np.asarray(yaw, np.float64))
    if baseline not in scores:
        raise InputError(f"unknown baseline '{baseline}'; the rows are {', '.join(scores)}")
    if yaw.shape != pairs.genuine.shape or not np.isfinite(yaw).all():
        raise InputError(f"{len(pairs.genuine)} pairs need as many finite yaws; got {yaw.shape}")
    inside = {ends: _inside(yaw, ends, last=ends == tuple(bins[-1])) for ends in map(tuple, bins)}
    inside = {ends: here for ends, here in inside.items() if len(np.unique(pairs.genuine[here])) == 2}
    if not inside:
        raise InputError("no bin of |yaw| holds genuine and impostor pairs; give other bins, or more pairs")
    fars = [far for far in fars if far * np.sum(~pairs.genuine) >= 1]
    weights = np.vstack([np.ones(len(yaw)), people_weights(pairs, repeats, seed)])  # the first: all pairs once
    masks = list(inside.values())
    drawn = {
        name: _mean([_figures(run, pairs.genuine, weights, masks, fars) for run in runs])
        for name, runs in scores.items()
    }
    rows = {
        name: [
            {
                metric: _entry(values) | {"gain": _entry(values - drawn[baseline][number][metric])}
                for metric, values in figures.items()
            }
            for number, figures in enumerate(by_bin)
        ]
        for name, by_bin in drawn.items()
    }
    kinds = [(int(pairs.genuine[here].sum()), int((~pairs.genuine[here]).sum())) for here in masks]
    ends = [
        {"low": low, "high": high, "genuine": genuine, "impostor": impostor}
        for (low, high), (genuine, impostor) in zip(inside, kinds, strict=True)
    ]
    return {"bins": ends, "rows": rows}


def _inside(yaw: np.ndarray, ends: tuple[float, ...], *, last: bool) -> np.ndarray:
    low, high = ends
    return (yaw >= low) & ((yaw <= high) if last else (yaw < high))


def _figures(
    scores: np.ndarray, genuine: np.ndarray, weights: np.ndarray, masks: Sequence[np.ndarray], fars: Sequence[float]
) -> list[dict[str, np.ndarray]]:
    """Each metric in each bin, for every row of weights: arrays (R,)."""
    scores = np.asarray(scores, np.float64)
    far = weighted_roc(scores, genuine, weights)[0]
    ordered = np.sort(scores)[::-1]
    cut = np.append(ordered[1:] != ordered[:-1], True)  # equal scores are accepted together or not at all
    found = []
    accepted = {level: _accepted(far, cut, level) for level in fars}  # how many pairs from the top
    rank = np.empty(len(scores), int)
    rank[np.argsort(-scores, kind="stable")] = np.arange(len(scores))
    for here in masks:
        figures = {"auc": area(*weighted_roc(scores[here], genuine[here], weights[:, here]))}
        ours = here & genuine
        total = weights[:, ours].sum(1)
        for level, count in accepted.items():
            with np.errstate(invalid="ignore"):
                figures[f"tar@{level:g}"] = (weights[:, ours] * (rank[ours] < count[:, None])).sum(1) / total
        found.append(figures)
    return found


def _accepted(far: np.ndarray, cut: np.ndarray, level: float) -> np.ndarray:
    """How many of the pairs with the highest scores can be accepted at this FAR. (R, P) -> (R,)."""
    allowed = (far <= level + 1e-12) & cut
    return np.where(allowed, np.arange(1, far.shape[1] + 1), 0).max(1)


def _mean(runs: list[list[dict[str, np.ndarray]]]) -> list[dict[str, np.ndarray]]:
    return [
        {metric: np.mean([run[number][metric] for run in runs], axis=0) for metric in runs[0][number]}
        for number in range(len(runs[0]))
    ]


def _entry(values: np.ndarray) -> dict[str, Any]:
    """The figure of all pairs, and the interval of those of the resamples."""
    low, high = np.nanpercentile(values[1:], LEVEL)
    return {"mean": float(values[0]), "ci95": [float(low), float(high)]}

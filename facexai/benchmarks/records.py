"""What a result keeps besides its figures: where it comes from, and pair by pair what was decided."""

import base64
import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest
from torch import nn

import facexai
from facexai.benchmarks.comparison import ScoredPairs, compare
from facexai.benchmarks.verification import Embedder, VerificationReport, VerificationSet
from facexai.datasets.ijb import TemplateSet
from facexai.errors import InputError
from facexai.weights import model_digest

LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn", "pillow")
PROTOCOL = "squared distances of unit embeddings against insightface's arange(0, 4, 0.01), threshold of the other folds"
TEMPLATES = "templates: media averaged, weighed by the detector's score, summed; TAR at the nearest FAR of the ROC"


def provenance(model: Embedder, data: VerificationSet | TemplateSet, flip: bool) -> dict[str, Any]:
    """Digests of data and model, the protocol and the versions, as plain JSON types."""
    card = getattr(model, "card", {})
    return {
        "data": {"files": dict(data.source), **data.digests()},
        "model_sha256": model_digest(model) if isinstance(model, nn.Module) else None,
        "model_card_sha256": hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest() if card else None,
        "protocol": {
            "decision": TEMPLATES if isinstance(data, TemplateSet) else PROTOCOL,
            "flip": "outputs summed" if flip else "none",
        },
        "versions": {
            "facexai": facexai.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in LIBRARIES},
        },
    }


def intervals(report: VerificationReport, data: VerificationSet, *, repeats: int = 1000) -> dict[str, Any]:
    """95 % intervals of accuracy, AUC and EER, of a bootstrap of the people, or of the pairs where nobody is named.

    Args:
        report: of `verify`.
        data: what was measured.
        repeats: resamples.

    Returns:
        `"ci95"` by metric and what was `"resampled"`.
    """
    people = _one_each(report.pairs) if data.people is None else data.people
    rows = compare({"it": [report.scores]}, ScoredPairs(report.genuine, report.fold, people), [], repeats=repeats)
    ends = {metric: entry["ci95"] for metric, entry in rows["it"].items()}
    return {"ci95": ends, "resampled": "pairs" if data.people is None else "people"}


def _one_each(pairs: int) -> np.ndarray:
    """A person for each pair, so that drawing people is drawing pairs. Shape (pairs, 2)."""
    return np.repeat(np.arange(pairs), 2).reshape(-1, 2)


def pack_pairs(report: VerificationReport, data: VerificationSet) -> dict[str, Any]:
    """Scores and decisions of all pairs in a few bytes each, for `read_scored`."""
    people = data.people
    return {
        "scores": _text(report.scores.astype("<f8")),
        "genuine": _text(np.packbits(report.genuine)),
        "correct": _text(np.packbits(report.correct)),
        "fold": _text(report.fold.astype("<i4")),
        "people": None if people is None else _text(people.astype("<i4")),
    }


@dataclass(frozen=True)
class ScoredResult:
    """A result file with its pairs.

    Attributes:
        name: the model's, and what frontalizes it.
        scores, correct: pair by pair. Shape (P,).
        pairs: what was scored.
        clustered: whether it is known who is on the images.
        digest: of the images and pairs; None where the result names none.
    """

    name: str
    benchmark: str
    scores: np.ndarray
    correct: np.ndarray
    pairs: ScoredPairs
    clustered: bool
    digest: str | None


def read_scored(file: Path) -> ScoredResult:
    """A result that `facexai benchmark --scores --json FILE` wrote.

    Raises:
        InputError: no such file, or one without scores.
    """
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}; give a result of facexai benchmark") from None
    except (ValueError, RecursionError):
        raise InputError(f"{file} is no JSON; give a result of facexai benchmark --scores --json FILE") from None
    try:
        packed, count = result["scored"], result["pairs"]
        scores = _array(packed["scores"], "<f8")
        genuine, correct = (np.unpackbits(_array(packed[key], "u1"), count=count) > 0 for key in ("genuine", "correct"))
        fold = _array(packed["fold"], "<i4")
        people = _one_each(count).ravel() if packed["people"] is None else _array(packed["people"], "<i4")
        if not (len(scores) == len(fold) == len(genuine) == len(correct) == count and len(people) == 2 * count):
            raise ValueError("lengths differ")
        pairs = ScoredPairs(genuine, fold, people.reshape(-1, 2))
        digest = result.get("data", {}).get("pairs_sha256")
        known = packed["people"] is not None
        return ScoredResult(str(result["model"]), str(result["benchmark"]), scores, correct, pairs, known, digest)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError(f"{file} holds no scores of pairs; write it with facexai benchmark --scores --json") from None


def compare_results(first: ScoredResult, second: ScoredResult, *, repeats: int = 2000) -> dict[str, Any]:
    """What the first gains over the second, on the same pairs.

    Args:
        first: a result.
        second: another on the same pairs.
        repeats: resamples of the bootstrap; of the people where they are known, else of the pairs.

    Returns:
        By metric, both values and `difference` with `ci95`; `mcnemar` with the numbers of pairs that only the one
        decides rightly and the exact two-sided p-value.

    Raises:
        InputError: results of different pairs.

    Source: McNemar, "Note on the sampling error of the difference between correlated proportions" (1947), as an exact
        binomial test; the bootstrap is that of `compare`.
    """
    same = np.array_equal(first.pairs.genuine, second.pairs.genuine) and np.array_equal(
        first.pairs.fold, second.pairs.fold
    )
    if not same or (first.digest and second.digest and first.digest != second.digest):
        raise InputError(
            f"results must be of the same pairs; got {first.benchmark} ({len(first.scores)} pairs) and "
            f"{second.benchmark} ({len(second.scores)} pairs) of other images or in another order"
        )
    pairs = first.pairs if first.clustered or not second.clustered else second.pairs
    rows = compare({"first": [first.scores], "second": [second.scores]}, pairs, ["second"], repeats=repeats)
    only_first, only_second = int((first.correct & ~second.correct).sum()), int((second.correct & ~first.correct).sum())
    discordant = only_first + only_second
    p_value = float(binomtest(only_first, discordant, 0.5).pvalue) if discordant else 1.0
    return {
        "first": first.name,
        "second": second.name,
        "benchmark": first.benchmark,
        "pairs": len(first.scores),
        "resampled": "people" if first.clustered or second.clustered else "pairs",
        **{metric: _difference(rows, metric) for metric in rows["first"]},
        "mcnemar": {"only_first": only_first, "only_second": only_second, "p_value": p_value},
    }


def _difference(rows: Mapping[str, Any], metric: str) -> dict[str, Any]:
    gap = rows["first"][metric]["minus_second"]
    return {
        "first": rows["first"][metric]["mean"],
        "second": rows["second"][metric]["mean"],
        "difference": gap["mean"],
        "ci95": gap["ci95"],
    }


def _text(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")


def _array(text: str, dtype: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text, validate=True), dtype)

"""TAR by yaw: known answers by hand, sklearn and `tar_at_far` as oracles."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from facexai.benchmarks import tar_at_far
from facexai.benchmarks.by_yaw import compare_by_yaw
from facexai.benchmarks.comparison import ScoredPairs, compare
from facexai.errors import InputError

GENUINE = np.array([1, 1, 1, 1, 0, 0, 0, 0], bool)
YAW = np.array([0, -10, 80, -90, 5, 10, 75, 90.0])
#                 near      far       near      far
SCORES = np.array([0.9, 0.8, 0.55, 0.1, 0.3, 0.2, 0.6, 0.5])
PEOPLE = np.array([[0, 0], [1, 1], [2, 2], [3, 3], [0, 1], [2, 3], [1, 2], [0, 3]])
PAIRS = ScoredPairs(GENUINE, np.arange(8) % 2, PEOPLE)
BINS = ((0, 15), (75, 90))


def means(report: dict, row: str, metric: str) -> list[float]:
    return [entry[metric]["mean"] for entry in report["rows"][row]]


def test_one_threshold_serves_all_bins_and_the_auc_is_that_of_the_bin():
    report = compare_by_yaw({"raw": [SCORES]}, PAIRS, YAW, "raw", bins=BINS, fars=(0.25,), repeats=50)
    # One of four impostors may pass: 0.6, so every score down to 0.55 is accepted, and the next one, 0.5, is not.
    assert means(report, "raw", "tar@0.25") == [1.0, 0.5]
    assert means(report, "raw", "auc") == [1.0, 0.25]  # 0.55 beats 0.5, 0.1 beats nobody
    assert report["bins"][0] == {"low": 0, "high": 15, "genuine": 2, "impostor": 2}


def test_equal_scores_are_accepted_together_or_not_at_all():
    tied = np.array([0.6, 0.8, 0.6, 0.1, 0.3, 0.6, 0.6, 0.6])
    report = compare_by_yaw({"raw": [tied]}, PAIRS, YAW, "raw", bins=((0, 90),), fars=(0.5,), repeats=5)
    assert means(report, "raw", "tar@0.5") == [tar_at_far(tied, GENUINE, [0.5])[0.5]] == [0.25]


def crowd(pairs: int = 600) -> tuple[ScoredPairs, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    people = rng.integers(0, 40, (pairs, 2))
    people[: pairs // 2, 1] = people[: pairs // 2, 0]
    genuine = people[:, 0] == people[:, 1]
    yaw = rng.uniform(-90, 90, pairs)
    scores = 0.5 * genuine * (1 - np.abs(yaw) / 120) + 0.15 * rng.standard_normal(pairs)
    return ScoredPairs(genuine, np.arange(pairs) % 4, people), yaw, scores


def test_one_bin_of_all_pairs_gives_what_the_other_functions_give():
    pairs, yaw, scores = crowd()
    report = compare_by_yaw({"raw": [scores]}, pairs, yaw, "raw", bins=((0, 90),), fars=(0.1, 0.01), repeats=20)
    (entry,) = report["rows"]["raw"]
    expected = tar_at_far(scores, pairs.genuine, [0.1, 0.01])
    assert [entry["tar@0.1"]["mean"], entry["tar@0.01"]["mean"]] == pytest.approx(list(expected.values()))
    assert entry["auc"]["mean"] == pytest.approx(roc_auc_score(pairs.genuine, scores))
    together = compare({"raw": [scores]}, pairs, [], repeats=20)["raw"]["auc"]
    assert entry["auc"]["ci95"] == pytest.approx(together["ci95"])  # the same draw of people


def test_bins_share_no_pair_and_lose_none():
    pairs, yaw, scores = crowd()
    yaw[:2] = 15, 90  # on the edges
    bins = compare_by_yaw({"raw": [scores]}, pairs, yaw, "raw", repeats=5)["bins"]
    assert sum(row["genuine"] + row["impostor"] for row in bins) == len(yaw)


def test_gains_are_paired_and_runs_are_averaged():
    pairs, yaw, scores = crowd()
    better = scores + 0.1 * pairs.genuine * (np.abs(yaw) > 60)
    report = compare_by_yaw({"raw": [scores], "ours": [better, scores]}, pairs, yaw, "raw", fars=(0.01,), repeats=200)
    near, far = report["rows"]["ours"][0]["tar@0.01"], report["rows"]["ours"][-1]["tar@0.01"]
    assert near["gain"] == {"mean": 0, "ci95": [0, 0]}  # the same pairs at the same threshold
    assert far["gain"]["ci95"][0] > 0
    alone = compare_by_yaw({"raw": [scores], "ours": [better]}, pairs, yaw, "raw", fars=(0.01,), repeats=5)
    assert far["gain"]["mean"] == pytest.approx(alone["rows"]["ours"][-1]["tar@0.01"]["gain"]["mean"] / 2)
    width = np.diff(far["ci95"])[0]
    assert np.diff(far["gain"]["ci95"])[0] < width


def test_a_far_that_the_pairs_cannot_resolve_is_left_out():
    report = compare_by_yaw({"raw": [SCORES]}, PAIRS, YAW, "raw", bins=BINS, fars=(0.25, 0.01), repeats=5)
    assert set(report["rows"]["raw"][0]) == {"auc", "tar@0.25"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"baseline": "row"}, "unknown baseline 'row'; the rows are raw"),
        ({"yaw": YAW[:-1]}, r"8 pairs need as many finite yaws; got \(7,\)"),
        ({"yaw": np.full(8, np.nan)}, "8 pairs need as many finite yaws"),
        ({"bins": ((20, 30),)}, "no bin of |yaw| holds genuine and impostor pairs"),
    ],
)
def test_what_cannot_be_binned_is_refused(change, words):
    with pytest.raises(InputError, match=words):
        compare_by_yaw({"raw": [SCORES]}, PAIRS, **{"yaw": YAW, "baseline": "raw", "repeats": 5, **change})

"""Verification against numbers by hand, scikit-learn, and an independent transcription of the field's protocol."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold
from sklearn.preprocessing import normalize

from facexai.benchmarks import VerificationSet, equal_error_rate, measure, roc, tar_at_far, verify
from facexai.benchmarks.verification import best_threshold, compare_embeddings
from facexai.datasets.folders import ten_folds
from facexai.errors import InputError
from facexai.models import build


def scored_pairs(seed: int = 0, pairs: int = 600, folds: int = 10):
    rng = np.random.default_rng(seed)
    genuine = np.tile(np.repeat([True, False], pairs // folds // 2), folds)
    scores = np.clip(rng.normal(np.where(genuine, 0.45, 0.1), 0.15), -1, 1)
    return scores, genuine, np.repeat(np.arange(folds), pairs // folds)


def field_protocol(scores, genuine, folds=10):
    """The accuracy of insightface's `calculate_roc`, transcribed: 400 thresholds on the squared distance."""
    distance = 2 - 2 * scores
    thresholds = np.arange(0, 4, 0.01)
    accuracies = []
    for train, test in KFold(folds, shuffle=False).split(distance):
        on_train = [np.mean((distance[train] < threshold) == genuine[train]) for threshold in thresholds]
        best = thresholds[int(np.argmax(on_train))]
        accuracies.append(np.mean((distance[test] < best) == genuine[test]))
    return np.mean(accuracies), np.std(accuracies)


@pytest.mark.parametrize("seed", range(5))
def test_accuracy_is_the_fields_to_the_last_digit(seed):
    scores, genuine, fold = scored_pairs(seed)
    report = measure(scores, genuine, fold)
    assert (report.accuracy, report.accuracy_std) == field_protocol(scores, genuine)
    assert report.folds == 10


def field_evaluate(embeddings, same, folds=10):
    """insightface's `evaluate` on embeddings as its networks give them, written down from its steps.

    Rows 2 i and 2 i + 1 are pair i. Returns mean and standard deviation of the accuracy.
    """
    unit = normalize(embeddings)
    gaps = np.subtract(unit[0::2], unit[1::2])
    return field_accuracy(np.sum(np.square(gaps), 1), same, folds)


def field_accuracy(dist, same, folds=10):
    grid = np.arange(0, 4, 0.01)
    found = np.zeros(folds)
    for number, (train, test) in enumerate(KFold(n_splits=folds, shuffle=False).split(np.arange(len(same)))):
        on_train = np.zeros(len(grid))
        for position, threshold in enumerate(grid):
            says = np.less(dist[train], threshold)
            right = np.sum(np.logical_and(says, same[train])) + np.sum(np.logical_and(~says, ~same[train]))
            on_train[position] = float(right) / len(train)
        says = np.less(dist[test], grid[np.argmax(on_train)])
        right = np.sum(np.logical_and(says, same[test])) + np.sum(np.logical_and(~says, ~same[test]))
        found[number] = float(right) / len(test)
    return np.mean(found), np.std(found)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("pairs", [200, 203])  # 203 pairs do not fall into equal tenths
def test_accuracy_of_embeddings_is_the_fields_to_the_last_digit(seed, pairs):
    rng = np.random.default_rng(seed)
    same = rng.random(pairs) < 0.5
    first = rng.normal(size=(pairs, 32))
    second = np.where(same[:, None], first, 0) + rng.normal(size=(pairs, 32)) * 1.6
    embeddings = np.stack([first, second], 1).reshape(-1, 32).astype(np.float32) * 7
    if seed % 2:  # many pairs have one distance
        embeddings = np.sign(embeddings) * 5
    rows = np.arange(2 * pairs)
    scores, distance = compare_embeddings(embeddings, rows[::2], rows[1::2], chunk=37)
    report = measure(scores, same, ten_folds(pairs), distance=distance)
    assert (report.accuracy, report.accuracy_std) == field_evaluate(embeddings.astype(np.float64), same)
    assert report.correct.mean() == pytest.approx(report.accuracy, abs=0.01)
    assert scores == pytest.approx(1 - distance / 2)


@pytest.mark.parametrize("seed", range(4))
def test_pairs_that_lie_on_a_threshold_are_decided_as_in_the_field(seed):
    rng = np.random.default_rng(seed)
    same = rng.random(400) < 0.5
    distance = np.arange(0, 4, 0.01)[rng.integers(0, 100, 400) + np.where(same, 60, 90)]
    report = measure(1 - distance / 2, same, ten_folds(400), distance=distance)
    assert (report.accuracy, report.accuracy_std) == field_accuracy(distance, same)


def test_the_exact_variant_stands_beside_the_fields():
    scores, genuine, fold = scored_pairs(2)
    report = measure(scores / 1000 + 0.002, genuine, fold)  # all scores between two thresholds of the grid
    assert report.accuracy_exact == measure(scores, genuine, fold, thresholds="exact").accuracy > report.accuracy + 0.1
    assert report.to_json()["accuracy_exact"] == report.accuracy_exact


def test_the_exact_threshold_is_never_worse_on_the_pairs_it_is_chosen_on():
    scores, genuine, _ = scored_pairs()
    grid, exact = 1 - np.arange(0, 4, 0.01) / 2, np.append(np.unique(scores)[::-1], -np.inf)
    accuracy = [np.mean((scores > best_threshold(scores, genuine, c)) == genuine) for c in (grid, exact)]
    by_force = max(np.mean((scores > threshold) == genuine) for threshold in exact)
    assert accuracy[1] == by_force >= accuracy[0]


def test_the_threshold_comes_from_the_other_folds_only():
    scores = np.array([0.9, 0.8, 0.2, 0.1, 0.5, 0.4, 0.3, 0.2])
    genuine = np.array([True, True, False, False, True, True, False, False])
    fold = np.repeat([0, 1], 4)
    report = measure(scores, genuine, fold, thresholds="exact")
    # fold 0 is judged with fold 1's 0.3, all right; fold 1 with fold 0's 0.2, so its 0.3 is accepted wrongly
    assert report.accuracy == pytest.approx((1 + 0.75) / 2)


def test_roc_and_rates_of_five_scores_by_hand():
    scores = np.array([0.9, 0.7, 0.6, 0.4, 0.2])
    genuine = np.array([True, True, False, True, False])
    far, tar, thresholds = roc(scores, genuine)
    assert far.tolist() == [0, 0, 0, 0.5, 0.5, 1]
    assert tar.tolist() == pytest.approx([0, 1 / 3, 2 / 3, 2 / 3, 1, 1])
    assert thresholds[1:].tolist() == scores.tolist()
    assert tar_at_far(scores, genuine, [0.5, 0.1]) == {0.5: 1.0, 0.1: None}
    assert equal_error_rate(scores, genuine) == pytest.approx(1 / 3)


def test_auc_is_the_share_of_couples_in_the_right_order():
    scores, genuine, fold = scored_pairs(3)
    ordered = np.mean(scores[genuine][:, None] > scores[~genuine][None])
    assert measure(scores, genuine, fold).auc == pytest.approx(ordered) == pytest.approx(roc_auc_score(genuine, scores))


def test_tar_never_falls_as_far_rises():
    scores, genuine, _ = scored_pairs(4)
    rates = [tar_at_far(scores, genuine, [far])[far] for far in np.linspace(0.01, 1, 50)]
    assert all(a <= b for a, b in itertools.pairwise(rates))
    assert rates[-1] == 1.0


def test_perfect_scores_make_no_error():
    genuine = np.tile([True, False], 20)
    report = measure(np.where(genuine, 0.8, 0.1), genuine, np.repeat([0, 1], 20))
    assert (report.accuracy, report.auc, report.eer, report.tar[0.1]) == (1.0, 1.0, 0.0, 1.0)


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    return build("ddfv-iresnet", blocks=(1, 1, 1, 1), widths=(4, 4, 8, 16))


@pytest.fixture(scope="module")
def faces():
    return np.random.default_rng(0).integers(0, 256, (8, 112, 112, 3), dtype=np.uint8)


def small_set(images):
    return VerificationSet(
        "small",
        images,
        probe=np.array([0, 2, 4, 6]),
        gallery=np.array([1, 3, 5, 7]),
        genuine=np.array([True, False, True, False]),
        fold=np.array([0, 0, 1, 1]),
    )


def test_scores_are_cosines_of_flip_averaged_embeddings_and_the_mode_is_restored(tiny, faces):
    tiny.train()
    report = verify(tiny, small_set(faces), batch_size=3, progress=False)
    assert tiny.training
    tiny.eval()
    batch = torch.from_numpy(faces).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        embedding = tiny.embed(batch, flip=True).numpy()
    assert report.scores == pytest.approx((embedding[::2] * embedding[1::2]).sum(1), abs=1e-5)


def test_a_limited_set_keeps_folds_and_kinds_and_scores(tiny, faces):
    data = VerificationSet(
        "many",
        faces,
        probe=np.repeat(np.arange(4), 10),
        gallery=np.tile([4, 5, 6, 7, 4], 8),
        genuine=np.tile([True, False], 20),
        fold=np.repeat([0, 1], 20),
    )
    few = data.limited(8)
    assert len(few.genuine) == 8
    assert [(f, g) for f, g in zip(few.fold, few.genuine, strict=True)].count((0, True)) == 2
    assert len(few.images) <= len(faces)
    for pair in range(8):
        assert any(
            np.array_equal(few.images[few.probe[pair]], data.images[p])
            and np.array_equal(few.images[few.gallery[pair]], data.images[g])
            for p, g in zip(data.probe, data.gallery, strict=True)
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, g, f: (s[:-1], g, f), "must be of one length; got 599, 600 and 600"),
        (lambda s, g, f: (np.where(g, np.nan, s), g, f), "scores must be finite; 300 of 600 are not"),
        (lambda s, g, f: (s, g | True, f), "genuine and impostor pairs"),
        (lambda s, g, f: (s, g, f * 0), "at least two folds"),
    ],
)
def test_bad_scores_are_named(change, message):
    with pytest.raises(InputError, match=message):
        measure(*change(*scored_pairs()))


def test_json_names_rates_as_people_write_them():
    report = measure(*scored_pairs(), name="x", rendered=True)
    assert list(report.to_json()["tar"]) == ["0.1", "0.01", "0.001", "0.0001"]
    assert report.to_json()["tar"]["0.001"] is None
    assert {
        "accuracy",
        "accuracy_std",
        "auc",
        "eer",
        "threshold",
        "pairs",
        "folds",
        "seconds",
    } <= report.to_json().keys()

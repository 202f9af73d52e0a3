"""Error rates by group at one threshold: counted by hand, and with intervals over people."""

from dataclasses import replace

import numpy as np
import pytest

from facexai.benchmarks import BENCHMARKS, measure_by_group
from facexai.benchmarks.comparison import ScoredPairs
from facexai.errors import InputError
from facexai.rendering import Identity, sample_identity
from facexai.rendering.identity import COEFFICIENTS, SLICES
from facexai.rendering.skin_tone import SKIN_TONES, skin_tone, typology_angle

# Six people; 0, 1, 2 are of group 0, the others of group 1.
PAIRS = [  # first, second, score
    *[(0, 0, 0.9), (1, 1, 0.2), (2, 2, 0.8), (3, 3, 0.7), (4, 4, 0.75), (5, 5, 0.1)],
    *[(0, 1, 0.6), (0, 2, 0.55), (1, 2, 0.0), (3, 4, 0.3), (3, 5, 0.0), (4, 5, 0.0)],
    *[(0, 3, 0.65), (1, 4, 0.1), (2, 5, 0.1), (0, 4, 0.05)],
]
people = np.array([pair[:2] for pair in PAIRS])
scores = np.array([pair[2] for pair in PAIRS])
pairs = ScoredPairs(people[:, 0] == people[:, 1], np.zeros(len(PAIRS), int), people)
group = (people >= 3).astype(int)


def test_rates_are_those_that_one_counts_by_hand():
    report = measure_by_group(scores, pairs, group, fmr=0.3, repeats=40)  # three of ten impostor pairs
    assert report["threshold"] == 0.55
    first, second = report["groups"]
    assert (first["people"], first["genuine"], first["impostor"]) == (3, 3, 3)
    assert first["fnmr"]["mean"] == pytest.approx(1 / 3) and first["fmr"]["mean"] == pytest.approx(2 / 3)
    assert second["fnmr"]["mean"] == pytest.approx(1 / 3) and second["fmr"]["mean"] == 0
    assert report["within"]["fmr"]["mean"] == pytest.approx(1 / 3)
    assert report["across"]["fmr"]["mean"] == pytest.approx(1 / 4)


def test_one_group_alone_has_the_rate_that_was_asked_for():
    rng = np.random.default_rng(0)
    who = rng.integers(0, 30, (4000, 2))
    everyone = ScoredPairs(who[:, 0] == who[:, 1], np.zeros(4000, int), who)
    score = rng.normal(size=4000) + 2 * everyone.genuine
    report = measure_by_group(score, everyone, np.zeros((4000, 2), int), fmr=0.05, repeats=60)
    (entry,) = report["groups"]
    assert entry["fmr"]["mean"] == pytest.approx(0.05, abs=5e-4)
    assert max(entry["fmr"]["ci95"]) == pytest.approx(0.05, abs=5e-3)  # the threshold is found anew in each draw
    low, high = entry["fnmr"]["ci95"]
    assert low < entry["fnmr"]["mean"] < high
    assert entry["fnmr"]["mean"] == pytest.approx(0.36, abs=0.1)  # Phi(1.645 - 2)
    assert report["across"]["fmr"] is None


def test_the_seed_decides_the_intervals():
    reports = [measure_by_group(scores, pairs, group, fmr=0.3, repeats=40, seed=seed) for seed in (1, 1, 2)]
    assert reports[0] == reports[1] != reports[2]


@pytest.mark.parametrize(
    ("labels", "fmr", "message"),
    [
        (group[:, 0], 0.3, r"labels 0, 1, \.\.\. of shape \(P, 2\); got \(16,\)"),
        (group - 1, 0.3, r"labels 0, 1"),
        (group, 0.05, r"between 1 / 10, what the impostor pairs resolve, and 1; got 0\.05"),
        (group, 1.0, r"got 1"),
    ],
)
def test_what_cannot_be_measured_is_said(labels, fmr, message):
    with pytest.raises(InputError, match=message):
        measure_by_group(scores, pairs, labels, fmr=fmr)


def test_more_melanin_is_a_darker_tone():
    identity = sample_identity(3)
    angles = [typology_angle(with_melanin(identity, level)) for level in (-2, -1, 0, 1, 2)]
    assert angles == sorted(angles, reverse=True) and angles[0] - angles[-1] > 40
    tones = [skin_tone(with_melanin(identity, level)) for level in (-2, 2)]
    assert tones[0] > tones[1]


@pytest.mark.parametrize(
    ("angle", "tone"),
    [
        (60, "light"),
        (41.1, "light"),
        (41, "intermediate"),
        (35, "intermediate"),
        (20, "tan"),
        (0, "brown"),
        (-40, "dark"),
    ],
)
def test_classes_are_those_of_chardon(monkeypatch, angle, tone):
    monkeypatch.setattr("facexai.rendering.skin_tone.typology_angle", lambda identity: angle)
    assert list(SKIN_TONES)[skin_tone(sample_identity(0))] == tone


def with_melanin(identity, level):
    vector = identity.vector.copy()
    vector[SLICES["skin"]][COEFFICIENTS["skin"].index("melanin")] = level
    return Identity(vector)


def test_crossed_has_every_probe_with_every_gallery_image_of_its_fold(monkeypatch, tmp_path):
    monkeypatch.setenv("FACEXAI_CACHE", str(tmp_path))
    protocol = replace(BENCHMARKS["synthetic-lfw"], identities=3, images=2, folds=2, pairs=4)
    data, people = protocol.crossed(progress=False), protocol.people()
    assert len(data.probe) == 2 * 6 * 6 and len(set(zip(data.probe, data.gallery, strict=True))) == 72
    assert data.genuine.sum() == 2 * 3 * 2 * 2
    assert np.array_equal(data.identity[data.probe] // 3, data.fold)
    assert np.array_equal(data.identity[data.gallery] // 3, data.fold)
    assert set(data.probe).isdisjoint(data.gallery) and len(people) == 6
    chosen = protocol.load(progress=False)
    known = set(zip(data.probe, data.gallery, strict=True))
    assert set(zip(chosen.probe, chosen.gallery, strict=True)) <= known

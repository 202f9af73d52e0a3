"""Insertion and deletion against a network that is known by hand."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from facexai.benchmarks import InsertionDeletion, Method
from facexai.benchmarks.insertion_deletion import judged_maps
from facexai.errors import InputError

sys.path.append(str(Path(__file__).parent))
from test_hiding_game import NO_METHOD, TOY, facts, known_network, patches

QUARTERS = InsertionDeletion(TOY, fractions=(0, 0.25, 0.5, 0.75, 1))
# images (.8, .4, 0, 0) and (.8, 0, .4, 0), of impostors (0, .8, .1, 0) and (0, .1, .8, .4)
SIMILARITY = torch.stack([patches(3, 2, 1, 0), patches(3, 1, 2, 0)])
DISSIMILARITY = torch.stack([patches(0, -3, -1, 0), patches(0, -1, -3, -2)])
TRUTH = torch.stack([SIMILARITY, DISSIMILARITY] * 2)


def judged(judge: InsertionDeletion, maps: torch.Tensor, method: Method = NO_METHOD):
    model = known_network()
    pairs = next(judge.chunks(model, progress=False))
    records = judge.measure(model, pairs, maps, method)
    return records, judge.finish(records, facts([pairs]))


def test_the_truth_loses_the_genuine_pair_with_the_first_patch_and_regains_it_with_the_first():
    records, values = judged(QUARTERS, TRUTH)
    # deletion: right at 0, wrong from the first quarter on; insertion: wrong at 0, right from the first quarter on
    assert values["deletion"][[0, 2]].tolist() == pytest.approx([1 / 8] * 2)
    assert values["insertion"][[0, 2]].tolist() == pytest.approx([7 / 8] * 2)
    assert values["gain"][[0, 2]].tolist() == pytest.approx([6 / 8] * 2)
    assert records["inserted"][0, -1] == records["deleted"][0, 0] == pytest.approx(0.8, abs=1e-2)
    assert records["inserted"][0, 0] == records["deleted"][0, -1]  # the filled image


def test_the_opposite_order_is_worse_in_every_metric_of_genuine_pairs():
    _, truth = judged(QUARTERS, TRUTH)
    _, opposite = judged(QUARTERS, torch.stack([3 - SIMILARITY, DISSIMILARITY] * 2))
    for name, better in (("gain", 1), ("insertion", 1), ("deletion", -1), ("score_gain", 1)):
        assert better * np.nanmean(truth[name]) > better * np.nanmean(opposite[name]), name


def test_each_metric_counts_pairs_of_one_kind():
    _, values = judged(QUARTERS, TRUTH)
    for metric in QUARTERS.metrics:
        counts = ~np.isnan(values[metric.name])
        assert np.array_equal(counts, ~TOY.genuine if metric.name.startswith("impostor") else TOY.genuine)


def test_curves_are_those_of_the_kinds_that_are_there():
    model = known_network()
    pairs = next(QUARTERS.chunks(model, progress=False))
    records = QUARTERS.measure(model, pairs, TRUTH, NO_METHOD)
    genuine = {name: scores[TOY.genuine] for name, scores in records.items()}
    of_genuine = QUARTERS.details(genuine, facts([pairs.part(TOY.genuine)]))["curve"]
    both = QUARTERS.details(records, facts([pairs]))["curve"]
    assert list(both) == ["fraction", "genuine_inserted", "genuine_deleted", "impostor_inserted", "impostor_deleted"]
    assert of_genuine == {name: both[name] for name in ("fraction", "genuine_inserted", "genuine_deleted")}


def test_impostors_grow_more_alike_where_the_dissimilar_patch_goes_first():
    records, values = judged(QUARTERS, TRUTH)
    # (0, 0, .1, 0) against (0, .1, .8, .4)
    assert records["deleted"][1, 1] == pytest.approx(0.8 / np.sqrt(0.01 + 0.64 + 0.16), abs=3e-2)
    assert np.nanmean(values["impostor_score_gain"]) > 0


def test_the_gallery_stays_whole_unless_both_are_asked_for():
    one, _ = judged(QUARTERS, TRUTH)
    both, _ = judged(replace(QUARTERS, which="both"), TRUTH)
    assert one["deleted"][0, 1] == pytest.approx(0, abs=1e-2)
    # probe (.8, 0, 0, 0) inserted first; the gallery is (.8, 0, .4, 0), or (.8, 0, 0, 0) as well
    assert one["inserted"][0, 1] == pytest.approx(0.8 / np.sqrt(0.8), abs=1e-2)
    assert both["inserted"][0, 1] == pytest.approx(1, abs=1e-2)


def test_a_map_without_a_sign_serves_both_kinds_and_a_signed_one_is_split():
    maps = torch.tensor([1.0, -2.0]).view(1, 1, 1, 2).expand(2, 2, 1, 2)
    genuine = np.array([True, False])
    assert judged_maps(maps, genuine, unsigned=True).flatten().tolist() == [1, 2] * 4
    assert judged_maps(maps, genuine, unsigned=False).flatten().tolist() == [1, 0, 1, 0, 0, 2, 0, 2]


def test_fractions_end_with_the_whole_image():
    with pytest.raises(InputError, match="fractions must rise from 0 to 1"):
        InsertionDeletion(TOY, fractions=(0, 0.5))

"""Maps judged by what a turn hides: known answers, controls, intervals over people."""

import numpy as np
import pytest
import torch

from facexai.benchmarks import TurnedPair, measure_hidden_regions, turned_pairs
from facexai.benchmarks.hidden_regions import rank_correlation, region_means
from facexai.errors import InputError


@pytest.fixture(scope="module")
def pairs() -> list[TurnedPair]:
    return turned_pairs(2, (-60.0, 60.0), progress=False)


def painted(pair: TurnedPair, values: np.ndarray) -> torch.Tensor:
    """A map with one value a region, on both faces."""
    return torch.from_numpy((np.nan_to_num(values)[None, :, None, None] * pair.regions).sum(1))


def test_a_map_of_the_truth_agrees_perfectly(pairs):
    maps = {
        "truth": [painted(pair, pair.hidden) for pair in pairs],
        "contrary": [painted(p, 1 - p.hidden) for p in pairs],
    }
    rows = {(row.name, row.face): row for row in measure_hidden_regions(maps, pairs, repeats=20).rows}
    assert list(rows) == [(name, face) for name in maps for face in ("turned", "frontal")]
    best, worst = rows["truth", "frontal"], rows["contrary", "frontal"]
    assert best.correlation.ci95 == pytest.approx([1.0, 1.0]) and best.within.mean == pytest.approx(1.0)
    assert best.sides.mean > 0.5 > -0.5 > worst.sides.mean and worst.correlation.mean == pytest.approx(-1.0)


def test_a_map_that_knows_nothing_of_the_turn_has_no_side(pairs):
    flat = {"flat": [torch.ones(2, 112, 112)] * len(pairs)}
    for row in measure_hidden_regions(flat, pairs, repeats=5).rows:
        assert np.isnan(row.correlation.mean) and np.isnan(row.within.mean), "a constant has no ranks"
        assert row.sides.ci95 == [0.0, 0.0]


def test_means_within_regions_by_hand():
    regions = np.zeros((2, 14, 4, 4), dtype=bool)
    regions[0, 0, 0, :2] = regions[1, 13, 3] = True
    pair = TurnedPair(None, regions, np.zeros(14), 0, 60.0)  # type: ignore[arg-type]
    means = region_means(torch.arange(32.0).view(2, 4, 4), pair)
    assert means[0, 0] == 0.5 and means[1, 13] == 16 + 13.5
    assert np.isnan(means).sum() == 26


def test_far_is_the_side_that_turns_away(pairs):
    for pair in pairs:
        assert np.nanmin(pair.hidden[pair.far]) > np.nanmax(pair.hidden[pair.near])
        assert sorted([*pair.far, *pair.near]) == list(range(14))


def test_ranks_share_ties_and_leave_out_what_is_not_known():
    assert rank_correlation(np.array([1.0, 2, 3, np.nan]), np.array([10.0, 40, 90, 0])) == pytest.approx(1)
    assert rank_correlation(np.array([1.0, 1, 2]), np.array([3.0, 4, 5])) == pytest.approx(np.sqrt(3) / 2)


def test_a_control_is_compared_pair_by_pair(pairs):
    truth, contrary = ([painted(pair, sign * pair.hidden + (sign < 0)) for pair in pairs] for sign in (1, -1))
    report = measure_hidden_regions({"truth": truth, "contrary": contrary}, pairs, control="contrary", repeats=5)
    beyond = [row.beyond for row in report.rows]
    assert beyond[1] is not None and beyond[1].mean == pytest.approx(2.0) and beyond[2:] == [None, None]
    assert "[+2.00, +2.00]" in report.table()


def test_the_report_in_words_and_as_json(pairs):
    report = measure_hidden_regions({"truth": [painted(pair, pair.hidden) for pair in pairs]}, pairs, repeats=5)
    assert "4 pairs of 2 people (rendered faces" in report.table() and "+1.00" in report.table()
    assert report.to_json()["rows"][1]["face"] == "frontal"


def test_bad_input_is_refused_in_one_line(pairs):
    with pytest.raises(InputError, match="no pairs"):
        measure_hidden_regions({}, [])
    with pytest.raises(InputError, match="the control 'b' is none of the maps; they are a"):
        measure_hidden_regions({"a": [torch.zeros(2, 112, 112)] * 4}, pairs, control="b")
    with pytest.raises(InputError, match=r"'short' must have one map \(2, 112, 112\) for each of 4 pairs"):
        measure_hidden_regions({"short": [torch.zeros(2, 112, 112)]}, pairs)
    for people, yaws in ((0, (60,)), (1, ()), (1, (0,)), (1, (120,))):
        with pytest.raises(InputError, match=r"0 < \|yaw\| <= 90"):
            turned_pairs(people, yaws)

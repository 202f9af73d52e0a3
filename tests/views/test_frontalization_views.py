"""Figure and explorer of what a frontalizer did: what travels to the page, scales, words, bad input."""

import numpy as np
import pytest
import torch

from facexai.errors import InputError
from facexai.explainers import FrontalizationMaps
from facexai.explainers.residuals import ImageResiduals
from facexai.pairs import FacePair
from facexai.views import FrontalizationExplorer, show_frontalization
from facexai.views.frontalization import KINDS, full_colours, maps_of, painted
from facexai.views.gallery import read_sheet

SIZE, CHANNELS = 48, 6
YAWS = (-60.0, 0.0, 60.0)


def explained(seed: int, moved: bool = True) -> FrontalizationMaps:
    """Random embeddings; each channel lights one window of either face."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.nn.functional.normalize(torch.randn(2, 2, CHANNELS, generator=generator), dim=2)
    if not moved:
        embeddings[:, 1] = embeddings[:, 0]
    residuals = tuple(
        ImageResiduals(
            torch.rand(CHANNELS, 16, 16, generator=generator),
            torch.randint(0, 32, (CHANNELS, 2), generator=generator),
            (SIZE, SIZE),
        )
        for _ in range(2)
    )
    every = torch.ones(2, CHANNELS, dtype=torch.bool)
    angles = torch.tensor([[60.0 * moved, 0.0, 0.0], [0.0, 0.0, 0.0]])
    touched = torch.tensor([moved, False])
    return FrontalizationMaps(embeddings, every, every, residuals, residuals, angles, touched, "made up")


@pytest.fixture
def sweep(pair: FacePair) -> tuple[list[FacePair], list[FrontalizationMaps]]:
    return [pair] * 3, [explained(k, moved=k != 1) for k in range(3)]


def test_the_sheet_holds_faces_and_maps_in_the_order_of_the_menu(sweep):
    pairs, found = sweep
    explorer = FrontalizationExplorer(pairs, found, YAWS, kind="added")
    assert [kind["name"] for kind in explorer.payload["kinds"]] == list(KINDS)
    sheet = read_sheet(explorer.payload["sheet"])
    assert sheet.shape == (3 * SIZE, (2 + 2 * len(KINDS)) * SIZE)
    limits = {kind["name"]: kind["limit"] for kind in explorer.payload["kinds"]}
    for row, each in enumerate(found):
        for column, (name, maps) in enumerate(maps_of(each).items()):
            for side in (0, 1):
                left = (2 + 2 * column + side) * SIZE
                shown = (sheet[row * SIZE : (row + 1) * SIZE, left : left + SIZE].astype(float) - 128) / 127
                true = (maps[side].numpy() / limits[name]).clip(-1, 1)
                assert np.abs(shown - true).mean() < 0.06, (row, name, side)


def test_scores_and_what_the_pose_network_saw_travel_along(sweep):
    pairs, found = sweep
    payload = FrontalizationExplorer(pairs, found, YAWS, threshold=0.2).payload
    assert payload["before"] == [each.before.score for each in found]
    assert payload["after"][1] == payload["before"][1] and payload["frontalized"] == [True, False, True]
    assert payload["seen"] == [60.0, 0.0, 60.0] and payload["threshold"] == 0.2


def test_expected_sums_are_those_of_the_sheet_and_zero_where_nothing_happened(sweep):
    explorer = FrontalizationExplorer(*sweep, YAWS, start=0.0)
    sums = dict(explorer.payload["expected"])
    assert list(sums) == list(YAWS) and explorer.start == 0.0
    assert abs(sums[0.0]) < 0.02 * max(abs(total) for total in sums.values())


def test_before_and_after_share_a_scale(sweep):
    limits = full_colours([{name: one.numpy() for name, one in maps_of(each).items()} for each in sweep[1]])
    assert limits["before"] == limits["after"] != limits["gain"]


def test_a_signed_map_has_two_tints_and_an_unsigned_one_its_own():
    face, values = np.full((2, 2, 3), 128, np.uint8), np.array([[1.0, -1.0], [0.0, 0.5]])
    signed = painted(face, values, "gain", 1.0).astype(int)
    assert signed[0, 0, 2] > signed[0, 0, 0] and signed[0, 1, 0] > signed[0, 1, 2], "blue-green, orange"
    assert len(set(signed[1, 0])) == 1, "nothing, grey"
    violet = painted(face, np.abs(values), "change", 1.0).astype(int)
    assert (violet[0, 0] == violet[0, 1]).all() and violet[0, 0, 2] > violet[0, 0, 0] > violet[0, 0, 1]


def test_the_figure_has_words(sweep):
    figure = show_frontalization(sweep[0][0], sweep[1][0], caption="Words.", alt="Other words.")
    assert figure.layout.meta["caption"].startswith("Words.") and figure.layout.meta["alt"] == "Other words."
    assert len(figure.layout.images) == 2 * (1 + len(KINDS))
    assert len(show_frontalization(sweep[0][0], sweep[1][0], ["gain"]).layout.images) == 4


def test_what_does_not_fit_is_refused_in_one_line(sweep):
    pairs, found = sweep
    for yaws in ((0.0, 60.0), (-60.0, 0.0, 30.0), (60.0, 0.0, -60.0)):
        with pytest.raises(InputError, match="at equal steps"):
            FrontalizationExplorer(pairs, found, yaws)
    with pytest.raises(InputError, match="must start at one of its yaws; got 5"):
        FrontalizationExplorer(pairs, found, YAWS, start=5.0)
    for call in (
        lambda: FrontalizationExplorer(pairs, found, YAWS, kind="loss"),
        lambda: show_frontalization(pairs[0], found[0], ["loss"]),
    ):
        with pytest.raises(InputError, match="unknown map 'loss'; choose from before, after, gain"):
            call()

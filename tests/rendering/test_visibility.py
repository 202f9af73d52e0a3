"""What a turn hides: points on the head, sides, and shares of visible area."""

import numpy as np
import pytest

from facexai.rendering import Nuisance, render, sample_identity
from facexai.rendering.visibility import FACE_REGIONS, face_regions, head_points, hidden_shares

STRAIGHT = Nuisance()
PERSON = sample_identity(14)


def shares(nuisance: Nuisance) -> dict[str, float]:
    hidden = hidden_shares(render(PERSON, nuisance), nuisance, render(PERSON), STRAIGHT)
    return dict(zip(FACE_REGIONS, hidden.tolist(), strict=True))


@pytest.mark.parametrize("nuisance", [Nuisance(yaw=40, pitch=10, roll=-20), Nuisance(distance=600)])
def test_a_point_of_the_head_stays_where_it_is_when_the_head_turns(nuisance: Nuisance):
    found = []
    for one in (STRAIGHT, nuisance):
        rendering = render(PERSON, one)
        x, y = np.round(rendering.landmarks[2]).astype(int)  # the nose tip
        found.append(head_points(rendering, one)[y, x])
    assert np.abs(found[0] - found[1]).max() < 3.0  # millimetres; a pixel is 2


def test_the_background_is_nowhere():
    assert np.isnan(head_points(render(PERSON), STRAIGHT)[0, 0]).all()


def test_regions_do_not_overlap_and_the_right_side_is_the_images_left():
    regions = face_regions(render(PERSON), STRAIGHT)
    assert regions.sum(0).max() == 1
    columns = [np.nonzero(one)[1].mean() for one in regions]
    assert all(right < 56 < left for right, left in zip(columns[:7], columns[7:], strict=True))


def test_nothing_is_hidden_from_the_front():
    assert set(shares(STRAIGHT).values()) == {0.0}


def test_a_larger_picture_hides_nothing():
    hidden = hidden_shares(render(PERSON, size=224), STRAIGHT, render(PERSON), STRAIGHT)
    assert np.abs(hidden).max() < 0.3, "areas are compared in millimetres"


def test_a_turn_to_the_own_left_hides_the_left_side():
    hidden = shares(Nuisance(yaw=60))
    assert min(hidden[name] for name in FACE_REGIONS if name.startswith("left")) > 0.8
    assert max(hidden[name] for name in FACE_REGIONS if name.startswith("right")) < 0.3
    assert hidden["right cheeks"] < -0.3, "the near cheek is seen better than from the front"
    mirrored = shares(Nuisance(yaw=-60))
    assert all(mirrored[name.replace("left", "right")] > 0.8 for name in FACE_REGIONS if name.startswith("left"))


def test_more_is_hidden_the_further_the_head_turns():
    eye = [shares(Nuisance(yaw=yaw))["left eyes"] for yaw in (15, 30, 45, 60, 90)]
    assert eye == sorted(eye) and eye[-1] == 1.0


def test_a_region_of_a_few_pixels_is_not_judged():
    small = face_regions(render(PERSON, size=16), STRAIGHT).sum((1, 2))
    tiny = render(PERSON, size=16)
    assert np.isnan(hidden_shares(tiny, STRAIGHT, tiny, STRAIGHT)[small < 12]).all() and (small < 12).any()

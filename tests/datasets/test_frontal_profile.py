"""Rendered frontal faces and profiles: who is seen how, decided by the seed alone."""

from dataclasses import replace

import numpy as np
import pytest

from facexai.datasets.frontal_profile import RenderedFrontalProfiles
from facexai.errors import InputError
from facexai.rendering import render
from facexai.rendering.scene import pose_in_crop

SMALL = RenderedFrontalProfiles(6, frontals=2, profiles=3, seed=77)


def test_frontal_faces_come_first_and_are_labelled():
    assert SMALL.frontal.tolist() == 6 * [True, True, False, False, False]
    assert SMALL.identity.tolist() == [person for person in range(6) for _ in range(5)]


def test_yaws_lie_in_the_asked_ranges_on_both_sides():
    yaw = np.array([nuisance.yaw for _, nuisance in SMALL.jobs()])
    front, side = yaw[SMALL.frontal], yaw[~SMALL.frontal]
    assert np.abs(front).max() <= 20
    assert (np.abs(side).min() >= 40) & (np.abs(side).max() <= 90)
    assert (side > 0).any() and (side < 0).any() and (front > 0).any() and (front < 0).any()
    narrow = replace(SMALL, profile_yaw=(60.0, 61.0))
    assert all(
        60 <= abs(shot.yaw) <= 61 for (_, shot), front in zip(narrow.jobs(), SMALL.frontal, strict=True) if not front
    )


def test_the_seed_decides_and_other_people_do_not_matter():
    jobs = list(SMALL.jobs())
    assert jobs == list(SMALL.jobs())
    assert jobs[:10] == list(replace(SMALL, identities=2).jobs())
    other = list(replace(SMALL, seed=78).jobs())
    assert jobs[0][0] != other[0][0] and jobs[0][1] != other[0][1]


def test_one_person_keeps_the_face_and_changes_the_hair():
    first, second, third = (identity for identity, _ in list(SMALL.jobs())[:3])
    assert first == third != second
    assert np.array_equal(first.region("eyes"), second.region("eyes"))
    assert not np.array_equal(first.region("hair"), second.region("hair"))


def test_poses_are_those_that_the_crops_show():
    look, nuisance = list(SMALL.jobs())[2]
    rendering = render(look, nuisance)
    seen = pose_in_crop(rendering.pose, rendering.alignment)
    assert SMALL.pose.shape == (30, 3)
    assert np.allclose(SMALL.pose[2], (seen.yaw, seen.pitch, seen.roll), atol=1e-3)


def test_images_and_recipes_belong_together(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEXAI_CACHE", str(tmp_path))
    one = replace(SMALL, identities=1, frontals=1, profiles=1)
    images = one.images(workers=1, progress=False)
    assert np.array_equal(images[1], render(*list(one.jobs())[1]).image)
    assert one.recipe != replace(one, profile_yaw=(40.0, 80.0)).recipe
    assert one.recipe["kind"] == "frontal-profile"


@pytest.mark.parametrize("name", ["identities", "frontals", "profiles"])
def test_less_than_one_of_anything_is_refused(name):
    with pytest.raises(InputError, match=f"{name} must be at least 1; got 0"):
        replace(SMALL, **{name: 0})

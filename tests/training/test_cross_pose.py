"""Who is seen from the front and from the side, and what there is to say where nobody is."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from facexai.datasets.features import PoseFeatures
from facexai.errors import InputError
from facexai.training.cross_pose import CrossPoseFaces

#           person, yaw, pitch, roll
FACES = [
    ("ann", 0, 0, 0),
    ("ann", -50, 0, 0),
    ("ann", 30, 0, 0),  # in between
    ("bob", 5, 0, 0),  # seen from the front alone
    ("cyd", 80, 0, 0),  # seen from the side alone
    ("dan", 20, -20, 20),  # on the limit, so frontal
    ("dan", 40, 0, 0),  # on the limit, so no profile
    ("dan", 0, 41, 0),  # a profile by its pitch
    ("dan", 0, 0, -41),  # a profile by its roll
]
IDENTITY = np.array([face[0] for face in FACES])
ANGLES = np.array([face[1:] for face in FACES], np.float64)


def features(faces: int = len(FACES)) -> PoseFeatures:
    generator = torch.Generator().manual_seed(0)
    return PoseFeatures(*(torch.randn(faces, 2, size, generator=generator) for size in (4, 5, 3)))


def rows_of(part: PoseFeatures) -> list[int]:
    """Which of all faces these are."""
    return [int((features().embedding == face).flatten(1).all(1).nonzero()) for face in part.embedding]


def test_who_lacks_either_is_left_out_and_so_are_poses_in_between():
    faces = CrossPoseFaces.sort(features(), IDENTITY, ANGLES)
    assert rows_of(faces.frontal) == [0, 5]
    assert rows_of(faces.profile) == [1, 7, 8]
    assert (faces.frontal_identity.tolist(), faces.profile_identity.tolist()) == ([0, 1], [0, 1, 1])
    assert faces.people == 2


def test_the_limits_can_be_moved():
    faces = CrossPoseFaces.sort(features(), IDENTITY, ANGLES, frontal=25, profile=30 - 1e-6)
    assert rows_of(faces.frontal) == [0, 5]
    assert rows_of(faces.profile) == [1, 2, 6, 7, 8]


def test_a_part_of_the_people_is_numbered_from_zero():
    faces = CrossPoseFaces.sort(features(), IDENTITY, ANGLES)
    last = faces.of(1, 2)
    assert (rows_of(last.frontal), rows_of(last.profile)) == ([5], [7, 8])
    assert (last.frontal_identity.tolist(), last.profile_identity.tolist(), last.people) == ([0], [0, 0], 1)


def test_the_mean_frontal_embedding_is_over_faces_and_their_mirror_images():
    identity = np.array(["a", "a", "a", "b", "b"])
    angles = np.array([[0, 0, 0], [0, 0, 0], [60, 0, 0], [0, 0, 0], [60, 0, 0]])
    faces = CrossPoseFaces.sort(features(5), identity, angles)
    unit = F.normalize(features(5).embedding, dim=-1)
    by_hand = F.normalize(torch.stack([unit[:2].flatten(0, 1).sum(0), unit[3].sum(0)]))
    assert torch.allclose(faces.mean_frontal(), by_hand, atol=1e-6)


def test_angles_that_are_no_numbers_are_counted():
    angles = ANGLES.copy()
    angles[3, 1], angles[4] = np.nan, np.inf
    with pytest.raises(InputError, match=r"angles must be numbers; those of 2 faces are not\. Leave such faces out"):
        CrossPoseFaces.sort(features(), IDENTITY, angles)


def test_faces_without_a_frontal_one_are_refused_in_one_line():
    with pytest.raises(InputError, match="there are 0 frontal faces and 9 profiles, and 0 people with both") as caught:
        CrossPoseFaces.sort(features(), IDENTITY, np.where([True, False, False], 60, ANGLES))
    assert "\n" not in str(caught.value)


def test_one_person_with_both_is_not_enough():
    with pytest.raises(InputError, match=r"at least two people .* 1 people with both"):
        CrossPoseFaces.sort(features(5), IDENTITY[:5], ANGLES[:5])


@pytest.mark.parametrize(("identities", "poses"), [(8, (9, 3)), (9, (8, 3)), (9, (9, 2))])
def test_unknown_lengths_are_refused(identities, poses):
    with pytest.raises(InputError, match=r"9 faces need as many identities and \(M, 3\) angles; got"):
        CrossPoseFaces.sort(features(), np.zeros(identities), np.zeros(poses))

"""Faces with known poses: rendered ones whose label is what one sees in the crop, and the user's own."""

import numpy as np
import pytest
from PIL import Image

from facexai.datasets import PoseFolder
from facexai.datasets.rendered import RenderedFaces, RenderedPoses
from facexai.errors import InputError
from facexai.pose import Pose
from facexai.rendering import Nuisance, render
from facexai.rendering.scene import pose_in_crop

SMALL = RenderedPoses(6, 10, seed=77)


def turn(degrees: float, scale: float = 0.5) -> np.ndarray:
    """Alignment that turns the picture clockwise as seen, where y points down."""
    cosine, sine = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return np.array([[cosine, -sine, 50.0], [sine, cosine, 60.0]])


def test_a_crop_turned_clockwise_takes_roll_away_and_nothing_else():
    pose = Pose(40.0, -10.0, 15.0)
    assert pose_in_crop(pose, turn(0)) == pose
    seen = pose_in_crop(pose, turn(20))
    assert (seen.yaw, seen.pitch) == (40.0, -10.0)
    assert seen.roll == pytest.approx(-5.0)
    assert pose_in_crop(Pose(roll=170.0), turn(-30)).roll == pytest.approx(-160.0)


def test_the_rotation_seen_in_a_crop_is_the_heads_followed_by_the_crops():
    pose, angle = Pose(50.0, 20.0, -12.0), np.radians(25)
    clockwise = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])  # y up
    np.testing.assert_allclose(pose_in_crop(pose, turn(25)).matrix(), clockwise @ pose.matrix(), atol=1e-12)


def test_the_eyes_of_an_aligned_crop_show_the_roll_of_its_label():
    """A frontal head that lies on one side: upright in an aligned crop, and its label says so."""
    for person, nuisance, alignment in RenderedPoses(2, 3, seed=5, loose=0.0).jobs():
        frontal = Nuisance(roll=nuisance.roll, landmark_jitter=nuisance.landmark_jitter)
        rendering = render(person, frontal)
        right, left = rendering.landmarks[:2]
        tilt = -np.degrees(np.arctan2(left[1] - right[1], left[0] - right[0]))  # counter-clockwise as seen
        assert pose_in_crop(frontal.pose, rendering.alignment).roll == pytest.approx(tilt, abs=3)
        assert abs(nuisance.roll) < 30 and alignment.shape == (2, 3)


def test_labels_are_those_of_the_renderings():
    jobs, poses = list(SMALL.jobs()), SMALL.poses()
    assert (poses.shape, poses.dtype) == ((60, 3), np.float32)
    for (_, nuisance, alignment), pose in list(zip(jobs, poses, strict=True))[:10]:
        assert pose[:2].tolist() == pytest.approx([nuisance.yaw, nuisance.pitch], abs=1e-4)
        assert pose[2] == pytest.approx(pose_in_crop(nuisance.pose, alignment).roll, abs=1e-4)


def test_loose_crops_keep_the_roll_and_aligned_ones_lose_most_of_it():
    loose, aligned = (RenderedPoses(10, 10, seed=3, loose=share) for share in (1.0, 0.0))
    heads = [np.array([nuisance.roll for _, nuisance, _ in faces.jobs()]) for faces in (loose, aligned)]
    np.testing.assert_allclose(loose.poses()[:, 2], heads[0], atol=1e-4)
    assert np.abs(aligned.poses()[:, 2]).mean() < 0.6 * np.abs(heads[1]).mean()


def test_yaw_lies_anywhere_and_poses_fit_the_bins():
    poses = RenderedPoses(30, 10, seed=1).poses()
    shares = np.histogram(poses[:, 0], bins=[-90, -45, 0, 45, 90])[0] / len(poses)
    assert (np.abs(shares - 0.25) < 0.08).all()
    assert np.abs(poses).max() < 99


def test_images_are_framed_as_their_jobs_say(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEXAI_CACHE", str(tmp_path))
    few = RenderedPoses(1, 4, seed=2)
    images = few.images(workers=1, progress=False)
    for image, (person, nuisance, alignment) in zip(images, few.jobs(), strict=True):
        assert np.array_equal(image, render(person, nuisance, alignment=alignment).image)
    assert few.identity.tolist() == [0, 0, 0, 0]


def test_another_seed_gives_other_people():
    first, again, other = (next(iter(RenderedPoses(1, 1, seed=seed).jobs()))[0] for seed in (7, 7, 8))
    assert first == again != other
    assert next(iter(RenderedFaces(1, 1, seed=7).jobs()))[0] == first  # one seed, one set of people


# The user's own


@pytest.fixture
def folder(tmp_path):
    for number in range(3):
        Image.new("RGB", (112, 112), (number, 0, 0)).save(tmp_path / f"{number}.png")
    return tmp_path


def write(folder, text):
    file = folder / "poses.csv"
    file.write_text(text)
    return file


def test_poses_belong_to_their_images(folder):
    file = write(folder, "roll,name,yaw,pitch,identity\n3,2.png,1,2,a\n-6,0.png,-4.5,5,b\n0,1.png,0,0,a\n")
    faces = PoseFolder(folder, file)
    assert faces.poses.tolist() == [[1, 2, 3], [-4.5, 5, -6], [0, 0, 0]]
    assert faces[np.array([1, 0])][:, 0, 0, 0].tolist() == [0, 2]
    assert faces.identity.tolist() == [0, 1, 0] and len(faces) == 3
    alone = PoseFolder(folder, write(folder, "name,yaw,pitch,roll\n2.png,1,2,3\n0.png,4,5,6\n"))
    assert len(set(alone.identity.tolist())) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,yaw,pitch,roll\n0.png,1,nan,3\n", "line 2: pitch must be a number within .-99 degrees; got 'nan'"),
        ("name,yaw,pitch,roll\n0.png,1,2,3\n1.png,120,2,3\n", "line 3: yaw must be .* got '120'"),
        ("name,yaw,pitch,roll\n0.png,left,2,3\n", "line 2: yaw must be .* got 'left'"),
        ("name,yaw,pitch,roll\n0.png,1,2\n", "line 2: roll must be .* got ''"),
        ("name,yaw,pitch\n0.png,1,2\n", r"lacks the column\(s\) roll"),
        ("name,yaw,pitch,roll\n", "has no poses"),
        ("name,yaw,pitch,roll\n9.png,1,2,3\n", "names an image that is not there"),
        ("name,yaw,pitch,roll\n../0.png,1,2,3\n", "image names must lie inside"),
    ],
)
def test_what_cannot_be_used_is_one_clear_line(folder, text, message):
    with pytest.raises(InputError, match=message) as caught:
        PoseFolder(folder, write(folder, text))
    assert "\n" not in str(caught.value)


def test_a_missing_or_foreign_file_is_named(folder):
    with pytest.raises(InputError, match=r"cannot read the pose file .*none\.csv"):
        PoseFolder(folder, folder / "none.csv")
    with pytest.raises(InputError, match="is not a CSV text file"):
        PoseFolder(folder, folder / "0.png")

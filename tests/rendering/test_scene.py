from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facexai.errors import InputError
from facexai.pixels import TEMPLATE, similarity_transform
from facexai.rendering import LABELS, OCCLUDERS, Nuisance, render, sample_identity, sample_nuisance, wear

RIGHT_EYE, LEFT_EYE, NOSE, RIGHT_CORNER, LEFT_CORNER = range(5)
EYES, MOUTH = [RIGHT_EYE, LEFT_EYE], [RIGHT_CORNER, LEFT_CORNER]
# Small pictures of people in full nuisance as they were when the `tutorial` network was trained.
REFERENCE = np.load(Path(__file__).parent / "reference_faces.npy")


def label_at(rendering, landmark):
    x, y = np.round(rendering.landmarks[landmark]).astype(int)
    return LABELS[rendering.regions[y, x]]


def shrink(image, factor):
    height, width, _ = image.shape
    return image.reshape(height // factor, factor, width // factor, factor, 3).mean((1, 3))


@pytest.fixture(scope="module")
def frontal():
    return [render(wear(sample_identity(seed), "crop", "none")) for seed in range(6)]


def test_same_arguments_give_the_same_image():
    identity, nuisance = sample_identity(5), sample_nuisance(5)
    np.testing.assert_array_equal(render(identity, nuisance).image, render(identity, nuisance).image)


@pytest.mark.parametrize("seed", range(len(REFERENCE)))
def test_people_look_as_they_did_when_the_network_was_trained(seed):
    image = render(sample_identity(seed), sample_nuisance(seed, occlusion=0.6)).image
    # Other machines round differently: a few grey levels at edges, none on average.
    assert np.abs(shrink(image, 4) - REFERENCE[seed]).mean() < 1.5


def test_shapes_and_types(frontal):
    face = frontal[0]
    assert face.image.shape == (112, 112, 3) and face.image.dtype == np.uint8
    assert face.regions.shape == face.occluder.shape == (112, 112)
    assert face.landmarks.shape == (5, 2) and face.visible.shape == (5,) and face.alignment.shape == (2, 3)
    tensor = face.tensor()
    assert tuple(tensor.shape) == (3, 112, 112) and tensor.min() >= -1 and tensor.max() <= 1
    np.testing.assert_allclose(tensor[:, 7, 9].numpy(), face.image[7, 9] / 127.5 - 1, atol=1e-6)


def test_landmarks_are_aligned_to_the_template(frontal):
    for face in frontal:
        np.testing.assert_allclose(similarity_transform(face.landmarks, TEMPLATE), np.eye(2, 3), atol=1e-6)
        assert np.abs(face.landmarks - TEMPLATE).max() < 6


def test_landmark_jitter_moves_the_frame_and_not_the_truth():
    shift = ((3.0, 0.0),) * 5
    plain, moved = render(sample_identity(0)), render(sample_identity(0), Nuisance(landmark_jitter=shift))
    step = moved.landmarks - plain.landmarks
    np.testing.assert_allclose(step, np.tile(step[0], (5, 1)), atol=1e-9)
    np.testing.assert_allclose(step[0], -plain.alignment[:, :2] @ [3, 0], atol=1e-9)


def test_region_map_agrees_with_the_landmarks(frontal):
    for face in frontal:
        assert [label_at(face, landmark) for landmark in EYES] == ["eyes", "eyes"]
        assert label_at(face, NOSE) == "nose"
        shown = {LABELS[index] for index in np.unique(face.regions)}
        assert shown >= {"cheeks", "forehead", "eyes", "brows", "nose", "mouth", "jaw", "hair", "ears", "neck"}


def test_positive_yaw_pitch_and_roll_turn_as_pose_says():
    identity = sample_identity(0)
    frame = render(identity).alignment
    still = render(identity, alignment=frame).landmarks

    def turned(**angles):
        return render(identity, Nuisance(**angles), alignment=frame).landmarks - still

    assert turned(yaw=20.0)[NOSE, 0] > 5  # to the image's right
    assert turned(pitch=15.0)[NOSE, 1] > 5  # down
    roll = turned(roll=15.0)
    assert roll[LEFT_EYE, 1] < -2 < 2 < roll[RIGHT_EYE, 1]  # counter-clockwise


def test_profiles_hide_the_far_side():
    for seed in range(6):
        left, right = (render(sample_identity(seed), Nuisance(yaw=yaw)).visible for yaw in (80.0, -80.0))
        np.testing.assert_array_equal(left, [True, False, True, True, False])
        np.testing.assert_array_equal(right, [False, True, True, False, True])


def test_frontal_landmarks_are_all_visible(frontal):
    assert all(face.visible.all() for face in frontal)


def test_landmarks_outside_the_frame_are_not_visible(frontal):
    shifted = frontal[0].alignment + np.array([[0, 0, 60.0], [0, 0, 0]])
    assert list(render(sample_identity(0), alignment=shifted).visible) == [True, False, False, True, False]


def test_twice_the_size_shows_the_same_picture():
    for seed in range(3):
        identity = sample_identity(seed)
        difference = np.abs(shrink(render(identity, size=224).image, 2) - render(identity).image)
        assert difference.mean() < 2.5


def test_alignment_frames_another_face_alike(frontal):
    other = render(sample_identity(30), alignment=frontal[0].alignment)
    np.testing.assert_array_equal(other.alignment, frontal[0].alignment)
    assert np.abs(similarity_transform(other.landmarks, TEMPLATE) - np.eye(2, 3)).max() > 0.01
    behind = (other.regions == 0) & (frontal[0].regions == 0)
    inside = behind & np.roll(behind, 1, 0) & np.roll(behind, -1, 0) & np.roll(behind, 1, 1) & np.roll(behind, -1, 1)
    np.testing.assert_array_equal(other.image[inside], frontal[0].image[inside])


HIDDEN = {"mask": [NOSE, *MOUTH], "sunglasses": EYES, "glasses": [], "scarf": [], "hat": [], "cap": []}


@pytest.mark.parametrize("kind", OCCLUDERS)
def test_occluders_cover_what_they_should(kind):
    for seed in range(4):
        face = render(sample_identity(seed), Nuisance(occluder=kind))
        assert 0.005 < face.occluder.mean() < 0.4
        np.testing.assert_array_equal(face.occluder, face.regions == LABELS.index("occluder"))
        assert not face.visible[HIDDEN[kind]].any()
        if kind != "mask":
            assert face.visible[NOSE]
        if kind != "sunglasses":
            assert face.visible[EYES].all()
        rows = np.flatnonzero(face.occluder.any(axis=1))
        if kind in ("hat", "cap"):
            assert rows.min() == 0 and rows.max() < 60
        if kind in ("mask", "scarf"):
            assert rows.min() > 50 and rows.max() == 111


def test_clear_lenses_leave_the_eyes_in_sight():
    identity = sample_identity(0)
    bare, glasses = render(identity), render(identity, Nuisance(occluder="glasses"))
    x, y = np.round(bare.landmarks[LEFT_EYE]).astype(int)
    around = (slice(y - 3, y + 4), slice(x - 3, x + 4))
    before, after = bare.image[around].astype(float), glasses.image[around].astype(float)
    assert 0.5 < np.abs(before - after).mean() < 30  # the glass is there, and one sees through it
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.9


@pytest.mark.parametrize(
    "change",
    [
        *({"smile": 1.0}, {"mouth_open": 10.0}, {"eye_closure": 1.0}, {"brow_raise": 1.0}, {"age": 1.0}, {"grey": 0.8}),
        *({"gaze": (2.0, 0.0)}, {"light_direction": (-1.0, 0.2, 0.3)}, {"exposure": 0.5}, {"tint": (1.1, 1.0, 0.9)}),
        *({"blur": 1.0}, {"noise": 0.03}, {"jpeg": 30}, {"background": 9}, {"distance": 500.0}),
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_circumstance_shows(change):
    identity = sample_identity(2)
    assert np.abs(render(identity, Nuisance(**change)).image.astype(float) - render(identity).image).max() > 6


def test_closing_the_eyes_hides_the_iris():
    def change(closure):
        ahead, aside = (
            render(sample_identity(2), Nuisance(eye_closure=closure, gaze=gaze)).image.astype(float)
            for gaze in ((0.0, 0.0), (3.0, 0.0))
        )
        return np.abs(ahead - aside).sum()

    assert change(1.0) < 0.15 * change(0.0)


@pytest.mark.parametrize("size", [0, 15, 5000])
def test_bad_sizes_are_refused(size):
    with pytest.raises(InputError, match="size must be 16 to 1024"):
        render(sample_identity(0), size=size)


@pytest.mark.parametrize("alignment", [np.eye(3), np.full((2, 3), np.inf)])
def test_bad_alignments_are_refused(alignment):
    with pytest.raises(InputError, match="finite \\(2, 3\\) matrix"):
        render(sample_identity(0), alignment=alignment)


def test_the_extremes_of_the_sampler_render():
    for seed in range(8):
        nuisance = replace(sample_nuisance(seed, 1.5), yaw=90.0 * (-1) ** seed, mouth_open=25.0, smile=2.0, age=1.2)
        assert render(sample_identity(seed), nuisance, size=48).image.std() > 5

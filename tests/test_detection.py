"""The detector is found or its absence explained, one face is chosen, and points refer to the photo."""

import csv
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from facexai import detection
from facexai.detection import Detection, detect_face, detect_faces, find_detector_model, load_face
from facexai.errors import InputError
from facexai.images import from_uint8, load_image, to_uint8
from facexai.pixels import TEMPLATE, similarity_transform
from facexai.weights import load_model

REALDATA = Path(os.environ.get("FACEXAI_REALDATA") or "missing")
realdata = [
    pytest.mark.realdata,
    pytest.mark.skipif(not REALDATA.is_dir(), reason="FACEXAI_REALDATA does not name a folder of real faces"),
]


@pytest.fixture(autouse=True)
def no_detector(monkeypatch, tmp_path):
    """No test finds a model file of this machine."""
    monkeypatch.delenv("FACEXAI_YUNET", raising=False)
    monkeypatch.setenv("FACEXAI_CACHE", str(tmp_path / "cache"))


class FakeDetector:
    """Answers with given rows per width of the image, and records the sizes it was shown."""

    def __init__(self, rows_at):
        self.rows_at, self.sizes, self.images = rows_at, [], []

    def setInputSize(self, size):
        self.sizes.append(size)

    def detect(self, image):
        assert image.shape[1::-1] == self.sizes[-1]
        self.images.append(image)
        return 1, self.rows_at.get(image.shape[1])


def row(left, top, width, height, score=0.9):
    """What YuNet returns for a face whose landmarks lie on the template stretched over the box."""
    points = (TEMPLATE / 112 * [width, height] + [left, top]).reshape(-1)
    return np.array([left, top, width, height, *points, score], np.float32)


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Install a detector that returns `rows_at[width]`."""

    def install(rows_at):
        detector = FakeDetector({width: np.stack(rows) for width, rows in rows_at.items()})
        monkeypatch.setattr(detection, "_create_detector", lambda model_file, score: detector)
        monkeypatch.setattr(detection, "find_detector_model", lambda model_file=None: Path("yunet.onnx"))
        return detector

    return install


def test_a_missing_model_file_says_how_to_get_it(tmp_path):
    with pytest.raises(InputError) as caught:
        detect_face(torch.zeros(3, 64, 64))
    message = str(caught.value)
    for part in (str(tmp_path / "cache"), "yunet_2026may.onnx", "OpenCV Zoo", "FACEXAI_YUNET", "--no-align"):
        assert part in message
    assert "\n" not in message


def test_argument_then_variable_then_cache(monkeypatch, tmp_path):
    cached, named, given = (tmp_path / name for name in ("cache/yunet.onnx", "named.onnx", "given.onnx"))
    cached.parent.mkdir()
    for file in (cached, named, given):
        file.touch()
    assert find_detector_model() == cached
    monkeypatch.setenv("FACEXAI_YUNET", str(named))
    assert find_detector_model() == named
    assert find_detector_model(given) == given


def test_a_named_file_that_is_not_there_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("FACEXAI_YUNET", str(tmp_path / "gone.onnx"))
    with pytest.raises(InputError, match=r"no face detector at .*gone.onnx"):
        find_detector_model()


def test_a_file_that_is_no_model_is_refused(tmp_path, capfd):
    (tmp_path / "pointer.onnx").write_text("version https://git-lfs")
    with pytest.raises(InputError, match=r"pointer.onnx is not a YuNet model"):
        detect_face(torch.zeros(3, 64, 64), model_file=tmp_path / "pointer.onnx")
    assert capfd.readouterr().err == ""


def test_points_on_a_shrunken_copy_are_mapped_back(fake):
    detector = fake({480: [row(120, 60, 112, 112)]})
    found = detect_face(torch.zeros(3, 480, 1920))
    assert detector.sizes == [(480, 120)]
    assert found.box.tolist() == [480, 240, 448, 448]
    # The centre of pixel 0 of the copy lies between pixels 1 and 2 of the photo.
    assert np.abs(found.landmarks - ((TEMPLATE + [120, 60] + 0.5) * 4 - 0.5)).max() < 1e-3
    assert abs(found.score - 0.9) < 1e-6


def test_the_detector_sees_blue_first(fake):
    detector = fake({})
    detect_faces(torch.tensor([1.0, 0.0, -1.0]).view(3, 1, 1).expand(3, 80, 100))
    assert detector.images[0][0, 0].tolist() == [0, 128, 255]


def test_a_small_photo_is_not_enlarged(fake):
    detector = fake({100: [row(10, 10, 60, 60)]})
    detect_face(torch.zeros(3, 80, 100))
    assert detector.sizes == [(100, 80)]


def test_a_face_seen_only_on_a_finer_copy_is_found(fake):
    detector = fake({960: [row(10, 10, 60, 60)]})
    assert detect_face(torch.zeros(3, 960, 1920)).box.tolist() == [20, 20, 120, 120]
    assert detector.sizes == [(480, 240), (960, 480)]


def test_no_face_is_an_error(fake):
    detector = fake({})
    assert detect_faces(torch.zeros(3, 960, 1920)) == []
    with pytest.raises(InputError, match=r"no face found in the image.*--no-align"):
        detect_face(torch.zeros(3, 960, 1920))
    assert detector.sizes[:3] == [(480, 240), (960, 480), (240, 120)]


def test_two_faces_are_an_error_unless_the_largest_is_asked_for(fake):
    fake({200: [row(0, 0, 20, 20), row(50, 50, 90, 90), row(20, 20, 30, 30)]})
    with pytest.raises(InputError, match=r'has 3;.*--largest-face \(faces="largest"\)'):
        detect_face(torch.zeros(3, 200, 200))
    assert detect_face(torch.zeros(3, 200, 200), faces="largest").box.tolist() == [50, 50, 90, 90]


def test_load_face_names_the_photo(fake, tmp_path):
    fake({})
    cv2.imwrite(str(tmp_path / "sky.png"), np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(InputError, match=r"no face found in .*sky.png"):
        load_face(tmp_path / "sky.png")


def test_load_face_aligns_what_was_found(fake):
    fake({300: [row(100, 50, 112, 112)]})
    photo = torch.rand(3, 200, 300, generator=torch.Generator().manual_seed(42)) * 2 - 1
    assert torch.allclose(load_face(photo), photo[:, 50:162, 100:212], atol=1e-3)


def test_an_aligned_crop_is_used_as_it_is():
    crop = torch.rand(3, 112, 112)
    assert torch.equal(load_face(crop, align=False), crop)
    with pytest.raises(InputError, match=r"must be a 112x112 crop; the image is 120x112. Leave out --no-align"):
        load_face(torch.zeros(3, 112, 120), align=False)


# On real photos


def annotated(folder):
    """Photos of `originals/folder` and their five points in pixels."""
    with open(REALDATA / "originals" / "landmarks5.csv", newline="") as file:
        for name, *numbers in list(csv.reader(file))[1:]:
            if name.startswith(folder):
                yield REALDATA / "originals" / name, np.array(numbers, float).reshape(5, 2)


def alignment_error(found, truth):
    """Mean distance in the 112-pixel crop between the annotated points as aligned by both, in pixels."""
    by_found, by_truth = similarity_transform(found, TEMPLATE), similarity_transform(truth, TEMPLATE)
    first, second = (truth @ matrix[:, :2].T + matrix[:, 2] for matrix in (by_found, by_truth))
    return np.linalg.norm(first - second, axis=1).mean()


@pytest.fixture
def yunet():
    return REALDATA / "weights" / "yunet_n_dynamic.onnx"


class TestOnRealPhotos:
    pytestmark = realdata

    # The points of the LFW photos come from this very network, so they check the way of the coordinates; those of CFP
    # check how well faces are found.
    @pytest.mark.parametrize("folder", ["lfw", "cfp"])
    def test_alignment_agrees_with_annotated_landmarks(self, folder, yunet, record_property):
        errors = []
        for file, truth in annotated(folder):
            found = detect_face(load_image(file), model_file=yunet, faces="largest")
            errors.append(alignment_error(found.landmarks, truth))
        record_property("median_pixels", float(np.median(errors)))
        print(f"{folder}: {len(errors)} photos, median {np.median(errors):.2f} px, 90 % {np.quantile(errors, 0.9):.2f}")
        assert len(errors) == {"lfw": 48, "cfp": 40}[folder]
        assert np.median(errors) < 3

    def test_landmarks_do_not_depend_on_the_size_of_the_photo(self, yunet):
        errors = []
        for file, truth in list(annotated("lfw"))[:8]:
            pixels = to_uint8(load_image(file))
            large = cv2.resize(pixels, None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC)
            found = detect_face(from_uint8(large), model_file=yunet, faces="largest")
            errors.append(alignment_error((found.landmarks + 0.5) / 8 - 0.5, truth))
        assert np.median(errors) < 2

    def test_two_photos_side_by_side_are_two_faces(self, yunet, capfd):
        photos = [to_uint8(load_image(file)) for file, _ in list(annotated("lfw"))[2:4]]
        both = from_uint8(np.concatenate(photos, axis=1))
        with pytest.raises(InputError, match="has 2"):
            detect_face(both, model_file=yunet)
        largest = detect_face(both, model_file=yunet, faces="largest")
        assert isinstance(largest, Detection) and capfd.readouterr().err == ""

    def test_noise_has_no_face(self, yunet):
        noise = np.random.default_rng(42).integers(0, 256, (300, 300, 3), np.uint8)
        with pytest.raises(InputError, match="no face found"):
            detect_face(load_image(noise), model_file=yunet)

    def test_detected_faces_are_recognised(self, yunet):
        model = load_model(f"mobilefacenet@{REALDATA / 'weights' / 'mobilefacenet_casia.pth'}")
        with open(REALDATA / "originals" / "lfw_pairs.csv", newline="") as file:
            pairs = list(csv.DictReader(file))
        names = sorted({pair[side] for pair in pairs for side in ("name1", "name2")})
        photos = [REALDATA / "originals" / "lfw" / name for name in names]
        with torch.inference_mode():
            embeddings = model.embed(torch.stack([load_face(p, model_file=yunet, faces="largest") for p in photos]))
        embedding = dict(zip(names, embeddings, strict=True))
        scores = {kind: [] for kind in "01"}
        for pair in pairs:
            scores[pair["same"]].append(float(embedding[pair["name1"]] @ embedding[pair["name2"]]))
        right = sum(score >= 0.3 for score in scores["1"]) + sum(score < 0.3 for score in scores["0"])
        assert len(pairs) == 24 and right >= 23

"""PoseFeatures: what the networks say of each face and of its mirror image, kept in one whole file."""

import os

import numpy as np
import pytest
import torch

from facexai.datasets import features as module
from facexai.datasets.features import PoseFeatures, extract_features, features_once
from facexai.errors import InputError
from facexai.models import FaceRecognizer, build
from facexai.models.hopenet import HopeNet


@pytest.fixture(scope="module")
def networks() -> tuple[FaceRecognizer, HopeNet]:
    torch.manual_seed(0)
    recognizer = build("ddfv-iresnet", blocks=(1, 1, 1, 1), widths=(4, 4, 8, 16), stem_stride=2)
    return recognizer.eval(), HopeNet(10, size=32, stages=3).eval()


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 112, 112, 3), np.uint8)


def made(faces: int = 3) -> PoseFeatures:
    generator = torch.Generator().manual_seed(0)
    return PoseFeatures(*(torch.randn(faces, 2, size, generator=generator) for size in (4, 5, 3)))


def test_each_face_comes_with_its_mirror_image_as_direct_calls_have_them(networks, images):
    recognizer, estimator = networks
    found = extract_features(recognizer, estimator, images, batch_size=2, progress=False)
    assert [tuple(part.shape) for part in vars(found).values()] == [(5, 2, 16), (5, 2, 256), (5, 2, 3)]
    batch = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        for view, faces in enumerate((batch, batch.flip(3))):
            pose = estimator(faces)
            assert torch.allclose(found.embedding[:, view], recognizer.pool(recognizer.features(faces)), atol=1e-4)
            assert torch.allclose(found.pose[:, view], pose.feature, atol=1e-4)
            assert torch.allclose(found.angles[:, view], pose.angles, atol=1e-2)
    assert not torch.allclose(found.embedding[:, 0], found.embedding[:, 1], atol=1e-2)


def test_the_recognizer_gets_its_mode_back_and_is_asked_in_eval_mode(networks, images):
    recognizer, estimator = networks
    expected = extract_features(recognizer, estimator, images[:2], progress=False)
    recognizer.train()
    found = extract_features(recognizer, estimator, images[:2], progress=False)
    assert recognizer.training
    recognizer.eval()
    assert torch.equal(found.embedding, expected.embedding)


def test_faces_are_chosen_by_position():
    some = made()[torch.tensor([2, 0])]
    assert len(some) == 2
    assert torch.equal(some.pose, made().pose[[2, 0]])


@pytest.mark.parametrize("sizes", [((3, 2), (2, 2), (3, 2)), ((3, 1), (3, 1), (3, 1)), ((3,), (3,), (3,))])
def test_parts_that_do_not_belong_together_are_refused(sizes):
    with pytest.raises(InputError, match=r"must be \(M, 2, \.\.\.\) with one M; got"):
        PoseFeatures(*(torch.zeros(*size, 4) for size in sizes))


def forbidden() -> PoseFeatures:
    raise AssertionError("made again")


def test_features_are_made_once(tmp_path):
    file = tmp_path / "deep" / "some.safetensors"
    first = features_once(file, made)
    again = features_once(file, forbidden)
    for name, value in vars(first).items():
        assert torch.equal(value, getattr(again, name))
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def other_names() -> bytes:
    return module.save_safetensors({"embedding": torch.zeros(3, 2, 4), "colour": torch.zeros(3)})


def other_shapes() -> bytes:
    return module.save_safetensors({name: torch.zeros(3, 4) for name in ("embedding", "pose", "angles")})


@pytest.mark.parametrize("payload", [b"", b"not safetensors", None, other_names, other_shapes])
def test_a_damaged_file_is_made_anew(tmp_path, payload):
    file = tmp_path / "some.safetensors"
    features_once(file, made)
    file.write_bytes(file.read_bytes()[:-7] if payload is None else payload() if callable(payload) else payload)
    assert torch.equal(features_once(file, made).pose, made().pose)
    assert torch.equal(features_once(file, forbidden).pose, made().pose)


def test_an_interrupted_write_leaves_no_file(tmp_path, monkeypatch):
    def interrupted(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(OSError, match="No space"):
        features_once(tmp_path / "some.safetensors", made)
    assert list(tmp_path.iterdir()) == []

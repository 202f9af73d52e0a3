"""Rendered training sets: the same numbers give the same images, and the cache is whole or absent."""

import numpy as np
import pytest

from facexai.datasets import rendered as module
from facexai.datasets.rendered import RenderedFaces, rendered_once
from facexai.rendering import LABELS, Nuisance, render, sample_identity

SMALL = RenderedFaces(2, 2, seed=77)


def test_labels_belong_to_the_people_of_the_jobs():
    jobs = list(SMALL.jobs())
    assert SMALL.identity.tolist() == [0, 0, 1, 1]
    eyes = [identity.region("eyes").tolist() for identity, _ in jobs]
    assert eyes[0] == eyes[1] != eyes[2] == eyes[3]
    hair = [identity.region("hair").tolist() for identity, _ in jobs]
    assert hair[0] != hair[1]


def test_the_same_seed_gives_the_same_jobs_and_another_seed_other_people():
    first, again, other = (list(RenderedFaces(1, 2, seed=seed).jobs()) for seed in (77, 77, 78))
    assert first == again
    assert first[0][0] != other[0][0]


def test_images_are_rendered_once_and_read_from_the_cache_afterwards(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEXAI_CACHE", str(tmp_path))
    images = SMALL.images(workers=1, progress=False)
    assert (images.shape, images.dtype) == ((4, 112, 112, 3), np.uint8)
    assert np.array_equal(images[0], render(*next(iter(SMALL.jobs()))).image)
    monkeypatch.setattr(module, "render_many", None)
    assert np.array_equal(SMALL.images(), images)


def test_labels_are_kept_in_a_file_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEXAI_CACHE", str(tmp_path))
    jobs = [(sample_identity(3), Nuisance(occluder="mask"))]
    plain, labelled = (rendered_once({"a": 1}, lambda: jobs, workers=1, labels=labels) for labels in (False, True))
    assert np.array_equal(labelled[..., :3], plain)
    assert np.array_equal(labelled[0, ..., 3] == LABELS.index("occluder"), render(*jobs[0]).occluder)


def test_an_interrupted_write_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEXAI_CACHE", str(tmp_path))

    def full_disk(handle, images):
        handle.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full_disk)
    with pytest.raises(OSError, match="No space"):
        SMALL.images(workers=1, progress=False)
    assert list((tmp_path / "rendered").iterdir()) == []


def test_yaw_is_frontal_for_the_asked_share_of_images():
    yaws = np.array([nuisance.yaw for _, nuisance in RenderedFaces(40, 10, seed=5, frontal=0.5).jobs()])
    assert 0.55 < np.mean(np.abs(yaws) < 40) < 0.85  # half about zero, and 40 / 90 of the others
    assert np.abs(yaws).max() <= 90


def test_the_appearance_number_is_raised_when_pixels_change():
    """Cached images are named by `APPEARANCE`; colours of one face, coarsely, so that it holds on other processors."""
    image = render(sample_identity(np.random.default_rng(0))).image
    blocks = image.reshape(2, 56, 2, 56, 3).mean((1, 3)).round().astype(int)
    assert module.APPEARANCE == 1
    assert np.abs(blocks - REFERENCE).max() <= 2


REFERENCE = np.array([[[132, 112, 102], [157, 132, 119]], [[133, 105, 93], [154, 123, 110]]])

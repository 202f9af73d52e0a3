"""Baselines: known maps, deterministic noise, and an average that follows the network."""

import copy

import numpy as np
import pytest
import torch
from explainer_toys import smooth_images, smooth_pair, tiny_recognizer
from scipy import ndimage
from torch import nn

from facexai.errors import InputError
from facexai.explainers import EXPLAINERS, explain, make_explainer, reference_faces
from facexai.models import FaceRecognizer
from facexai.pairs import FacePair

BASELINES = ["random", "centre", "edges", "detail", "mean-map"]


@pytest.fixture(scope="module")
def model() -> FaceRecognizer:
    return tiny_recognizer()


@pytest.fixture(autouse=True)
def patterns_for_faces(monkeypatch):
    """Noise in place of rendered faces, which take seconds."""

    def images(faces, **_):
        return (smooth_images(2 * faces.identities, faces.seed).permute(0, 2, 3, 1).numpy() * 127 + 128).astype("uint8")

    reference_faces.reference_pairs.cache_clear()
    monkeypatch.setattr("facexai.datasets.rendered.RenderedFaces.images", images)
    yield
    reference_faces.reference_pairs.cache_clear()


@pytest.mark.parametrize("method", BASELINES)
def test_baselines_are_magnitudes_with_the_score_of_the_pair(method, model):
    saliency = explain(smooth_pair(), model, method)
    assert EXPLAINERS[method].unsigned
    assert saliency.signed.min() >= 0 and saliency.signed.max() > 0
    with torch.no_grad():
        probe, gallery = model.embed(smooth_pair().images)
    assert saliency.score == pytest.approx(float(probe @ gallery), abs=1e-6)


def test_noise_belongs_to_the_pair_and_the_seed(model):
    noise = explain(smooth_pair(), model, "random").signed
    assert torch.equal(explain(smooth_pair(), model, "random").signed, noise)
    assert torch.equal(explain(smooth_pair().swapped(), model, "random").signed, noise.flip(0))
    others = [explain(smooth_pair(), model, "random", seed=1), explain(smooth_pair(1), model, "random")]
    others.append(explain(FacePair(smooth_pair().probe, smooth_pair(1).gallery), model, "random"))
    for other in others:
        correlation = np.corrcoef(other.signed[0].flatten(), noise[0].flatten())[0, 1]
        assert abs(correlation) < 0.05
    assert abs(float(noise.mean()) - 0.5) < 0.01


def test_the_centre_is_a_gaussian(model):
    centre = explain(smooth_pair(), model, "centre", sigma=0.5).signed
    assert torch.equal(centre[0], centre[1])
    assert torch.allclose(centre, centre.flip(1, 2))
    assert float(centre[0, 0, 0]) == pytest.approx(np.exp(-2 * 0.5 * (55.5 / 56) ** 2), abs=1e-5)


def test_edges_are_those_of_scipy(model):
    grey = smooth_pair().images.mean(1).numpy()
    expected = np.stack([np.hypot(ndimage.sobel(image, 0), ndimage.sobel(image, 1)) / 8 for image in grey])
    assert np.allclose(explain(smooth_pair(), model, "edges").signed, expected, atol=1e-5)


def test_detail_is_what_the_blur_takes_away(model):
    images = smooth_pair().images.numpy()
    blurred = np.stack([[ndimage.gaussian_filter(c, 4, mode="nearest", truncate=3) for c in image] for image in images])
    expected = np.abs(images - blurred).mean(1)
    assert np.allclose(explain(smooth_pair(), model, "detail").signed, expected, atol=1e-5)


def test_the_mean_map_is_the_mean_and_follows_the_network(model):
    average = explain(smooth_pair(), model, "mean-map", people=3).signed
    maps = [explain(pair, model, "max-pool").discriminative for pair in reference_faces.reference_pairs(3)]
    assert torch.allclose(average[0], torch.cat(maps).mean(0), atol=1e-8)
    assert torch.equal(average[0], average[1])
    other = copy.deepcopy(model)
    with torch.no_grad():
        nn.init.normal_(other.trunk.conv1.weight, generator=torch.Generator().manual_seed(1))
    assert not torch.allclose(explain(smooth_pair(), other, "mean-map", people=3).signed, average, rtol=1e-3)


def test_the_mean_map_is_made_once(model, monkeypatch):
    explain(smooth_pair(), model, "mean-map", people=2)
    monkeypatch.setattr("facexai.explainers.baselines.make_explainer", lambda name: pytest.fail("made again"))
    explain(smooth_pair(1), model, "mean-map", people=2)


def test_senseless_options_are_refused():
    with pytest.raises(InputError, match="mean-map takes the name of another method"):
        make_explainer("mean-map", of="mean-map")
    with pytest.raises(InputError, match="people must be at least 1"):
        make_explainer("mean-map", people=0)
    with pytest.raises(InputError, match="sigma must be a share"):
        make_explainer("centre", sigma=0)

"""FGGB equals its paper's loop over the dimensions, and a gallery costs no further pass."""

import pytest
import torch
from explainer_toys import conv_recognizer, small_pair
from torch import Tensor

from facexai.errors import InputError
from facexai.explainers import explain
from facexai.explainers.fggb import FGGB, embedding_gradients, unit_norm
from facexai.models import FaceRecognizer, MaxPoolHead
from facexai.pairs import FacePair


@pytest.fixture(scope="module")
def model() -> FaceRecognizer:
    return conv_recognizer()


@pytest.fixture(scope="module")
def pair() -> FacePair:
    return small_pair()


def literal(model: FaceRecognizer, image: Tensor, partner: Tensor, threshold: float) -> Tensor:
    """One backward pass for each dimension."""
    b = model.embed(partner[None])[0].detach()
    total = torch.zeros(image.shape[1:]).to(image)
    for k in range(len(b)):
        image = image.clone().requires_grad_(True)
        a = model.embed(image[None])[0]
        gradient = torch.autograd.grad(a[k], image)[0].abs().mean(0)
        normalised = gradient / gradient.square().sum().sqrt()
        weight = (a[k] * b[k]).item()
        total = total + normalised * (weight - threshold / len(b))
    return total


@pytest.mark.parametrize("threshold", [0.0, 0.3])
@pytest.mark.parametrize("head", ["fully connected", "max pooling"])
def test_the_map_is_the_weighted_sum_of_normalised_gradient_maps(head, threshold, pair):
    model = conv_recognizer(MaxPoolHead(6) if head == "max pooling" else None)
    expected = [
        literal(model, pair.probe, pair.gallery, threshold),
        literal(model, pair.gallery, pair.probe, threshold),
    ]
    saliency = explain(pair, model, "fggb", threshold=threshold)
    assert torch.allclose(saliency.signed, torch.stack(expected), rtol=1e-9)
    assert saliency.score == pytest.approx(model.embed(pair.images).prod(0).sum().item())


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_the_chunk_does_not_change_the_map(chunk, model, pair):
    assert torch.allclose(explain(pair, model, "fggb", chunk=chunk).signed, explain(pair, model, "fggb").signed)


def test_a_gallery_needs_the_gradients_of_the_probe_once(model, pair):
    galleries = torch.stack([small_pair(seed).gallery for seed in range(4)])
    embeddings = model.embed(galleries).detach()
    (probe,) = embedding_gradients(model, pair.probe[None])
    model.register_forward_pre_hook(lambda module, inputs: pytest.fail("ran the network"))
    maps = probe.against(embeddings, threshold=0.2)
    model._forward_pre_hooks.clear()
    assert maps.shape == (4, 16, 16)
    for gallery, one in zip(galleries, maps, strict=True):
        fresh = explain(FacePair(pair.probe, gallery), model, "fggb", threshold=0.2)
        assert torch.allclose(one, fresh.signed[0])
        assert torch.allclose(probe.against(model.embed(gallery[None])[0], 0.2), one)


def test_weights_sum_to_the_decision_margin(model, pair):
    """With maps of ones in place of gradients, H is the margin."""
    (probe, gallery) = embedding_gradients(model, pair.images)
    ones = type(probe)(torch.ones_like(probe.maps), probe.embedding)
    margin = float(probe.embedding @ gallery.embedding) - 0.3
    assert float(ones.against(gallery.embedding, 0.3)[0, 0]) == pytest.approx(margin)


def test_a_dimension_that_does_not_see_the_image_gets_no_map():
    maps = torch.stack([torch.zeros(4, 4), torch.rand(4, 4)])
    assert torch.equal(unit_norm(maps)[0], torch.zeros(4, 4))
    assert float(unit_norm(maps)[1].norm()) == pytest.approx(1)


def test_bad_options_are_refused():
    with pytest.raises(InputError, match="chunk must be a whole number, 1 or more; got 0"):
        FGGB(chunk=0)
    with pytest.raises(InputError, match="threshold must be a finite number"):
        FGGB(threshold=float("nan"))

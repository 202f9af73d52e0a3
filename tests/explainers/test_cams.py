"""Grad-CAM and Grad-CAM++ equal their papers' formulas, on the raw scale and with both signs."""

import pytest
import torch
from explainer_toys import conv_recognizer, small_pair
from torch import Tensor
from torch.nn import functional as F

from facexai.errors import InputError
from facexai.explainers import explain
from facexai.explainers.cams import class_activation_maps
from facexai.models import FaceRecognizer, MaxPoolHead
from facexai.pairs import FacePair

HEADS = {"fully connected": lambda: None, "max pooling": lambda: MaxPoolHead(6)}


@pytest.fixture(params=HEADS)
def model(request) -> FaceRecognizer:
    return conv_recognizer(HEADS[request.param]())


@pytest.fixture(scope="module")
def pair() -> FacePair:
    return small_pair()


def features_and_gradient(model: FaceRecognizer, image: Tensor, partner: Tensor) -> tuple[Tensor, Tensor]:
    """A and ds / dA. Both of shape (C, h, w)."""
    features = model.features(image[None]).detach().requires_grad_(True)
    score = F.cosine_similarity(model.pool(features), model.embed(partner[None]).detach()).sum()
    return features.detach()[0], torch.autograd.grad(score, features)[0][0]


def grad_cam(features: Tensor, gradient: Tensor) -> Tensor:
    """Eq. (1) and (2) of Selvaraju et al. with their ReLU, one channel after the other."""
    channels, height, width = features.shape
    total = torch.zeros(height, width).to(features)
    for k in range(channels):
        alpha = sum(gradient[k, i, j] for i in range(height) for j in range(width)) / (height * width)
        total = total + alpha * features[k]
    return total.clamp(min=0)


def grad_cam_plus_plus(features: Tensor, gradient: Tensor) -> Tensor:
    """Eq. (11) and (19) of Chattopadhay et al., cell by cell."""
    channels, height, width = features.shape
    total = torch.zeros(height, width).to(features)
    for k in range(channels):
        weight = 0.0
        for i in range(height):
            for j in range(width):
                g = gradient[k, i, j]
                if g != 0:
                    alpha = g**2 / (2 * g**2 + features[k].sum() * g**3)
                    weight = weight + alpha * g.clamp(min=0)
        total = total + weight * features[k]
    return total.clamp(min=0)


def expected_maps(literal, model: FaceRecognizer, pair: FacePair) -> Tensor:
    maps = []
    for image, partner in ((pair.probe, pair.gallery), (pair.gallery, pair.probe)):
        features, gradient = features_and_gradient(model, image, partner)
        maps.append(literal(features, gradient) - literal(features, -gradient))
    return F.interpolate(torch.stack(maps)[None], size=(16, 16), mode="bilinear", align_corners=False)[0]


@pytest.mark.parametrize(("method", "literal"), [("grad-cam", grad_cam), ("grad-cam++", grad_cam_plus_plus)])
def test_the_map_is_the_formula_for_the_score_minus_that_for_its_negative(method, literal, model, pair):
    saliency, expected = explain(pair, model, method), expected_maps(literal, model, pair)
    assert torch.allclose(saliency.signed, expected, atol=1e-5 * float(expected.abs().max()))
    assert saliency.similarity.max() > 0 and saliency.dissimilarity.max() > 0
    assert saliency.score == pytest.approx(model.embed(pair.images).prod(0).sum().item())


def test_grad_cam_is_the_published_map_before_its_relu(model, pair):
    features, gradient = features_and_gradient(model, pair.probe, pair.gallery)
    linear = (gradient.mean((1, 2), keepdim=True) * features).sum(0)
    expected = F.interpolate(linear[None, None], size=(16, 16), mode="bilinear")[0, 0]
    assert torch.allclose(explain(pair, model, "grad-cam").signed[0], expected)


def test_a_small_gradient_does_not_drown_in_the_library_s_constant(pair):
    """An embedding a thousand times longer has the same cosine and features of the same use, and gets the same map."""
    model = conv_recognizer()
    before = explain(pair, model, "grad-cam++").signed
    with torch.no_grad():
        model.trunk[2].weight *= 1000
        model.trunk[2].bias *= 1000
        model.head.features.running_mean += (model.head.fc.bias - model.head.features.running_mean) * (1 - 1000)
        model.head.features.running_var = (model.head.features.running_var + 1e-5) * 1000**2 - 1e-5
    after = explain(pair, model, "grad-cam++").signed
    assert torch.allclose(after, before, rtol=1e-3, atol=1e-5 * float(before.abs().max()))


def test_other_maps_of_the_library_work_the_same_way(model, pair):
    """HiResCAM multiplies gradient and features cell by cell."""
    features, gradient = features_and_gradient(model, pair.probe, pair.gallery)
    expected = F.interpolate((gradient * features).sum(0)[None, None], size=(16, 16), mode="bilinear")[0, 0]
    assert torch.allclose(class_activation_maps("HiResCAM", pair, model).signed[0], expected)


def test_the_target_is_an_option(pair):
    model = conv_recognizer()
    cosine, detached = (explain(pair, model, "grad-cam", target=target) for target in ("cosine", "cosine-detached"))
    assert not torch.allclose(cosine.signed, detached.signed, rtol=1e-2)
    with pytest.raises(InputError, match="unknown target 'angle'"):
        explain(pair, model, "grad-cam++", target="angle")

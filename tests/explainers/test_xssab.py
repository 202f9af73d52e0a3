"""xSSAB equals its paper's two backward passes, written out."""

import pytest
import torch
from explainer_toys import conv_recognizer, small_pair
from torch import Tensor

from facexai.errors import InputError
from facexai.explainers import explain
from facexai.explainers.xssab import XSSAB
from facexai.models import FaceRecognizer
from facexai.pairs import FacePair


@pytest.fixture(scope="module")
def model() -> FaceRecognizer:
    return conv_recognizer()


@pytest.fixture(scope="module")
def pair() -> FacePair:
    return small_pair()


def literal(model: FaceRecognizer, image: Tensor, partner: Tensor, threshold: float) -> Tensor:
    """Zero the components of b that are not of the kind, and backpropagate the product with what is left."""
    b = model.embed(partner[None])[0].detach()
    maps = []
    for kind in ("supporting", "opposing"):
        image = image.clone().requires_grad_(True)
        a = model.embed(image[None])[0]
        kept = b.clone()
        for k in range(len(b)):
            supports = (a[k] * b[k]).item() >= threshold / len(b)
            if supports != (kind == "supporting"):
                kept[k] = 0
        gradient = torch.autograd.grad((a * kept).sum(), image)[0]
        maps.append(gradient.abs().mean(0))
    return maps[0] - maps[1]


@pytest.mark.parametrize("threshold", [0.0, 0.3, -0.5])
def test_the_map_is_the_difference_of_two_truncated_gradients(threshold, model, pair):
    expected = [
        literal(model, pair.probe, pair.gallery, threshold),
        literal(model, pair.gallery, pair.probe, threshold),
    ]
    saliency = explain(pair, model, "xssab", threshold=threshold)
    assert torch.allclose(saliency.signed, torch.stack(expected), rtol=1e-9)
    assert saliency.score == pytest.approx(model.embed(pair.images).prod(0).sum().item())


def test_the_threshold_moves_arguments_from_one_side_to_the_other(model, pair):
    low, high = (explain(pair, model, "xssab", threshold=threshold).signed for threshold in (-8.0, 8.0))
    gradient = explain(pair, model, "gradient", colour="mean").signed
    assert torch.allclose(low, gradient) and torch.allclose(high, -gradient)


def test_the_model_s_own_threshold_is_the_default(pair):
    model = conv_recognizer()
    none = explain(pair, model, "xssab").signed
    assert torch.equal(none, explain(pair, model, "xssab", threshold=0.0).signed)
    model.threshold = 0.9
    own = explain(pair, model, "xssab").signed
    assert torch.equal(own, explain(pair, model, "xssab", threshold=0.9).signed)
    assert not torch.allclose(own, none)


def test_a_threshold_that_is_no_number_is_refused():
    with pytest.raises(InputError, match="threshold must be a finite number, or None for the model's own; got 'high'"):
        XSSAB(threshold="high")  # type: ignore[arg-type]

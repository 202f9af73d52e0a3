"""`explain`: what it refuses. What holds for every method is in `test_matrix`."""

import pytest
import torch
from explainer_toys import smooth_images, smooth_pair, tiny_recognizer

from facexai.errors import InputError
from facexai.explainers import decompose, explain
from facexai.models import FaceRecognizer
from facexai.pairs import FacePair


@pytest.fixture(scope="module")
def model() -> FaceRecognizer:
    return tiny_recognizer()


def test_an_unknown_method_lists_the_known_ones(model):
    with pytest.raises(InputError, match=r"unknown explainer 'dvff'.*ddfv, ddfv-gradient, ddfv-paper"):
        explain(smooth_pair(), model, "dvff")
    with pytest.raises(InputError, match="unknown explainer 'dvff'"):
        decompose(smooth_pair(), model, "dvff")


def test_images_of_another_size_are_refused(model):
    probe, gallery = smooth_images(2, size=96)
    with pytest.raises(InputError, match="the model takes faces of 112 x 112 pixels; got 96 x 96"):
        explain(FacePair(probe, gallery), model)


def test_maps_that_are_not_finite_are_refused():
    broken = tiny_recognizer()
    with torch.no_grad():
        next(broken.trunk.parameters()).fill_(float("nan"))
    with pytest.raises(InputError, match="not finite; check the weights of the model"):
        explain(smooth_pair(), broken)

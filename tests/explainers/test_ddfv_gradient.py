"""DDFV times the root of the gradient: the sign and the mass of the one, the detail of the other."""

import pytest
import torch
from explainer_toys import smooth_pair, tiny_recognizer

from facexai.errors import InputError
from facexai.explainers import explain


@pytest.fixture(scope="module")
def model():
    return tiny_recognizer()


def test_it_is_the_product_up_to_one_factor_an_image(model):
    pair = smooth_pair()
    evidence, gradient = explain(pair, model).signed, explain(pair, model, "gradient").signed
    product = evidence * gradient.sqrt()
    product *= (evidence.abs().sum((1, 2)) / product.abs().sum((1, 2))).view(2, 1, 1)
    assert torch.allclose(explain(pair, model, "ddfv-gradient", blur=0.0).signed, product, atol=1e-6)


def test_sign_and_mass_are_those_of_ddfv(model):
    pair = smooth_pair()
    evidence, detailed = explain(pair, model).signed, explain(pair, model, "ddfv-gradient").signed
    assert torch.equal(detailed.sign(), evidence.sign())
    assert torch.allclose(detailed.abs().sum((1, 2)), evidence.abs().sum((1, 2)), rtol=1e-5)


def test_options_are_those_of_ddfv(model):
    pair = smooth_pair()
    options = {"balance": False, "missing": "own"}
    evidence = explain(pair, model, **options).signed
    detailed = explain(pair, model, "ddfv-gradient", options=options).signed
    assert torch.equal(detailed.sign(), evidence.sign())
    assert explain(pair, model, "ddfv-gradient").balanced
    assert not explain(pair, model, "ddfv-gradient", options=options).balanced
    with pytest.raises(InputError, match="unknown missing 'nowhere'; choose one of partner, own, skip"):
        explain(pair, model, "ddfv-gradient", options={"missing": "nowhere"})


def test_a_blur_below_zero_is_refused(model):
    with pytest.raises(InputError, match="blur must be a number of pixels, 0 or more; got -1"):
        explain(smooth_pair(), model, "ddfv-gradient", blur=-1)

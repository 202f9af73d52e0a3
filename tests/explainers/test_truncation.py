"""Left-out channels move the map by no more than was promised."""

import pytest
import torch
from explainer_toys import awkward_features, random_decoder, smooth_pair, tiny_recognizer
from torch import Tensor

from facexai.explainers import decompose, explain
from facexai.explainers.residuals import ImageResiduals, local_residuals
from facexai.explainers.truncation import bounds_without, wanted_channels


def two_images(channels: int = 24) -> Tensor:
    return torch.stack([awkward_features(channels, seed=seed) for seed in (0, 1)])


def random_weights(channels: int = 24, seed: int = 0) -> Tensor:
    return torch.randn(2, channels, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tolerance", [0.02, 0.1, 0.4])
def test_the_error_is_within_the_bound_and_the_bound_within_the_tolerance(tolerance, seed):
    features, decoder, weights = two_images(), random_decoder(24), random_weights(seed=seed)
    wanted = wanted_channels(weights, features, tolerance)
    whole = local_residuals(features, decoder)
    part = local_residuals(features, decoder, wanted=wanted)
    for image in range(2):
        error = float(
            (whole[image].weighted_sum(weights[image]) - part[image].weighted_sum(weights[image])).abs().max()
        )
        nothing = local_residuals(features, decoder, wanted=torch.zeros_like(wanted))[image]
        assert error <= float(part[image].error_bound(weights[image])) + 1e-12
        assert part[image].error_bound(weights[image]) <= tolerance * nothing.error_bound(weights[image])
    assert 0 < int((~wanted).sum()) < wanted.numel()


def test_the_bounds_are_those_of_the_pixels():
    """Sums over blocks of 3 x 3 cells stand for the pixel that most windows cover."""
    features, weights = two_images(), random_weights()
    order = weights.abs().argsort(dim=1)
    cells = features.flatten(2).argmax(2)
    bounds = bounds_without(weights.abs().gather(1, order), cells.gather(1, order), features)
    whole = local_residuals(features, random_decoder(24))
    for image, residuals in enumerate(whole):
        for count in (1, 7, 24):
            left_out = torch.zeros(24, dtype=torch.bool).scatter(0, order[image, :count], True)
            part = ImageResiduals(residuals.windows, residuals.corners, residuals.size, left_out)
            assert float(part.error_bound(weights[image])) == pytest.approx(float(bounds[image, count - 1]), rel=1e-12)


def test_as_many_channels_as_possible_are_left_out_and_the_weakest_first():
    features, weights = two_images(), random_weights()
    wanted = wanted_channels(weights, features, 0.1)
    for image in range(2):
        strengths = weights[image].abs()
        assert strengths[wanted[image]].min() > strengths[~wanted[image]].max()
        left_out = int((~wanted[image]).sum())
        order = strengths.argsort()[None]
        cells = features[image].flatten(1).argmax(1)[None]
        bounds = bounds_without(strengths[order], cells.gather(1, order), features[image, None])[0]
        assert bounds[left_out - 1] <= 0.1 * bounds[-1] < bounds[left_out]


def test_channels_of_weight_zero_cost_nothing():
    weights = random_weights()
    weights[0, :5] = 0
    wanted = wanted_channels(weights, two_images(), 1e-9)
    assert (~wanted).sum(1).tolist() == [5, 0]


def test_an_explanation_says_how_far_it_may_err():
    model, pair = tiny_recognizer(), smooth_pair()
    whole = explain(pair, model).signed
    parts = decompose(pair, model, tolerance=0.1)
    error = (parts.saliency().signed - whole).abs().amax((1, 2))
    bounds = torch.tensor(parts.error_bound())
    assert (error <= bounds + 1e-7).all() and error.max() > 0
    assert (bounds <= 0.1 * parts.weights.abs().sum(1)).all()
    assert decompose(pair, model).error_bound() == [0, 0]
    at_another_threshold = explain(pair, model, threshold=0.01).signed
    error = (parts.saliency(0.01).signed - at_another_threshold).abs().amax((1, 2))
    assert (error <= torch.tensor(parts.error_bound(0.01)) + 1e-7).all()


def test_left_out_channels_are_not_decoded():
    features, decoder = two_images(), random_decoder(24)
    wanted = torch.rand(2, 24, generator=torch.Generator().manual_seed(1)) < 0.5
    for whole, part, chosen in zip(
        local_residuals(features, decoder), local_residuals(features, decoder, wanted=wanted), wanted, strict=True
    ):
        assert torch.allclose(part.windows[chosen], whole.windows[chosen], atol=1e-12)
        assert part.windows[~chosen].abs().max() == 0 and torch.equal(part.left_out, ~chosen)

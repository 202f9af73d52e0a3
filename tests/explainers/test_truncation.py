"""Left-out channels move the map by no more than was promised."""

from dataclasses import replace

import pytest
import torch
from explainer_toys import awkward_features, random_decoder, smooth_pair, tiny_recognizer
from torch import Tensor

from facexai.explainers import decompose, explain
from facexai.explainers.ddfv import pixel_shifts
from facexai.explainers.residuals import ImageResiduals, local_residuals
from facexai.explainers.truncation import bounds_without, wanted_channels
from facexai.pairs import FacePair


def two_images(channels: int = 24) -> Tensor:
    return torch.stack([awkward_features(channels, seed=seed) for seed in (0, 1)])


def maxima(features: Tensor) -> Tensor:
    return features.flatten(2).argmax(2)


def random_weights(channels: int = 24, seed: int = 0) -> Tensor:
    return torch.randn(2, channels, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tolerance", [0.02, 0.1, 0.4])
def test_the_error_is_within_the_bound_and_the_bound_within_the_tolerance(tolerance, seed):
    features, decoder, weights = two_images(), random_decoder(24), random_weights(seed=seed)
    wanted = wanted_channels(weights, maxima(features), features, tolerance)
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
    wanted = wanted_channels(weights, maxima(features), features, 0.1)
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
    wanted = wanted_channels(weights, maxima(two_images()), two_images(), 1e-9)
    assert (~wanted).sum(1).tolist() == [5, 0]


@pytest.mark.parametrize("seed", range(3))
def test_moved_windows_err_within_the_bound_and_the_bound_within_the_tolerance(seed):
    """Windows that are drawn elsewhere cover other pixels; the bound is of those."""
    features, decoder, weights = two_images(), random_decoder(24), random_weights(seed=seed)
    cells = torch.randint(3, (2, 24), generator=torch.Generator().manual_seed(seed))  # crowded: all in one corner
    shifts = pixel_shifts(features, cells, (112, 112))
    wanted = wanted_channels(weights, cells, features, 0.1)
    whole = local_residuals(features, decoder)
    part = local_residuals(features, decoder, wanted=wanted)
    nothing = local_residuals(features, decoder, wanted=torch.zeros_like(wanted))
    for image, (row, shift) in enumerate(zip(weights, shifts, strict=True)):
        largest, bound = nothing[image].moved(shift).error_bound(row), part[image].moved(shift).error_bound(row)
        missed = whole[image].moved(shift).weighted_sum(row) - part[image].moved(shift).weighted_sum(row)
        assert 0 < float(missed.abs().max()) <= float(bound) + 1e-12
        assert float(bound) <= 0.1 * float(largest)
    assert 0 < int((~wanted).sum()) < wanted.numel()
    assert not torch.equal(wanted, wanted_channels(weights, maxima(features), features, 0.1))


@pytest.mark.parametrize("missing", ["partner", "own", "skip"])
@pytest.mark.parametrize("tolerance", [0.02, 0.1, 0.4])
def test_an_explanation_errs_within_its_bound_and_its_tolerance_wherever_channels_are_drawn(tolerance, missing):
    model, pair = tiny_recognizer().double(), FacePair(*smooth_pair().images.double())
    whole = decompose(pair, model, missing=missing)
    parts = decompose(pair, model, missing=missing, tolerance=tolerance)
    error = (parts.saliency().signed - whole.saliency().signed).abs().amax((1, 2))
    bounds = torch.tensor(parts.error_bound())
    assert (error <= bounds + 1e-12).all() and error.max() > 0
    for image, row in enumerate(parts.map_weights()):
        everything = replace(parts.residuals[image], left_out=torch.ones(len(row), dtype=torch.bool))
        assert bounds[image] <= tolerance * float(everything.error_bound(row))


def test_an_explanation_says_how_far_it_may_err():
    model, pair = tiny_recognizer(), smooth_pair()
    whole = explain(pair, model).signed
    parts = decompose(pair, model, tolerance=0.1)
    error = (parts.saliency().signed - whole).abs().amax((1, 2))
    bounds = torch.tensor(parts.error_bound())
    assert (error <= bounds + 1e-7).all() and error.max() > 0
    assert (bounds <= 0.1 * parts.map_weights().abs().sum(1)).all()
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

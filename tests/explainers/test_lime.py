"""LIME equals the normal equations of its weighted ridge regression, Kernel SHAP the values of a game known by hand."""

import math

import pytest
import torch
from explainer_toys import patch_pair, patch_recognizer, smooth_images, tiny_recognizer
from torch import Tensor

from facexai.explainers import explain
from facexai.explainers.lime import grid_cells
from facexai.pairs import FacePair


def test_cells_are_numbered_row_by_row():
    cells = grid_cells((10, 8), 4, torch.device("cpu"))
    assert cells[:, 0].tolist() == [0, 0, 0, 4, 4, 4, 8, 8, 8, 12]
    assert cells[0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert cells.unique().tolist() == list(range(16))


@torch.no_grad()
def test_lime_is_a_weighted_ridge_regression_of_the_score_on_the_cells():
    model, samples, alpha = tiny_recognizer(), 40, 0.5
    probe, gallery = smooth_images(2)
    cells = grid_cells((112, 112), 3, torch.device("cpu"))
    generator = torch.Generator().manual_seed(7)
    kept = torch.cat([torch.bernoulli(torch.full((1, 9), 0.5), generator=generator) for _ in range(samples)])  # (40, 9)
    partner = model.embed(gallery[None])[0]
    scores, closeness = [], []
    for sample in kept:
        masked = probe * sample[cells]
        scores.append(model.embed(masked[None])[0] @ partner)
        distance = 1 - torch.cosine_similarity(probe.flatten(), masked.flatten(), dim=0)
        closeness.append(math.exp(-(float(distance) ** 2) / 2))
    expected = weighted_ridge(kept.double(), torch.stack(scores).double(), torch.tensor(closeness).double(), alpha)
    pair = FacePair(probe, gallery)
    signed = explain(pair, model, "lime", cells=3, samples=samples, alpha=alpha, seed=7).signed
    assert torch.allclose(signed[0], expected[cells].float(), atol=1e-5)
    assert float(expected.abs().max()) > 1e-3


def weighted_ridge(inputs: Tensor, outputs: Tensor, weights: Tensor, alpha: float) -> Tensor:
    """argmin of sum weights (outputs - intercept - inputs w)^2 + alpha |w|^2, the intercept not penalised."""
    inputs = inputs - weights @ inputs / weights.sum()
    outputs = outputs - weights @ outputs / weights.sum()
    weighted = inputs.T * weights
    return torch.linalg.solve(weighted @ inputs + alpha * torch.eye(inputs.shape[1]).double(), weighted @ outputs)


def test_kernel_shap_sums_to_the_score_minus_that_of_the_filled_image():
    pair = patch_pair((0.6, 0.5, 0.4, -0.6), (0.5, 0.5, 0.5, 0.5))
    saliency = explain(pair, patch_recognizer(), "lime", sampling="kernel-shap", cells=2, samples=200)
    values = saliency.signed[0][::8, ::8].flatten()  # one of each cell
    assert float(values.sum()) == pytest.approx(saliency.score, abs=1e-4)  # nothing is left of a grey image: score 0
    assert values[3] < 0 < values[:3].min()


@torch.no_grad()
def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    explain(patch_pair((0.6, 0.5, 0.4, -0.6), (0.5, 0.5, 0.5, 0.5)), patch_recognizer(), "lime", cells=2, samples=10)
    assert torch.equal(before, torch.get_rng_state())

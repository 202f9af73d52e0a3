"""Stylianou et al.: each cell's part of the cosine, against the paper's double sum over cells."""

import pytest
import torch
from explainer_toys import smooth_pair, tiny_recognizer
from torch import Tensor, nn

from facexai.explainers import explain
from facexai.explainers.cells import cells_to_pixels
from facexai.models import FaceRecognizer, FullyConnectedHead, GlobalDepthwiseHead


class AveragePoolHead(nn.Module):
    """The head of the paper: global average pooling and nothing else."""

    dimension = 32

    def forward(self, features: Tensor) -> Tensor:
        return features.mean((2, 3))


@pytest.fixture(scope="module")
def model() -> FaceRecognizer:
    return tiny_recognizer().double()


def double_sum(own: Tensor, other: Tensor) -> Tensor:
    """sim_A[p] = sum over q of X_p . Y_q / (P^2 |x| |y|), as printed. (C, h, w), (C, h, w) -> (h, w)."""
    x, y = own.mean((1, 2)), other.mean((1, 2))
    cells = own[0].numel()
    similarity = torch.zeros_like(own[0])
    for row in range(own.shape[1]):
        for column in range(own.shape[2]):
            for other_row in range(other.shape[1]):
                for other_column in range(other.shape[2]):
                    similarity[row, column] += own[:, row, column] @ other[:, other_row, other_column]
    return similarity / (cells**2 * x.norm() * y.norm())


def test_average_pooling_is_the_papers_double_sum_and_sums_to_the_score(model):
    averaging = FaceRecognizer(model.trunk, AveragePoolHead()).eval()
    saliency = explain(smooth_pair(), averaging, "stylianou")
    with torch.no_grad():
        probe, gallery = averaging.features(smooth_pair().images.double())
    expected = torch.stack([double_sum(probe, gallery), double_sum(gallery, probe)])
    assert torch.allclose(saliency.signed, cells_to_pixels(expected, (112, 112)), atol=1e-12)
    assert saliency.signed.sum((1, 2)).tolist() == pytest.approx([saliency.score] * 2, abs=1e-10)


@pytest.mark.parametrize("head", ["fully connected", "depthwise"])
def test_an_affine_head_sums_to_the_score_less_its_constant(model, head):
    made = FullyConnectedHead(32, 7, 16) if head == "fully connected" else GlobalDepthwiseHead(32, 7, 16)
    for norm in made.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, -2, 2)
            nn.init.normal_(norm.bias)
            norm.running_mean.normal_()
    affine = FaceRecognizer(model.trunk, made.double()).eval()
    saliency = explain(smooth_pair(), affine, "stylianou", upsampling="cell")
    with torch.no_grad():
        features = affine.features(smooth_pair().images.double())
        pooled, constant = affine.pool(features), affine.pool(torch.zeros_like(features))
    norms = pooled.norm(dim=1)
    without = [float((pooled[own] - constant[own]) @ pooled[1 - own] / norms.prod()) for own in (0, 1)]
    assert saliency.signed.sum((1, 2)).tolist() == pytest.approx(without, abs=1e-10)
    assert abs(without[0] - saliency.score) > 1e-3


def test_max_pooling_gives_each_channel_to_the_cell_of_its_maximum(model):
    stylianou = explain(smooth_pair(), model, "stylianou")
    free = explain(smooth_pair(), model, "max-pool", weight="product", missing="own", balance=False)
    assert torch.allclose(stylianou.signed, free.signed, atol=1e-12)
    assert stylianou.signed.sum((1, 2)).tolist() == pytest.approx([stylianou.score] * 2, abs=1e-10)

"""Ablation weights equal what brute force finds: mask the channel, embed anew, compare the scores."""

from typing import get_args

import pytest
import torch
from explainer_toys import awkward_features
from torch import Tensor, nn
from torch.nn import functional as F

from facexai.explainers.ablation import Fall, ablation_changes, ablation_weights, head_columns
from facexai.explainers.residuals import mask_channel
from facexai.models import FullyConnectedHead, GlobalDepthwiseHead, MaxPoolHead

CHANNELS, SIZE = 12, 4


class SigmoidHead(nn.Module):
    """Neither max pooling nor affine."""

    def forward(self, features: Tensor) -> Tensor:
        return features.sigmoid().mean((2, 3))


HEADS = {
    "max pooling": lambda: MaxPoolHead(CHANNELS),
    "raw max pooling": lambda: MaxPoolHead(CHANNELS, normalize=False),
    "fully connected": lambda: FullyConnectedHead(CHANNELS, SIZE, 10, dropout=0.3),
    "depthwise": lambda: GlobalDepthwiseHead(CHANNELS, SIZE, 10),
    "sigmoid": SigmoidHead,
}


def make_head(name: str) -> nn.Module:
    """In double precision and eval mode, with BatchNorm statistics and scales that matter."""
    torch.manual_seed(1)
    head = HEADS[name]().double()
    for module in head.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features).double()
            module.running_var = torch.rand(module.num_features).double() + 0.5
            if module.weight is not None:
                nn.init.uniform_(module.weight, -1.5, 1.5)
                nn.init.normal_(module.bias)
    return head.eval().requires_grad_(False)


@pytest.fixture
def pair() -> Tensor:
    return torch.stack([awkward_features(CHANNELS, SIZE, SIZE, seed) for seed in (0, 1)])


def cosine(head: nn.Module, probe: Tensor, gallery: Tensor) -> Tensor:
    return F.cosine_similarity(head(probe[None]), head(gallery[None]))[0]


def weights_of(head: nn.Module, pair: Tensor, **options) -> Tensor:
    pooled = head(pair)
    return ablation_weights(pooled[0], pooled[1], ablation_changes(head, pair[0], **options))


def brute_force(head: nn.Module, pair: Tensor, masked: list[Tensor]) -> Tensor:
    score = cosine(head, *pair)
    return torch.stack([score - cosine(head, probe, pair[1]) for probe in masked])


@pytest.mark.parametrize("mask", ["max", "channel"])
@pytest.mark.parametrize("name", [name for name in HEADS if name != "max pooling"])
def test_weights_equal_embedding_the_masked_features_anew(name, mask, pair):
    head = make_head(name)
    expected = brute_force(head, pair, [mask_channel(pair[0], channel, mask) for channel in range(CHANNELS)])
    assert torch.allclose(weights_of(head, pair, mask=mask), expected, atol=1e-12)
    assert expected.abs().max() > 1e-4


@pytest.mark.parametrize("name", HEADS)
def test_second_maximum_weights_equal_brute_force(name, pair):
    head = make_head(name)
    masked = []
    for channel in range(CHANNELS):
        second = float(pair[0, channel].flatten().sort(descending=True).values[1])
        masked.append(mask_channel(pair[0], channel, value=second))
    assert torch.allclose(weights_of(head, pair, substitute="second-max"), brute_force(head, pair, masked), atol=1e-12)


def test_a_normalised_maximum_is_ablated_to_its_training_mean(pair):
    head = make_head("max pooling")
    probe, gallery = head(pair)
    expected = []
    for channel in range(CHANNELS):
        without = probe.clone()
        without[channel] = 0
        expected.append(F.cosine_similarity(probe, gallery, dim=0) - F.cosine_similarity(without, gallery, dim=0))
    assert torch.allclose(weights_of(head, pair), torch.stack(expected), atol=1e-12)


@pytest.mark.parametrize("chunk", [1, 5, 100])
def test_the_chunk_does_not_change_the_weights(chunk, pair):
    head = make_head("sigmoid")
    assert torch.allclose(weights_of(head, pair, chunk=chunk), weights_of(head, pair))


@pytest.mark.parametrize("name", ["fully connected", "depthwise"])
def test_affine_heads_have_a_closed_form(name, pair):
    """The head itself is not run."""
    head, features = make_head(name), pair[0]
    cells = features.flatten(1).argmax(1)
    columns = head_columns(head, cells)
    one_hot = torch.zeros(CHANNELS, CHANNELS, SIZE * SIZE).double()
    one_hot[torch.arange(CHANNELS), torch.arange(CHANNELS), cells] = 1
    one_hot = one_hot.unflatten(2, (SIZE, SIZE))
    assert torch.allclose(columns, head(one_hot) - head(torch.zeros_like(one_hot)), atol=1e-12)

    head.register_forward_pre_hook(lambda module, inputs: pytest.fail("ran the head"))
    ablation_changes(head, features)


def test_the_first_order_is_the_gradient_of_the_score(pair):
    probe, gallery = make_head("max pooling")(pair)
    probe.requires_grad_(True)
    score = F.cosine_similarity(probe, gallery, dim=0)
    gradient = torch.autograd.grad(score, probe)[0]
    changes = torch.randn(CHANNELS, CHANNELS).double()
    linear = ablation_weights(probe.detach(), gallery, changes, "first-order")
    assert torch.allclose(linear, -changes @ gradient)

    small = 1e-4 * changes
    exact = ablation_weights(probe.detach(), gallery, small)
    assert torch.allclose(exact, ablation_weights(probe.detach(), gallery, small, "first-order"), atol=1e-6)
    assert not torch.allclose(linear, ablation_weights(probe.detach(), gallery, changes), atol=1e-3)


def test_first_order_mean_ablation_sums_to_zero(pair):
    head = make_head("max pooling")
    probe, gallery = head(pair)
    weights = ablation_weights(probe, gallery, ablation_changes(head, pair[0]), "first-order")
    assert float(weights.sum()) == pytest.approx(0, abs=1e-12)
    assert float(weights.abs().sum()) > 0.01


@pytest.mark.parametrize("name", ["fully connected", "depthwise"])
def test_the_fall_of_the_numerator_is_what_the_maximum_adds_to_it_on_an_affine_head(name, pair):
    """By the gradient of the numerator with respect to the features: no column, no change and no masking is used."""
    head = make_head(name)
    features = pair[0].clone().requires_grad_(True)
    pooled, partner = head(features[None])[0], head(pair[1][None])[0]
    slopes = torch.autograd.grad(pooled @ partner / (pooled.detach().norm() * partner.norm()), features)[0]
    maxima, cells = features.detach().flatten(1).max(1)
    expected = maxima * slopes.flatten(1).gather(1, cells[:, None])[:, 0]
    weights = ablation_weights(pooled.detach(), partner, ablation_changes(head, pair[0]), "numerator")
    assert torch.allclose(weights, expected, atol=1e-12)
    assert expected.min() < -1e-3 and expected.max() > 1e-3


def test_the_fall_of_the_numerator_is_the_printed_product_on_a_normalised_maximum(pair):
    head = make_head("max pooling")
    pooled = head(pair)
    probe, gallery = F.normalize(pooled)
    weights = ablation_weights(pooled[0], pooled[1], ablation_changes(head, pair[0]), "numerator")
    assert torch.allclose(weights, probe * gallery, atol=1e-12)
    assert float(weights.sum()) == pytest.approx(float(probe @ gallery), abs=1e-12)


def test_the_three_falls_of_one_change_are_those_known_by_hand():
    """A = (3, 4), B = (1, 0), s = .6; without the first number A is (0, 4) and s is 0."""
    probe, gallery, change = torch.tensor([3.0, 4]), torch.tensor([1.0, 0]), torch.tensor([[-3.0, 0]])
    falls = {fall: float(ablation_weights(probe, gallery, change, fall)) for fall in get_args(Fall)}
    assert falls == pytest.approx({"cosine": 0.6, "first-order": 0.6 - 0.6 * 0.36, "numerator": 0.6})
    halved = {fall: float(ablation_weights(probe, gallery, change / 2, fall)) for fall in get_args(Fall)}
    cosine = 0.6 - 1.5 / (1.5**2 + 4**2) ** 0.5
    assert halved == pytest.approx({"cosine": cosine, "first-order": 0.3 - 0.3 * 0.36, "numerator": 0.3})


def test_mean_ablation_of_identical_images_never_raises_the_score():
    """A score of 1 cannot be surpassed; the closed form keeps to that in single precision, however small F_i is."""
    pooled = torch.linspace(0, 1, 5000)
    weights = ablation_weights(pooled, pooled, torch.diag(-pooled))
    assert float(weights.min()) >= 0
    assert float(weights[1:].min()) > 0


def test_small_weights_are_exact_in_single_precision():
    """score - other score would lose four digits here."""
    probe, noise = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))
    gallery = probe + 0.3 * noise
    single = ablation_weights(probe, gallery, torch.diag(-probe))
    double = ablation_weights(probe.double(), gallery.double(), torch.diag(-probe.double()))
    assert float((single - double).abs().max() / double.abs().max()) < 1e-6


def test_when_nothing_is_left_the_score_falls_to_zero():
    one, other = torch.tensor([2.0]).double(), torch.tensor([-3.0]).double()
    assert ablation_weights(one, other, -one[None]).tolist() == [-1.0]

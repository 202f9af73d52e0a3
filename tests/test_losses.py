"""ArcFace against finite differences, against pytorch-metric-learning, and against numbers worked out by hand."""

import math

import pytest
import torch
from torch.nn import functional as F

from facexai.errors import InputError
from facexai.losses import ArcFaceLoss, reconstruction_loss


def batch(seed: int = 0, count: int = 6, identities: int = 5, dimension: int = 8):
    generator = torch.Generator().manual_seed(seed)
    embedding = torch.randn(count, dimension, generator=generator, dtype=torch.float64)
    identity = torch.randint(identities, (count,), generator=generator)
    return embedding, identity


@pytest.mark.parametrize(("scale", "margin"), [(64.0, 0.5), (30.0, 0.3)])
def test_value_equals_pytorch_metric_learning(scale, margin):
    oracle_module = pytest.importorskip("pytorch_metric_learning.losses")
    embedding, identity = batch()
    ours = ArcFaceLoss(5, 8, scale=scale, margin=margin).double()
    oracle = oracle_module.ArcFaceLoss(5, 8, margin=math.degrees(margin), scale=scale).double()
    with torch.no_grad():
        oracle.W.copy_(ours.weight.T)
    # cosines of random vectors stay on the near side of pi - m, where both define the margin alike
    assert ours.cosines(embedding).gather(1, identity[:, None]).min() > math.cos(math.pi - margin)
    assert ours(embedding, identity).item() == pytest.approx(oracle(embedding, identity).item(), rel=1e-9)


def test_gradient_equals_finite_differences():
    embedding, identity = batch()
    loss = ArcFaceLoss(5, 8, scale=8.0).double()
    assert torch.autograd.gradcheck(lambda x: loss(x, identity), (embedding.requires_grad_(),), atol=1e-7)


def test_straight_through_has_the_value_but_not_the_gradient():
    embedding, identity = batch()
    exact, through = (ArcFaceLoss(5, 8, scale=8.0, straight_through=flag).double() for flag in (False, True))
    with torch.no_grad():
        through.weight.copy_(exact.weight)
    cosine = torch.tensor([[0.3]], dtype=torch.float64, requires_grad=True)
    theta = math.acos(0.3)
    slope = {}
    for loss in (exact, through):
        (slope[loss],) = torch.autograd.grad(loss._with_margin(cosine).sum(), cosine)
    assert exact(embedding, identity).item() == pytest.approx(through(embedding, identity).item(), rel=1e-12)
    assert slope[through].item() == pytest.approx(1.0)
    assert slope[exact].item() == pytest.approx(math.sin(theta + 0.5) / math.sin(theta), rel=1e-9)


def test_value_by_hand_with_two_identities():
    loss = ArcFaceLoss(2, 2, scale=2.0, margin=0.5).double()
    with torch.no_grad():
        loss.weight.copy_(torch.eye(2))
    embedding = torch.tensor([[math.cos(0.4), math.sin(0.4)]], dtype=torch.float64)
    target, other = 2 * math.cos(0.4 + 0.5), 2 * math.cos(math.pi / 2 - 0.4)
    expected = -target + math.log(math.exp(target) + math.exp(other))
    assert loss(embedding, torch.tensor([0])).item() == pytest.approx(expected, rel=1e-9)


def test_target_logit_falls_with_the_angle_all_the_way():
    loss = ArcFaceLoss(2, 2)
    theta = torch.linspace(0.01, math.pi - 0.01, 500, dtype=torch.float64)
    assert (loss._with_margin(theta.cos()[:, None]).diff(dim=0) < 0).all()


def test_length_of_an_embedding_does_not_matter():
    embedding, identity = batch()
    loss = ArcFaceLoss(5, 8).double()
    assert loss(embedding, identity).item() == pytest.approx(loss(7 * embedding, identity).item(), rel=1e-12)


def test_class_matrix_leaves_the_global_random_state_alone():
    torch.manual_seed(1)
    before = torch.rand(1)
    torch.manual_seed(1)
    ArcFaceLoss(5, 8)
    assert torch.equal(torch.rand(1), before)


def test_frozen_centres_say_the_same_and_stay():
    centres, embedding = (torch.randn(n, 8, generator=torch.Generator().manual_seed(n)) for n in (5, 12))
    learning, frozen = ArcFaceLoss(5, 8), ArcFaceLoss(5, 8)
    learning.weight.data.copy_(centres)
    frozen.freeze(centres)
    identity = torch.arange(12) % 5
    assert torch.allclose(frozen(embedding, identity), learning(embedding, identity), atol=1e-5)
    embedding.requires_grad_()
    frozen(embedding, identity).backward()
    assert frozen.weight.grad is None and embedding.grad is not None


def test_under_autocast_the_product_alone_is_in_half_precision():
    loss = ArcFaceLoss(50, 64, scale=32.0, margin=0.3)
    embedding, identity = torch.randn(40, 64, generator=torch.Generator().manual_seed(0)), torch.arange(40)
    full = loss.cosines(embedding), loss(embedding, identity)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = loss.cosines(embedding), loss(embedding, identity)
    assert mixed[0].dtype == mixed[1].dtype == torch.float32
    assert 1e-5 < (mixed[0] - full[0]).abs().max() < 4e-3  # bfloat16 has eight bits
    assert mixed[1].item() == pytest.approx(full[1].item(), rel=5e-3)
    assert ArcFaceLoss(50, 64).double().cosines(embedding.double()).dtype == torch.float64


def test_reconstruction_loss_is_the_mean_square():
    images = torch.zeros(2, 3, 16, 16)
    assert reconstruction_loss(images + 0.5, images).item() == pytest.approx(0.25)
    with pytest.raises(InputError, match="reconstruction must be"):
        reconstruction_loss(images[:1], images)


def test_wrong_dimension_is_named():
    with pytest.raises(InputError, match=r"embeddings must be \(N, 8\)"):
        ArcFaceLoss(5, 8)(F.normalize(torch.randn(3, 7)), torch.zeros(3, dtype=torch.long))

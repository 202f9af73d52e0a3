"""Adaptation losses against their formulas and finite differences; what is frozen stays as it is."""

import copy
import math

import pytest
import torch
from torch import Tensor

from facexai.errors import InputError
from facexai.losses import AttentionAdaptationLoss, adaptation_loss, angular_distillation_loss, huang_weight
from facexai.models.frontalizers import FSPFM, AttentionModule

N, D, P = 5, 6, 3


def batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Frontal embeddings, their poses, profile embeddings, their poses."""
    generator = torch.Generator().manual_seed(0)
    frontal, profile = torch.randn(2, N, D, generator=generator, dtype=torch.float64)
    frontal_pose, profile_pose = torch.randn(2, N, P, generator=generator, dtype=torch.float64)
    return frontal, frontal_pose, profile, profile_pose


def networks() -> tuple[FSPFM, AttentionModule]:
    """M_g as after a stage 1 that moved it away from the identity, and an attention that is far from open."""
    torch.manual_seed(0)
    frontalizer = FSPFM(D, P, residual_start="default").double()
    with torch.no_grad():
        for _ in range(5):
            frontalizer(torch.randn(32, D).double(), torch.randn(32, P).double())  # the running statistics
    return frontalizer, AttentionModule(D, bias=0.0).double()


def test_plain_loss_is_the_mean_squared_norm():
    frontal, _, profile, _ = batch()
    by_hand = sum(sum((f - p) ** 2 for f, p in zip(*rows, strict=True)) for rows in zip(frontal, profile, strict=True))
    assert adaptation_loss(frontal, profile).item() == pytest.approx(by_hand.item() / N, rel=1e-12)
    assert adaptation_loss(frontal, profile, reduction="mean").item() == pytest.approx(
        by_hand.item() / N / D, rel=1e-12
    )


def test_huang_weights_by_hand():
    frontal = torch.tensor([[1.0, -4.0, 2.0], [0.0, 0.5, -0.1]])
    expected = torch.tensor([[0.25, 1.0, 0.5], [0.0, 1.0, 0.2]])
    assert torch.allclose(huang_weight(frontal), expected)
    assert torch.allclose(huang_weight(frontal, signed=True), expected * frontal.sign())
    assert not huang_weight(frontal.requires_grad_()).requires_grad


def test_huang_loss_is_that_of_the_published_code():
    frontal, _, profile, _ = batch()
    weight = frontal / frontal.abs().max(dim=1).values[:, None]
    published = torch.mean(weight * (profile - frontal) ** 2)
    ours = adaptation_loss(frontal, profile, huang_weight(frontal, signed=True), reduction="mean")
    assert ours.item() == pytest.approx(published.item(), rel=1e-12)


def test_proposed_loss_is_equation_2():
    frontal, frontal_pose, profile, profile_pose = batch()
    m_g, am = networks()
    m_g.eval()
    loss = AttentionAdaptationLoss(m_g, am)
    total = 0.0
    for i in range(N):
        f, f_pose, p, p_pose = (x[i : i + 1] for x in batch())
        total += (m_g(f, f_pose) * am(f) - m_g(p, p_pose)).pow(2).sum().item()
    assert loss(frontal, frontal_pose, m_g(profile, profile_pose)).item() == pytest.approx(total / N, rel=1e-10)


def test_plain_target_is_the_frontal_embedding_itself():
    frontal, pose, _, _ = batch()
    m_g, am = networks()
    loss = AttentionAdaptationLoss(m_g, am, target="plain")
    assert torch.allclose(loss.target(frontal, pose), frontal * am(frontal))


def test_kept_length_is_that_without_attention():
    frontal, pose, _, _ = batch()
    m_g, am = networks()
    weighted = AttentionAdaptationLoss(m_g, am).target(frontal, pose)
    kept = AttentionAdaptationLoss(m_g, am, keep_length=True).target(frontal, pose)
    assert torch.allclose(kept.norm(dim=1), m_g.eval()(frontal, pose).norm(dim=1))
    assert torch.allclose(torch.cosine_similarity(kept, weighted), torch.ones(N, dtype=torch.float64))
    assert (weighted.norm(dim=1) < kept.norm(dim=1)).all()


def test_gradients_equal_finite_differences():
    frontal, pose, profile, _ = batch()
    targets, frontalized = frontal.clone().requires_grad_(), profile.clone().requires_grad_()
    assert torch.autograd.gradcheck(adaptation_loss, (targets, frontalized))
    assert torch.autograd.gradcheck(lambda p: adaptation_loss(frontal, p, huang_weight(frontal)), (frontalized,))
    yaw = torch.tensor([0.0, 30.0, -50.0, 70.0, 90.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda t, s: angular_distillation_loss(t, s, yaw), (targets, frontalized))
    for options in ({}, {"keep_length": True}, {"target": "plain"}):
        loss = AttentionAdaptationLoss(*networks(), **options)
        names = [name for name, _ in loss.attention.named_parameters()]

        def of(profile_side, *values, loss=loss, names=names):
            parameters = dict(zip((f"attention.{name}" for name in names), values, strict=True))
            return torch.func.functional_call(loss, parameters, (frontal, pose, profile_side))

        attention = tuple(value.detach().clone().requires_grad_() for value in loss.attention.parameters())
        assert torch.autograd.gradcheck(of, (frontalized, *attention))


def test_a_step_moves_the_profile_side_and_the_attention_and_nothing_else():
    frontal, frontal_pose, profile, profile_pose = batch()
    m_g, am = networks()
    loss = AttentionAdaptationLoss(m_g, am).train()
    frozen, moving = copy.deepcopy(loss.frozen.state_dict()), copy.deepcopy(m_g.state_dict())
    attention = copy.deepcopy(am.state_dict())
    everything = [*m_g.parameters(), *loss.parameters()]  # even an optimiser that was given the copy too
    optimizer = torch.optim.SGD(everything, lr=0.1, momentum=0.9, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        loss(frontal, frontal_pose, m_g(profile, profile_pose)).backward()
        optimizer.step()
    assert all(torch.equal(value, frozen[name]) for name, value in loss.frozen.state_dict().items())
    moved = {name for name, value in m_g.state_dict().items() if not torch.equal(value, moving[name])}
    assert moved == set(moving) - {"pose_mean", "pose_scale"}
    assert not any(torch.equal(value, attention[name]) for name, value in am.state_dict().items())


def test_distillation_by_hand():
    teacher = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    student = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    yaw = torch.tensor([[45.0], [10.0]])
    expected = (1 + 2 * 0.5) * (1 - math.sqrt(0.5)) / 2  # the second agrees with its teacher
    assert angular_distillation_loss(teacher, student, yaw, extra=2.0).item() == pytest.approx(expected, rel=1e-5)


def test_what_cannot_be_used_is_one_clear_line():
    frontal, _, profile, _ = batch()
    m_g, am = networks()
    for call, message in [
        (lambda: adaptation_loss(frontal, profile[1:]), r"\(N, D\) alike; got \(5, 6\) and \(4, 6\)"),
        (lambda: adaptation_loss(frontal, profile, profile[:, 1:]), r"weights must be \(5, 6\).*got \(5, 5\)"),
        (lambda: adaptation_loss(frontal, profile, reduction="max"), "reduction must be"),  # type: ignore[arg-type]
        (lambda: angular_distillation_loss(frontal, profile, frontal[:, :2]), "with N yaws"),
        (lambda: AttentionAdaptationLoss(m_g, am, target="raw"), "target must be"),  # type: ignore[arg-type]
    ]:
        with pytest.raises(InputError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)

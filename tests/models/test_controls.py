"""Controls against their closed forms, and against what they are for: they take a common shift and nuisance away."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from facexai.errors import InputError
from facexai.models.frontalizers import CONTROLS, fit_global_centring, fit_pose_centring, fit_wccn

PEOPLE, EACH, D = 60, 6, 8


def faces(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings with a common shift, another one for profiles, and a wide nuisance along the first axis."""
    generator = torch.Generator().manual_seed(seed)
    identity = torch.arange(PEOPLE).repeat_interleave(EACH)
    yaw = torch.tensor([0.0, -5.0, 10.0, 20.0, -70.0, 60.0], dtype=torch.float64).repeat(PEOPLE)
    own = torch.randn(PEOPLE, D, generator=generator, dtype=torch.float64)[identity]
    embedding = own + 0.3 * torch.randn(len(own), D, generator=generator, dtype=torch.float64)
    embedding[:, 0] += 2 * torch.randn(len(own), generator=generator, dtype=torch.float64)
    embedding[:, 1] += 2
    embedding[yaw.abs() > 30, 2] += 2
    return embedding * 7, identity, yaw


def separation(embedding: Tensor, identity: Tensor) -> float:
    """Share of genuine scores above impostor scores (ROC AUC)."""
    scores = F.normalize(embedding) @ F.normalize(embedding).T
    upper = torch.triu(torch.ones_like(scores, dtype=torch.bool), 1)
    same = identity[:, None] == identity[None]
    genuine, impostor = scores[upper & same], scores[upper & ~same]
    return (genuine[:, None] > impostor[None]).double().mean().item()


def test_global_centring_is_the_balanced_mean():
    embedding, identity, yaw = faces()
    unit = embedding.numpy() / np.linalg.norm(embedding.numpy(), axis=1, keepdims=True)
    profile = np.abs(yaw.numpy()) > 30
    mean = (unit[~profile].mean(0) + unit[profile].mean(0)) / 2
    expected = (unit - mean) / np.linalg.norm(unit - mean, axis=1, keepdims=True)
    ours = fit_global_centring(embedding, identity, yaw)(embedding, yaw[:, None])
    assert np.allclose(ours.numpy(), expected, atol=1e-6)
    plain = fit_global_centring(embedding, identity, yaw, balanced=False)
    assert np.allclose(plain.mean.numpy(), unit.mean(0), atol=1e-6)


def test_pose_centring_takes_off_the_mean_of_each_class():
    embedding, identity, yaw = faces()
    control = fit_pose_centring(embedding, identity, yaw, edges=(15.0, 45.0))
    unit = F.normalize(embedding)
    expected = unit.clone()
    for low, high in ((-1.0, 15.0), (15.0, 45.0), (45.0, 180.0)):
        rows = (yaw.abs() > low) & (yaw.abs() <= high)
        expected[rows] -= unit[rows].mean(0)
    assert torch.allclose(control(embedding, yaw[:, None]), F.normalize(expected), atol=1e-6)


def test_a_yaw_at_the_limit_is_frontal():
    control = fit_pose_centring(*faces())
    assert control.pose_class(torch.tensor([0.0, 30.0, -30.0, 30.1, -90.0])).tolist() == [0, 0, 0, 1, 1]


def test_wccn_is_the_inverse_root_of_the_shrunk_covariance():
    embedding, identity, yaw = faces()
    unit = embedding.numpy() / np.linalg.norm(embedding.numpy(), axis=1, keepdims=True)
    covariance = np.zeros((D, D))
    for person in range(PEOPLE):
        rows = unit[identity.numpy() == person]
        covariance += (rows - rows.mean(0)).T @ (rows - rows.mean(0)) / len(unit)
    shrunk = 0.7 * covariance + 0.3 * np.trace(covariance) / D * np.eye(D)
    root = np.linalg.cholesky(np.linalg.inv(shrunk))  # of the source; B B^T = S^-1
    centred = unit - fit_global_centring(embedding, identity, yaw).mean.numpy()
    theirs = centred @ root
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    ours = fit_wccn(embedding, identity, yaw)(embedding, yaw[:, None]).numpy()
    assert np.allclose(ours @ ours.T, theirs @ theirs.T, atol=1e-5)


def test_full_shrinkage_leaves_centring():
    embedding, identity, yaw = faces()
    control = fit_wccn(embedding, identity, yaw, shrinkage=1.0)
    centred = fit_global_centring(embedding, identity, yaw)(embedding, yaw[:, None])
    assert torch.allclose(control(embedding, yaw[:, None]), centred, atol=1e-6)


def test_each_control_takes_away_what_it_is_for():
    train, test = faces(0), faces(1)
    embedding, identity, yaw = test
    auc = {name: separation(CONTROLS[name](*train)(embedding, yaw[:, None]), identity) for name in CONTROLS}
    auc["raw"] = separation(embedding, identity)
    assert auc["raw"] + 0.01 < auc["global-centring"]
    assert auc["global-centring"] + 0.01 < auc["pose-centring"]
    assert auc["global-centring"] + 0.05 < auc["wccn"]


@pytest.mark.parametrize("name", CONTROLS)
def test_controls_are_buffers_of_unit_output_and_own_type(name):
    embedding, identity, yaw = (x.float() if x.is_floating_point() else x for x in faces())
    before = embedding.clone()
    control = CONTROLS[name](embedding, identity, yaw)
    moved = control(embedding, yaw[:, None])
    assert not list(control.parameters())
    assert moved.dtype == embedding.dtype
    assert torch.allclose(moved.norm(dim=1), torch.ones(len(moved)), atol=1e-5)
    assert torch.allclose(moved, control(3 * embedding, yaw[:, None]), atol=1e-6)
    again = type(control)(D)
    again.load_state_dict(control.state_dict())
    assert torch.equal(again(embedding, yaw[:, None]), moved)
    assert torch.equal(embedding, before)


def test_what_cannot_be_used_is_one_clear_line():
    embedding, identity, yaw = faces()
    spoilt = yaw.clone()
    spoilt[3] = torch.nan
    for call, message in [
        (lambda: fit_pose_centring(embedding, identity, 0 * yaw), r"got \[360, 0\] from frontal to profile"),
        (lambda: fit_global_centring(embedding, identity, spoilt), "must be finite"),
        (lambda: fit_wccn(embedding, identity[1:], yaw), r"got \(360, 8\), \(359,\) and \(360,\)"),
        (lambda: fit_wccn(embedding, torch.arange(len(yaw)), yaw), "people with two embeddings or more"),
        (lambda: fit_wccn(embedding, identity, yaw, shrinkage=0.0), r"shrinkage must be in \(0, 1\]; got 0.0"),
    ]:
        with pytest.raises(InputError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)

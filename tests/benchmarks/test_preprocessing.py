"""The check of the preprocessing finds what was done wrong, and is silent where nothing was."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from facexai.benchmarks import check_preprocessing
from facexai.benchmarks.preprocessing import _separation, _sums_by_person, usual_ways
from facexai.errors import InputError
from facexai.models import Preprocessing, wrap_model

PEOPLE, IMAGES = 12, 3


class Hues(nn.Module):
    """Tells people by the colour of a patch; it was made for one order of channels and one range."""

    def __init__(self, wants: Preprocessing) -> None:
        super().__init__()
        self.wants = wants

    def forward(self, x: Tensor) -> Tensor:
        scale, shift = (torch.tensor(values) for values in self.wants.scale_and_shift)
        x = (x.mean((2, 3)) - shift) / scale  # back to [-1, 1], if x is what it wants
        x = x.flip(1) if self.wants.channel_order == "BGR" else x
        red, green, _ = (torch.pi * x.clamp(-1, 0)).unbind(1)  # of light pixels and those out of range it sees nothing
        return torch.stack([red.cos(), red.sin(), green.cos(), green.sin()], 1)


@pytest.fixture(scope="module")
def crowd() -> tuple[np.ndarray, np.ndarray]:
    """Dark patches; people have their own red and green, and any blue."""
    rng = np.random.default_rng(0)
    colours = rng.uniform(5, 120, (PEOPLE, 1, 3)) + rng.normal(0, 3, (PEOPLE, IMAGES, 3))
    colours[..., 2] = rng.uniform(5, 120, (PEOPLE, IMAGES))
    pixels = colours.clip(0, 255).reshape(-1, 1, 1, 3).repeat(112, 1).repeat(112, 2)
    return pixels.astype(np.uint8), np.repeat(np.arange(PEOPLE), IMAGES)


@pytest.mark.parametrize("wants", [Preprocessing(), Preprocessing(0, 1 / 255, "BGR"), Preprocessing(0, 1, "BGR")])
def test_the_way_that_a_network_was_made_for_is_found(crowd, wants):
    right = wrap_model(Hues(wants), mean=wants.mean, std=wants.std, channel_order=wants.channel_order)
    assert check_preprocessing(right, *crowd).warning == ""
    wrong = Preprocessing(0, 1) if wants != Preprocessing(0, 1) else Preprocessing()
    model = wrap_model(Hues(wants), mean=wrong.mean, std=wrong.std, channel_order=wrong.channel_order)
    report = check_preprocessing(model, *crowd)
    assert report.best.preprocessing == wants
    assert "check its preprocessing" in report.warning and "\n" not in report.warning
    assert report.warning in str(report)
    assert model.preprocessing == wrong  # the check leaves it as it was


def test_a_network_that_sees_nobody_is_said_to(crowd):
    class Blind(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.rand(len(x), 8, generator=torch.Generator().manual_seed(len(x)))

    assert "hardly separates people" in check_preprocessing(wrap_model(Blind()), *crowd).warning


def test_separation_is_d_prime_of_the_two_kinds_of_scores():
    label = np.array([0, 0, 1, 1, 1, 2])
    scores = np.random.default_rng(0).normal(0, 1, (6, 6))
    scores = scores + scores.T
    upper = np.triu_indices(6, 1)
    same = (label[:, None] == label)[upper]
    genuine, impostor = scores[upper][same], scores[upper][~same]
    expected = (genuine.mean() - impostor.mean()) / np.sqrt((genuine.var() + impostor.var()) / 2)
    assert _separation(_sums_by_person(scores, label), np.ones(3)) == pytest.approx(expected)


def test_usual_ways_start_with_the_configured_one_and_name_it():
    assert list(usual_ways(Preprocessing()))[:2] == ["RGB in [-1, 1]", "BGR in [-1, 1]"]
    facenet = usual_ways(Preprocessing(0.5, 128 / 255, "BGR"))
    assert next(iter(facenet)) == "BGR in [-1, 1]" and len(facenet) == 6
    assert list(usual_ways(Preprocessing(0.45, 0.22)))[:2] == ["RGB in own range", "BGR in own range"]


def test_too_few_people_are_refused(crowd):
    images, identity = crowd
    model = wrap_model(Hues(Preprocessing()))
    with pytest.raises(InputError, match="at least four people"):
        check_preprocessing(model, images[:6], identity[:6])
    with pytest.raises(InputError, match="give identity"):
        check_preprocessing(model, images)
    with pytest.raises(InputError, match=r"images must be uint8 in \[0, 255\]; got float32"):
        check_preprocessing(model, images.astype(np.float32) / 255, identity, progress=False)


@pytest.mark.realdata
@pytest.mark.skipif("FACEXAI_REALDATA" not in os.environ, reason="FACEXAI_REALDATA does not name the real faces")
def test_a_real_network_in_the_wrong_range_is_noticed_on_real_faces():
    from facexai.datasets import load_faces
    from facexai.weights import load_model

    root = Path(os.environ["FACEXAI_REALDATA"])
    people = [folder for folder in sorted((root / "lfw").iterdir()) if len(list(folder.iterdir())) >= 3][:30]
    images = load_faces([file for folder in people for file in sorted(folder.iterdir())[:3]])
    identity = np.repeat(np.arange(30), 3)
    model = load_model(f"mobilefacenet@{root / 'weights/mobilefacenet_casia.pth'}")
    assert check_preprocessing(model, images, identity).warning == ""
    model.preprocessing = Preprocessing(0, 1 / 255)
    assert "check its preprocessing" in check_preprocessing(model, images, identity).warning

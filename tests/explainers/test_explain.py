"""What holds for every explainer: it gives finite maps, the same each time, and leaves everything as it found it."""

import pytest
import torch
from explainer_toys import smooth_images, smooth_pair, tiny_recognizer
from torch import nn

from facexai.errors import InputError
from facexai.explainers import EXPLAINERS, decompose, explain, make_explainer
from facexai.models import FaceRecognizer
from facexai.pairs import FacePair

METHODS = list(EXPLAINERS)
SAME = smooth_images(1, seed=4)[0]
PAIRS = {"genuine": FacePair(SAME, (SAME * 0.9 + 0.05), genuine=True), "impostor": smooth_pair(5)}


@pytest.fixture(scope="module")
def model() -> FaceRecognizer:
    return tiny_recognizer()


@pytest.fixture
def odd_model(model) -> FaceRecognizer:
    """In a state that nobody would choose: parts in training mode, parts frozen."""
    model.train()
    model.trunk.layer2.eval()
    model.head.eval()
    for index, weight in enumerate(model.parameters()):
        weight.requires_grad_(index % 2 == 0)
    yield model
    model.eval().requires_grad_(True)


def state_of(model: nn.Module) -> dict:
    """Everything that an explainer could leave behind."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "modes": [module.training for module in model.modules()],
        "requires_grad": [weight.requires_grad for weight in model.parameters()],
        "gradients": [weight.grad for weight in model.parameters()],
        "hooks": [len(getattr(module, name)) for module in model.modules() for name in hooks],
        "values": [value.clone() for value in model.state_dict().values()],
        "random": torch.get_rng_state(),
    }


def same(one, other) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, list):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return one == other


def changed(before: dict, after: dict) -> list[str]:
    return [name for name in before if not same(before[name], after[name])]


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("method", METHODS)
def test_maps_are_finite_signed_and_repeatable(method, kind, model):
    pair = PAIRS[kind]
    saliency = explain(pair, model, method)
    assert saliency.signed.shape == (2, 112, 112)
    assert torch.isfinite(saliency.signed).all()
    assert not saliency.signed.requires_grad
    assert float(saliency.discriminative.max()) > 0
    assert saliency.score == pytest.approx(model.embed(pair.images).prod(0).sum().item(), abs=1e-5)
    assert saliency.method == repr(make_explainer(method))
    assert torch.equal(saliency.signed, explain(pair, model, method).signed)


@pytest.mark.parametrize("method", METHODS)
def test_model_and_pair_are_left_as_they_were(method, odd_model):
    pair = smooth_pair()
    images, before = pair.images.clone(), state_of(odd_model)
    explain(pair, odd_model, method)
    assert changed(before, state_of(odd_model)) == []
    assert torch.equal(pair.images, images)


@pytest.mark.parametrize("method", METHODS)
def test_model_is_left_as_it_was_after_an_error(method, odd_model, monkeypatch):
    before = state_of(odd_model)
    monkeypatch.setattr(odd_model.head, "forward", lambda features: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        explain(smooth_pair(), odd_model, method)
    monkeypatch.undo()
    assert changed(before, state_of(odd_model)) == []


@pytest.mark.parametrize("method", METHODS)
def test_training_mode_makes_no_difference(method, model):
    expected = explain(smooth_pair(), model, method).signed
    try:
        assert torch.equal(explain(smooth_pair(), model.train(), method).signed, expected)
    finally:
        model.eval()


@pytest.mark.parametrize("method", METHODS)
def test_an_unknown_option_lists_the_known_ones(method, model):
    with pytest.raises(InputError, match=f"unknown option 'wight' of explainer '{method}'; choose one of .*") as caught:
        explain(smooth_pair(), model, method, wight=1)
    assert "\n" not in str(caught.value)


def test_an_unknown_method_lists_the_known_ones(model):
    with pytest.raises(InputError, match=r"unknown explainer 'dvff'.*ddfv, ddfv-paper"):
        explain(smooth_pair(), model, "dvff")
    with pytest.raises(InputError, match="unknown explainer 'dvff'"):
        decompose(smooth_pair(), model, "dvff")


def test_images_of_another_size_are_refused(model):
    probe, gallery = smooth_images(2, size=96)
    with pytest.raises(InputError, match="the model takes faces of 112 x 112 pixels; got 96 x 96"):
        explain(FacePair(probe, gallery), model)


def test_maps_that_are_not_finite_are_refused():
    broken = tiny_recognizer()
    with torch.no_grad():
        next(broken.trunk.parameters()).fill_(float("nan"))
    with pytest.raises(InputError, match="not finite; check the weights of the model"):
        explain(smooth_pair(), broken)

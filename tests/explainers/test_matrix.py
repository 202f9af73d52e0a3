"""What holds for every explainer: finite maps with an honest sign, the same each time, and nothing left behind."""

import copy
import re
from dataclasses import fields

import pytest
import torch
from explainer_toys import patch_pair, patch_recognizer, smooth_images, smooth_pair, tiny_recognizer, with_xcos
from torch import Tensor, nn

from facexai.errors import InputError
from facexai.explainers import EXPLAINERS, explain, make_explainer
from facexai.models import FaceRecognizer
from facexai.pairs import FacePair, Saliency

# Enough for facts that do not depend on how long a method runs.
OPTIONS: dict[str, dict] = {
    "contrast": {"of": "max-pool", "references": smooth_images(2, seed=50)},
    "corr-rise": {"masks": 24, "minimum": 24},
    "integrated-gradients": {"steps": 4},
    "lime": {"samples": 40},
    "mean-map": {"people": 2},
    "min-plus": {"stride": 28},
    "occlusion": {"sides": (28,), "stride": 28},
    "rise": {"masks": 24, "minimum": 24},
    "smoothgrad": {"samples": 4},
}
METHODS = list(EXPLAINERS)
SIGNED = [method for method in METHODS if not getattr(EXPLAINERS[method], "unsigned", False)]
SAME = smooth_images(1, seed=4)[0]
PAIRS = {"genuine": FacePair(SAME, SAME * 0.9 + 0.05, genuine=True), "impostor": smooth_pair(5)}


def run(method: str, pair: FacePair, model: FaceRecognizer) -> Saliency:
    return explain(pair, model, method, **OPTIONS.get(method, {}))


@pytest.fixture(scope="module")
def model() -> FaceRecognizer:
    return with_xcos(tiny_recognizer())


@pytest.fixture(scope="module")
def double_model() -> FaceRecognizer:
    return with_xcos(tiny_recognizer()).double()


@pytest.fixture
def odd_model(model) -> FaceRecognizer:
    """In a state that nobody would choose: parts in training mode, parts frozen, a gradient kept from elsewhere."""
    model.train()
    model.trunk.layer2.eval()
    model.head.eval()
    for index, weight in enumerate(model.parameters()):
        weight.requires_grad_(index % 2 == 0)
    first = next(model.parameters())
    first.grad = torch.ones_like(first)
    yield model
    model.eval().requires_grad_(True)
    first.grad = None


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
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    if isinstance(one, list):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return one == other


def changed(before: dict, after: dict) -> list[str]:
    return [name for name in before if not same(before[name], after[name])]


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("method", METHODS)
def test_maps_are_finite_and_repeatable(method, kind, model):
    pair = PAIRS[kind]
    saliency = run(method, pair, model)
    assert saliency.signed.shape == (2, 112, 112)
    assert saliency.signed.dtype == torch.float32
    assert torch.isfinite(saliency.signed).all()
    assert not saliency.signed.requires_grad
    assert float(saliency.discriminative.max()) > 0
    assert saliency.score == pytest.approx(model.embed(pair.images).prod(0).sum().item(), abs=1e-5)
    assert saliency.method == repr(make_explainer(method, **OPTIONS.get(method, {})))
    with torch.no_grad():
        assert torch.equal(saliency.signed, run(method, pair, model).signed)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_without_a_sign_says_so_and_one_with_a_sign_shows_both(method, model):
    saliency = run(method, PAIRS["impostor"], model)
    if method in SIGNED:
        assert saliency.similarity.max() > 0 and saliency.dissimilarity.max() > 0
    else:
        assert float(saliency.signed.min()) >= 0


@pytest.mark.parametrize("method", METHODS)
def test_swapping_the_pair_swaps_the_maps(method, double_model):
    straight = run(method, PAIRS["impostor"], double_model).signed
    swapped = run(method, PAIRS["impostor"].swapped(), double_model).signed
    assert torch.allclose(swapped, straight.flip(0), atol=1e-6 * float(straight.abs().max()))


@pytest.mark.parametrize("method", METHODS)
def test_single_and_double_precision_agree(method, model, double_model):
    single = run(method, PAIRS["impostor"], model).signed
    double = run(method, PAIRS["impostor"], double_model).signed
    assert torch.allclose(single.double(), double.double(), atol=1e-2 * float(double.abs().max()))


@pytest.mark.parametrize("method", METHODS)
def test_model_and_pair_are_left_as_they_were(method, odd_model):
    pair = smooth_pair()
    images, before = pair.images.clone(), state_of(odd_model)
    run(method, pair, odd_model)
    assert changed(before, state_of(odd_model)) == []
    assert torch.equal(pair.images, images)
    assert not (pair.probe.requires_grad or pair.gallery.requires_grad)


@pytest.mark.parametrize("method", METHODS)
def test_model_is_left_as_it_was_after_an_error(method, odd_model, monkeypatch):
    before = state_of(odd_model)
    monkeypatch.setattr(odd_model.head, "forward", lambda features: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(method, smooth_pair(), odd_model)
    monkeypatch.undo()
    assert changed(before, state_of(odd_model)) == []


@pytest.mark.parametrize("method", METHODS)
def test_training_mode_makes_no_difference(method, model):
    expected = run(method, smooth_pair(), model).signed
    try:
        assert torch.equal(run(method, smooth_pair(), model.train()).signed, expected)
    finally:
        model.eval()


@pytest.mark.parametrize("method", METHODS)
def test_an_unknown_option_lists_the_known_ones(method):
    with pytest.raises(InputError, match=f"unknown option 'wight' of explainer '{re.escape(method)}'; .+") as caught:
        make_explainer(method, wight=1)
    options = [field.name for field in fields(EXPLAINERS[method])]  # type: ignore[arg-type]
    assert str(caught.value).endswith(f"choose one of {', '.join(options)}" if options else "it has none")


# The two faces agree in the first quarter of the image, disagree in the second, and say little in the others.
QUARTERS = patch_pair((0.7, 0.5, 0.3, 0.2), (0.6, -0.6, 0.4, 0.1), patch=56)


@pytest.mark.parametrize("method", [method for method in SIGNED if method != "xcos"])  # which must be trained first
def test_agreement_is_positive_beside_disagreement(method):
    signed = run(method, QUARTERS, patch_recognizer(patch=56)).signed
    agree, disagree = signed[:, 8:48, 8:48].mean((1, 2)), signed[:, 8:48, 64:104].mean((1, 2))
    assert (agree > disagree).all()


@pytest.mark.parametrize("method", METHODS)
def test_nothing_of_one_model_is_kept_for_the_next(method, model):
    before = run(method, PAIRS["impostor"], model).signed
    other = copy.deepcopy(model)
    with torch.no_grad():
        next(other.parameters()).neg_()
    run(method, PAIRS["impostor"], other)
    assert torch.equal(run(method, PAIRS["impostor"], model).signed, before)

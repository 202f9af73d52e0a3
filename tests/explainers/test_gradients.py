"""The gradient family equals its papers' formulas, taken by finite differences and plain loops."""

import captum.attr
import pytest
import torch
from explainer_toys import conv_recognizer, small_pair
from torch import Tensor
from torch.nn import functional as F

from facexai.errors import InputError
from facexai.explainers import explain
from facexai.explainers.gradients import IntegratedGradients, SmoothGrad, baseline_images
from facexai.explainers.scores import PairScore, frozen, pair_scores
from facexai.models import FaceRecognizer
from facexai.pairs import FacePair


@pytest.fixture(scope="module")
def model() -> FaceRecognizer:
    return conv_recognizer()


@pytest.fixture(scope="module")
def pair() -> FacePair:
    return small_pair()


def score_of(model: FaceRecognizer, image: Tensor, partner: Tensor) -> Tensor:
    return F.cosine_similarity(model.pool(model.features(image[None])), model.pool(model.features(partner[None])))[0]


def gradient_of(model: FaceRecognizer, image: Tensor, partner: Tensor) -> Tensor:
    """ds / d image, one image at a time."""
    image = image.clone().requires_grad_(True)
    return torch.autograd.grad(score_of(model, image, partner.detach()), image)[0]


def both(function, pair: FacePair) -> Tensor:
    return torch.stack([function(pair.probe, pair.gallery), function(pair.gallery, pair.probe)])


def test_the_gradient_is_what_a_nudge_of_a_pixel_does_to_the_score(model, pair):
    signed = explain(pair, model, "gradient").signed
    step, row, column = 1e-5, 5, 9
    changes = []
    for colour in range(3):
        nudge = torch.zeros_like(pair.probe)
        nudge[colour, row, column] = step
        rise = score_of(model, pair.probe + nudge, pair.gallery) - score_of(model, pair.probe - nudge, pair.gallery)
        changes.append(abs(rise.item()) / (2 * step))
    assert float(signed[0, row, column]) == pytest.approx(max(changes), rel=1e-6)
    mean = explain(pair, model, "gradient", colour="mean").signed
    assert float(mean[0, row, column]) == pytest.approx(sum(changes) / 3, rel=1e-6)


def test_both_images_get_the_gradient_of_their_own_score(model, pair):
    expected = both(lambda image, partner: gradient_of(model, image, partner).abs().amax(0), pair)
    assert torch.allclose(explain(pair, model, "gradient").signed, expected, rtol=1e-10)


def test_input_x_gradient_is_the_product_summed_over_the_colours(model, pair):
    expected = both(lambda image, partner: (image * gradient_of(model, image, partner)).sum(0), pair)
    saliency = explain(pair, model, "input-x-gradient")
    assert torch.allclose(saliency.signed, expected, rtol=1e-10)
    assert saliency.score == pytest.approx(score_of(model, pair.probe, pair.gallery).item())


def test_captum_finds_the_same(model, pair):
    score = PairScore(model, model.embed(pair.images).flip(0))
    images = pair.images.requires_grad_(True)
    saliency = captum.attr.Saliency(score).attribute(images)
    assert torch.allclose(explain(pair, model, "gradient").signed, saliency.amax(1), rtol=1e-10)
    product = captum.attr.InputXGradient(score).attribute(images)
    assert torch.allclose(explain(pair, model, "input-x-gradient").signed, product.sum(1), rtol=1e-10)


@pytest.mark.parametrize("average", ["gradients", "magnitudes"])
def test_smoothgrad_is_the_mean_over_noisy_copies(average, model, pair):
    def literal(image: Tensor, partner: Tensor) -> Tensor:
        deviation = torch.tensor(0.15 * float(image.max() - image.min())).expand(8, 3, 16, 16)
        with torch.random.fork_rng():
            torch.manual_seed(7)
            noise = torch.cat(
                [torch.normal(0, part) for part in deviation.split(3)[:2]] + [torch.normal(0, deviation[6:])]
            )
        gradients = torch.stack([gradient_of(model, image + one, partner) for one in noise])
        return (gradients.abs() if average == "magnitudes" else gradients).mean(0).abs().amax(0)

    saliency = explain(pair, model, "smoothgrad", samples=8, chunk=3, seed=7, average=average)
    assert torch.allclose(saliency.signed, both(literal, pair), rtol=1e-6)


def test_smoothgrad_without_noise_is_the_gradient(model, pair):
    smooth = explain(pair, model, "smoothgrad", noise=0.0, samples=3)
    assert torch.allclose(smooth.signed, explain(pair, model, "gradient").signed)


def test_another_seed_gives_other_noise(model, pair):
    one, other = (explain(pair, model, "smoothgrad", samples=3, seed=seed).signed for seed in (0, 1))
    assert not torch.allclose(one, other, rtol=1e-3)


@pytest.mark.parametrize("baseline", ["black", "grey", "blurred"])
def test_integrated_gradients_are_a_riemann_sum_along_the_straight_way(baseline, model, pair):
    def literal(image: Tensor, partner: Tensor) -> Tensor:
        start, steps = baseline_images(image[None], baseline)[0], 100
        way = [start + (step + 0.5) / steps * (image - start) for step in range(steps)]
        mean = torch.stack([gradient_of(model, point, partner) for point in way]).mean(0)
        return ((image - start) * mean).sum(0)

    signed = explain(pair, model, "integrated-gradients", baseline=baseline).signed
    expected = both(literal, pair)
    assert torch.allclose(signed, expected, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("baseline", ["black", "grey", "blurred"])
def test_integrated_gradients_are_complete(baseline, model, pair):
    """They sum to what the score gains over the baseline."""
    signed = explain(pair, model, "integrated-gradients", baseline=baseline).signed
    starts = baseline_images(pair.images, baseline)
    for own, (image, start) in enumerate(zip(pair.images, starts, strict=True)):
        partner = pair.images[1 - own]
        gain = (score_of(model, image, partner) - score_of(model, start, partner)).item()
        assert float(signed[own].sum()) == pytest.approx(gain, abs=1e-6)
        assert abs(gain) > 1e-3


def test_the_chunk_does_not_change_integrated_gradients(model, pair):
    maps = [explain(pair, model, "integrated-gradients", steps=9, chunk=chunk).signed for chunk in (2, 7, 100)]
    assert torch.allclose(maps[0], maps[1]) and torch.allclose(maps[0], maps[2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"colour": "sum"}, "unknown colour 'sum'; choose one of max, mean"),
        ({"samples": 0}, "samples must be a whole number, 1 or more; got 0"),
        ({"noise": -1.0}, "noise must be a share"),
        ({"average": "median"}, "unknown average 'median'"),
    ],
)
def test_bad_options_of_smoothgrad_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        SmoothGrad(**options)


def test_bad_options_of_integrated_gradients_are_refused():
    with pytest.raises(InputError, match="unknown baseline 'white'; choose one of black, grey, blurred"):
        IntegratedGradients(baseline="white")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="chunk must be a whole number, 2 or more; got 1"):
        IntegratedGradients(chunk=1)


def test_pair_scores_are_the_score_as_a_function_of_one_image(model, pair):
    of_probe, of_gallery, score = pair_scores(model, pair)
    assert float(of_probe(pair.probe[None])) == pytest.approx(score)
    assert float(of_gallery(pair.gallery[None])) == pytest.approx(score)
    assert score == pytest.approx(score_of(model, pair.probe, pair.gallery).item())
    other = small_pair(5).probe
    assert float(of_probe(other[None])) == pytest.approx(score_of(model, other, pair.gallery).item())


def test_targets_differ_in_what_happens_to_the_norm(model, pair):
    partner = model.embed(pair.gallery[None])[0]
    pooled = model.pool(model.features(pair.probe[None]))
    values, slopes = {}, {}
    for target in ("cosine", "cosine-detached", "dot"):
        images = pair.probe[None].clone().requires_grad_(True)
        value = PairScore(model, partner, target)(images)
        values[target], slopes[target] = float(value), torch.autograd.grad(value, images)[0]
    assert values["cosine"] == pytest.approx(values["cosine-detached"])
    assert values["dot"] == pytest.approx(float(pooled.norm()) * values["cosine"])
    assert torch.allclose(slopes["dot"], slopes["cosine-detached"] * pooled.norm())
    assert not torch.allclose(slopes["cosine"], slopes["cosine-detached"], rtol=1e-2)
    assert float(PairScore(model, partner, negate=True)(pair.probe[None])) == pytest.approx(-values["cosine"])
    with pytest.raises(InputError, match="unknown target 'angle'; choose one of cosine, cosine-detached, dot"):
        PairScore(model, partner, "angle")  # type: ignore[arg-type]


def test_a_frozen_model_keeps_what_it_had(model):
    weights = list(model.parameters())
    weights[0].requires_grad_(False)
    weights[1].grad = torch.ones_like(weights[1])
    try:
        with torch.no_grad(), frozen(model):
            assert torch.is_grad_enabled()
            assert not any(weight.requires_grad or weight.grad is not None for weight in weights)
        assert [weight.requires_grad for weight in weights[:2]] == [False, True]
        assert torch.equal(weights[1].grad, torch.ones_like(weights[1]))
    finally:
        weights[0].requires_grad_(True)
        weights[1].grad = None

"""What the maps of Algorithm 1 must fulfil, from a network whose maps are known by hand to the paper's own checks."""

import copy
import warnings
from dataclasses import replace

import pytest
import torch
from explainer_toys import (
    PATCH,
    patch_pair,
    patch_recognizer,
    smooth_images,
    smooth_pair,
    tiny_recognizer,
    wandering_recognizer,
)
from torch import Tensor, nn

from facexai.errors import InputError
from facexai.explainers import DDFV, DDFVPaper, decompose, explain
from facexai.explainers.ddfv import balanced, channel_places, channel_weights
from facexai.models import FaceRecognizer, FullyConnectedHead, GlobalDepthwiseHead, MaxPoolHead
from facexai.pairs import FacePair

METHODS = ["ddfv", "ddfv-paper"]
MAP_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10}  # in units of the maximum, as in test_residuals
WEIGHTS = ["auto", "contribution", "ablation", "product", "second-max", "first-order"]
ABLATION = {"weight": "ablation", "missing": "own", "balance": False}
PRODUCT = {**ABLATION, "weight": "product"}


@pytest.fixture(scope="module")
def model() -> FaceRecognizer:
    return tiny_recognizer()


@pytest.fixture(scope="module")
def pair() -> FacePair:
    return smooth_pair()


def patches(signed: Tensor) -> list[list[float]]:
    """The value of each patch of both maps; every patch must be of one value."""
    means = nn.functional.avg_pool2d(signed, PATCH)
    assert torch.allclose(nn.functional.interpolate(means[None], scale_factor=PATCH)[0], signed)
    return means.flatten(1).tolist()


# Means of four patches are F_A and F_B, of unit length: s = .36 - .64 = -.28. Taking patch 0 away from A leaves (0, .8)
# and s = -.64 / .8 = -.8, so its weight is -.28 + .8 = .52; without patch 1, s = .36 / .6 = .6 and its weight is -.88.
OPPOSED = patch_pair((0.6, 0.8, 0, 0), (0.6, -0.8, 0, 0))
# What patches 0 and 1 add to s is .36 and -.64.
# s = .48 + .48. Without patch 0 of A, s = .48 / .8 = .6; without patch 1, s = .48 / .6 = .8; of B the other way round.
CROSSED = patch_pair((0.6, 0.8, 0, 0), (0.8, 0.6, 0, 0))


@pytest.mark.parametrize("algorithm", ["local", "batched", "literal"])
@pytest.mark.parametrize(
    ("pair", "options", "probe", "gallery"),
    [
        (OPPOSED, {}, [1, -1, 0, 0], [1, -1, 0, 0]),
        (OPPOSED, {"balance": False}, [0.36, -0.64, 0, 0], [0.36, -0.64, 0, 0]),
        (OPPOSED, {"missing": "skip"}, [1, -1, 0, 0], [1, 0, 0, 0]),
        (CROSSED, {}, [0.5, 0.5, 0, 0], [0.5, 0.5, 0, 0]),
        (CROSSED, {"weight": "ablation"}, [9 / 13, 4 / 13, 0, 0], [4 / 13, 9 / 13, 0, 0]),
        (CROSSED, {"threshold": 0.1}, [0.5, 0.5, 0, 0], [0.5, 0.5, 0, 0]),
        (CROSSED, {"threshold": 0.1, "missing": "own"}, [0.5, 0.5, -0.5, -0.5], [0.5, 0.5, -0.5, -0.5]),
        (OPPOSED, ABLATION, [0.52, -0.88, 0, 0], [0.52, -0.88, 0, 0]),
        (CROSSED, ABLATION, [0.36, 0.16, 0, 0], [0.16, 0.36, 0, 0]),
        (CROSSED, {**ABLATION, "threshold": 0.1}, [0.26, 0.06, -0.1, -0.1], [0.06, 0.26, -0.1, -0.1]),
        (OPPOSED, PRODUCT, [0.36, -0.64, 0, 0], [0.36, -0.64, 0, 0]),
        (CROSSED, {**ABLATION, "weight": "first-order"}, [0.1344, -0.1344, 0, 0], [-0.1344, 0.1344, 0, 0]),
        (OPPOSED, {**PRODUCT, "missing": "skip"}, [0.36, -0.64, 0, 0], [0.36, 0, 0, 0]),
        (OPPOSED, {**PRODUCT, "residual": "l1"}, [0.36 / 64, -0.01, 0, 0], [0.36 / 64, -0.01, 0, 0]),
        (OPPOSED, {**PRODUCT, "residual": "none"}, [0.936, -1.792, 0, 0], [0.936, -0.768, 0, 0]),
        (OPPOSED, {**ABLATION, "which": "probe"}, [0.52, -0.88, 0, 0], [0, 0, 0, 0]),
    ],
)
def test_a_network_whose_channels_see_one_patch_each_gives_the_map_known_by_hand(
    pair, options, probe, gallery, algorithm
):
    saliency = explain(pair, patch_recognizer(), algorithm=algorithm, **options)
    assert patches(saliency.signed)[0] == pytest.approx(probe, abs=1e-6)
    assert patches(saliency.signed)[1] == pytest.approx(gallery, abs=1e-6)


# F_A = (.8, -.6, 0, 0), and channel 1 of A has its maximum in patch 2, where it means nothing. Of channel 2, which sees
# the same patch, both have F = 0.
LACKS_ONE = patch_pair((0.8, -1, 0, 0), (0.8, 0.6, 0, 0))
BOTH_LACK_ONE = patch_pair((0.8, -1, 0, 0), (0.8, -1, 0, 0))


@pytest.mark.parametrize("algorithm", ["local", "batched", "literal"])
@pytest.mark.parametrize(
    ("pair", "missing", "probe", "gallery"),
    [
        (LACKS_ONE, "partner", [0.64, -0.36, 0, 0], [0.64, -0.36, 0, 0]),
        (LACKS_ONE, "own", [0.64, 0, -0.36, 0], [0.64, -0.36, 0, 0]),
        (LACKS_ONE, "skip", [0.64, 0, 0, 0], [0.64, -0.36, 0, 0]),
        (LACKS_ONE.swapped(), "partner", [0.64, -0.36, 0, 0], [0.64, -0.36, 0, 0]),
        (LACKS_ONE.swapped(), "own", [0.64, -0.36, 0, 0], [0.64, 0, -0.36, 0]),
        (LACKS_ONE.swapped(), "skip", [0.64, -0.36, 0, 0], [0.64, 0, 0, 0]),
        (BOTH_LACK_ONE, "partner", [0.64, 0, 0, 0], [0.64, 0, 0, 0]),
        (BOTH_LACK_ONE, "own", [0.64, 0, 0.36, 0], [0.64, 0, 0.36, 0]),
        (BOTH_LACK_ONE, "skip", [0.64, 0, 0, 0], [0.64, 0, 0, 0]),
    ],
)
def test_a_channel_that_the_image_lacks_is_drawn_where_it_is_told_to(pair, missing, probe, gallery, algorithm):
    saliency = explain(pair, wandering_recognizer(), missing=missing, balance=False, algorithm=algorithm)
    assert patches(saliency.signed)[0] == pytest.approx(probe, abs=1e-6)
    assert patches(saliency.signed)[1] == pytest.approx(gallery, abs=1e-6)


def test_what_the_image_lacks_weighs_as_much_as_what_it_has_when_balanced():
    saliency = explain(LACKS_ONE, wandering_recognizer())
    assert patches(saliency.signed)[0] == pytest.approx([1, -1, 0, 0], abs=1e-6)


def test_a_channel_goes_to_the_partners_place_only_where_the_partner_alone_has_it(model, pair):
    with torch.no_grad():
        features = model.features(pair.images)
        present = model.pool(features) > 0
    own = features.flatten(2).argmax(2)
    cells, counted = channel_places(model, features, "partner")
    for image in range(2):
        lacks = ~present[image] & present[1 - image]
        assert lacks.any() and not torch.equal(cells[image], own[image])
        assert torch.equal(cells[image, lacks], own[1 - image, lacks])
        assert torch.equal(cells[image, present[image]], own[image, present[image]])
    assert torch.equal(counted, (present[0] | present[1]).expand(2, -1)) and not counted.all()


def test_patches_with_the_printed_weights():
    model = patch_recognizer()
    model.threshold = 0.2
    plain = explain(OPPOSED, model, "ddfv-paper", threshold=0.0)
    assert patches(plain.signed)[0] == pytest.approx([0.36, -0.64, 0, 0], abs=1e-6)
    margin = explain(OPPOSED, model, "ddfv-paper")
    assert patches(margin.signed)[1] == pytest.approx([0.31, -0.69, -0.05, -0.05], abs=1e-6)
    assert margin.score == pytest.approx(-0.28, abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_the_three_maps_are_one(method, model, pair):
    saliency = explain(pair, model, method)
    assert torch.equal(saliency.discriminative, saliency.similarity + saliency.dissimilarity)
    assert torch.equal(saliency.signed, saliency.similarity - saliency.dissimilarity)
    assert saliency.similarity.max() > 0 and saliency.dissimilarity.max() > 0


@pytest.mark.parametrize("weight", WEIGHTS)
def test_swapping_the_pair_swaps_the_maps(weight, model, pair):
    straight = explain(pair, model, weight=weight).signed
    swapped = explain(pair.swapped(), model, weight=weight).signed
    assert torch.allclose(swapped, straight.flip(0), atol=1e-5 * float(straight.abs().max()))
    assert not torch.allclose(straight[0], straight[1], atol=1e-3 * float(straight.abs().max()))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(3))
def test_identical_images_give_no_dissimilarity_at_threshold_zero(method, seed, model):
    """Holds to the last bit for the contribution and the product, which are F_i^2."""
    image = smooth_images(1, seed)[0]
    saliency = explain(FacePair(image, image), model, method, threshold=0.0)
    assert float(saliency.dissimilarity.max()) == 0
    assert float(saliency.similarity.max()) > 0
    assert saliency.score == pytest.approx(1)


@pytest.mark.parametrize("balance", [True, False])
@pytest.mark.parametrize("missing", ["partner", "own", "skip"])
@pytest.mark.parametrize("weight", ["auto", "contribution", "ablation", "product"])
def test_what_is_not_there_is_not_balanced_into_being(weight, missing, balance, model):
    """Mean ablation of identical images: a score of 1 can only fall."""
    image = smooth_images(1)[0]
    saliency = explain(FacePair(image, image), model, weight=weight, missing=missing, balance=balance)
    assert float(saliency.dissimilarity.max()) == 0
    assert float(saliency.similarity.max()) > 0


@pytest.mark.parametrize("options", [{}, ABLATION], ids=["default", "ablation"])
@pytest.mark.parametrize("head", ["raw", "fully connected", "depthwise"])
def test_identical_images_give_no_dissimilarity_beyond_rounding_on_other_heads(head, options, model):
    image = smooth_images(1)[0]
    saliency = explain(FacePair(image, image), with_head(model, head), **options)
    assert float(saliency.dissimilarity.max()) < 1e-5 * float(saliency.similarity.max())


def test_first_order_weights_of_identical_images_vanish(model):
    image = smooth_images(1)[0]
    saliency = explain(FacePair(image, image), model, weight="first-order", missing="own", balance=False)
    assert float(saliency.signed.abs().max()) < 1e-5


def test_product_weights_sum_to_the_score_and_with_the_margin_to_the_decision(model, pair):
    parts = decompose(pair, model, "ddfv-paper")
    assert parts.weights.sum(1).tolist() == pytest.approx([parts.score] * 2, abs=1e-6)
    assert parts.threshold == pytest.approx(0.3 / 32)
    assert parts.map_weights().sum(1).tolist() == pytest.approx([parts.score - 0.3] * 2, abs=1e-6)


def test_without_a_calibrated_threshold_the_margin_is_zero(model, pair):
    fresh = copy.deepcopy(model)
    fresh.threshold = None
    assert decompose(pair, fresh, "ddfv-paper").threshold == 0


@pytest.mark.parametrize("method", METHODS)
def test_another_threshold_needs_no_new_decomposition(method, model, pair):
    parts = decompose(pair, model, method)
    for threshold in (0.0, 0.01, -0.02):
        fresh = explain(pair, model, method, threshold=threshold).signed
        assert torch.allclose(parts.saliency(threshold).signed, fresh, atol=1e-7)
    assert not torch.allclose(parts.saliency(0.0).signed, parts.saliency(0.01).signed, atol=1e-3)
    assert torch.equal(parts.saliency().signed, explain(pair, model, method).signed)


def test_another_partner_needs_no_new_residuals(model, pair):
    residuals = decompose(pair, model, missing="own").residuals[0]
    stranger = smooth_images(1, seed=7)[0]
    features = model.features(torch.stack([pair.probe, stranger]))
    weights = channel_weights(model, features, DDFV())[0].detach()
    fresh = explain(FacePair(pair.probe, stranger), model, missing="own", balance=False).signed[0]
    assert torch.allclose(residuals.weighted_sum(weights), fresh, atol=1e-6)


def test_a_decomposition_shows_every_part(model, pair):
    parts = decompose(pair, model)
    assert parts.features.shape == (2, 32, 7, 7)
    assert torch.allclose(parts.embeddings, model.embed(pair.images), atol=1e-6)
    assert torch.allclose(parts.reconstructions, model.reconstruct(parts.features), atol=1e-6)
    assert parts.score == pytest.approx(float(parts.embeddings[0] @ parts.embeddings[1]))
    assert parts.weights.shape == parts.counted.shape == (2, 32)
    for image, channels in enumerate(parts.top_channels(5)):
        strengths = parts.map_weights()[image].abs()
        assert channels.tolist() == strengths.argsort(descending=True)[:5].tolist()
    assert parts.top_channels(99).shape == (2, 32)
    assert parts.method == repr(DDFV())


def test_reconstructions_are_those_of_eval_mode_whenever_they_are_asked_for(pair):
    training = tiny_recognizer().train()
    parts = decompose(pair, training)
    expected = copy.deepcopy(training).eval().reconstruct(parts.features)
    assert torch.allclose(parts.reconstructions, expected, atol=1e-6)
    assert training.decoder is not None and all(module.training for module in training.decoder.modules())


def test_only_present_channels_count_where_missing_ones_are_skipped(model, pair):
    parts = decompose(pair, model, missing="skip")
    assert torch.equal(parts.counted, model.pool(model.features(pair.images)) > 0)
    assert parts.map_weights()[~parts.counted].abs().max() == 0
    assert 0 < parts.counted.sum() < parts.counted.numel()


def test_evidence_for_and_against_are_brought_to_a_sum_of_one_each():
    weights = torch.tensor([[1.0, 3, -2, 0, -6], [0, 0, -4, 0, -4], [5, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
    assert balanced(weights).tolist() == [
        [0.25, 0.75, -0.25, 0, -0.75],
        [0, 0, -0.5, 0, -0.5],
        [1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ]


@pytest.mark.parametrize("threshold", [0.0, 0.01, -0.02])
@pytest.mark.parametrize("weight", WEIGHTS)
def test_the_weights_in_the_map_are_balanced_after_the_threshold(weight, threshold, model, pair):
    parts = decompose(pair, model, weight=weight, threshold=threshold)
    weights = parts.map_weights()
    assert weights.clamp(min=0).sum(1).tolist() == pytest.approx([1, 1], abs=1e-6)
    assert weights.clamp(max=0).sum(1).tolist() == pytest.approx([-1, -1], abs=1e-6)
    plain = (parts.weights - threshold) * parts.counted
    assert torch.equal(weights.sign(), plain.sign())
    for row, plain_row in zip(weights, plain, strict=True):
        for side in (plain_row > 0, plain_row < 0):
            assert torch.allclose(row[side], plain_row[side] / plain_row[side].abs().sum(), atol=1e-6)
    assert torch.equal(replace(parts, balance=False).map_weights(), plain)


@pytest.mark.parametrize("scales", [(7, 1), (1, 7), (0.01, 3)])
def test_how_much_evidence_there_is_of_one_sign_does_not_show_in_the_map(scales, model, pair):
    parts = decompose(pair, model)
    scaled = torch.where(parts.weights > 0, scales[0] * parts.weights, scales[1] * parts.weights)
    expected = parts.saliency().signed
    assert torch.allclose(replace(parts, weights=scaled).saliency().signed, expected, atol=1e-6)
    plain = replace(parts, balance=False)
    assert not torch.allclose(replace(plain, weights=scaled).saliency().signed, plain.saliency().signed, atol=1e-3)


@pytest.mark.parametrize("side", [1, -1])
def test_evidence_of_one_sign_alone_stays_alone(side, model, pair):
    parts = decompose(pair, model)
    saliency = replace(parts, weights=side * parts.weights.abs()).saliency()
    there, empty = (saliency.similarity, saliency.dissimilarity)[::side]
    assert float(empty.max()) == 0 and float(there.max()) > 0


@pytest.mark.parametrize(
    ("head", "chosen"),
    [(None, "contribution"), ("raw", "ablation"), ("fully connected", "ablation"), ("depthwise", "ablation")],
)
def test_the_weight_is_chosen_by_the_head_unless_one_is_asked_for(head, chosen, model, pair):
    network = model if head is None else with_head(model, head)
    weights = {weight: decompose(pair, network, weight=weight).weights for weight in ("contribution", "ablation")}
    assert torch.equal(decompose(pair, network).weights, weights[chosen])
    assert float((weights["contribution"] - weights["ablation"]).abs().max()) > 1e-3


def test_the_contribution_is_the_printed_product_on_a_normalised_maximum(model, pair):
    contribution = decompose(pair, model, weight="contribution")
    product = decompose(pair, model, "ddfv-paper")
    assert torch.allclose(contribution.weights, product.weights, atol=1e-7)
    assert contribution.weights.sum(1).tolist() == pytest.approx([contribution.score] * 2, abs=1e-6)


@pytest.mark.parametrize("head", ["fully connected", "depthwise"])
def test_the_contribution_is_what_the_maximum_adds_to_the_numerator_on_an_affine_head(head, model, pair):
    """Found by running the network's head on feature maps that are zero but for one maximum."""
    other = copy.deepcopy(with_head(model, head)).double()
    parts = decompose(FacePair(*pair.images.double()), other, weight="contribution")
    with torch.no_grad():
        pooled = other.pool(parts.features)
        nothing = other.pool(torch.zeros_like(parts.features[:1]))
        for own, partner in ((0, 1), (1, 0)):
            length = pooled[own].norm()
            maxima, cells = parts.features[own].flatten(1).max(1)
            alone = torch.zeros(32, 32, 49).double()
            alone[torch.arange(32), torch.arange(32), cells] = maxima
            added = other.pool(alone.unflatten(2, (7, 7))) - nothing  # (32, D)
            expected = added @ parts.embeddings[partner] / length
            assert torch.allclose(parts.weights[own], expected, atol=1e-12)
            assert float(expected.abs().max()) > 1e-3


@pytest.mark.parametrize("missing", ["partner", "own", "skip"])
@pytest.mark.parametrize("dtype", MAP_TOLERANCE)
def test_the_three_algorithms_give_one_map_wherever_channels_are_drawn(dtype, missing, model, pair):
    network, images = copy.deepcopy(model).to(dtype), FacePair(*pair.images.to(dtype))
    literal = explain(images, network, missing=missing, algorithm="literal").signed
    assert literal.dtype == dtype
    for algorithm in ("local", "batched"):
        signed = explain(images, network, missing=missing, algorithm=algorithm).signed
        assert float((signed - literal).abs().max() / literal.abs().max()) < MAP_TOLERANCE[dtype], algorithm
    assert not torch.allclose(literal, explain(images, network, missing=missing, balance=False).signed, atol=1e-3)


def with_head(model: FaceRecognizer, head: str) -> FaceRecognizer:
    heads = {
        "raw": lambda: MaxPoolHead(32, normalize=False),
        "fully connected": lambda: FullyConnectedHead(32, 7, 16),
        "depthwise": lambda: GlobalDepthwiseHead(32, 7, 16),
    }
    return FaceRecognizer(model.trunk, heads[head](), model.decoder).eval()


@pytest.mark.parametrize("head", ["raw", "fully connected", "depthwise"])
def test_printed_weights_warn_where_they_hardly_depend_on_the_partner(head, model, pair):
    other = with_head(model, head)
    with pytest.warns(UserWarning, match="hardly depends on the partner"):
        saliency = explain(pair, other, "ddfv-paper")
    assert torch.isfinite(saliency.signed).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explain(pair, other, "ddfv")
        explain(pair, model, "ddfv-paper")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("weight", "ablation"),
        ("weight", "second-max"),
        ("weight", "first-order"),
        ("missing", "own"),
        ("missing", "skip"),
        ("balance", False),
        ("threshold", 0.01),
        ("threshold", "margin"),
        ("residual", "none"),
        ("residual", "l1"),
        ("mask", "channel"),
        ("which", "probe"),
        ("precision", "bf16"),
        ("tolerance", 0.1),
    ],
)
def test_every_option_changes_the_map(option, value, model, pair):
    default = explain(pair, model).signed
    changed = explain(pair, model, **{option: value}).signed
    assert float((changed - default).abs().max()) > 1e-3 * float(default.abs().max())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"weight": "best"},
            "unknown weight 'best'; choose one of auto, contribution, ablation, product, second-max, first-order",
        ),
        ({"missing": "there"}, "unknown missing 'there'; choose one of partner, own, skip"),
        ({"residual": "l2"}, "unknown residual 'l2'; choose one of max, none, l1"),
        ({"mask": "all"}, "unknown mask 'all'; choose one of max, channel"),
        ({"which": "gallery"}, "unknown which 'gallery'; choose one of both, probe"),
        ({"algorithm": "quick"}, "unknown algorithm 'quick'; choose one of local, batched, literal"),
        ({"threshold": float("nan")}, "threshold must be a finite number or 'margin'; got nan"),
        ({"threshold": "wide"}, "threshold must be a finite number or 'margin'; got 'wide'"),
        ({"precision": "fp8"}, "unknown precision 'fp8'; choose one of full, bf16"),
        ({"tolerance": 1.0}, "tolerance must be a share in [0, 1); got 1.0"),
        (
            {"tolerance": 0.1, "residual": "l1"},
            "a tolerance holds for algorithm='local', mask='max' and residual='max'; leave it at 0",
        ),
        (
            {"precision": "bf16", "algorithm": "batched"},
            "precision='bf16' is for algorithm='local' and mask='max'; leave it at 'full'",
        ),
        ({"chunk": 0}, "chunk must be a whole number of channels, 1 or more; got 0"),
    ],
)
def test_bad_options_name_the_good_ones(options, message):
    with pytest.raises(InputError) as caught:
        DDFV(**options)
    assert str(caught.value) == message
    if not {"weight", "missing"} & set(options):
        with pytest.raises(InputError):
            DDFVPaper(**options)


def test_a_model_without_a_decoder_says_so(model, pair):
    with pytest.raises(InputError, match="this model has no decoder"):
        explain(pair, FaceRecognizer(model.trunk, model.head))


def test_a_model_in_double_precision_gives_its_maps_in_double(model, pair):
    double = explain(pair, copy.deepcopy(model).double()).signed
    single = explain(pair, model).signed
    assert double.dtype == torch.float64
    assert torch.allclose(single.double(), double, atol=1e-4 * float(double.abs().max()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("method", METHODS)
def test_maps_of_a_model_on_the_gpu_come_back_to_the_pair(method, model, pair):
    expected = explain(pair, model, method).signed
    with torch.backends.cudnn.flags(allow_tf32=False):
        signed = explain(pair, copy.deepcopy(model).cuda(), method).signed
    assert signed.device == pair.probe.device
    assert torch.allclose(signed, expected, atol=1e-4 * float(expected.abs().max()))

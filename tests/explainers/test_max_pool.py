"""The free decomposition: it sums to the score, lies where the maxima are, and has DDFV's weights."""

import pytest
import torch
from explainer_toys import patch_pair, patch_recognizer, smooth_pair, tiny_recognizer, wandering_recognizer
from torch import Tensor
from torch.nn import functional as F

from facexai.errors import InputError
from facexai.explainers import DDFV, decompose, explain, make_explainer
from facexai.explainers.cells import cells_to_pixels, place_in_cells
from facexai.explainers.ddfv import channel_places
from facexai.models import FaceRecognizer, GlobalDepthwiseHead
from facexai.pairs import FacePair

AS_PRINTED = {"weight": "product", "missing": "own", "balance": False}


@pytest.fixture(scope="module")
def model() -> FaceRecognizer:
    return tiny_recognizer()


@pytest.mark.parametrize("upsampling", ["bilinear", "cell"])
@pytest.mark.parametrize("normalize", [True, False])
def test_with_product_weights_both_maps_sum_to_the_score(normalize, upsampling):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *args, **kwargs: None)
        saliency = explain(smooth_pair(), tiny_recognizer(normalize), "max-pool", upsampling=upsampling, **AS_PRINTED)
    assert saliency.signed.sum((1, 2)).tolist() == pytest.approx([saliency.score] * 2, abs=1e-5)


def test_with_the_margin_it_sums_to_the_decision(model):
    saliency = explain(smooth_pair(), model, "max-pool", threshold="margin", **AS_PRINTED)
    assert saliency.signed.sum((1, 2)).tolist() == pytest.approx([saliency.score - 0.3] * 2, abs=1e-5)


def patch_sums(signed: Tensor) -> list[list[float]]:
    """The sum over each patch of both maps; every patch must be of one value."""
    patches = F.avg_pool2d(signed, 8, divisor_override=1)
    assert torch.allclose(F.interpolate(patches[None] / 64, scale_factor=8)[0], signed)
    return patches.flatten(1).tolist()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1, -1, 0, 0]),
        ({"balance": False}, [0.36, -0.64, 0, 0]),
        ({"weight": "ablation", "balance": False}, [0.52, -0.88, 0, 0]),
    ],
)
def test_a_network_whose_channels_see_one_patch_each_gives_the_map_known_by_hand(options, expected):
    pair = patch_pair((0.6, 0.8, 0, 0), (0.6, -0.8, 0, 0))
    signed = explain(pair, patch_recognizer(), "max-pool", upsampling="cell", **options).signed
    assert patch_sums(signed)[0] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("missing", "expected"),
    [("partner", [0.64, -0.36, 0, 0]), ("own", [0.64, 0, -0.36, 0]), ("skip", [0.64, 0, 0, 0])],
)
def test_a_channel_that_the_image_lacks_goes_where_it_is_told_to(missing, expected):
    """The probe lacks channel 1 and has its maximum in patch 2; the partner has the channel, in patch 1."""
    pair = patch_pair((0.8, -1, 0, 0), (0.8, 0.6, 0, 0))
    options = {"missing": missing, "balance": False, "upsampling": "cell"}
    probe, gallery = patch_sums(explain(pair, wandering_recognizer(), "max-pool", **options).signed)
    assert probe == pytest.approx(expected, abs=1e-5)
    assert gallery == pytest.approx([0.64, -0.36, 0, 0], abs=1e-5)


@pytest.mark.parametrize("options", [{}, {"weight": "ablation", "missing": "own", "threshold": 0.01}])
@pytest.mark.parametrize("balance", [True, False])
def test_it_is_ddfv_with_one_cell_in_place_of_each_residual(balance, options, model):
    parts = decompose(smooth_pair(), model, balance=balance, **options)
    own = parts.features.flatten(2).argmax(2)
    present = model.pool(parts.features) > 0
    cells = torch.zeros(2, 49)
    for image in range(2):
        for channel, weight in enumerate(parts.map_weights()[image]):
            shown_by_partner = not options and not present[image, channel] and present[1 - image, channel]
            cells[image, own[1 - image if shown_by_partner else image, channel]] += weight
    expected = cells_to_pixels(cells.unflatten(1, (7, 7)), (112, 112))
    signed = explain(smooth_pair(), model, "max-pool", balance=balance, **options).signed
    assert torch.allclose(signed, expected, atol=1e-8)


def test_its_defaults_are_those_of_ddfv():
    assert make_explainer("max-pool").as_ddfv() == DDFV()


def test_the_balanced_map_sums_to_nothing_and_its_evidence_to_one(model):
    signed = explain(smooth_pair(), model, "max-pool", upsampling="cell").signed
    assert signed.sum((1, 2)).tolist() == pytest.approx([0, 0], abs=1e-5)
    image = smooth_pair().probe
    alone = explain(FacePair(image, image), model, "max-pool", upsampling="cell").signed
    assert alone.sum((1, 2)).tolist() == pytest.approx([1, 1], abs=1e-5)
    assert float(alone.min()) == 0


def test_only_present_channels_are_placed_where_missing_ones_are_skipped(model):
    whole = explain(smooth_pair(), model, "max-pool", **AS_PRINTED).signed
    present = explain(smooth_pair(), model, "max-pool", **{**AS_PRINTED, "missing": "skip"}).signed
    embeddings = model.embed(smooth_pair().images)
    expected = (embeddings[0] * embeddings[1] * (embeddings > 0)).sum(1).tolist()
    assert present.sum((1, 2)).tolist() == pytest.approx(expected, abs=1e-5)
    assert not torch.allclose(present, whole, atol=1e-4)


@pytest.mark.parametrize("weight", ["contribution", "ablation"])
def test_another_head_has_its_weights_at_the_maxima(weight, model):
    other = FaceRecognizer(model.trunk, GlobalDepthwiseHead(32, 7, 16), model.decoder).eval()
    weights = decompose(smooth_pair(), other, weight=weight).weights
    saliency = explain(smooth_pair(), other, "max-pool", weight=weight, missing="own", balance=False)
    assert saliency.signed.sum((1, 2)).tolist() == pytest.approx(weights.sum(1).tolist(), abs=1e-5)


def test_values_add_up_in_their_cells():
    values, cells = torch.tensor([[1.0, 10, 100], [2, 20, 200]]), torch.tensor([[1, 0, 0], [5, 5, 2]])
    placed = place_in_cells(values, cells, torch.zeros(2, 3, 2, 3))
    assert placed.tolist() == [[[110, 1, 0], [0, 0, 0]], [[0, 0, 200], [0, 0, 22]]]


@pytest.mark.parametrize("missing", ["partner", "own", "skip"])
def test_channels_lie_at_the_first_of_equal_maxima(missing, model):
    features = torch.zeros(2, 32, 2, 2)
    features[:, 0] = torch.tensor([[0.0, 9], [9, 1]])
    features[:, 1] = torch.tensor([[9.0, 0], [0, 9]])
    cells, _ = channel_places(model, features, missing)
    assert cells[:, :2].tolist() == [[1, 0], [1, 0]]


@pytest.mark.parametrize("upsampling", ["bilinear", "cell"])
def test_pixels_sum_to_what_the_cells_sum_to(upsampling):
    cells = torch.randn(3, 7, 5, generator=torch.Generator().manual_seed(0))
    pixels = cells_to_pixels(cells, (28, 30), upsampling)
    assert torch.allclose(pixels.sum((1, 2)), cells.sum((1, 2)), atol=1e-5)


def test_unknown_options_are_refused():
    with pytest.raises(InputError, match="unknown upsampling 'cubic'; choose one of bilinear, cell"):
        make_explainer("max-pool", upsampling="cubic")
    with pytest.raises(InputError, match="unknown weight 'best'"):
        make_explainer("max-pool", weight="best")

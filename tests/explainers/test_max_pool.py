"""The free decomposition: it sums to the score, lies where the maxima are, and has DDFV's weights."""

import pytest
import torch
from explainer_toys import patch_pair, patch_recognizer, smooth_pair, tiny_recognizer
from torch.nn import functional as F

from facexai.errors import InputError
from facexai.explainers import DDFV, decompose, explain, make_explainer
from facexai.explainers.cells import cells_to_pixels, place_at_maxima
from facexai.models import FaceRecognizer, GlobalDepthwiseHead


@pytest.fixture(scope="module")
def model() -> FaceRecognizer:
    return tiny_recognizer()


@pytest.mark.parametrize("upsampling", ["bilinear", "cell"])
@pytest.mark.parametrize("normalize", [True, False])
def test_with_product_weights_both_maps_sum_to_the_score(normalize, upsampling):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *args, **kwargs: None)
        saliency = explain(
            smooth_pair(), tiny_recognizer(normalize), "max-pool", weight="product", upsampling=upsampling
        )
    assert saliency.signed.sum((1, 2)).tolist() == pytest.approx([saliency.score] * 2, abs=1e-5)


def test_with_the_margin_it_sums_to_the_decision(model):
    saliency = explain(smooth_pair(), model, "max-pool", weight="product", threshold="margin")
    assert saliency.signed.sum((1, 2)).tolist() == pytest.approx([saliency.score - 0.3] * 2, abs=1e-5)


def test_a_network_whose_channels_see_one_patch_each_gives_the_map_known_by_hand():
    pair = patch_pair((0.6, 0.8, 0, 0), (0.6, -0.8, 0, 0))
    signed = explain(pair, patch_recognizer(), "max-pool", upsampling="cell").signed
    patches = F.avg_pool2d(signed, 8, divisor_override=1)
    assert patches[0].flatten().tolist() == pytest.approx([0.52, -0.88, 0, 0], abs=1e-5)
    assert torch.allclose(F.interpolate(patches[None] / 64, scale_factor=8)[0], signed)


def test_it_is_ddfv_with_one_cell_in_place_of_each_residual(model):
    parts = decompose(smooth_pair(), model)
    cells = torch.zeros(2, 49)
    for image in range(2):
        for channel, weight in enumerate(parts.weights[image]):
            cells[image, parts.features[image, channel].argmax()] += weight
    expected = cells_to_pixels(cells.unflatten(1, (7, 7)), (112, 112))
    assert torch.allclose(explain(smooth_pair(), model, "max-pool").signed, expected, atol=1e-8)
    assert make_explainer("max-pool").weight == DDFV().weight


def test_only_present_channels_are_placed(model):
    whole = explain(smooth_pair(), model, "max-pool", weight="product").signed
    present = explain(smooth_pair(), model, "max-pool", weight="product", present_only=True).signed
    embeddings = model.embed(smooth_pair().images)
    expected = (embeddings[0] * embeddings[1] * (embeddings > 0)).sum(1).tolist()
    assert present.sum((1, 2)).tolist() == pytest.approx(expected, abs=1e-5)
    assert not torch.allclose(present, whole, atol=1e-4)


def test_another_head_has_its_ablation_weights_at_the_maxima(model):
    other = FaceRecognizer(model.trunk, GlobalDepthwiseHead(32, 7, 16), model.decoder).eval()
    weights = decompose(smooth_pair(), other).weights
    saliency = explain(smooth_pair(), other, "max-pool")
    assert saliency.signed.sum((1, 2)).tolist() == pytest.approx(weights.sum(1).tolist(), abs=1e-5)


def test_values_go_to_the_first_of_equal_maxima():
    features = torch.tensor([[[[0.0, 2], [2, 1]], [[-1, -3], [-2, -1]], [[4, 0], [0, 0]]]])
    placed = place_at_maxima(features, torch.tensor([[1.0, 10, 100]]))
    assert placed.tolist() == [[[110, 1], [0, 0]]]


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

"""RISE and CorrRISE equal slow transcriptions of their formulas."""

import pytest
import torch
from explainer_toys import smooth_images, smooth_pair, tiny_recognizer
from scipy import stats
from torch import Tensor

from facexai.explainers import explain
from facexai.explainers.corr_rise import PRESETS, CorrRISE, Grid, Patches, Recipe
from facexai.explainers.rise import RISE
from facexai.pairs import FacePair


@pytest.fixture(scope="module")
def model():
    return tiny_recognizer().double()


@pytest.fixture(scope="module")
def pair() -> FacePair:
    probe, gallery = smooth_images(2).double()
    return FacePair(probe, gallery)


def scores_one_by_one(model, image: Tensor, masks: Tensor, fill: float, partner: Tensor) -> list[float]:
    masked = [mask * image + (1 - mask) * fill for mask in masks]
    return [
        float(torch.cosine_similarity(model.pool(model.features(each[None]))[0], partner, dim=0)) for each in masked
    ]


@torch.no_grad()
@pytest.mark.parametrize("centred", [True, False])
def test_rise_is_the_mean_of_masks_weighted_by_their_scores(centred, model, pair):
    masks = RISE(masks=12, cells=7).sample((112, 112)).draw(pair.probe)
    scores = scores_one_by_one(model, pair.probe, masks, 0.0, model.embed(pair.gallery[None])[0])
    mean_score = sum(scores) / 12 if centred else 0
    expected = torch.zeros(112, 112).double()
    for mask, score in zip(masks, scores, strict=True):
        expected += (score - mean_score) * mask
    signed = explain(pair, model, "rise", masks=12, cells=7, centred=centred).signed
    assert torch.allclose(signed[0], expected / (12 * 0.5), atol=1e-12)


@torch.no_grad()
def test_rise_as_printed_is_positive_for_a_good_match_and_centred_has_both_signs(model, pair):
    match = FacePair(pair.probe, pair.probe)
    assert float(explain(match, model, "rise", masks=30, centred=False).signed.min()) > 0
    centred = explain(match, model, "rise", masks=30).signed
    assert float(centred.min()) < 0 < float(centred.max())


RECIPES = {
    "grid": Recipe(15, Grid(cells=6, keep=0.4), "grey", rank=False),
    "patches": Recipe(15, Patches(count=3, side=40), "black", rank=False),
    "uniform": Recipe(15, Patches(count=3, side=40, uniform=True), "black", rank=False),
    "ranked": Recipe(15, Patches(count=3, side=40), "black", rank=True),
}


@torch.no_grad()
@pytest.mark.parametrize("name", RECIPES)
def test_corr_rise_is_pearsons_correlation_at_each_pixel(name, model, pair):
    recipe = RECIPES[name]
    masks = CorrRISE(recipe).sample((112, 112)).draw(pair.probe)
    fill = {"grey": 0.0, "black": -1.0}[recipe.fill]
    scores = scores_one_by_one(model, pair.probe, masks, fill, model.embed(pair.gallery[None])[0])
    correlate = stats.spearmanr if recipe.rank else stats.pearsonr
    signed = explain(pair, model, "corr-rise", preset=recipe).signed[0]
    for row, column in ((10, 10), (56, 60), (80, 30), (40, 100)):
        values = masks[:, row, column]
        expected = 0.0 if len(values.unique()) == 1 else float(correlate(scores, values.numpy())[0])
        assert float(signed[row, column]) == pytest.approx(expected, abs=1e-9)
    assert float(signed.abs().max()) <= 1


@torch.no_grad()
def test_pixels_that_no_mask_covers_have_correlation_zero():
    pair = smooth_pair()
    recipe = Recipe(3, Patches(count=1, side=20), "grey", rank=False)
    masks = CorrRISE(recipe).sample((112, 112)).draw(pair.probe)
    signed = explain(pair, tiny_recognizer(), "corr-rise", preset=recipe).signed[0]
    always_kept = masks.amin(0) == 1
    assert always_kept.any()
    assert signed[always_kept].unique().tolist() == [0.0]
    assert (signed[~always_kept] != 0).all()


def test_presets_are_named_after_their_sources():
    assert list(PRESETS) == ["fame", "uzh", "gweebp"]
    assert [recipe.masks for recipe in PRESETS.values()] == [500, 1000, 5000]
    assert len(CorrRISE("uzh", masks=10).sample((112, 112))) == 10
    assert len(CorrRISE().sample((112, 112))) == 500

"""Masked embeddings: neither chunks nor partners change a map; the standard error is true, and early stop obeys it."""

import pytest
import torch
from explainer_toys import patch_pair, patch_recognizer, smooth_images, smooth_pair, tiny_recognizer
from torch import Tensor

from facexai.errors import InputError
from facexai.explainers import explain, make_explainer
from facexai.explainers.corr_rise import Patches, Recipe
from facexai.explainers.masking import DRAWN_AT_ONCE, embed_masked, gallery_maps
from facexai.explainers.masks import GridMasks
from facexai.pairs import FacePair

SMALL_PATCHES = Recipe(200, Patches(count=2, side=5), "grey", rank=False)
SMALL = {
    "rise": {"masks": 200, "cells": 4},
    "corr-rise": {"preset": SMALL_PATCHES},
    "min-plus": {"width": 2.0, "stride": 3, "fill": "grey"},
    "occlusion": {"sides": (3, 6), "stride": 3, "fill": "grey"},
    "lime": {"samples": 100, "cells": 4},
}
WITH_CACHE = [name for name in SMALL if name != "lime"]
RANDOM = ["rise", "corr-rise"]


@pytest.fixture(scope="module")
def model():
    return patch_recognizer().double()


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Six images of 16 x 16 pixels, in double precision."""
    return smooth_images(6, seed=3, size=16).double()


@pytest.mark.parametrize("method", SMALL)
def test_the_patch_that_differs_lowers_the_score_and_the_others_raise_it(method):
    """Patch 3 alone has opposite signs in the two images."""
    pair = patch_pair((0.6, 0.6, 0.6, -0.6), (0.6, 0.6, 0.6, 0.6))
    for signed in explain(pair, patch_recognizer(), method, **SMALL[method]).signed:
        patches = [float(signed[top : top + 8, left : left + 8].mean()) for top in (0, 8) for left in (0, 8)]
        assert patches[3] < 0 < min(patches[:3])


@pytest.mark.parametrize("method", SMALL)
def test_the_chunk_does_not_change_the_map(method, model, images):
    pair = FacePair(images[0], images[1])
    maps = [explain(pair, model, method, **SMALL[method], chunk=chunk).signed for chunk in (1, 7, 1000)]
    assert torch.allclose(maps[0], maps[2], atol=1e-7)
    assert torch.allclose(maps[1], maps[2], atol=1e-7)


@pytest.mark.parametrize("method", [*RANDOM, "lime"])
def test_the_seed_decides(method, model, images):
    pair = FacePair(images[0], images[1])
    first, again, other = (explain(pair, model, method, **SMALL[method], seed=seed).signed for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-3)


@pytest.mark.parametrize("method", SMALL)
def test_swapping_the_pair_swaps_the_maps(method, model, images):
    pair = FacePair(images[0], images[1])
    maps, swapped = (explain(each, model, method, **SMALL[method]).signed for each in (pair, pair.swapped()))
    assert torch.allclose(maps, swapped.flip(0), atol=1e-7)


@pytest.mark.parametrize("method", WITH_CACHE)
def test_many_partners_equal_one_by_one(method, model, images):
    probe, galleries = images[0], images[1:]
    maps = gallery_maps(probe, model.embed(galleries), model, method, **SMALL[method])
    alone = [explain(FacePair(probe, gallery), model, method, **SMALL[method]).signed[0] for gallery in galleries]
    assert torch.allclose(maps, torch.stack(alone), atol=1e-12)


@pytest.mark.parametrize("method", WITH_CACHE)
def test_a_further_partner_does_not_run_the_network(method, model, images):
    explainer = make_explainer(method, **SMALL[method])
    partners = model.embed(images[1:])
    prepared = explainer.prepare(images[0], model, partners)
    hook = model.trunk.register_forward_pre_hook(lambda module, inputs: pytest.fail("ran the network"))
    assert explainer.maps(prepared, partners).shape == (5, 16, 16)
    hook.remove()


def test_gallery_mode_refuses_what_it_cannot_do(model, images):
    partners = model.embed(images[1:])
    with pytest.raises(InputError, match=r"'lime' keeps no masked embeddings; choose one of corr-rise, min-plus, .*"):
        gallery_maps(images[0], partners, model, "lime")
    with pytest.raises(InputError, match=r"partners must be embeddings of shape \(P, 4\); got \(5, 3, 16, 16\)"):
        gallery_maps(images[0], images[1:], model)
    with pytest.raises(InputError, match="compare='all' covers the partner too"):
        gallery_maps(images[0], partners, model, "occlusion", compare="all", sides=(3,))


def test_memory_does_not_grow_with_the_number_of_masks(model, images, monkeypatch):
    """Masks are drawn, and images embedded, a bounded number at once."""
    drawn, embedded = [], []
    draw, embed = GridMasks.draw, model.embed
    monkeypatch.setattr(GridMasks, "draw", lambda masks, like: drawn.append(len(masks)) or draw(masks, like))
    monkeypatch.setattr(model, "embed", lambda batch: embedded.append(len(batch)) or embed(batch))
    explain(FacePair(images[0], images[1]), model, "rise", masks=1000, cells=4, chunk=16)
    assert max(drawn) == DRAWN_AT_ONCE
    assert max(embedded) == 16
    assert sum(embedded) == 2 * 1000 + 2


def maps_and_errors(method: str, model, images: Tensor, count: int, seed: int, **options) -> tuple[Tensor, Tensor]:
    options = {**SMALL[method], **options, "masks": count, "seed": seed}
    explainer, partner = make_explainer(method, **options), model.embed(images[1:2])
    prepared = explainer.prepare(images[0], model, partner)
    return explainer.maps(prepared, partner)[0], explainer.standard_errors(prepared, partner)[0]


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("rise", {}),
        ("rise", {"centred": False}),
        ("corr-rise", {}),
        ("corr-rise", {"preset": Recipe(200, Patches(2, 5), "grey", rank=True)}),
        ("corr-rise", {"preset": Recipe(200, Patches(2, 5, uniform=True), "grey", rank=False)}),
    ],
)
def test_the_standard_error_is_the_spread_over_seeds_and_shrinks_with_the_root_of_the_count(
    method, options, model, images
):
    predicted = {}
    for count in (100, 400):
        runs = [maps_and_errors(method, model, images, count, seed, **options) for seed in range(40)]
        maps, errors = (torch.stack(each) for each in zip(*runs, strict=True))
        spread = maps.var(0).mean().sqrt()
        predicted[count] = errors.square().mean().sqrt()
        assert float(predicted[count] / spread) == pytest.approx(1, abs=0.15)
    assert float(predicted[100] / predicted[400]) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("method", RANDOM)
def test_early_stop_stops_as_soon_as_the_map_has_settled(method, model, images):
    partners = model.embed(images[1:2])
    options = {**SMALL[method], "masks": 5000, "minimum": 20}
    for tolerance in (0.4, 0.2):
        explainer = make_explainer(method, **options, tolerance=tolerance)
        prepared = explainer.prepare(images[0], model, partners)
        assert float(explainer.noise(prepared, partners)) <= tolerance
        assert 20 < len(prepared) < 5000
        earlier = type(prepared)(prepared.masks[: int(len(prepared) / 1.3)], prepared.embeddings)
        earlier = type(prepared)(earlier.masks, prepared.embeddings[: len(earlier.masks)])
        assert float(explainer.noise(earlier, partners)) > 0.9 * tolerance


def test_early_stop_uses_the_first_of_the_same_masks(model, images):
    partners = model.embed(images[1:2])
    stopping = make_explainer("rise", masks=5000, cells=4, minimum=20, tolerance=0.3)
    prepared = stopping.prepare(images[0], model, partners)
    all_masks = stopping.sample((16, 16))
    fresh = embed_masked(images[0], model, all_masks[: len(prepared)])
    assert torch.allclose(stopping.maps(prepared, partners), stopping.maps(fresh, partners))


def test_early_stop_waits_for_every_partner(model, images):
    stopping = make_explainer("rise", masks=5000, cells=4, minimum=20, tolerance=0.3)
    counts = [len(stopping.prepare(images[0], model, model.embed(images[each]))) for each in ([1], [2], [3], [1, 2, 3])]
    assert counts[3] == max(counts[:3])
    assert len(set(counts)) > 1


def test_without_a_tolerance_all_masks_are_used(model, images):
    partners = model.embed(images[1:2])
    assert len(make_explainer("rise", masks=150, cells=4).prepare(images[0], model, partners)) == 150
    never = make_explainer("rise", masks=150, cells=4, tolerance=1e-9)
    assert len(never.prepare(images[0], model, partners)) == 150


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("rise", {"masks": 1}, "masks must be a whole number, 2 or more; got 1"),
        ("rise", {"keep": 1.0}, "keep must be a probability between 0 and 1; got 1.0"),
        ("rise", {"fill": "pink"}, "unknown fill 'pink'; choose one of grey, black, blur"),
        ("rise", {"tolerance": -1.0}, "tolerance must be 0 or a part of the map's contrast"),
        ("corr-rise", {"preset": "paper"}, "unknown preset 'paper'; choose one of fame, uzh, gweebp"),
        ("corr-rise", {"chunk": 0}, "chunk must be a whole number, 1 or more; got 0"),
        ("min-plus", {"width": 0}, "width must be a number of pixels above 0; got 0"),
        ("min-plus", {"parts": "avg"}, "unknown parts 'avg'; choose one of both, minus, plus"),
        ("occlusion", {"compare": "2"}, "unknown compare '2'; choose one of clean, all, same-place"),
        ("lime", {"sampling": "shap"}, "unknown sampling 'shap'; choose one of lime, kernel-shap"),
        ("lime", {"samples": 2.5}, "samples must be a whole number, 1 or more; got 2.5"),
    ],
)
def test_wrong_options_are_refused_in_one_line(method, options, message):
    with pytest.raises(InputError, match=message) as caught:
        make_explainer(method, **options)
    assert "\n" not in str(caught.value)


def test_patches_larger_than_the_image_are_refused(model, images):
    pair = FacePair(images[0], images[1])
    with pytest.raises(InputError, match="sides must be patches smaller than the image of 16 x 16"):
        explain(pair, model, "occlusion")
    with pytest.raises(InputError, match="sides must be patches smaller than the image of 16 x 16"):
        explain(pair, model, "occlusion", sides=())
    with pytest.raises(InputError, match="cells must not be more than the 16 pixels of a side; got 20"):
        explain(pair, model, "lime", cells=20)


def test_gallery_mode_leaves_the_model_in_its_mode():
    network = tiny_recognizer()
    maps = gallery_maps(
        smooth_pair().probe, network.embed(smooth_images(3)).detach(), network.train(), "rise", masks=20
    )
    assert maps.shape == (3, 112, 112)
    assert network.training

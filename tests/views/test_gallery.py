import re

import numpy as np
import pytest
import torch

from facexai.errors import InputError
from facexai.pairs import FacePair, Saliency
from facexai.views import GalleryExplorer
from facexai.views.gallery import read_sheet, strongest


@pytest.fixture
def smooth() -> Saliency:
    ramp = torch.linspace(-1, 1, 48).expand(2, 48, 48) * 0.3
    return Saliency(ramp.clone(), score=0.4, method="ramp()")


@pytest.fixture
def magnitude() -> Saliency:
    spot = torch.zeros(2, 48, 48)
    spot[:, 16:32, 16:32] = 0.02
    return Saliency(spot, score=0.4, method="spot()")


@pytest.fixture
def gallery(pair: FacePair, smooth: Saliency, magnitude: Saliency) -> GalleryExplorer:
    return GalleryExplorer([pair, pair.swapped()], {"ramp": [smooth, smooth], "spot": [magnitude, magnitude]})


def values(gallery: GalleryExplorer, pair: int, method: int) -> np.ndarray:
    """Maps of both faces as the page gets them, in units of full colour. Shape (48, 96)."""
    sheet = read_sheet(gallery.payload["pairs"][pair]["sheet"])
    return (sheet[48 * (method + 1) : 48 * (method + 2)].astype(float) - 128) / 127


def test_the_sheet_holds_every_map_on_a_scale_of_its_own(gallery: GalleryExplorer, smooth: Saliency):
    limits = gallery.payload["pairs"][0]["limits"]
    assert limits == pytest.approx([0.3, 0.02], rel=0.02)
    shown = values(gallery, 0, 0) * limits[0]
    assert np.abs(shown - torch.cat([*smooth.signed], dim=1).numpy()).max() < 0.05 * 0.3
    spot = values(gallery, 1, 1)
    assert spot[20:28, 20:28].min() > 0.9 and np.abs(spot[:8]).max() < 0.05


def test_a_method_that_is_never_negative_has_no_sign(gallery: GalleryExplorer):
    assert [method["unsigned"] for method in gallery.payload["methods"]] == [False, True]


def test_the_strongest_pixels_are_those_with_the_largest_magnitude():
    codes = np.array([[128, 129, 255, 0], [1, 128, 130, 100]], dtype=np.uint8)
    assert np.flatnonzero(strongest(codes, 25)).tolist() == [3, 4] or strongest(codes, 25)[1, 0] == -1
    assert strongest(codes, 100).sum() == pytest.approx((1 + 127 - 127 - 127 + 2 - 28) / 127)
    assert np.count_nonzero(strongest(codes, 37.5)) == 3, "127, -127 and the clipped -128"


def test_expected_sums_differ_as_pixels_are_taken_away(pair: FacePair, saliency: Saliency):
    gallery = GalleryExplorer([pair], {"noise": [saliency]})
    shares, sums = zip(*gallery.payload["expected"], strict=True)
    assert shares == (100, 60, 25, 5) and len(set(sums)) == 4


def test_groups_order_the_wall_and_hold_every_method_once(pair: FacePair, smooth: Saliency, magnitude: Saliency):
    maps = {"ramp": [smooth], "spot": [magnitude]}

    def wall(**groups):
        return GalleryExplorer([pair], maps, groups=groups).payload["groups"]

    assert wall(magnitudes=["spot", "absent"], signed=["ramp"], nothing=["absent"]) == [
        ("magnitudes", [1]),
        ("signed", [0]),
    ]
    assert wall(magnitudes=["spot"], again=["spot"]) == [("magnitudes", [1]), ("others", [0])]


def test_maps_must_fit_the_pairs(pair: FacePair, smooth: Saliency):
    with pytest.raises(InputError, match="ramp has 1 of 2"):
        GalleryExplorer([pair, pair], {"ramp": [smooth]})
    small = Saliency(torch.zeros(2, 24, 24), 0.0, "small()")
    with pytest.raises(InputError, match="one size"):
        GalleryExplorer([pair], {"small": [small]})
    with pytest.raises(InputError, match="got 1 pairs and 0 methods"):
        GalleryExplorer([pair], {})


def test_the_page_has_words_and_no_markup_of_its_data(pair: FacePair, smooth: Saliency):
    named = FacePair(pair.probe, pair.gallery, True, "<b>bold</b>")
    page = GalleryExplorer([named], {"ramp": [smooth]}, caption="Words.", alt="More words.")._repr_html_()
    assert re.search(r'aria-label="More words\."', page) and ">Words.</figcaption>" in page
    assert "<b>bold" not in page

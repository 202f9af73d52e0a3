import numpy as np
import pytest

from facexai.errors import InputError
from facexai.rendering import (
    BEARD_STYLES,
    HAIR_STYLES,
    LABELS,
    REGIONS,
    beard_style,
    hair_style,
    render,
    sample_identity,
    swap_regions,
    wear,
)

HAIR, BEARD = LABELS.index("hair"), LABELS.index("beard")


def test_there_are_enough_styles():
    assert len(HAIR_STYLES) >= 6 and len(BEARD_STYLES) >= 5 and BEARD_STYLES[0] == "none"


def test_the_sampler_draws_every_style():
    people = [sample_identity(seed) for seed in range(500)]
    assert {hair_style(person) for person in people} == set(HAIR_STYLES)
    assert {beard_style(person) for person in people} == set(BEARD_STYLES)


@pytest.mark.parametrize("hair", HAIR_STYLES)
@pytest.mark.parametrize("beard", BEARD_STYLES)
def test_styles_can_be_worn(hair, beard):
    changed = wear(sample_identity(3), hair, beard)
    assert (hair_style(changed), beard_style(changed)) == (hair, beard)
    assert np.count_nonzero(changed.vector != sample_identity(3).vector) <= 2


def test_only_the_hair_slice_chooses_the_style():
    identity, other = wear(sample_identity(3), "fringe", "full"), wear(sample_identity(4), "bald", "none")
    rest = swap_regions(identity, other, [name for name in REGIONS if name != "hair"])
    assert (hair_style(rest), beard_style(rest)) == ("fringe", "full")
    swapped = swap_regions(identity, other, "hair")
    assert (hair_style(swapped), beard_style(swapped)) == ("bald", "none")


def test_styles_look_different():
    images = [render(wear(sample_identity(3), style)).image.astype(float) for style in HAIR_STYLES]
    for first in range(len(images)):
        for second in range(first):
            assert np.abs(images[first] - images[second]).mean() > 1.0, (HAIR_STYLES[first], HAIR_STYLES[second])


def test_hair_and_beard_show_in_the_region_map():
    def shares(hair, beard):
        regions = render(wear(sample_identity(3), hair, beard)).regions
        return (regions == HAIR).mean(), (regions == BEARD).mean()

    assert shares("bald", "none") == (0, 0)
    assert shares("curtain", "none")[0] > shares("crop", "none")[0] > 0.05
    sizes = [shares("crop", beard)[1] for beard in ("none", "moustache", "goatee", "full")]
    assert sizes == sorted(sizes) and sizes[1] > 0.002


def test_unknown_styles_are_refused():
    with pytest.raises(InputError, match=r"unknown hair style 'mohawk'.*crop"):
        wear(sample_identity(0), "mohawk")
    with pytest.raises(InputError, match=r"unknown beard style 'soul patch'.*goatee"):
        wear(sample_identity(0), beard="soul patch")

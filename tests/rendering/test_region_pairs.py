import cv2
import numpy as np
import pytest

from facexai.errors import InputError
from facexai.rendering import LABELS, REGIONS, Nuisance, region_pair, sample_identity, swap_regions

SKIN = ("cheeks", "forehead", "eyes", "brows", "nose", "mouth", "jaw", "beard", "ears", "neck")
OWN_LABELS = {name: (name,) for name in REGIONS} | {
    "jaw": ("jaw", "beard", "neck"),
    "hair": ("hair", "beard"),
    "skin": SKIN,
}
# Least mean share of the difference that lies on the swapped region. Measured: eyes .91, brows .89, nose .85,
# mouth .88, jaw .97, cheeks .93, forehead .87 (the brow ridge shades the brows), hair 1.00, skin .99, ears 1.00.
LEAST_SHARE = {
    **{"eyes": 0.90, "brows": 0.87, "nose": 0.84, "mouth": 0.86, "jaw": 0.96, "cheeks": 0.92},
    **{"forehead": 0.85, "hair": 0.99, "skin": 0.98, "ears": 0.99},
}


def own_region(pair, region):
    indices = [LABELS.index(label) for label in OWN_LABELS[region]]
    mask = np.isin(pair.probe.regions, indices) | np.isin(pair.gallery.regions, indices)
    return cv2.dilate(mask.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0  # 4 pixels wider


@pytest.mark.parametrize("region", REGIONS)
def test_a_swapped_region_changes_its_own_place(region):
    shares = []
    for seed in range(8):
        pair = region_pair(sample_identity(seed), sample_identity(1000 + seed), region)
        if pair.difference.any():  # ears under long hair do not show
            shares.append(pair.difference[own_region(pair, region)].sum() / pair.difference.sum())
    assert len(shares) >= 4
    assert np.mean(shares) >= LEAST_SHARE[region]


@pytest.mark.parametrize("region", REGIONS)
def test_swapping_touches_one_slice_only(region):
    identity, other = sample_identity(0), sample_identity(1)
    swapped = swap_regions(identity, other, [region])
    for name in REGIONS:
        source = other if name == region else identity
        np.testing.assert_array_equal(swapped.region(name), source.region(name))


def test_amplify_goes_further_in_the_same_direction():
    identity, other = sample_identity(0), sample_identity(1)
    twice = swap_regions(identity, other, "nose", amplify=2).region("nose")
    np.testing.assert_allclose(twice - identity.region("nose"), 2 * (other.region("nose") - identity.region("nose")))
    assert swap_regions(identity, other, "nose", amplify=0) == identity
    weak, strong = (region_pair(identity, other, "nose", amplify=amount).difference.sum() for amount in (1, 2))
    assert strong > 1.3 * weak


def test_all_regions_make_the_other_person():
    assert swap_regions(sample_identity(0), sample_identity(1), REGIONS) == sample_identity(1)


def test_pairs_share_their_frame():
    pair = region_pair(sample_identity(0), sample_identity(1), ["nose", "mouth"], nuisance=Nuisance(yaw=30.0))
    np.testing.assert_array_equal(pair.probe.alignment, pair.gallery.alignment)
    assert pair.probe.pose == pair.gallery.pose
    expected = np.abs(pair.probe.image / 255 - pair.gallery.image / 255).mean(axis=-1)
    np.testing.assert_allclose(pair.difference, expected, atol=1e-6)


def test_no_region_makes_no_difference():
    assert not region_pair(sample_identity(0), sample_identity(1), []).difference.any()


def test_unknown_regions_are_refused():
    with pytest.raises(InputError, match="unknown region 'chin'"):
        swap_regions(sample_identity(0), sample_identity(1), ["chin"])

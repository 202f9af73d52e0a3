import base64
import io

import numpy as np
import pytest
from PIL import Image

from facexai.errors import InputError
from facexai.pairs import Saliency
from facexai.views.overlays import TINTS, colour_bar, data_uri, overlay, png, scale_of, tint
from facexai.views.verdict import Verdict

FACE = np.random.default_rng(0).integers(0, 256, size=(20, 16, 3), dtype=np.uint8)
# Linear RGB as readers without green or without red receptors see it (Viénot, Brettel, Mollon, 1999).
COLOUR_BLIND = {
    "green": np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]]),
    "red": np.array([[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]]),
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(linear: np.ndarray) -> np.ndarray:
    """CIE L*a*b*, in which colours 10 apart are easily told apart."""
    x, y, z = np.cbrt(XYZ @ linear.clip(0, 1) / [0.9505, 1.0, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_a_map_of_zeros_leaves_the_face_grey():
    shown = overlay(FACE, np.zeros((20, 16)), limit=1.0)
    assert (shown == shown[..., :1]).all()
    assert shown.std() > 5, "and still shows it"


@pytest.mark.parametrize("name", TINTS)
def test_full_colour_is_nearer_to_its_own_tint_than_to_any_other(name: str):
    mean = overlay(FACE, np.ones((20, 16)), name, limit=1.0).reshape(-1, 3).mean(axis=0)
    distances = {other.name: np.abs(mean - other.colour).sum() for other in TINTS.values()}
    assert min(distances, key=distances.__getitem__) == name


def test_a_larger_value_is_never_paler():
    values = np.tile(np.linspace(0, 1.2, 16), (20, 1))
    shown = overlay(np.full_like(FACE, 128), values, "similarity", limit=1.0).astype(int)
    redness = shown[0, :, 0]  # blue-green takes the red away
    assert (np.diff(redness) <= 0).all()
    assert redness[0] - redness[-1] > 100
    assert (shown[:, -2:] == shown[:, -1:]).all(), "beyond the limit nothing changes"


def test_halving_the_limit_shows_what_doubling_the_map_shows():
    values = np.random.default_rng(1).random((20, 16))
    np.testing.assert_array_equal(overlay(FACE, values, limit=2.0), overlay(FACE, values / 2, limit=1.0))


def test_enlarging_gives_a_larger_picture_of_the_same():
    values = np.random.default_rng(1).random((20, 16))
    small, large = overlay(FACE, values, limit=1.0), overlay(FACE, values, limit=1.0, enlarge=3)
    assert large.shape == (60, 48, 3)
    assert abs(small.mean() - large.mean()) < 3


@pytest.mark.parametrize("missing", COLOUR_BLIND)
def test_colour_blind_readers_can_tell_the_tints_apart(missing: str):
    seen = [lab(COLOUR_BLIND[missing] @ (np.array(one.colour) / 255) ** 2.2) for one in TINTS.values()]
    distances = [np.linalg.norm(seen[k] - seen[k - 1]) for k in range(3)]
    assert min(distances) > 25


def test_an_unknown_map_lists_the_known_ones():
    with pytest.raises(InputError, match=r"'heat'.*similarity, dissimilarity, discriminative"):
        tint("heat")


def test_both_faces_share_one_scale(saliency: Saliency):
    assert scale_of(saliency) == pytest.approx(float(saliency.signed.abs().max()))
    assert scale_of(Saliency(saliency.signed * 0, 0.0, "none")) == 1.0


def test_a_png_address_holds_the_very_pixels():
    payload = base64.b64decode(data_uri(FACE).removeprefix("data:image/png;base64,"))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(payload))), FACE)
    assert payload == png(FACE)


def test_a_lossy_address_is_smaller_and_looks_the_same():
    smooth = np.asarray(Image.fromarray(FACE).resize((112, 112), Image.Resampling.BICUBIC))
    address = data_uri(smooth, lossless=False)
    again = np.asarray(Image.open(io.BytesIO(base64.b64decode(address.removeprefix("data:image/webp;base64,")))))
    assert np.abs(again.astype(int) - smooth).mean() < 6
    assert len(address) < len(data_uri(smooth)) / 2


def test_the_colour_bar_runs_from_grey_to_the_tint():
    bar = colour_bar("dissimilarity", width=64)
    assert np.ptp(bar[0, 0]) <= 1
    assert np.abs(bar[0, -1].astype(int) - TINTS["dissimilarity"].colour).max() < 40


def test_a_score_on_the_threshold_is_accepted():
    assert Verdict(0.3, 0.3).accepted is True
    assert Verdict(0.2999, 0.3).accepted is False
    assert Verdict(0.3, None).accepted is None


def test_the_verdict_says_score_threshold_and_decision():
    assert "0.512" in Verdict(0.512, 0.3).sentence
    assert "0.212 above the threshold 0.300" in Verdict(0.512, 0.3).sentence
    assert "two people" in Verdict(0.1, 0.3).sentence
    assert "give one to decide" in Verdict(0.1, None).sentence

import base64
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from facexai.errors import InputError
from facexai.explainers import Decomposition, ImageResiduals
from facexai.pairs import FacePair
from facexai.views import ScoreExplorer, ThresholdExplorer
from facexai.views.explorers import Explorer, dequantise, quantise
from facexai.views.threshold_explorer import LARGEST_PAYLOAD

GENUINE = np.array([0.9, 0.8, 0.8, 0.35, 0.2])
IMPOSTOR = np.array([0.5, 0.35, 0.1, -0.2])


@pytest.fixture
def explorer(pair: FacePair, residuals: np.ndarray, weights: np.ndarray) -> ThresholdExplorer:
    return ThresholdExplorer(pair, residuals, weights, score=0.43, threshold=0.3, keep=4)


def map_in_page(explorer: ThresholdExplorer, threshold: float, only: int | None = None) -> np.ndarray:
    """S(T) as static/threshold.js computes it from the payload. Shape (2, H, W)."""
    payload = explorer.payload
    shape = (payload["height"], payload["width"])
    maps = []
    for face in payload["faces"]:
        weights = np.frombuffer(base64.b64decode(face["weights"]), dtype="<f4").astype(float)
        total = dequantise(face["weighted"], shape) - threshold * dequantise(face["plain"], shape)
        total *= only is None
        codes, start = np.frombuffer(base64.b64decode(face["windows"]), dtype=np.uint8), 0
        for k, (top, left, height, width) in enumerate(face["boxes"]):
            window = codes[start : start + height * width].reshape(height, width) / 255
            start += height * width
            if only in (None, k):
                factor = weights[payload["channels"][k]] - threshold
                total[top : top + height, left : left + width] += factor * window
        maps.append(total)
    return np.stack(maps)


@pytest.mark.parametrize("threshold", [0.0, 0.013, -0.4, 2.0])
def test_the_page_shows_the_sum_over_all_channels(
    explorer: ThresholdExplorer, residuals: np.ndarray, weights: np.ndarray, threshold: float
):
    exact = np.einsum("fc,fchw->fhw", weights.astype(np.float32).astype(float) - threshold, residuals.astype(float))
    shown = map_in_page(explorer, threshold)
    assert np.abs(shown.sum() - exact.sum()) <= explorer.error_bound(threshold)
    # 16 bits over the range of the sums, though single channels travel with 8 bits.
    assert np.abs(shown - exact).max() < 1e-4 * (1 + abs(threshold))
    assert explorer.sum_at(threshold) == pytest.approx(exact.sum(), abs=1e-6)
    assert explorer.error_bound(threshold) < 0.01 * np.abs(exact).sum()


def test_one_channel_alone_is_shown_with_eight_bits(
    explorer: ThresholdExplorer, residuals: np.ndarray, weights: np.ndarray
):
    channel = explorer.payload["channels"][2]
    exact = (weights[:, channel] - 0.01)[:, None, None] * residuals[:, channel]
    shown = map_in_page(explorer, 0.01, only=2)
    step = np.abs(weights[:, channel] - 0.01).max() / 255
    assert 0 < np.abs(shown - exact).max() <= 0.51 * step


def test_the_strongest_channels_travel_one_by_one(explorer: ThresholdExplorer, residuals: np.ndarray, weights):
    reach = (np.abs(weights) * residuals.mean((2, 3))).max(0)
    assert set(explorer.payload["channels"]) == set(np.argsort(-reach)[:4])


def test_the_expected_sums_lie_where_the_slider_can_stand(explorer: ThresholdExplorer):
    span = explorer.payload["range"]
    for value, total in explorer.payload["expected"]:
        steps = (value - span["low"]) / span["step"]
        assert steps == pytest.approx(round(steps), abs=1e-6)
        assert total == explorer.sum_at(value)
    assert span["low"] <= min(0, 0.3 / 12) and span["high"] >= 0.3 / 12


def test_weights_for_both_faces_may_be_given_once(pair: FacePair, residuals: np.ndarray, weights: np.ndarray):
    once = ThresholdExplorer(pair, residuals, weights[0], score=0.4)
    twice = ThresholdExplorer(pair, residuals, np.stack([weights[0]] * 2), score=0.4)
    assert once.payload == twice.payload


def test_an_explorer_stays_below_its_weight():
    random = np.random.default_rng(0)
    faces = torch.from_numpy(random.random((2, 3, 112, 112), dtype=np.float32))
    wide = random.random((2, 40, 112, 112), dtype=np.float32)  # no channel is confined to a window
    explorer = ThresholdExplorer(FacePair(*faces), wide, random.normal(size=40), score=0.1, keep=40)
    assert 0 < len(explorer.payload["channels"]) < 40
    assert len(explorer._repr_html_()) <= LARGEST_PAYLOAD


def test_maps_that_are_too_large_are_refused():
    faces = torch.zeros(2, 3, 400, 400)
    maps = np.random.default_rng(0).random((2, 1, 400, 400), dtype=np.float32)
    with pytest.raises(InputError, match="400x400"):
        ThresholdExplorer(FacePair(*faces), maps, [0.1], score=0.1)


def test_shapes_and_ranges_are_checked(pair: FacePair, residuals: np.ndarray, weights: np.ndarray):
    with pytest.raises(InputError, match=r"\(2, C, 48, 48\)"):
        ThresholdExplorer(pair, residuals[:1], weights, score=0.4)
    with pytest.raises(InputError, match="lie in"):
        ThresholdExplorer(pair, residuals * 3, weights, score=0.4)
    with pytest.raises(InputError, match="lie in"):
        ThresholdExplorer(pair, residuals * np.nan, weights, score=0.4)
    with pytest.raises(InputError, match="finite"):
        ThresholdExplorer(pair, residuals, weights * np.nan, score=0.4)


def decomposition(residuals: np.ndarray, weights: np.ndarray, counted: np.ndarray) -> Decomposition:
    stacks = [ImageResiduals(torch.from_numpy(maps), torch.zeros(len(maps), 2).long(), (48, 48)) for maps in residuals]
    nothing = torch.zeros(2, 1)
    return Decomposition(
        features=nothing,
        embeddings=nothing,
        decoder=torch.nn.Identity(),
        weights=torch.from_numpy(weights).float(),
        counted=torch.from_numpy(counted),
        residuals=tuple(stacks),
        score=0.43,
        threshold=0.01,
        balance=False,
        method="ddfv",
    )


def test_the_explorer_of_a_decomposition_shows_its_map(pair: FacePair, residuals: np.ndarray, weights: np.ndarray):
    counted = np.random.default_rng(5).random(weights.shape) > 0.3
    parts = decomposition(residuals, weights, counted)
    explorer = ThresholdExplorer.of(parts, pair, threshold=0.3, keep=5)
    assert explorer.start == 0.01
    for threshold in (0.01, -0.2):
        np.testing.assert_allclose(
            explorer.maps_at(threshold), parts.saliency(threshold).signed, atol=1e-5, err_msg=str(threshold)
        )


def test_a_balanced_map_is_not_linear_in_the_threshold_and_is_refused(
    pair: FacePair, residuals: np.ndarray, weights: np.ndarray
):
    parts = replace(decomposition(residuals, weights, np.ones(weights.shape, bool)), balance=True)
    with pytest.raises(InputError, match="decompose the pair with balance=False"):
        ThresholdExplorer.of(parts, pair)


def test_quantised_values_are_within_half_a_step():
    values = np.random.default_rng(0).normal(size=(30, 20))
    packed = quantise(values)
    assert np.abs(dequantise(packed, values.shape) - values).max() <= packed["scale"] / 2 * (1 + 1e-9)
    constant = np.full((3, 3), 0.7)
    np.testing.assert_array_equal(dequantise(quantise(constant), (3, 3)), constant)


@pytest.mark.parametrize("threshold", [-1.0, -0.2, 0.1, 0.35, 0.3500001, 0.8, 0.9, 2.0])
def test_error_rates_equal_those_counted_one_by_one(threshold: float):
    counts = ScoreExplorer(GENUINE, IMPOSTOR).at(threshold)
    genuine, impostor = GENUINE.astype(np.float32).astype(float), IMPOSTOR.astype(np.float32).astype(float)
    assert counts["accepted"] == sum(score >= threshold for score in genuine)
    assert counts["admitted"] == sum(score >= threshold for score in impostor)
    assert counts["far"] == counts["admitted"] / 4 and counts["frr"] == counts["refused"] / 5
    assert counts["accuracy"] == (counts["accepted"] + counts["rejected"]) / 9


def test_marks_lie_at_equal_errors_at_best_accuracy_and_below_one_per_cent():
    explorer = ScoreExplorer(GENUINE, IMPOSTOR, threshold=0.4)
    marks = dict(explorer.payload["marks"])
    assert marks["calibrated, 0.400"] == 0.4
    assert explorer.at(marks["best accuracy"])["accuracy"] == max(
        explorer.at(t)["accuracy"] for t in np.linspace(-1, 1, 2001)
    )
    assert explorer.at(marks["FAR 1 %"])["far"] == 0
    equal = explorer.at(marks["equal errors"])
    assert abs(equal["far"] - equal["frr"]) <= min(
        abs(explorer.at(t)["far"] - explorer.at(t)["frr"]) for t in np.linspace(-1, 1, 2001)
    )


def test_the_false_acceptance_mark_exists_even_if_an_impostor_scores_highest():
    explorer = ScoreExplorer([0.1, 0.2], [0.9, 0.0])
    assert explorer.at(dict(explorer.payload["marks"])["FAR 1 %"])["far"] == 0


def test_scores_of_both_kinds_are_needed():
    with pytest.raises(InputError, match="2 genuine and 0 impostor"):
        ScoreExplorer([0.1, 0.2], [])


def test_scores_must_be_finite():
    with pytest.raises(InputError, match="finite"):
        ScoreExplorer([0.1, np.nan], [0.2])


def test_a_page_holds_explorers_that_do_not_know_of_each_other(explorer: ThresholdExplorer):
    pages = [explorer._repr_html_(), explorer._repr_html_(), ScoreExplorer(GENUINE, IMPOSTOR)._repr_html_()]
    names = [re.findall(r'data-name="([^"]+)"', page)[0] for page in pages]
    assert len(set(names)) == 3
    for page in pages:
        assert page.count('<script type="module">') == page.count("<script") == 1, (
            "modules keep their names to themselves"
        )
        assert not re.search(r"\b(window|globalThis|self)\s*[.\[]", page)


def test_an_explorer_loads_nothing_and_says_what_it_is(explorer: ThresholdExplorer):
    for one in (explorer, ScoreExplorer(GENUINE, IMPOSTOR)):
        page = one._repr_html_()
        addresses = set(re.findall(r"https?://[^\s\"')]+", page))
        assert addresses <= {"http://www.w3.org/2000/svg"}, "the name of a namespace is no address"
        assert not re.search(r"\b(fetch|import)\s*\(|\bimport\s+[\w{*]", page)
        assert re.search(r'<figure [^>]*aria-label="[^"]{10,}"', page)
        assert re.search(r"<figcaption[^>]*>[^<]{10,}</figcaption>", page)


def test_words_of_the_caller_cannot_leave_their_place(pair: FacePair, residuals: np.ndarray, weights: np.ndarray):
    evil = '</script><script>alert("x")</script>'
    page = ThresholdExplorer(pair, residuals, weights, score=0.4, caption=evil, alt=evil)._repr_html_()
    assert page.count("</script>") == 1
    page = Explorer("scores.js", {"marks": [[evil, 0.1]]}, 0.1, "caption", "alt")._repr_html_()
    assert page.count("</script>") == 1
    state = re.search(r"stillModel\((.*)\), el", page)
    assert state and json.loads(state[1])["payload"]["marks"][0][0] == evil


def test_the_live_widget_runs_the_same_module(explorer: ThresholdExplorer):
    widget = explorer.live()
    assert widget.payload == explorer.payload and widget.t == explorer.start
    source = str(widget._esm)
    assert source in explorer._repr_html_()
    assert source.rstrip().endswith("export default { render };")

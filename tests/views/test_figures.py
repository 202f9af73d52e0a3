import re
from types import SimpleNamespace

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
import pytest
import torch

from facexai.errors import InputError
from facexai.pairs import FacePair, Saliency
from facexai.views import show_channels, show_faces, show_pair, show_roc, show_saliency, show_scores, show_training
from facexai.views.renderer import BookRenderer, use_book_renderer

SCORES = np.array([0.9, 0.8, 0.7, 0.2, 0.6, 0.3, 0.1, 0.0])
GENUINE = np.array([True, True, True, True, False, False, False, False])
REPORT = SimpleNamespace(scores=SCORES, genuine=GENUINE, auc=0.875, eer=0.25)
LOG = [{"step": k, "loss_id": 3.0 / (k + 1), "loss_rec": 0.5 / (k + 1)} for k in range(60)] + [
    {"step": 59, "accuracy": 0.75}
]


@pytest.fixture
def figures(pair: FacePair, saliency: Saliency, residuals: np.ndarray) -> dict[str, go.Figure]:
    return {
        "faces": show_faces([pair.probe, pair.gallery], captions=["first", "second"]),
        "pair": show_pair(pair, 0.43, 0.3),
        "pair without threshold": show_pair(pair, -0.43),
        "saliency": show_saliency(pair, saliency),
        "one map": show_saliency(pair, saliency, ["dissimilarity"]),
        "channels": show_channels(pair.probe, residuals[0, :5], [0.1, -0.1, 0.2, 0.0, 0.3], [7, 8, 9, 10, 11]),
        "roc": show_roc({"plain": REPORT, "other": REPORT}),
        "scores": show_scores(SCORES, GENUINE, 0.5, bins=10),
        "training": show_training(LOG),
    }


def html_of(figure: go.Figure) -> str:
    return BookRenderer().to_mimebundle(figure.to_dict())["text/html"]


def words_of(figure: go.Figure) -> str:
    return " | ".join(note.text for note in figure.layout.annotations)


def test_every_figure_has_a_caption_and_an_alternative_text(figures: dict[str, go.Figure]):
    for name, figure in figures.items():
        assert len(figure.layout.meta["caption"]) > 5, name
        assert len(figure.layout.meta["alt"]) > 5, name
        html = html_of(figure)
        assert re.search(r'<figure [^>]*aria-label="[^"]{6,}"', html), name
        assert re.search(r"<figcaption[^>]*>[^<]{6,}</figcaption>", html), name


def test_no_figure_is_wider_than_the_page_or_loads_anything(figures: dict[str, go.Figure]):
    for name, figure in figures.items():
        assert (figure.layout.width or 0) <= 700, name
        html = html_of(figure)
        assert not re.search(r'(src|href)\s*=\s*"?(https?:)?//', html), name
        assert not re.search(r'"source":\s*"(?!data:)', html), name
        assert len(html) < 150_000, name


def test_words_of_the_caller_are_shown_and_not_obeyed(pair: FacePair):
    evil = '<a href="https://example.org">x</a>'
    figure = show_faces([pair.probe], captions=[evil], caption=evil, alt='"><script>')
    assert "&lt;a href" in words_of(figure)
    html = html_of(figure)
    assert evil not in html
    assert 'aria-label="&quot;&gt;&lt;script&gt;"' in html


def test_drawing_leaves_the_renderer_of_plotly_alone(figures: dict[str, go.Figure]):
    before = pio.renderers.default
    show_scores(SCORES, GENUINE)
    assert pio.renderers.default == before != "facexai"


def test_the_renderer_becomes_the_default_when_asked(monkeypatch: pytest.MonkeyPatch):
    before = pio.renderers.default
    try:
        use_book_renderer()
        assert pio.renderers.default == "facexai"
    finally:
        pio.renderers.default = before
    monkeypatch.setitem(__import__("sys").modules, "google.colab", SimpleNamespace())
    use_book_renderer()
    assert pio.renderers.default == before


def test_one_figure_shown_twice_has_two_places_in_the_page():
    renderer, figure = BookRenderer(), show_scores(SCORES, GENUINE)
    first, second = (renderer.to_mimebundle(figure.to_dict())["text/html"] for _ in range(2))
    name = re.compile(r'<div id="(figure-[^"]+)"')
    assert name.findall(first) and name.findall(first) != name.findall(second)


def test_a_page_built_twice_is_the_same():
    html = [BookRenderer().to_mimebundle(show_scores(SCORES, GENUINE).to_dict())["text/html"] for _ in range(2)]
    assert html[0] == html[1]


def test_lab_shows_the_caption_inside_the_figure(figures: dict[str, go.Figure]):
    for name, figure in figures.items():
        content = BookRenderer().to_mimebundle(figure.to_dict())["application/vnd.plotly.v1+json"]
        first_words = figure.layout.meta["caption"][:20]
        assert first_words in content["layout"]["annotations"][-1]["text"].replace("<br>", " "), name
        assert content["layout"]["height"] > figure.layout.height, name
        assert content["config"]["displayModeBar"] is False


def test_the_pair_figure_says_score_decision_and_truth(pair: FacePair):
    accepted, refused, undecided = show_pair(pair, 0.43, 0.3), show_pair(pair, -0.43, 0.3), show_pair(pair, 0.43)
    assert {"0.43", "<b>Accepted: one person</b>", "in truth: one person"} <= set(words_of(accepted).split(" | "))
    assert {"\N{MINUS SIGN}0.43", "<b>Refused: two people</b>"} <= set(words_of(refused).split(" | "))
    assert "<b>No decision</b>" in words_of(undecided)


def test_the_saliency_caption_gives_method_and_common_scale(pair: FacePair, saliency: Saliency):
    figure = show_saliency(pair, saliency)
    limit = f"{float(saliency.signed.abs().max()):.3g}"
    assert f"Method ddfv; colours are linear and share one scale, 0 to {limit}" in figure.layout.meta["caption"]
    assert words_of(figure).split(" | ").count(limit) == 3


def test_only_the_maps_asked_for_are_drawn(pair: FacePair, saliency: Saliency):
    two_faces, one_colour_bar = 2, 1
    figure = show_saliency(pair, saliency, ["dissimilarity"])
    assert len(figure.layout.images) == two_faces + 2 + one_colour_bar
    with pytest.raises(InputError, match="unknown map"):
        show_saliency(pair, saliency, ["heat"])


def test_each_face_carries_its_own_map(pair: FacePair, saliency: Saliency):
    same_face = FacePair(pair.probe, pair.probe)
    on_probe_only = Saliency(saliency.signed * torch.tensor([1.0, 0.0])[:, None, None], 0.4, "ddfv")
    probe, probe_map, gallery, gallery_map, _ = show_saliency(same_face, on_probe_only, ["similarity"]).layout.images
    assert probe.source == gallery.source
    assert probe_map.y < gallery_map.y, "the probe stands above"
    blank = show_saliency(same_face, Saliency(saliency.signed * 0, 0.4, "ddfv"), ["similarity"]).layout.images[1]
    assert gallery_map.source == blank.source != probe_map.source


def test_channels_are_named_with_their_weight(pair: FacePair, residuals: np.ndarray):
    figure = show_channels(pair.probe, residuals[0, :2], [0.01, -0.02], [40, 41])
    assert words_of(figure) == "40: +0.0100 | 41: \N{MINUS SIGN}0.0200"
    with pytest.raises(InputError, match="equally many; got 2, 3, 2"):
        show_channels(pair.probe, residuals[0, :2], [0.1, 0.2, 0.3], [40, 41])


def test_captions_must_match_the_faces(pair: FacePair):
    with pytest.raises(InputError, match="got 1 for 2"):
        show_faces([pair.probe, pair.gallery], captions=["only one"])


def test_the_score_figure_counts_both_kinds_of_error():
    caption = show_scores(SCORES, GENUINE, 0.5).layout.meta["caption"]
    assert "25.00\N{NO-BREAK SPACE}% of the impostor pairs are accepted" in caption
    assert "25.00\N{NO-BREAK SPACE}% of the genuine pairs refused" in caption


def test_each_score_histogram_sums_to_one():
    for trace in show_scores(SCORES, GENUINE, bins=7).data:
        assert np.asarray(trace.y).sum() == pytest.approx(1.0)


def test_scores_of_one_kind_only_are_refused():
    with pytest.raises(InputError, match="both kinds; got 8 scores and 8 genuine"):
        show_scores(SCORES, np.ones(8, bool))


def test_the_roc_passes_through_the_points_counted_by_hand():
    curve = show_roc(REPORT).data[0]
    points = {(round(float(x), 3), round(float(y), 3)) for x, y in zip(curve.x, curve.y, strict=True)}
    # At 0.7 no impostor and three of four genuine pairs pass; at 0.2 two of four impostors and all genuine pairs do.
    assert {(0.125, 0.75), (0.5, 1.0), (1.0, 1.0)} <= points, "the axis begins at half a pair for FAR 0"
    assert "AUC 0.8750, EER 25.00" in curve.name


def test_training_draws_what_the_log_holds():
    figure = show_training(LOG)
    assert [trace.name for trace in figure.data] == ["loss_id", "loss_rec", "accuracy"]
    assert len(figure.data[0].y) == 60 and len(figure.data[2].y) == 1
    assert "accuracy 0.75" in figure.layout.meta["caption"]
    with pytest.raises(InputError, match="loss_id, loss_rec, accuracy; got 1 rows"):
        show_training([{"step": 1}])

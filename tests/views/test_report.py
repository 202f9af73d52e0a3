import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import facexai.views.report as report
from facexai.explainers import Decomposition, ImageResiduals
from facexai.pairs import FacePair, Saliency
from facexai.views import strongest_channels, write_report
from facexai.views.report import Channel


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_the_report_says_score_threshold_decision_and_model(tmp_path: Path, pair: FacePair, saliency: Saliency):
    page = read(write_report(tmp_path, pair, saliency, threshold=0.31, model_name="tutorial"))
    assert "<h1" in page and "Accepted: one person</h1>" in page
    assert "The score 0.432 is 0.122 above the threshold 0.310: the model takes the two faces for one person." in page
    assert "<td>tutorial</td>" in page
    assert "Limits" in page and "How to read it" in page and "facexai " in page


def test_a_lower_score_or_no_threshold_gives_another_decision(tmp_path: Path, pair: FacePair, saliency: Saliency):
    assert "Refused: two people</h1>" in read(write_report(tmp_path, pair, saliency, threshold=0.5))
    undecided = read(write_report(tmp_path, pair, saliency))
    assert "No decision</h1>" in undecided and "no calibrated threshold" in undecided


def test_what_the_model_is_not_made_for_stands_first_among_the_limits(
    tmp_path: Path, pair: FacePair, saliency: Saliency
):
    page = read(write_report(tmp_path, pair, saliency, model_limits="It has seen rendered faces only."))
    assert page.index("<h2>Limits</h2>") < page.index("rendered faces only.") < page.index("The maps show")


def test_the_report_needs_no_network(tmp_path: Path, pair: FacePair, saliency: Saliency):
    page = read(write_report(tmp_path, pair, saliency, threshold=0.3))
    assert "http://" not in page and "https://" not in page and "<script" not in page and "<link" not in page
    assert "@import" not in page and "url(" not in page
    sources = re.findall(r'src="([^"]{0,40})', page)
    assert len(sources) == 2 + 6 + 3, "two faces, six maps, three colour bars"
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert len(re.findall(r"<img [^>]*alt=\"[^\"]+\"", page)) == len(sources)


def test_names_cannot_become_markup(tmp_path: Path, pair: FacePair, saliency: Saliency):
    evil = '<img src=x onerror="alert(1)">'
    named = FacePair(pair.probe, pair.gallery, name=evil)
    method = Saliency(saliency.signed, saliency.score, evil)
    page = read(write_report(tmp_path, named, method, model_name=evil, model_limits=evil, details={evil: evil}))
    assert "<img src=x" not in page and 'onerror="' not in page
    assert page.count("&lt;img src=x") >= 7


def test_dollar_signs_in_names_stay(tmp_path: Path, pair: FacePair, saliency: Saliency):
    named = FacePair(pair.probe, pair.gallery, name="$title ${style} $$")
    assert "$title ${style} $$" in read(write_report(tmp_path, named, saliency))


def test_a_balanced_map_says_that_strengths_cannot_be_compared(tmp_path: Path, pair: FacePair, saliency: Saliency):
    plain = read(write_report(tmp_path, pair, saliency))
    assert "Colours can be compared" in plain and "compare places" not in plain
    balanced = read(write_report(tmp_path, pair, replace(saliency, balanced=True)))
    assert "compare places, not strengths" in balanced and "Colours can be compared" not in balanced


def test_the_archive_gives_back_the_raw_maps(tmp_path: Path, pair: FacePair, saliency: Saliency):
    write_report(tmp_path, pair, saliency, threshold=0.31, model_name="tutorial")
    with np.load(tmp_path / "saliency.npz", allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["signed"], saliency.signed.numpy())
        assert archive["score"] == saliency.score and archive["threshold"] == 0.31
        assert str(archive["method"]) == saliency.method and str(archive["model"]) == "tutorial"
        assert archive["images"].shape == (2, 48, 48, 3) and archive["images"].dtype == np.uint8


def test_every_face_and_map_is_a_png(tmp_path: Path, pair: FacePair, saliency: Saliency):
    write_report(tmp_path, pair, saliency)
    names = {path.stem for path in tmp_path.glob("*.png")}
    maps = ("similarity", "dissimilarity", "discriminative")
    assert names == {"probe", "gallery"} | {f"{role}_{name}" for role in ("probe", "gallery") for name in maps}
    pictures = {name: np.asarray(Image.open(tmp_path / f"{name}.png")) for name in names}
    assert all(picture.shape == (192, 192, 3) for picture in pictures.values())
    assert len({picture.tobytes() for picture in pictures.values()}) == 8


def test_an_interrupted_report_leaves_nothing_half_written(
    tmp_path: Path, pair: FacePair, saliency: Saliency, monkeypatch: pytest.MonkeyPatch
):
    page = write_report(tmp_path, pair, saliency, threshold=0.31)
    before = page.read_bytes()

    def fail(*_: object, **__: object) -> str:
        raise OSError("no space left")

    monkeypatch.setattr(report, "render_page", fail)
    with pytest.raises(OSError, match="no space"):
        write_report(tmp_path, pair, saliency, threshold=0.9)
    assert page.read_bytes() == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_channels_are_shown_with_their_weights(tmp_path: Path, pair: FacePair, saliency: Saliency, residuals):
    channels = [
        Channel(17, (0.0312, 0.0312), residuals[:, 0]),
        Channel(4, (-0.0205, 0.0101), residuals[:, 1]),
    ]
    page = read(write_report(tmp_path, pair, saliency, channels=channels))
    assert "channel 17" in page and page.count('class="similarity">+0.0312</b>') == 2
    assert 'class="dissimilarity">\N{MINUS SIGN}0.0205</b>' in page and 'class="similarity">+0.0101</b>' in page
    assert page.count("Channel 17 on the") == 2
    assert "channels that mattered most" not in read(write_report(tmp_path, pair, saliency))


@pytest.mark.parametrize("balance", [True, False])
def test_the_channels_with_the_largest_share_in_the_map_come_first(
    balance: bool, residuals: np.ndarray, weights: np.ndarray
):
    stacks = [ImageResiduals(torch.from_numpy(maps), torch.zeros(len(maps), 2).long(), (48, 48)) for maps in residuals]
    parts = Decomposition(
        features=torch.zeros(1),
        embeddings=torch.zeros(1),
        decoder=torch.nn.Identity(),
        weights=torch.from_numpy(weights).float(),
        counted=torch.ones(2, 12, dtype=torch.bool),
        residuals=tuple(stacks),
        score=0.4,
        threshold=0.02,
        balance=balance,
        method="ddfv",
    )
    chosen = strongest_channels(parts, count=3)
    shares = weights - 0.02
    if balance:
        sides = [np.where(shares * sign > 0, shares, 0) for sign in (1, -1)]
        shares = sum(side / np.abs(side).sum(axis=1, keepdims=True) for side in sides)
    strength = np.abs(shares).max(axis=0)
    assert [channel.number for channel in chosen] == list(np.argsort(-strength)[:3])
    for channel in chosen:
        np.testing.assert_allclose(channel.residuals, residuals[:, channel.number], atol=1e-6)
        np.testing.assert_allclose(channel.weights, shares[:, channel.number], atol=1e-6)

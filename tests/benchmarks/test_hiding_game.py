"""The hiding game against a network that is known by hand, and against the game written down step by step."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from facexai.benchmarks import HidingGame, Method, VerificationSet, measure
from facexai.benchmarks import judges as judges_module
from facexai.benchmarks.judges import PairFacts
from facexai.benchmarks.pixels import area, pixel_ranks
from facexai.errors import InputError
from facexai.models import FaceRecognizer

sys.path.append(str(Path(__file__).parents[1] / "explainers"))
from explainer_toys import PATCH, patch_image, patch_recognizer, smooth_images, tiny_recognizer

NO_METHOD = Method(lambda pair, model: torch.zeros(2, *pair.probe.shape[1:]))


def known_network() -> FaceRecognizer:
    """The means of the four patches; with a parameter, which tells judges the device and the precision."""
    model = patch_recognizer()
    model.register_parameter("place", nn.Parameter(torch.zeros(())))
    return model


def verification_set(images: Tensor, genuine: list[bool], folds: list[int]) -> VerificationSet:
    """Images 0 and 1 are the first pair, 2 and 3 the second, and so on."""
    pixels = ((images + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    rows = np.arange(len(pixels))
    return VerificationSet("toy", pixels, rows[::2], rows[1::2], np.array(genuine), np.array(folds))


def patches(*values: float) -> Tensor:
    """A map with these values on the four patches. Shape (2 PATCH, 2 PATCH)."""
    return torch.tensor(values).view(2, 2).repeat_interleave(PATCH, 0).repeat_interleave(PATCH, 1)


def play(game: HidingGame, model, maps: Tensor, limit: int | None = None) -> dict[str, np.ndarray]:
    """Values of the metrics, as the leaderboard finds them."""
    chunks = list(game.chunks(model, limit, progress=False))
    records = [game.measure(model, pairs, maps[pairs.number], NO_METHOD) for pairs in chunks]
    return game.finish(joined(records), facts(chunks))


def joined(records: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([record[name] for record in records]) for name in records[0]}


def facts(chunks) -> PairFacts:
    columns = ("genuine", "fold", "score", "threshold")
    return PairFacts(*(np.concatenate([getattr(pairs, name) for pairs in chunks]) for name in columns))


# A genuine pair agrees in patch 0 and has one patch each where nothing answers; an impostor pair agrees in nothing.
GENUINE = (patch_image(0.8, 0.4, 0, 0), patch_image(0.8, 0, 0.4, 0))
IMPOSTOR = (patch_image(-0.02, 0.8, 0.1, 0), patch_image(0.02, 0.1, 0.8, 0.4))
TOY = verification_set(torch.stack([*GENUINE, *IMPOSTOR] * 2), [True, False] * 2, [0, 0, 1, 1])
QUARTERS = HidingGame(TOY, fill="constant", fractions=(0, 0.25, 0.5, 0.75))


def test_a_map_that_is_the_truth_keeps_every_decision_right():
    truth = torch.stack([patches(3, 0, 2, 1), patches(3, 2, 0, 1)]).expand(4, -1, -1, -1)
    values = play(QUARTERS, known_network(), truth)
    assert values["auc"].tolist() == [1, 1, 1, 1]
    assert values["roc_auc"].mean() == 1


def test_a_map_that_hides_the_shared_patch_first_loses_every_genuine_pair_at_once():
    wrong = torch.stack([patches(0, 3, 2, 1), patches(0, 2, 3, 1)]).expand(4, -1, -1, -1)
    values = play(QUARTERS, known_network(), wrong)
    # right at 0, refused at .25, .5 and .75: the trapezoid holds half of the first of three steps
    assert values["auc"].tolist() == pytest.approx([1 / 6, 1, 1 / 6, 1])


def test_the_sign_is_used_only_where_it_is_asked_for():
    negative = -torch.stack([patches(3, 0, 2, 1), patches(3, 2, 0, 1)]).expand(4, -1, -1, -1)
    model = known_network()
    assert play(QUARTERS, model, negative)["auc"].mean() == 1
    assert play(replace(QUARTERS, order="signed"), model, negative)["auc"][0] == pytest.approx(1 / 6)


def test_one_image_may_stay_whole():
    model, pair = known_network(), next(QUARTERS.chunks(known_network(), progress=False))
    maps = torch.stack([patches(0, 3, 2, 1), patches(3, 2, 1, 0)]).expand(4, -1, -1, -1)
    scores = {
        which: replace(QUARTERS, which=which).measure(model, pair, maps, NO_METHOD)["scores"][0]
        for which in ("both", "probe", "gallery")
    }
    # images (.8, .4, 0, 0) and (.8, 0, .4, 0); the probe loses its patch 0, the gallery its patch 3
    assert scores["gallery"][1] == pytest.approx(0.8, abs=1e-2) == scores["both"][0]
    assert scores["probe"][1] == pytest.approx(0, abs=1e-2) == scores["both"][1]
    assert scores["gallery"][3] == pytest.approx(0.8 / np.sqrt(0.8), abs=1e-2)  # the gallery has patch 0 alone


def literal_hiding_game(model, data: VerificationSet, maps: Tensor, fractions, sigma: float):
    """One pair, one fraction, one pixel at a time."""
    images = torch.from_numpy(data.images).permute(0, 3, 1, 2).float() / 127.5 - 1
    height, width = images.shape[2:]
    right, scores = np.zeros((len(data.genuine), len(fractions))), np.zeros((len(data.genuine), len(fractions)))
    for level, fraction in enumerate(fractions):
        for pair in range(len(data.genuine)):
            faces = []
            for side, row in enumerate((data.probe[pair], data.gallery[pair])):
                face = images[row].clone()
                blurred = torch.stack(
                    [
                        torch.from_numpy(gaussian_filter(colour.numpy(), sigma, mode="nearest", radius=int(3 * sigma)))
                        for colour in images[row]
                    ]
                )
                values = maps[pair, side].abs().flatten().tolist()
                for pixel in sorted(range(height * width), key=values.__getitem__)[: round(fraction * height * width)]:
                    face[:, pixel // width, pixel % width] = blurred[:, pixel // width, pixel % width]
                faces.append(face)
            with torch.no_grad():
                embeddings = [model.embed(face[None])[0] for face in faces]
            scores[pair, level] = float(embeddings[0] @ embeddings[1])
    for pair in range(len(data.genuine)):
        others = data.fold != data.fold[pair]
        best, threshold = -1, 0.0
        for step in range(400):
            candidate = 1 - step * 0.01 / 2
            correct = np.sum((scores[others, 0] > candidate) == data.genuine[others])
            if correct > best:
                best, threshold = correct, candidate
        right[pair] = (scores[pair] > threshold) == data.genuine[pair]
    steps = np.diff(fractions)
    return scores, [sum(steps * (row[1:] + row[:-1]) / 2) / (fractions[-1] - fractions[0]) for row in right]


@pytest.fixture(scope="module")
def faces() -> VerificationSet:
    images = smooth_images(16, seed=3)
    images[1::2] = 0.6 * images[::2] + 0.4 * images[1::2]  # alike enough for thresholds in the middle
    return verification_set(images, [True, True, False, False] * 2, [0] * 4 + [1] * 4)


def test_scores_and_area_are_those_of_the_literal_game(faces):
    model, fractions = tiny_recognizer(), (0.0, 0.35, 0.8)
    maps = torch.randn(8, 2, 112, 112, generator=torch.Generator().manual_seed(0))
    game = HidingGame(faces, fractions=fractions)
    pairs = next(game.chunks(model, progress=False))
    scores, areas = literal_hiding_game(model, faces, maps, fractions, sigma=4)
    assert game.measure(model, pairs, maps, NO_METHOD)["scores"] == pytest.approx(scores, abs=1e-4)
    assert play(game, model, maps)["auc"] == pytest.approx(areas)
    assert 0 < np.mean(areas) < 1


def test_fraction_0_is_clean_verification_and_refit_finds_its_own_threshold(faces):
    model = tiny_recognizer()
    game = HidingGame(faces, fractions=(0, 0.9))
    pairs = next(game.chunks(model, progress=False))
    scores = game.measure(model, pairs, torch.zeros(8, 2, 112, 112), NO_METHOD)["scores"]
    facts_of_pairs = facts([pairs])
    values = game.finish({"scores": scores}, facts_of_pairs)
    accuracy = [measure(column, faces.genuine, faces.fold).accuracy for column in scores.T]
    assert values["refit"].mean() == pytest.approx(np.mean(accuracy))
    assert game.details({"scores": scores}, facts_of_pairs)["curve"]["accuracy"][0] == pytest.approx(accuracy[0])


def test_results_do_not_depend_on_the_chunks_and_limits_keep_the_thresholds(faces, monkeypatch):
    model, maps = tiny_recognizer(), torch.zeros(8, 2, 112, 112)  # all ties: the drawn order decides
    game = HidingGame(faces, fractions=(0, 0.5))
    whole = play(game, model, maps)
    few = list(game.chunks(model, 4, progress=False))
    monkeypatch.setattr(judges_module, "CHUNK", 3)
    assert play(game, model, maps)["auc"].tolist() == whole["auc"].tolist()
    everyone = next(iter(HidingGame(faces).chunks(model, progress=False)))
    assert sum(len(pairs) for pairs in few) == few[0].total == 4
    assert few[0].threshold[0] == everyone.threshold[0]


def test_ties_are_broken_by_a_draw_that_differs_between_pairs_and_images():
    flat = torch.zeros(2, 2, 16, 16)
    ranks = pixel_ranks(flat, [5, 9], seed=0)
    assert torch.equal(ranks.flatten(2).sort(2).values, torch.arange(256).expand(2, 2, -1))
    assert torch.equal(pixel_ranks(flat[:1], [9], seed=0), ranks[1:])
    assert not torch.equal(pixel_ranks(flat, [5, 9], seed=1), ranks)
    different = {tuple(row) for row in ranks.flatten(0, 1).flatten(1).tolist()}
    assert len(different) == 4
    assert 100 < ranks[0, 0, :8].float().mean() < 155  # the upper half of the image is not hidden first


def test_distinct_values_are_ranked_by_value_alone():
    values = torch.randperm(256, generator=torch.Generator().manual_seed(1)).view(1, 1, 16, 16)
    assert torch.equal(pixel_ranks(values.float(), [0], seed=3), values)


def test_area_by_hand():
    curve = np.array([[1, 1, 0]], bool)
    assert area(curve, (0, 0.5, 0.75)).tolist() == pytest.approx([(0.5 + 0.125) / 0.75])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"which": "left"}, "unknown which 'left'; choose one of both, probe, gallery"),
        ({"fill": "white"}, "unknown fill 'white'; choose one of blur, constant, black, mean"),
        ({"order": "up"}, "unknown order 'up'"),
        ({"fractions": (0.1, 0.5)}, "fractions must rise from 0"),
        ({"fractions": (0, 0.5, 0.4)}, "fractions must rise from 0"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(InputError, match=message):
        HidingGame(TOY, **options)

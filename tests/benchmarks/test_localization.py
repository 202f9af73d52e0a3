"""Localization: maps whose place is known by hand, against truths that are known by hand."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from facexai.benchmarks.judges import Method, PairFacts
from facexai.benchmarks.localization import PRESETS, Localization, localization, measure_maps
from facexai.benchmarks.true_pairs import TruePairs
from facexai.benchmarks.verification import VerificationSet
from facexai.errors import InputError
from facexai.models import FaceRecognizer, build

SIZE = 16
LEFT = torch.zeros(SIZE, SIZE)
LEFT[:, :4] = 1  # a quarter of the image
SIGNED = Method(lambda pair, model: torch.zeros(2, SIZE, SIZE))


@pytest.fixture(scope="module")
def model() -> FaceRecognizer:
    return build("tutorial")


def true_pairs(truth: Tensor, **changes) -> TruePairs:
    """Pairs of grey images with this truth, whose change costs .3 of the score."""
    pairs = len(truth)
    grey = torch.zeros(pairs, 3, SIZE, SIZE)
    columns = {"score": np.full(pairs, 0.5), "threshold": np.full(pairs, 0.6), "drop": np.full(pairs, 0.3)} | changes
    numbers = np.arange(pairs)
    return TruePairs(grey, grey, genuine=numbers >= 0, fold=numbers, number=numbers, truth=truth, **columns)


@dataclass(frozen=True)
class Given:
    """A source of the pairs it was given."""

    pairs: TruePairs

    def chunks(self, model, limit=None, *, progress=True) -> Iterator[TruePairs]:
        yield self.pairs


def judged(truth: Tensor, maps: Tensor, method: Method = SIGNED, **changes) -> dict[str, np.ndarray]:
    pairs = true_pairs(truth, **changes)
    return Localization(Given(pairs)).measure(build("tutorial"), pairs, maps, method)


def test_a_dissimilarity_map_on_the_truth_is_perfect():
    truth = LEFT.expand(1, 2, -1, -1)
    values = judged(truth, 1 - 2 * truth)  # -1 on the truth, 1 elsewhere
    perfect = {name: values[name].item() for name in ("mass", "auc", "signed_auc", "weighted_auc", "rank", "pointing")}
    assert set(perfect.values()) == {1}
    assert values["mass_to_chance"].item() == 4 and values["chance"].item() == 0.25
    assert values["similarity_mass"].item() == values["similarity_to_chance"].item() == values["empty"].item() == 0


def test_a_similarity_map_on_the_truth_is_wrong():
    values = judged(LEFT.expand(1, 2, -1, -1), LEFT.expand(1, 2, -1, -1))
    assert values["similarity_mass"].item() == 1 and values["similarity_to_chance"].item() == 4
    assert values["signed_auc"].item() == 0
    # and as there is no dissimilarity at all, that map gets what chance gets
    assert values["empty"].item() == 1
    assert [values[name].item() for name in ("mass", "auc", "rank", "pointing")] == [0.25, 0.5, 0.25, 0.25]


def test_a_map_without_a_sign_serves_for_both():
    values = judged(LEFT.expand(1, 2, -1, -1), LEFT.expand(1, 2, -1, -1), replace(SIGNED, unsigned=True))
    assert values["mass"].item() == values["similarity_mass"].item() == values["signed_auc"].item() == 1


def test_an_even_map_is_chance():
    values = judged(LEFT.expand(1, 2, -1, -1), -torch.ones(1, 2, SIZE, SIZE))
    assert [values[name].item() for name in ("mass", "mass_to_chance", "auc", "rank")] == [0.25, 1, 0.5, 0.25]


def test_a_pair_is_the_mean_of_its_images_and_an_unknown_one_does_not_count():
    truth = torch.stack([LEFT.expand(2, -1, -1), torch.stack([torch.full_like(LEFT, torch.nan), LEFT])])
    on, off = -LEFT, -(1 - LEFT)
    values = judged(truth, torch.stack([torch.stack([on, off]), torch.stack([on, off])]))
    np.testing.assert_allclose(values["mass"], [0.5, 0])
    np.testing.assert_allclose(values["chance"], [0.25, 0.25])


def test_pixels_that_differ_by_less_than_can_be_seen_do_not_belong_to_the_truth():
    truth = torch.where(LEFT == 1, 11 / 255, 9 / 255).expand(1, 2, -1, -1)
    assert judged(truth, -LEFT.expand(1, 2, -1, -1))["mass"].item() == 1


def test_weights_count_pixels_by_their_difference():
    truth = LEFT.clone()
    truth[:, :2] = 0.25  # half of the truth differs a quarter as much
    values = judged(truth.expand(1, 2, -1, -1), -(truth == 0.25).float().expand(1, 2, -1, -1))
    assert values["auc"].item() == pytest.approx(0.5 + 0.5 * 0.5)
    assert values["weighted_auc"].item() == pytest.approx(0.2 + 0.8 * 0.5)


@pytest.mark.parametrize("truth", [torch.zeros(SIZE, SIZE), torch.ones(SIZE, SIZE)])
def test_a_truth_of_nothing_or_of_everything_is_not_judged(truth: Tensor):
    assert np.isnan(judged(truth.expand(1, 2, -1, -1), -torch.ones(1, 2, SIZE, SIZE))["mass"]).all()


def test_a_change_that_the_network_does_not_notice_is_not_judged():
    truth = LEFT.expand(2, 2, -1, -1)
    values = judged(truth, -truth, drop=np.array([0.01, 0.03]))
    np.testing.assert_array_equal(np.isnan(values["mass"]), [True, False])


def test_before_and_after():
    """A method that marks whatever is dark: nothing at first (even), the left once it is occluded."""
    pairs = true_pairs(LEFT.expand(1, 2, -1, -1))
    clean = torch.zeros(1, 2, 3, SIZE, SIZE)
    pairs = replace(pairs, before=clean, probe=clean[:, 0] - LEFT, gallery=clean[:, 1] - LEFT)

    def dark(pair, model):
        return (pair.images.mean(1) + 0.5) * 2  # -1 where dark, 1 elsewhere

    judge = Localization(Given(pairs), before_and_after=True)
    maps = torch.stack([dark(pair, None) for pair in pairs.face_pairs()])
    values = judge.measure(build("tutorial"), pairs, maps, Method(dark))
    assert (values["mass"].item(), values["mass_before"].item(), values["mass_gain"].item()) == (1, 0.25, 0.75)
    similarity = ("similarity_mass", "similarity_mass_before", "similarity_mass_loss")
    assert [values[name].item() for name in similarity] == [0, 0.25, 0.25]


def test_details_say_what_the_pairs_are_like():
    truth = LEFT.expand(2, 2, -1, -1)
    pairs = true_pairs(truth, drop=np.array([0.0, 0.3]), score=np.array([0.7, 0.5]))
    judge = Localization(Given(pairs))
    records = judge.measure(build("tutorial"), pairs, -truth, SIGNED)
    details = judge.details(records, PairFacts(pairs.genuine, pairs.fold, pairs.score, pairs.threshold))
    assert details == pytest.approx({"score": 0.6, "drop": 0.15, "counted": 1, "chance": 0.25, "refused": 0.5})


def test_every_metric_is_recorded():
    truth = LEFT.expand(1, 2, -1, -1)
    for before_and_after in (False, True):
        pairs = replace(true_pairs(truth), before=torch.zeros(1, 2, 3, SIZE, SIZE))
        judge = Localization(Given(pairs), before_and_after=before_and_after)
        records = judge.measure(build("tutorial"), pairs, -truth, SIGNED)
        values = judge.finish(records, PairFacts(pairs.genuine, pairs.fold, pairs.score, pairs.threshold))
        assert set(values) == {metric.name for metric in judge.metrics}
        assert {value.shape for value in values.values()} == {(1,)}


def test_maps_of_double_precision_are_measured_alike():
    generator = torch.Generator().manual_seed(0)
    maps, truth = torch.randn(3, 2, SIZE, SIZE, generator=generator), LEFT.expand(3, 2, -1, -1)
    single, double = measure_maps(maps, truth, False), measure_maps(maps.double(), truth, False)
    for name, values in single.items():
        np.testing.assert_allclose(values, double[name], rtol=1e-6)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_have_names(preset: str):
    judge = localization(preset)
    assert judge.name == f"localize {preset}" and judge.metrics[0].name == "mass"
    assert judge.before_and_after == (preset == "occluder")


def test_bad_presets_are_refused():
    rows = np.array([0, 1])
    data = VerificationSet("mine", np.zeros((2, 8, 8, 3), np.uint8), rows, rows, rows == 0, rows)
    with pytest.raises(InputError, match="unknown preset 'mask'; choose one of regions, occluder, patch"):
        localization("mask")
    with pytest.raises(InputError, match="'regions' renders its own pairs"):
        localization("regions", data)
    assert localization("patch", data).source.data is data  # type: ignore[attr-defined]

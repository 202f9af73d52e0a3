"""Pairs with a known truth: what is said to differ differs, and nothing else does."""

import os

import numpy as np
import pytest
import torch

from facexai.benchmarks import patch_pairs as patches
from facexai.benchmarks import region_pairs as regions
from facexai.benchmarks.judges import CHUNK, load_images
from facexai.benchmarks.occluder_pairs import OccluderPairs
from facexai.benchmarks.patch_pairs import PatchPairs, TwoPhotos
from facexai.benchmarks.region_pairs import RegionPairs, choose_amplification
from facexai.benchmarks.strangers import stranger_rows
from facexai.benchmarks.true_pairs import decision_threshold
from facexai.benchmarks.verification import VerificationSet
from facexai.errors import InputError
from facexai.models import FaceRecognizer, build
from facexai.rendering import REGIONS


@pytest.fixture(scope="module")
def model() -> FaceRecognizer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build("tutorial").eval()
    model.threshold = 2.0  # refuses every pair
    return model


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache of its own, filled by one process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACEXAI_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(os, "cpu_count", lambda: 1)
        yield


@pytest.fixture(scope="module")
def region_pairs(model):
    return next(RegionPairs(part=3).chunks(model, 3, progress=False))


@pytest.fixture(scope="module")
def occluder_pairs(model):
    return next(OccluderPairs(part=8, strength=0.2).chunks(model, 8, progress=False))


# Regions


def test_faces_differ_in_the_named_regions_only():
    source = RegionPairs()
    for number in range(6):
        (person, nuisance), *changed = source.jobs(number)
        for other, same_nuisance, framed_as in changed:
            differing = {name for name in REGIONS if (person.region(name) != other.region(name)).any()}
            assert differing == set(source.regions_of(number))
            assert same_nuisance == nuisance and framed_as == person


def test_pixels_differ_where_the_truth_says_so(region_pairs):
    probe, gallery, truth = region_pairs.probe, region_pairs.gallery, region_pairs.truth
    difference = (probe - gallery).abs().mean(1) / 2  # images have a range of 2, the truth of 1
    torch.testing.assert_close(truth, difference[:, None].repeat(1, 2, 1, 1), atol=1e-6, rtol=0)
    share = (truth > 0).float().mean()
    assert 0.02 < share < 0.6  # most of each image is the same to the last bit


def test_every_choice_of_two_or_three_regions_comes_up_equally_often():
    source = RegionPairs()
    choices = [source.regions_of(number) for number in range(70)]
    assert len(set(choices)) == 35 and choices[:35] == choices[35:]
    assert {len(choice) for choice in choices} == {2, 3}


def test_the_first_amplification_that_changes_the_decision_is_taken():
    scores = np.array([[0.5, 0.2, 0.4, 0.1], [0.9, 0.8, 0.7, 0.1], [0.9, 0.8, 0.7, 0.6]])
    assert choose_amplification(scores, threshold=0.3).tolist() == [1, 3, 2]


def test_the_model_decides_how_far_regions_are_amplified(model, region_pairs):
    assert [name.split(" x ")[1] for name in region_pairs.names] == ["1"] * 3
    model.threshold = -2.0
    try:
        patient = next(RegionPairs(part=3).chunks(model, 3, progress=False))
    finally:
        model.threshold = 2.0
    assert [name.split(" x ")[1] for name in patient.names] == ["2"] * 3
    assert (patient.probe == region_pairs.probe).all() and (patient.gallery != region_pairs.gallery).any()
    np.testing.assert_allclose(patient.drop, 1 - patient.score)


def test_images_are_read_from_the_cache_and_only_those_asked_for_are_made(region_pairs, model, monkeypatch):
    monkeypatch.setattr("facexai.datasets.rendered.render_many", None)
    again = next(RegionPairs(part=3).chunks(model, 2, progress=False))
    assert len(again) == again.total == 2
    torch.testing.assert_close(again.gallery, region_pairs.gallery[:2], rtol=0, atol=0)
    with pytest.raises(TypeError):  # the second part is not there yet
        list(RegionPairs(part=3).chunks(model, 4, progress=False))


def test_pairs_come_in_chunks(monkeypatch):
    monkeypatch.setattr(
        "facexai.benchmarks.true_pairs.rendered_once", lambda *_, **__: np.zeros((40, 2, 2, 3), np.uint8)
    )
    parts = list(TwoPhotos(part=20, pairs=37).render(lambda number: [], limit=None, size=(2, 2)))
    assert [len(numbers) for numbers, _ in parts] == [CHUNK, 4, CHUNK, 1]
    assert np.concatenate([numbers for numbers, _ in parts]).tolist() == list(range(37))
    assert parts[0][1].shape == (CHUNK, 2, 2, 2, 3)


def test_people_are_not_those_of_training_sets_and_protocols():
    seeds = [RegionPairs.seed, OccluderPairs.seed, TwoPhotos.seed]
    assert min(seeds) >= 1100 and len(set(seeds)) == 3
    people = {
        source.jobs(number)[0][0] for source in (RegionPairs(), OccluderPairs(), TwoPhotos()) for number in (0, 1)
    }
    assert len(people) == 6


# Occluders


def test_the_truth_is_the_occluder(occluder_pairs):
    truth = occluder_pairs.truth
    on_gallery = np.array(["gallery" in name for name in occluder_pairs.names])
    assert on_gallery.tolist() == [False] * 4 + [True] * 4
    assert torch.isfinite(truth).all(-1).all(-1).tolist() == [[True, False]] * 4 + [[False, True]] * 4
    images, before = occluder_pairs.images, occluder_pairs.before
    for pair, side in enumerate(on_gallery.astype(int)):
        assert (images[pair, 1 - side] == before[pair, 1 - side]).all()
        changed = (images[pair, side] - before[pair, side]).abs().mean(0) > 0.1
        mask = truth[pair, side] == 1
        assert 0.01 < mask.float().mean() < 0.6
        assert changed[mask].float().mean() > 0.7
        assert changed[~mask].float().mean() < 0.1  # what is left are shadows


def test_every_kind_of_occluder_comes_up(occluder_pairs):
    kinds = [name.split()[0] for name in occluder_pairs.names]
    assert kinds == ["mask", "sunglasses", "scarf", "hat"] * 2


def test_only_the_occluder_tells_the_two_photos_apart():
    bare, occluded, other = OccluderPairs().jobs(5)
    assert bare[0] == occluded[0] == other[0]
    assert bare[1].occluder is None and other[1].occluder is None and occluded[1].occluder == "sunglasses"
    fields = {name for name, value in vars(bare[1]).items() if value != getattr(occluded[1], name)}
    assert fields == {"occluder", "occluder_variant", "occluder_colour"}


# Patches


def noise_set(genuine: list[bool], fold: list[int]) -> VerificationSet:
    """Pair i has the images 2 i and 2 i + 1, all different."""
    images = np.random.default_rng(0).integers(0, 256, (2 * len(fold), 112, 112, 3), dtype=np.uint8)
    rows = np.arange(len(images))
    return VerificationSet("noise", images, rows[::2], rows[1::2], np.array(genuine), np.array(fold))


LISTED = noise_set([True, False, True, True, False, True], [0, 0, 0, 1, 1, 1])


def test_a_patch_changes_its_square_and_nothing_else(model):
    pairs = next(PatchPairs(LISTED).chunks(model))
    clean = load_images(LISTED, LISTED.probe[pairs.number], model)
    changed = (pairs.probe != clean).any(1)  # (P, H, W)
    assert pairs.number.tolist() == [0, 2, 3, 5] and pairs.genuine.all()
    assert (pairs.truth[:, 0].bool() == changed).all() and pairs.truth[:, 1].isnan().all()
    assert changed.sum((1, 2)).tolist() == [256] * 4
    for mask in changed:
        rows, columns = np.nonzero(mask.numpy())
        assert np.ptp(rows) == np.ptp(columns) == 15
        assert 28 <= rows.min() and rows.max() < 108 and 20 <= columns.min() and columns.max() < 92


def test_a_patch_is_a_stranger_s_at_the_same_place(model):
    pairs = next(PatchPairs(LISTED).chunks(model))
    strangers = load_images(LISTED, LISTED.probe[stranger_rows(LISTED, pairs.number, 42)], model)
    inside = pairs.truth[:, :1].bool().expand(-1, 3, -1, -1)
    assert (pairs.probe[inside] == strangers[inside]).all()
    torch.testing.assert_close(pairs.gallery, load_images(LISTED, LISTED.gallery[pairs.number], model))


def test_a_stranger_comes_from_another_fold():
    rows = np.arange(6)
    for seed in range(5):
        assert (LISTED.fold[stranger_rows(LISTED, rows, seed)] != LISTED.fold[rows]).all()
    with pytest.raises(InputError, match="two folds"):
        stranger_rows(noise_set([True, False], [0, 0]), np.array([0]), 42)


def test_patches_of_a_pair_depend_on_its_number_and_the_seed_alone(model):
    few = next(PatchPairs(LISTED).chunks(model, 2))
    all_pairs = next(PatchPairs(LISTED).chunks(model))
    rows = np.isin(all_pairs.number, few.number)
    assert len(few) == 2 and (all_pairs.probe[rows] == few.probe).all()
    other = next(PatchPairs(LISTED, seed=1).chunks(model))
    assert (other.truth[:, 0] != all_pairs.truth[:, 0]).any()


def test_the_recipe_of_patch_lfw(model):
    pairs = next(PatchPairs(LISTED, count=27, box=None).chunks(model))
    share = pairs.truth[:, 0].mean().item()
    assert 0.3 < share < 0.55
    assert pairs.truth[:, 0, :28].any()  # above the face as well


def test_the_partner_can_be_the_probe_without_patches(model):
    pairs = next(PatchPairs(LISTED, partner="self").chunks(model))
    differ = (pairs.probe != pairs.gallery).any(1)
    assert (differ == pairs.truth[:, 0].bool()).all()
    np.testing.assert_allclose(pairs.drop, 1 - pairs.score, atol=1e-6)


def test_rendered_patches_need_no_faces_of_the_user(model):
    source = PatchPairs(rendering=TwoPhotos(part=2))
    pairs = next(source.chunks(model, 2, progress=False))
    person, mate, stranger = (job[0] for job in TwoPhotos().jobs(0))
    assert person == mate != stranger
    assert pairs.rendered and pairs.total == 2
    changed = (pairs.probe != pairs.before[:, 0]).any(1)
    assert 0 < changed.sum() and not (changed & ~pairs.truth[:, 0].bool()).any()


@pytest.mark.parametrize("size", [0, 73])
def test_a_patch_must_fit_into_its_box(size: int):
    with pytest.raises(InputError, match="must fit into its box"):
        PatchPairs(size=size).places(0)


def test_patches_need_genuine_pairs():
    with pytest.raises(InputError, match="no genuine pairs"):
        patches.genuine_rows(noise_set([False, False], [0, 1]), None)


# Thresholds


def test_without_a_calibrated_threshold_strangers_give_one():
    model = build("tutorial")
    model.threshold = 0.25
    strangers = torch.eye(3)[[0, 0, 1]]  # scores 1, 0, 0
    assert decision_threshold(model, strangers) == 0.25
    model.threshold = None
    assert decision_threshold(model, strangers) == pytest.approx(0.98)
    assert decision_threshold(model, strangers[:1]) == 0


def test_measured_difference_by_hand():
    probe, gallery = np.zeros((1, 1, 2, 3), np.uint8), np.array([[[[0, 255, 0], [0, 0, 0]]]], np.uint8)
    np.testing.assert_allclose(regions.measured_difference(probe, gallery), [[[1 / 3, 0]]], rtol=1e-6)

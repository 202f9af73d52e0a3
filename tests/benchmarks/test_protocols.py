"""Rendered protocols: nobody in two folds, no pair twice, labels that tell the truth."""

import hashlib
from dataclasses import fields, replace

import numpy as np
import pytest

from facexai.benchmarks import BENCHMARKS, RenderedProtocol, protocols
from facexai.errors import InputError

SMALL = RenderedProtocol("small", (0, 10), (70, 90), identities=3, images=2, pairs=8, folds=3, seed=1234)
NAMES = ["synthetic-lfw", "synthetic-cfp-ff", "synthetic-cfp-fp"]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("FACEXAI_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield SMALL.load(progress=False)
    patch.undo()


def person_and_side(row):
    person, rest = np.divmod(row, 2 * SMALL.images)
    return person, rest // SMALL.images


def test_genuine_pairs_show_one_person_and_impostor_pairs_two(rendered):
    (probe, probe_side), (gallery, gallery_side) = person_and_side(rendered.probe), person_and_side(rendered.gallery)
    assert np.array_equal(probe == gallery, rendered.genuine)
    assert (probe_side == 0).all()
    assert (gallery_side == 1).all()


def test_nobody_is_in_two_folds_and_no_pair_occurs_twice(rendered):
    for row in (rendered.probe, rendered.gallery):
        assert np.array_equal(person_and_side(row)[0] // SMALL.identities, rendered.fold)
    assert len(set(zip(rendered.probe, rendered.gallery, strict=True))) == len(rendered.probe) == 3 * 16
    assert rendered.genuine.sum() == 24


def test_jobs_have_the_asked_yaw_and_another_hair_and_nothing_else_changed():
    jobs = list(SMALL._jobs())
    own, other = jobs[0][0], jobs[SMALL.images][0]
    assert not np.array_equal(own.region("hair"), other.region("hair"))
    assert all(np.array_equal(own.region(r), other.region(r)) for r in ("eyes", "nose", "mouth", "skin"))
    yaws = np.abs([nuisance.yaw for _, nuisance in jobs]).reshape(-1, 2, SMALL.images)
    assert yaws[:, 0].max() <= 10
    assert (yaws[:, 1].min() >= 70) & (yaws[:, 1].max() <= 90)


def test_images_come_from_the_cache_the_second_time(rendered, monkeypatch):
    from facexai.datasets import rendered as module

    def forbidden(*_, **__):
        raise AssertionError("rendered again")

    monkeypatch.setattr(module, "render_many", forbidden)
    assert np.array_equal(SMALL.load(progress=False).images, rendered.images)
    with pytest.raises(AssertionError, match="rendered again"):
        replace(SMALL, strength=0.5).load(progress=False)


@pytest.mark.parametrize("name", NAMES)
def test_the_named_protocols_have_ten_folds_and_other_people_than_training(name):
    protocol = BENCHMARKS[name]
    assert (protocol.folds, protocol.strength, protocol.name) == (10, 1.0, name)
    assert protocol.seed >= 1000


def test_frontal_and_profile_twins_show_the_same_people():
    frontal, profile = (BENCHMARKS[name] for name in NAMES[1:])
    assert next(iter(frontal._jobs()))[0] == next(iter(profile._jobs()))[0]
    assert next(iter(frontal._jobs()))[0] != next(iter(BENCHMARKS["synthetic-lfw"]._jobs()))[0]


@pytest.mark.parametrize(
    ("name", "probe_yaw", "gallery_yaw", "probe_age", "gallery_age"),
    [
        ("synthetic-cplfw", (0, 45), (30, 75), None, None),
        ("synthetic-calfw", (0, 20), (0, 20), (0, 0.15), (0.7, 1)),
        ("synthetic-agedb", (0, 45), (0, 45), (0, 0.15), (0.7, 1)),
        ("synthetic-yaw", (0, 90), (0, 8), None, None),
    ],
)
def test_twins_have_the_asked_yaws_and_ages(name, probe_yaw, gallery_yaw, probe_age, gallery_age):
    protocol = replace(BENCHMARKS[name], identities=6, folds=2)
    shots = np.array([(abs(shot.yaw), shot.age) for _, shot in protocol._jobs()]).reshape(-1, 2, protocol.images, 2)
    for side, (yaw, age) in enumerate(((probe_yaw, probe_age), (gallery_yaw, gallery_age))):
        yaws, ages = shots[:, side, :, 0], shots[:, side, :, 1]
        assert yaw[0] <= yaws.min() and yaws.max() <= yaw[1]
        assert yaws.max() - yaws.min() > 0.6 * (yaw[1] - yaw[0])
        if age:
            assert age[0] <= ages.min() and ages.max() <= age[1]
            assert ages.max() - ages.min() > 0.6 * (age[1] - age[0])


def test_poses_are_those_of_the_images_one_by_one():
    protocol = replace(BENCHMARKS["synthetic-yaw"], identities=2, folds=1)
    poses, turned = protocol.poses(), [shot.yaw for _, shot in protocol._jobs()]
    assert poses.shape == (2 * 2 * protocol.images, 3)
    assert poses[:, 0] == pytest.approx(turned, abs=1e-4)
    assert np.abs(poses[:, 2]).max() < 15  # aligned: little roll is left


def test_impostors_of_the_hard_twin_share_skin_and_hair_and_nothing_else():
    protocol = replace(BENCHMARKS["synthetic-hard"], identities=8, folds=2, pairs=30)
    looks = [identity for identity, _ in protocol._jobs()][:: protocol.images]  # two of each person
    for first, second in zip(looks[::2], looks[1::2], strict=True):
        assert first == second
    people = looks[::2]
    for region, alike in (("skin", True), ("hair", True), ("eyes", False), ("nose", False), ("mouth", False)):
        assert all(np.array_equal(people[k].region(region), people[k + 1].region(region)) == alike for k in (0, 2, 4))
        assert not np.array_equal(people[0].region(region), people[4].region(region))
    probe, gallery, same = protocol._pairs(1)
    per_person = 2 * protocol.images
    assert np.array_equal(probe // per_person == gallery // per_person, same)
    assert np.array_equal(probe // per_person // 4, gallery // per_person // 4)  # impostors too
    assert (same.sum(), len(set(zip(probe, gallery, strict=True)))) == (protocol.pairs, 2 * protocol.pairs)


def test_in_the_occluded_twin_something_hides_every_face():
    protocol = replace(BENCHMARKS["synthetic-occluded"], identities=10, folds=1)
    kinds = [nuisance.occluder for _, nuisance in protocol._jobs()]
    assert None not in kinds and len(set(kinds)) > 2
    ordinary = replace(BENCHMARKS["synthetic-lfw"], identities=10, folds=1)
    assert [nuisance.occluder for _, nuisance in ordinary._jobs()].count(None) > 30


def digest(protocol) -> str:
    """Of what the first people of a protocol are rendered from, to four digits."""
    numbers = []
    for identity, nuisance in replace(protocol, folds=1, identities=2)._jobs():
        numbers += [*identity.vector, nuisance.yaw, nuisance.pitch, nuisance.roll, nuisance.age]
    return hashlib.sha256((np.round(numbers, 4) + 0.0).astype(np.float32).tobytes()).hexdigest()[:12]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("synthetic-lfw", "a6a73ca8a2bf"),
        ("synthetic-cfp-ff", "508beeb369f7"),
        ("synthetic-cfp-fp", "4acac7e49501"),
    ],
)
def test_published_figures_are_of_the_faces_that_are_rendered_today(name, expected):
    """These digests were printed by the code that the published figures come from."""
    assert digest(BENCHMARKS[name]) == expected


def test_options_that_came_later_do_not_move_the_cache_of_older_protocols(monkeypatch):
    recipes = []
    monkeypatch.setattr(protocols, "rendered_once", lambda recipe, *_, **__: recipes.append(recipe))
    for name in ("synthetic-lfw", "synthetic-calfw"):
        BENCHMARKS[name].load()
    first, later = ({*recipe} for recipe in recipes)
    assert later - first == {"probe_age", "gallery_age"}
    came_later = {"probe_age", "gallery_age", "alike"}
    assert first == {field.name for field in fields(RenderedProtocol)} - came_later | {"kind"}


def test_protocols_know_who_is_in_each_image(rendered):
    assert np.array_equal(rendered.identity[rendered.probe], person_and_side(rendered.probe)[0])
    assert np.array_equal(rendered.identity[rendered.probe] == rendered.identity[rendered.gallery], rendered.genuine)
    some = rendered.limited(12)
    assert np.array_equal(some.identity[some.probe] == some.identity[some.gallery], some.genuine)


def test_pairs_says_what_it_needs():
    with pytest.raises(InputError, match="--pairs CSV --images DIR"):
        BENCHMARKS["pairs"].load()
    with pytest.raises(InputError, match="unknown benchmark 'lfv'"):
        BENCHMARKS["lfv"]

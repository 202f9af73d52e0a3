import numpy as np
import pytest

from facexai.errors import InputError
from facexai.rendering import REGIONS, Identity, sample_identity, swap_regions
from facexai.rendering.shape import head_shape


def test_a_seed_names_one_person():
    assert sample_identity(7) == sample_identity(7)
    assert hash(sample_identity(7)) == hash(sample_identity(7))
    assert sample_identity(7) != sample_identity(8)


def test_a_generator_goes_on_drawing():
    generator = np.random.default_rng(7)
    first, second = sample_identity(generator), sample_identity(generator)
    assert first == sample_identity(7)
    assert first != second


def test_regions_partition_the_vector():
    identity = sample_identity(0)
    np.testing.assert_array_equal(np.concatenate([identity.region(name) for name in REGIONS]), identity.vector)


def test_the_vector_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        sample_identity(0).vector[0] = 1.0


def test_dark_skin_goes_with_dark_hair_in_the_sampler():
    people = [sample_identity(seed) for seed in range(300)]
    melanin = [person.named("skin").melanin for person in people]
    assert np.corrcoef(melanin, [person.named("hair").tone for person in people])[0, 1] > 0.5
    assert abs(np.corrcoef(melanin, [person.named("eyes").spacing for person in people])[0, 1]) < 0.2


@pytest.mark.parametrize("region", ["hair", "skin", "ears"])
def test_painted_regions_do_not_move_the_skin(region):
    identity, other = sample_identity(1), sample_identity(2)
    np.testing.assert_array_equal(head_shape(swap_regions(identity, other, region)), head_shape(identity))


@pytest.mark.parametrize("region", ["eyes", "brows", "nose", "mouth", "jaw", "cheeks", "forehead"])
def test_shaped_regions_move_the_skin(region):
    identity, other = sample_identity(1), sample_identity(2)
    moved = np.linalg.norm(head_shape(swap_regions(identity, other, region)) - head_shape(identity), axis=-1)
    assert moved.max() > 0.5  # mm
    assert np.median(moved) < 0.05  # most of the head stays


@pytest.mark.parametrize(
    "vector", [np.zeros(5), np.zeros((112, 1)), np.full(112, np.nan)], ids=["short", "column", "not finite"]
)
def test_bad_vectors_are_refused(vector):
    with pytest.raises(InputError, match="112 finite numbers"):
        Identity(vector)


def test_unknown_region_names_the_known_ones():
    with pytest.raises(InputError, match=r"unknown region 'chin'.*jaw"):
        sample_identity(0).region("chin")

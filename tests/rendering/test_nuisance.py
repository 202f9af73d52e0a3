from dataclasses import fields, replace

import numpy as np
import pytest

from facexai.errors import InputError
from facexai.rendering import OCCLUDERS, Nuisance, sample_nuisance


def test_a_seed_names_one_set_of_circumstances():
    assert sample_nuisance(3) == sample_nuisance(3)
    assert sample_nuisance(3) != sample_nuisance(4)


def test_strength_zero_differs_in_background_and_distance_only():
    drawn = sample_nuisance(np.random.default_rng(0), strength=0, yaw=0.0)
    neutral = Nuisance()
    free = {"background", "distance", "grain", "landmark_jitter", "light_direction"}
    for field in fields(Nuisance):
        if field.name not in free:
            assert getattr(drawn, field.name) == pytest.approx(getattr(neutral, field.name)), field.name
    assert drawn.background != neutral.background
    np.testing.assert_array_equal(drawn.landmark_jitter, 0)


def test_yaw_is_uniform_unless_asked_for():
    generator = np.random.default_rng(0)
    anywhere = np.array([sample_nuisance(generator).yaw for _ in range(400)])
    assert anywhere.min() < -80 and anywhere.max() > 80 and abs(anywhere.mean()) < 8
    about = np.array([sample_nuisance(generator, yaw=45.0).yaw for _ in range(400)])
    assert about.mean() == pytest.approx(45, abs=1) and about.std() == pytest.approx(4, abs=0.5)


def test_occlusion_is_a_probability():
    generator = np.random.default_rng(0)
    kinds = [sample_nuisance(generator, occlusion=0.5).occluder for _ in range(400)]
    assert np.mean([kind is not None for kind in kinds]) == pytest.approx(0.5, abs=0.07)
    assert set(kinds) == {None, *OCCLUDERS}
    assert all(sample_nuisance(generator, occlusion=0).occluder is None for _ in range(50))


def test_noise_grows_with_strength():
    weak = [sample_nuisance(np.random.default_rng(seed), 0.5) for seed in range(50)]
    strong = [sample_nuisance(np.random.default_rng(seed), 1.5) for seed in range(50)]
    for name in ("noise", "age", "pitch"):
        assert np.std([getattr(n, name) for n in strong]) > 2 * np.std([getattr(n, name) for n in weak])


def test_bad_circumstances_are_refused():
    with pytest.raises(InputError, match=r"unknown occluder 'veil'.*mask"):
        Nuisance(occluder="veil")
    with pytest.raises(InputError, match="finite"):
        Nuisance(yaw=float("nan"))
    with pytest.raises(InputError, match="light_direction"):
        replace(Nuisance(), light_direction=(0, 0, 0))
    with pytest.raises(InputError, match="strength"):
        sample_nuisance(0, strength=-1)
    with pytest.raises(InputError, match="occlusion"):
        sample_nuisance(0, occlusion=2)

import subprocess
import sys

import numpy as np
import pytest

from facexai.errors import InputError
from facexai.rendering import measure_throughput, render, render_many, sample_identity, sample_nuisance


@pytest.fixture(scope="module")
def jobs():
    generator = np.random.default_rng(0)
    return [(sample_identity(int(seed)), sample_nuisance(generator)) for seed in (3, 1, 3, 2, 1, 3)]


def test_order_does_not_depend_on_identities(jobs):
    images = render_many(jobs, workers=0, size=64)
    for image, (identity, nuisance) in zip(images, jobs, strict=True):
        np.testing.assert_array_equal(image, render(identity, nuisance, size=64).image)


def test_other_processes_render_the_same_images(jobs):
    np.testing.assert_array_equal(render_many(jobs, workers=2, size=64), render_many(jobs, workers=0, size=64))


def test_a_script_without_a_main_guard_renders_once(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "print('started')\n"
        "from facexai.rendering import Nuisance, render_many, sample_identity\n"
        "print(render_many([(sample_identity(seed), Nuisance()) for seed in (1, 2)], workers=2, size=32).shape)\n"
    )
    result = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=500)
    assert result.stdout.split("\n") == ["started", "(2, 32, 32, 3)", ""], result.stderr


def test_no_jobs_no_images():
    assert render_many([], workers=2, size=32).shape == (0, 32, 32, 3)


def test_it_is_silent_without_a_terminal(jobs, capsys):
    render_many(jobs[:2], workers=0, size=32)
    assert capsys.readouterr() == ("", "")


def test_negative_workers_are_refused(jobs):
    with pytest.raises(InputError, match="workers must be 0 or more"):
        render_many(jobs, workers=-1)


def test_bad_sizes_are_refused_before_workers_start(jobs):
    with pytest.raises(InputError, match="size must be 16 to 1024"):
        render_many(jobs, workers=2, size=8)


def test_throughput_is_measured():
    measured = measure_throughput(workers=0, count=40, size=32)
    assert measured["images"] == 40 and measured["images_per_second"] > 1
    with pytest.raises(InputError, match="at least 40"):
        measure_throughput(count=3)


def test_an_image_can_be_framed_as_another_identity():
    person, other, nuisance = sample_identity(1), sample_identity(2), sample_nuisance(5, 0.5, yaw=10)
    image, own = render_many([(other, nuisance, person), (other, nuisance)], workers=0, size=64)
    alignment = render(person, nuisance, size=64).alignment
    np.testing.assert_array_equal(image, render(other, nuisance, size=64, alignment=alignment).image)
    assert (image != own).any()


def test_labels_are_the_region_map(jobs):
    plain, labelled = (render_many(jobs[:2], workers=0, size=64, labels=labels) for labels in (False, True))
    np.testing.assert_array_equal(labelled[..., :3], plain)
    for image, (identity, nuisance) in zip(labelled, jobs[:2], strict=True):
        np.testing.assert_array_equal(image[..., 3], render(identity, nuisance, size=64).regions)


def test_an_image_can_be_framed_by_an_alignment(jobs):
    identity, nuisance = jobs[0]
    alignment = np.array([[0.4, 0.0, 50.0], [0.0, 0.4, 60.0]])
    (image,) = render_many([(identity, nuisance, alignment)], workers=0)
    np.testing.assert_array_equal(image, render(identity, nuisance, alignment=alignment).image)

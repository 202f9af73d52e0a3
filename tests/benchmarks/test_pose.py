"""Errors of pose networks: known answers, bins, circles, and intervals over people."""

import numpy as np
import pytest
import torch

from facexai.benchmarks import UNSEEN, PoseSet, measure_pose_error
from facexai.benchmarks.pose import angular_distance
from facexai.benchmarks.statistics import bootstrap_interval, cluster_interval
from facexai.errors import InputError
from facexai.models.hopenet import PoseEstimate
from facexai.training import PRESETS


class Reader:
    """Reads the yaw off the first pixel and is wrong by as much as it is told."""

    name = "reader"

    def __init__(self, *wrong: float) -> None:
        self.wrong = torch.tensor(wrong)

    def __call__(self, images):
        yaw = (images[:, 0, 0, 0] + 1) * 127.5 - 100
        angles = torch.stack([yaw, 0 * yaw, 0 * yaw], dim=1)
        return PoseEstimate(angles, angles + self.wrong)


@pytest.fixture
def data() -> PoseSet:
    yaws = np.array([-90, -70, -20, 0, 14, 15, 60, 90])
    images = np.broadcast_to((yaws + 100).astype(np.uint8)[:, None, None, None], (8, 4, 4, 3))
    poses = np.stack([yaws, 0 * yaws, 0 * yaws], axis=1).astype(np.float32)
    return PoseSet("eight", images, poses, np.array([0, 0, 1, 1, 2, 2, 3, 3]), rendered=True)


def test_errors_and_bins_by_hand(data):
    report = measure_pose_error(Reader(3.0, -2.0, 0.0), data, batch_size=3, progress=False)
    assert [row.images for row in report.bins] == [2, 2, 0, 0, 2, 2]
    assert [row.images for row in report.within] == [4, 8]  # below 60, up to 90
    for row in (*report.within, report.bins[0]):
        assert [interval.mean for interval in row.errors] == pytest.approx([3.0, 2.0, 0.0], abs=1e-4)
        assert row.errors[0].ci95 == pytest.approx([3.0, 3.0], abs=1e-4)
    assert (report.images, report.identities, report.model) == (8, 4, "reader")


def test_json_and_table_say_the_same(data):
    report = measure_pose_error(Reader(1.0, 0.0, 0.0), data, progress=False)
    figures = report.to_json()
    assert figures["benchmark"] == "eight" and figures["rendered"] is True
    assert figures["within"][1]["yaw"]["mae"] == pytest.approx(1.0, abs=1e-4)
    assert figures["bins"][2] == {"from": 30.0, "to": 45.0, "images": 0}
    assert "75 - 90" in report.table() and "rendered faces; not to be compared with photos" in report.table()


def test_angles_are_on_a_circle():
    assert angular_distance(np.array([179.0, -5.0, 10.0]), np.array([-179.0, 5.0, 10.0])).tolist() == [2.0, 10.0, 0.0]


def test_an_empty_set_is_refused():
    with pytest.raises(InputError, match="holds no faces"):
        measure_pose_error(Reader(0.0, 0.0, 0.0), PoseSet("none", [], np.zeros((0, 3)), np.zeros(0)), progress=False)


def test_nobody_is_in_training_and_in_the_test():
    seeds = {config.data_seed for config in map(PRESETS.__getitem__, PRESETS) if hasattr(config, "data_seed")}
    assert UNSEEN.seed not in seeds and UNSEEN.strength == (1.0, 1.0) and UNSEEN.loose == 0.0


def test_an_interval_over_people_with_one_image_each_is_that_over_images():
    values = np.random.default_rng(0).normal(size=50)
    assert cluster_interval(values, np.arange(50)).ci95 == pytest.approx(bootstrap_interval(values).ci95)


def test_images_that_repeat_a_person_do_not_narrow_the_interval():
    values = np.random.default_rng(0).normal(size=50)
    once, often = cluster_interval(values, np.arange(50)), cluster_interval(np.repeat(values, 9), np.arange(450) // 9)
    assert often.ci95 == pytest.approx(once.ci95) and often.mean == pytest.approx(values.mean())
    assert np.isnan(cluster_interval(np.array([]), np.array([])).mean)

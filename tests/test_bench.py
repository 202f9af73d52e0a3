"""Measurements compare what they say they compare."""

import sys
from pathlib import Path

import pytest
import torch

from facexai import bench
from facexai.models import build

sys.path.append(str(Path(__file__).parent / "explainers"))
from explainer_toys import tiny_recognizer


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """A clock that only moves when a step says so."""
    now = [0.0]
    monkeypatch.setattr(bench.time, "process_time", lambda: now[0])
    monkeypatch.setattr(bench.time, "perf_counter", lambda: 2 * now[0])
    return now


def test_steps_take_turns_and_are_timed_once_each(clock, monkeypatch):
    calls = []

    def step(name: str, seconds: float):
        def run() -> torch.Tensor:
            calls.append(name)
            clock[0] += seconds
            return torch.zeros(())

        return run

    monkeypatch.setattr(bench, "REPEATS", {"slow": 1, "fast": 2})
    seconds = bench.interleaved({"slow": step("slow", 3.0), "fast": step("fast", 0.5)}, rounds=2)
    assert calls == ["slow", "fast", "fast"] * 2
    assert seconds == {"slow": [(3.0, 6.0)] * 2, "fast": [(0.5, 1.0)] * 2}


def test_ratios_are_medians_over_the_rounds():
    seconds = {"slow": [(6.0, 10.0), (8.0, 10.0), (50.0, 10.0)], "fast": [(1.0, 5.0), (2.0, 5.0), (1.0, 2.0)]}
    assert bench.ratios(seconds, "slow", "fast") == {"slow_over_fast_process": 6.0, "slow_over_fast_wall": 2.0}
    assert bench.summary(seconds["slow"])["process_s"] == 8.0
    assert bench.summary(seconds["slow"])["wall_s_max"] == 10.0


def test_a_matrix_product_has_two_operations_for_each_multiplication():
    assert bench.count_flops(lambda: torch.ones(3, 4) @ torch.ones(4, 5)) == 2 * 3 * 4 * 5


def test_random_networks_are_calibrated_and_leave_the_random_state_alone(monkeypatch):
    monkeypatch.setattr(bench, "build", lambda name: build("ddfv-iresnet", blocks=(1, 1, 1, 1), widths=(8, 8, 8, 16)))
    before = torch.get_rng_state()
    model = bench.calibrated_recognizer("small")
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(module.training for module in model.modules())
    features = model.features(bench.random_faces(4, seed=5, size=(112, 112)))
    assert 0.3 < float(features.detach().std()) < 3


def test_the_three_forms_are_measured_and_agree(monkeypatch):
    monkeypatch.setattr(bench, "calibrated_recognizer", lambda architecture: tiny_recognizer())
    monkeypatch.setattr(bench, "REPEATS", dict.fromkeys(bench.REPEATS, 1))
    threads = torch.get_num_threads()
    result = bench.bench_explain(rounds=1, threads=1)
    assert torch.get_num_threads() == threads
    assert result["largest_residual_difference"] < 1e-5
    assert result["largest_map_difference"] < 1e-4
    assert result["literal_over_local_process"] > 1
    assert result["local_process_s_min"] == result["local_process_s"] == result["local_process_s_max"]
    assert all(isinstance(value, int | float | str) for value in result.values())


def test_time_inside_a_method_is_counted_while_the_block_runs(clock):
    class Slow:
        def work(self, seconds):
            clock[0] += seconds
            return seconds

    slow = Slow()
    with bench.timed(slow, "work") as seconds:
        assert slow.work(2.0) == 2.0
        slow.work(1.0)
        clock[0] += 10
    slow.work(5.0)
    assert seconds == {"process": 3.0, "wall": 6.0}


def test_the_hiding_game_is_mostly_the_network(monkeypatch):
    monkeypatch.setattr(bench, "calibrated_recognizer", lambda architecture: tiny_recognizer())
    result = bench.bench_hiding_game(pairs=4, threads=1)
    assert result["images_per_pair"] == 38
    assert 0 < result["forward_share_process"] < 1
    assert result["wall_s_per_pair"] > 0

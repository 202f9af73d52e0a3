"""Measurements compare what they say they compare."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from facexai.bench import (
    bench_explain,
    bench_frontalize,
    bench_hiding_game,
    embed,
    explain,
    frontalize,
    hiding_game,
    networks,
    records,
    timing,
)
from facexai.models import ReconstructionDecoder, build
from facexai.models.hopenet import HopeNet

sys.path.append(str(Path(__file__).parent / "explainers"))
from explainer_toys import tiny_recognizer


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """A clock that only moves when a step says so."""
    now = [0.0]
    monkeypatch.setattr(timing.time, "process_time", lambda: now[0])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: 2 * now[0])
    return now


def test_steps_take_turns_and_are_timed_once_each(clock):
    calls = []

    def step(name: str, seconds: float):
        def run() -> torch.Tensor:
            calls.append(name)
            clock[0] += seconds
            return torch.zeros(())

        return run

    seconds = timing.interleaved({"slow": step("slow", 3.0), "fast": step("fast", 0.5)}, 2, {"fast": 2})
    assert calls == ["slow", "fast", "fast"] * 2
    assert seconds == {"slow": [(3.0, 6.0)] * 2, "fast": [(0.5, 1.0)] * 2}


def test_ratios_are_medians_over_the_rounds():
    seconds = {"slow": [(6.0, 10.0), (8.0, 10.0), (50.0, 10.0)], "fast": [(1.0, 5.0), (2.0, 5.0), (1.0, 2.0)]}
    assert timing.ratios(seconds, "slow", "fast") == {"slow_over_fast_process": 6.0, "slow_over_fast_wall": 2.0}
    assert timing.summary(seconds["slow"])["process_s"] == 8.0
    assert timing.summary(seconds["slow"])["wall_s_max"] == 10.0


def test_a_matrix_product_has_two_operations_for_each_multiplication():
    assert timing.count_flops(lambda: torch.ones(3, 4) @ torch.ones(4, 5)) == 2 * 3 * 4 * 5


def test_random_networks_are_calibrated_and_leave_the_random_state_alone(monkeypatch):
    monkeypatch.setattr(
        networks, "build", lambda name: build("ddfv-iresnet", blocks=(1, 1, 1, 1), widths=(8, 8, 8, 16))
    )
    before = torch.get_rng_state()
    model = networks.calibrated_recognizer("small")
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(module.training for module in model.modules())
    features = model.features(networks.random_faces(4, seed=5, size=(112, 112)))
    assert 0.3 < float(features.detach().std()) < 3


@pytest.fixture
def tiny(monkeypatch) -> None:
    """A network of seconds in place of one of minutes."""
    for module in (explain, hiding_game):
        monkeypatch.setattr(module, "calibrated_recognizer", lambda architecture: tiny_recognizer())
    monkeypatch.setattr(explain, "REPEATS", {})


def test_forms_and_methods_are_measured_and_agree(tiny):
    threads = torch.get_num_threads()
    result = bench_explain(rounds=1, threads=1)
    assert torch.get_num_threads() == threads
    assert result["largest_residual_difference"] < 1e-5
    assert result["largest_map_difference"] < 1e-4
    assert 0 < result["bf16_map_difference"] < 1e-2
    assert 0 < result["tolerance_map_difference"] <= result["tolerance_map_bound"]
    assert result["literal_over_local_process"] > 1
    assert result["local_process_s_min"] == result["local_process_s"] == result["local_process_s_max"]
    assert result["rise_over_ddfv_process"] == result["rise_process_s"] / result["ddfv_process_s"]
    assert "rise: 32 of 500 masks" in result["measured_in_part"]
    assert all(f"{name}_wall_s" in result for name in (*explain.CONTENDERS, "further-partner", "further-threshold"))
    assert all(isinstance(value, int | float | str) for value in result.values())


def test_only_what_grows_with_the_samples_is_multiplied():
    short, long = explain.Contender("gradient"), explain.Contender("rise", {}, "masks", measured=10, count=50)
    assert short.in_full([(3.0, 4.0)], [(1.0, 2.0)]) == [(3.0, 4.0)]
    assert long.in_full([(3.0, 4.0)], [(1.0, 2.0)]) == [(11.0, 12.0)]


@pytest.mark.parametrize(("cell", "sizes", "cut"), [((3, 4), (4, 10, 22), 0), ((0, 0), (3, 7, 15), 1)])
def test_the_arithmetic_of_the_windows_is_that_of_their_transposed_convolutions(cell, sizes, cut):
    """Of ones with ones, a transposed convolution counts its own multiplications."""
    decoder = ReconstructionDecoder(8)
    expected = 0
    for size, layer in zip(sizes, list(decoder.layers)[1:], strict=True):
        counts = nn.functional.conv_transpose2d(torch.ones(1, 1, size, size), torch.ones(1, 1, 4, 4), stride=2)
        expected += 2 * int(counts[..., cut:, cut:].sum()) * layer.in_channels * layer.out_channels
    features = torch.zeros(2, 8, 7, 7)
    features[..., cell[0], cell[1]] = 1
    assert explain.window_flops(features, decoder) == 16 * expected


def test_time_inside_a_method_is_counted_while_the_block_runs(clock):
    class Slow:
        def work(self, seconds):
            clock[0] += seconds
            return seconds

    slow = Slow()
    with timing.timed(slow, "work") as seconds:
        assert slow.work(2.0) == 2.0
        slow.work(1.0)
        clock[0] += 10
    slow.work(5.0)
    assert seconds == {"process": 3.0, "wall": 6.0}


def test_the_hiding_game_is_mostly_the_network(tiny):
    result = bench_hiding_game(pairs=4, threads=1)
    assert result["images_per_pair"] == 38
    assert 0 < result["forward_share_process"] < 1
    assert result["wall_s_per_pair"] > 0


def test_a_network_without_a_decoder_can_be_measured():
    model = networks.calibrated_recognizer("mobilefacenet")
    assert model.decoder is None and not model.training
    faces = networks.random_faces(8, seed=0, size=model.input_size)
    with torch.no_grad():
        assert 0.1 < float(model.pool(model.features(faces)).std()) < 10


def test_frontalization_is_measured_beside_the_recognizer_and_stage_2_in_full(monkeypatch):
    """On a network of 512 dimensions that is small otherwise."""
    small = build("ddfv-iresnet", blocks=(1, 1, 1, 1), widths=(4, 4, 8, 512), stem_stride=2).eval()
    small.decoder = None
    monkeypatch.setattr(frontalize, "calibrated_recognizer", lambda name: small)
    monkeypatch.setattr(frontalize, "HopeNet", lambda depth: HopeNet(10, size=32, stages=3))
    for name, value in {"PEOPLE": 110, "HELD_OUT": 16, "POSE_SIZE": 8}.items():
        monkeypatch.setattr(frontalize, name, value)
    found = bench_frontalize(rounds=1, batch=1, measured_epochs=1)
    assert found["stage_2_pairs"] == 550
    assert {key for key in found if key.endswith("over_recognizer_wall")} == {
        f"{part}_over_recognizer_wall" for part in ("frontalized", "fspfm", "hopenet", "hopenet-tutorial")
    }
    stages = [key for key in found if key.startswith("stage_2_") and key.endswith("process_s")]
    assert len(stages) == 4 and all(found[key] > 0 for key in stages)


def test_the_seconds_of_stage_2_are_those_of_its_epochs_times_their_number(monkeypatch):
    """Without the warm-up and without what comes before the first step."""
    now = [0.0]
    monkeypatch.setattr(frontalize.time, "process_time", lambda: now[0])
    monkeypatch.setattr(frontalize.time, "perf_counter", lambda: 2 * now[0])

    def learn(*_, log=lambda row: None, **__):
        now[0] += 100
        for _ in range(3):
            log({})
            now[0] += 3

    monkeypatch.setattr(frontalize, "finetune", learn)
    monkeypatch.setattr(frontalize, "prepare", lambda *_: None)
    seconds = frontalize.stage_2_seconds("paper-fspfm-2", "32-true", (None, None), measured=2)
    assert seconds == {"process_s": 2 * 3 * 25, "wall_s": 2 * 2 * 3 * 25}


def test_the_evaluation_loop_is_measured_beside_bare_passes(monkeypatch):
    monkeypatch.setattr(
        embed, "build", lambda architecture: build("ddfv-iresnet", blocks=(1,) * 4, widths=(4, 4, 8, 8))
    )
    monkeypatch.setattr(embed, "peak_of_pairs", lambda pairs, folder: float(pairs))
    result = embed.bench_embed(images=20, batch_size=8, rounds=1, threads=1)
    assert result["loop_share_of_bare_wall"] == result["bare_wall_s"] / result["loop_wall_s"]
    assert result["bare_images_per_s"] == 20 / result["bare_wall_s"]
    assert result["peak_mb_100000_pairs"] == 100_000


def test_a_pack_is_verified_in_a_process_of_its_own_size(tmp_path, monkeypatch):
    monkeypatch.setattr(embed, "POOL", 4)
    assert embed.peak_of_pairs(20, tmp_path) > 50


def test_records_are_opened_and_read(monkeypatch):
    result = records.bench_records(records=100, reads=30, images_per_identity=10)
    assert (result["records"], result["identities"]) == (100, 10)
    assert 0 < result["peak_mb_before"] <= result["peak_mb"]
    assert result["random_reads_per_process_s"] > 0

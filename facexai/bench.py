"""Speed, measured side by side in one run, so that a ratio means the same on any machine.

What is compared takes turns, round after round, and each ratio is the median over the rounds. Process time counts the
work of all threads and hardly minds what else the machine is doing; wall time is what one waits.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from facexai.benchmarks import HidingGame, Method, VerificationSet
from facexai.explainers.residuals import Algorithm, channel_residuals
from facexai.models import FaceRecognizer, build

ALGORITHMS: tuple[Algorithm, ...] = ("literal", "batched", "local")
REPEATS = {"literal": 1, "batched": 2, "local": 10, "gemm": 10}  # so that each takes a second or more
GEMM_SIZE = 2048


def bench_explain(rounds: int = 3, threads: int = 2) -> dict[str, Any]:
    """The explanation step of Algorithm 1 on IResNet-50: literal, batched and local.

    One step is one image: from its features to its map. The network has random weights, with BatchNorm statistics that
    bring its activations to order 1.

    Args:
        rounds: how often each algorithm takes its turn.
        threads: of torch, for the time of the measurement.

    Returns:
        Median, least and largest seconds for each algorithm, the ratios, how far residuals (before normalization) and
        maps lie apart in units of their maximum, and the time of the arithmetic of `local` at the rate of a matrix
        product.
    """
    model = calibrated_recognizer("ddfv-iresnet50")
    assert model.decoder is not None
    with torch.no_grad(), torch_threads(threads):
        features = model.features(random_faces(1, seed=1, size=model.input_size))[0]
        weights = torch.randn(len(features), generator=torch.Generator().manual_seed(2)) / len(features)
        square = torch.ones(GEMM_SIZE, GEMM_SIZE)
        steps = {name: explanation_step(features, model.decoder, weights, name) for name in ALGORITHMS}
        maps = {name: step() for name, step in steps.items()}  # also warms up
        residuals = {
            name: channel_residuals(features, model.decoder, name, normalization="none").stack() for name in ALGORITHMS
        }
        seconds = interleaved({**steps, "gemm": lambda: square @ square}, rounds)
        local_flops = count_flops(steps["local"])
    gemm_rate = 2 * GEMM_SIZE**3 / median(cpu for cpu, _ in seconds["gemm"])
    return {
        "network": f"ddfv-iresnet50, random weights, {len(features)} channels",
        "threads": threads,
        "rounds": rounds,
        **{f"{name}_{key}": value for name in ALGORITHMS for key, value in summary(seconds[name]).items()},
        **ratios(seconds, "literal", "local"),
        **ratios(seconds, "batched", "local"),
        "largest_residual_difference": relative_difference(residuals["local"], residuals["literal"]),
        "largest_map_difference": relative_difference(maps["local"], maps["literal"]),
        "local_gflop": local_flops / 1e9,
        "gemm_gflop_per_process_s": gemm_rate / 1e9,
        "local_floor_process_s": local_flops / gemm_rate,
    }


def bench_render() -> dict[str, Any]:
    """Rendered faces a second, at 112 pixels with full nuisance."""
    from facexai.rendering import measure_throughput

    return measure_throughput()


def bench_hiding_game(pairs: int = 64, threads: int = 2) -> dict[str, Any]:
    """The hiding game on the network `tutorial` with random weights: how much of the time is the network's own?

    Args:
        pairs: of random images, judged by random maps.
        threads: of torch, for the time of the measurement.

    Returns:
        Seconds a pair, images embedded a pair, and the share of the time inside the network's forward passes.
    """
    model = calibrated_recognizer("tutorial")
    images = random_faces(2 * pairs, seed=3, size=model.input_size)
    pixels = ((images + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    number = np.arange(pairs)
    game = HidingGame(VerificationSet("random", pixels, number, number + pairs, number % 2 == 0, number // 2 % 2))
    maps = torch.randn(pairs, 2, *model.input_size, generator=torch.Generator().manual_seed(4))
    chunks = list(game.chunks(model, progress=False))
    method = Method(lambda pair, model: maps[0])  # never called
    with torch_threads(threads):
        game.measure(model, chunks[0], maps[chunks[0].number], method)  # warms up
        with timed(model, "embed") as forward, timed(game, "measure") as whole:
            for chunk in tqdm(chunks, desc="hiding game", disable=None):
                game.measure(model, chunk, maps[chunk.number], method)
    return {
        "network": "tutorial, random weights",
        "threads": threads,
        "pairs": pairs,
        "images_per_pair": 2 * (len(game.fractions) - 1),
        "process_s_per_pair": whole["process"] / pairs,
        "wall_s_per_pair": whole["wall"] / pairs,
        "forward_share_process": forward["process"] / whole["process"],
        "forward_share_wall": forward["wall"] / whole["wall"],
    }


def explanation_step(
    features: Tensor, decoder: nn.Module, weights: Tensor, algorithm: Algorithm
) -> Callable[[], Tensor]:
    """From the features of one image to its map."""
    return lambda: channel_residuals(features, decoder, algorithm).weighted_sum(weights)


def interleaved(steps: dict[str, Callable[[], Tensor]], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Process and wall seconds of one run of each step, in each round."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for _ in tqdm(range(rounds), desc="rounds", disable=None):
        for name, step in steps.items():
            cpu, wall = time.process_time(), time.perf_counter()
            for _ in range(REPEATS[name]):
                step()
            elapsed = time.process_time() - cpu, time.perf_counter() - wall
            seconds[name].append((elapsed[0] / REPEATS[name], elapsed[1] / REPEATS[name]))
    return seconds


def summary(seconds: list[tuple[float, float]]) -> dict[str, float]:
    """Median, least and largest of one step."""
    cpu, wall = zip(*seconds, strict=True)
    return {
        "process_s": median(cpu),
        "process_s_min": min(cpu),
        "process_s_max": max(cpu),
        "wall_s": median(wall),
        "wall_s_min": min(wall),
        "wall_s_max": max(wall),
    }


def ratios(seconds: dict[str, list[tuple[float, float]]], slow: str, fast: str) -> dict[str, float]:
    """How many times as long `slow` takes: the median over the rounds, of process and of wall time."""
    pairs = list(zip(seconds[slow], seconds[fast], strict=True))
    return {
        f"{slow}_over_{fast}_process": median(one[0] / other[0] for one, other in pairs),
        f"{slow}_over_{fast}_wall": median(one[1] / other[1] for one, other in pairs),
    }


def calibrated_recognizer(architecture: str) -> FaceRecognizer:
    """A network with random weights whose activations are of order 1, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build(architecture)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0  # take the statistics of the one batch that follows
    with torch.no_grad():
        features = model.features(random_faces(8, seed=0, size=model.input_size))
        model.pool(features)
        model.reconstruct(features)
    return model.eval()


def random_faces(count: int, seed: int, size: tuple[int, int]) -> Tensor:
    """Smooth noise in place of faces: the work does not depend on what is seen. Shape (count, 3, H, W)."""
    coarse = torch.rand(count, 3, 14, 14, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return nn.functional.interpolate(coarse, size=size, mode="bilinear")


def count_flops(step: Callable[[], Tensor]) -> int:
    """Floating point operations of one run; a multiplication and an addition are two."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def relative_difference(values: Tensor, reference: Tensor) -> float:
    """Largest distance, in units of the largest value of the reference."""
    return float((values - reference).abs().max() / reference.abs().max())


@contextmanager
def timed(owner: Any, name: str) -> Iterator[dict[str, float]]:
    """Process and wall seconds spent in a method of this object while the block runs."""
    function, seconds = getattr(owner, name), {"process": 0.0, "wall": 0.0}

    def measured(*arguments: Any, **options: Any) -> Any:
        cpu, wall = time.process_time(), time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            seconds["process"] += time.process_time() - cpu
            seconds["wall"] += time.perf_counter() - wall

    vars(owner)[name] = measured  # past the class, which may be frozen
    try:
        yield seconds
    finally:
        del vars(owner)[name]


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """So many threads inside, as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)

"""Timing of steps that take turns, and counts of what they compute."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

Seconds = tuple[float, float]  # process, wall


def interleaved(
    steps: Mapping[str, Callable[[], object]], rounds: int, repeats: Mapping[str, int]
) -> dict[str, list[Seconds]]:
    """Process and wall seconds of one run of each step, in each round.

    Args:
        steps: what is compared.
        rounds: how often each takes its turn.
        repeats: how often each runs in one turn, so that it takes a second or more; once where not given.
    """
    seconds: dict[str, list[Seconds]] = {name: [] for name in steps}
    for _ in tqdm(range(rounds), desc="rounds", disable=None):
        for name, step in steps.items():
            count = repeats.get(name, 1)
            cpu, wall = time.process_time(), time.perf_counter()
            for _ in range(count):
                step()
            elapsed = time.process_time() - cpu, time.perf_counter() - wall
            seconds[name].append((elapsed[0] / count, elapsed[1] / count))
    return seconds


def summary(seconds: list[Seconds]) -> dict[str, float]:
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


def ratios(seconds: Mapping[str, list[Seconds]], slow: str, fast: str) -> dict[str, float]:
    """How many times as long `slow` takes: the median over the rounds, of process and of wall time."""
    pairs = list(zip(seconds[slow], seconds[fast], strict=True))
    return {
        f"{slow}_over_{fast}_process": median(one[0] / other[0] for one, other in pairs),
        f"{slow}_over_{fast}_wall": median(one[1] / other[1] for one, other in pairs),
    }


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

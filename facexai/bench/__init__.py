"""Speed, measured side by side in one run, so that a ratio means the same on any machine.

What is compared takes turns, round after round, and each ratio is the median over the rounds. Process time counts the
work of all threads and hardly minds what else the machine is doing; wall time is what one waits.
"""

from typing import Any

from facexai.bench.explain import bench_explain as bench_explain
from facexai.bench.frontalize import bench_frontalize as bench_frontalize
from facexai.bench.hiding_game import bench_hiding_game as bench_hiding_game


def bench_render() -> dict[str, Any]:
    """Rendered faces a second, at 112 pixels with full nuisance."""
    from facexai.rendering import measure_throughput

    return measure_throughput()

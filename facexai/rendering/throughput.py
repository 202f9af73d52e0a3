"""How fast faces are rendered."""

import time

import numpy as np

from facexai.errors import InputError
from facexai.rendering.heads import build_head
from facexai.rendering.identity import sample_identity
from facexai.rendering.nuisance import sample_nuisance
from facexai.rendering.parallel import chunks_by_identity, render_chunks

_IMAGES_PER_IDENTITY = 20


def measure_throughput(workers: int = 2, count: int = 400, size: int = 112) -> dict[str, float]:
    """Render `count` images of the full pipeline at nuisance strength 1 and time it.

    Twenty images share an identity. The start of the worker processes is reported on its own: it is over when every
    worker has had two identities.

    Args:
        workers: processes; 0 or 1 renders in this one.
        count: images to time, at least 40.
        size: side of the images in pixels.

    Returns:
        images_per_second (building the identities included), milliseconds_per_identity (shape, texture and hair of one
        identity in this process), start_seconds, and the settings workers, images, size.

    Raises:
        InputError: fewer than 40 images.
    """
    if count < 2 * _IMAGES_PER_IDENTITY:
        raise InputError(f"count must be at least {2 * _IMAGES_PER_IDENTITY} images; got {count}.")
    warm = 2 * max(workers, 1)
    chunks = chunks_by_identity(_jobs(count + warm * _IMAGES_PER_IDENTITY), size)
    finished, rendered = [time.perf_counter()], [0]
    for indices, _ in render_chunks(chunks, workers):
        finished.append(time.perf_counter())
        rendered.append(rendered[-1] + len(indices))
    return {
        "images_per_second": round((rendered[-1] - rendered[warm]) / (finished[-1] - finished[warm]), 1),
        "milliseconds_per_identity": round(1000 * _seconds_per_identity(), 1),
        "start_seconds": round(finished[warm] - finished[0], 2),
        "workers": workers,
        "images": rendered[-1] - rendered[warm],
        "size": size,
    }


def _jobs(count: int) -> list:
    generator = np.random.default_rng(0)
    return [(sample_identity(index // _IMAGES_PER_IDENTITY), sample_nuisance(generator)) for index in range(count)]


def _seconds_per_identity(count: int = 10) -> float:
    identities = [sample_identity(10_000 + index) for index in range(count + 1)]
    build_head(identities[0])  # compiles
    start = time.perf_counter()
    for identity in identities[1:]:
        build_head(identity)
    return (time.perf_counter() - start) / count

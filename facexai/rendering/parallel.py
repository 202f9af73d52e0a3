"""Many images on several processes, in an order that does not depend on how many there are."""

import sys
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from joblib import Parallel, delayed, parallel_config
from tqdm import tqdm

from facexai.errors import InputError
from facexai.rendering.identity import Identity
from facexai.rendering.nuisance import Nuisance
from facexai.rendering.scene import check_size, render

Job = tuple[Identity, Nuisance]
Chunk = tuple[list[int], list[Job], int]

_CHUNK = 32  # images that go to a worker at a time


def render_many(jobs: Sequence[Job], workers: int = 2, size: int = 112, progress: bool = True) -> np.ndarray:
    """Render a list of (identity, nuisance).

    Args:
        jobs: what to render; jobs of one identity are rendered together, so that it is built once.
        workers: processes; 0 or 1 renders in this one.
        size: side of the images in pixels.
        progress: show a bar when the output is a terminal.

    Returns:
        Images in the order of `jobs`. Shape (N, size, size, 3), uint8.

    Raises:
        InputError: a negative number of workers, or a size outside 16..1024.
    """
    if workers < 0:
        raise InputError(f"workers must be 0 or more; got {workers}.")
    check_size(size)
    images = np.empty((len(jobs), size, size, 3), np.uint8)
    chunks = chunks_by_identity(jobs, size)
    silent = not (progress and sys.stderr.isatty())
    with tqdm(total=len(jobs), desc="render", unit="img", disable=silent) as bar:
        for indices, rendered in render_chunks(chunks, min(workers, len(chunks))):
            images[indices] = rendered
            bar.update(len(indices))
    return images


def chunks_by_identity(jobs: Sequence[Job], size: int) -> list[Chunk]:
    """Jobs sorted by identity (in order of first appearance), cut into chunks of at most one identity each."""
    by_identity: dict[Identity, list[int]] = {}
    for index, (identity, _) in enumerate(jobs):
        by_identity.setdefault(identity, []).append(index)
    parts = [
        indices[start : start + _CHUNK] for indices in by_identity.values() for start in range(0, len(indices), _CHUNK)
    ]
    return [(part, [jobs[index] for index in part], size) for part in parts]


def render_chunks(chunks: list[Chunk], workers: int) -> Iterator[tuple[list[int], np.ndarray]]:
    """Indices and images of each chunk, in the order in which they are finished."""
    if workers <= 1:
        yield from map(_render_chunk, chunks)
        return
    # loky starts fresh interpreters: a fork would copy the locks of live threads (torch, OpenCV) as they stand. Unlike
    # multiprocessing's "spawn" it does not run the caller's script again, so no `if __name__ == "__main__":` is needed.
    with parallel_config("loky", inner_max_num_threads=1, n_jobs=workers):
        run = Parallel(return_as="generator_unordered", max_nbytes=None)
        yield from run(delayed(_render_in_worker)(chunk) for chunk in chunks)  # type: ignore[misc]


def _render_in_worker(chunk: Chunk) -> tuple[list[int], np.ndarray]:
    cv2.setNumThreads(1)
    return _render_chunk(chunk)


def _render_chunk(chunk: Chunk) -> tuple[list[int], np.ndarray]:
    indices, jobs, size = chunk
    return indices, np.stack([render(identity, nuisance, size=size).image for identity, nuisance in jobs])

"""Many images on several processes, in an order that does not depend on how many there are."""

import multiprocessing
import signal
import sys
from collections.abc import Sequence

import cv2
import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from facexai.errors import InputError
from facexai.rendering.identity import Identity
from facexai.rendering.nuisance import Nuisance
from facexai.rendering.scene import render

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
        InputError: a negative number of workers.
        KeyboardInterrupt: after the workers were stopped.
    """
    if workers < 0:
        raise InputError(f"workers must be 0 or more; got {workers}.")
    images = np.empty((len(jobs), size, size, 3), np.uint8)
    chunks = _chunks(jobs, size)
    silent = not (progress and sys.stderr.isatty())
    with tqdm(total=len(jobs), desc="render", unit="img", disable=silent) as bar:
        for indices, rendered in _render_chunks(chunks, min(workers, len(chunks))):
            images[indices] = rendered
            bar.update(len(indices))
    return images


def _chunks(jobs: Sequence[Job], size: int) -> list[Chunk]:
    """Jobs sorted by identity (in order of first appearance), cut into chunks of at most one identity each."""
    by_identity: dict[Identity, list[int]] = {}
    for index, (identity, _) in enumerate(jobs):
        by_identity.setdefault(identity, []).append(index)
    parts = [
        indices[start : start + _CHUNK] for indices in by_identity.values() for start in range(0, len(indices), _CHUNK)
    ]
    return [(part, [jobs[index] for index in part], size) for part in parts]


def _render_chunks(chunks: list[Chunk], workers: int):
    if workers <= 1:
        yield from map(_render_chunk, chunks)
        return
    # A fresh interpreter per worker: a fork would copy the locks of live threads (torch, OpenCV) as they stand.
    pool = multiprocessing.get_context("spawn").Pool(workers, initializer=_start_worker)
    try:
        yield from pool.imap_unordered(_render_chunk, chunks)
        pool.close()
    except BaseException:
        pool.terminate()
        raise
    finally:
        pool.join()


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    cv2.setNumThreads(1)
    threadpool_limits(1)


def _render_chunk(chunk: Chunk) -> tuple[list[int], np.ndarray]:
    indices, jobs, size = chunk
    return indices, np.stack([render(identity, nuisance, size=size).image for identity, nuisance in jobs])

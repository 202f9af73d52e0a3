"""Many images on several processes, in an order that does not depend on how many there are."""

import multiprocessing
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice

import cv2
import numpy as np
from threadpoolctl import threadpool_limits
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
        InputError: a negative number of workers, a size outside 16..1024, or a script that starts workers without
            `if __name__ == "__main__":` (every worker imports the script anew).
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
    # A fresh interpreter per worker: a fork would copy the locks of live threads (torch, OpenCV) as they stand.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker) as executor:
        try:
            yield from _as_finished(executor, iter(chunks), ahead=4 * workers)
        except BrokenProcessPool:
            raise InputError(
                "a worker process ended early; a script must call render_many below `if __name__ == '__main__':`, "
                "or set workers=0."
            ) from None
        finally:
            executor.shutdown(cancel_futures=True)


def _as_finished(
    executor: ProcessPoolExecutor, chunks: Iterator[Chunk], ahead: int
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Keep `ahead` chunks under way, so that results do not pile up faster than they are fetched."""
    running = {executor.submit(_render_chunk, chunk) for chunk in islice(chunks, ahead)}
    while running:
        finished, running = wait(running, return_when=FIRST_COMPLETED)
        running |= {executor.submit(_render_chunk, chunk) for chunk in islice(chunks, len(finished))}
        for future in finished:
            yield future.result()


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    cv2.setNumThreads(1)
    threadpool_limits(1)


def _render_chunk(chunk: Chunk) -> tuple[list[int], np.ndarray]:
    indices, jobs, size = chunk
    return indices, np.stack([render(identity, nuisance, size=size).image for identity, nuisance in jobs])

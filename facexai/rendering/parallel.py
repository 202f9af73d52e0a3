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
from facexai.rendering.scene import check_size, framing, render

Job = tuple[Identity, Nuisance] | tuple[Identity, Nuisance, Identity | np.ndarray]
Chunk = tuple[list[int], list[Job], int, bool]

_CHUNK = 32  # images that go to a worker at a time


def render_many(
    jobs: Sequence[Job], workers: int = 2, size: int = 112, progress: bool = True, labels: bool = False
) -> np.ndarray:
    """Render a list of (identity, nuisance).

    Args:
        jobs: what to render; jobs of one identity are rendered together, so that it is built once. A third entry is
            the identity whose framing under the same nuisance the image gets (pairs that differ in some regions share
            one alignment), or the alignment itself, as `render` takes it.
        workers: processes; 0 or 1 renders in this one.
        size: side of the images in pixels.
        progress: show a bar when the output is a terminal.
        labels: add a fourth channel, `Rendering.regions`: what each pixel shows, as an index into `LABELS`.

    Returns:
        Images in the order of `jobs`. Shape (N, size, size, 3), or (N, size, size, 4) with labels, uint8.

    Raises:
        InputError: a negative number of workers, or a size outside 16..1024.
    """
    if workers < 0:
        raise InputError(f"workers must be 0 or more; got {workers}.")
    check_size(size)
    images = np.empty((len(jobs), size, size, 4 if labels else 3), np.uint8)
    chunks = chunks_by_identity(jobs, size, labels)
    silent = not (progress and sys.stderr.isatty())
    with tqdm(total=len(jobs), desc="render", unit="img", disable=silent) as bar:
        for indices, rendered in render_chunks(chunks, min(workers, len(chunks))):
            images[indices] = rendered
            bar.update(len(indices))
    return images


def chunks_by_identity(jobs: Sequence[Job], size: int, labels: bool = False) -> list[Chunk]:
    """Jobs sorted by identity (in order of first appearance), cut into chunks of at most one identity each.

    An image that is framed as another identity goes with that one.
    """
    by_identity: dict[Identity, list[int]] = {}
    for index, job in enumerate(jobs):
        by_identity.setdefault(_framed_as(job), []).append(index)
    parts = [
        indices[start : start + _CHUNK] for indices in by_identity.values() for start in range(0, len(indices), _CHUNK)
    ]
    return [(part, [jobs[index] for index in part], size, labels) for part in parts]


def _framed_as(job: Job) -> Identity:
    return job[2] if len(job) == 3 and isinstance(job[2], Identity) else job[0]


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
    indices, jobs, size, labels = chunk
    return indices, np.stack([_render(job, size, labels) for job in jobs])


def _render(job: Job, size: int, labels: bool) -> np.ndarray:
    """Image of a job, with its region map as the last channel where `labels` are wanted."""
    identity, nuisance = job[:2]
    alignment = job[2] if len(job) == 3 else None
    if isinstance(alignment, Identity):
        alignment = framing(alignment, nuisance, size=size)
    rendering = render(identity, nuisance, size=size, alignment=alignment)
    return np.dstack([rendering.image, rendering.regions]) if labels else rendering.image

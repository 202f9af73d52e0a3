"""`facexai bench records`: RecordIO with a million records."""

import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from facexai.datasets import RecordFaces
from facexai.datasets.recordio import write_identity_records

PAYLOAD = 16  # bytes; a face has thousands, which the disk brings and not this code


def bench_records(records: int = 1_000_000, reads: int = 200_000, images_per_identity: int = 50) -> dict[str, Any]:
    """Open an MS1M-style file and read records at random.

    Args:
        records: images in the file, which is made in the temporary folder first.
        reads: random records that are read, in batches of 1000.
        images_per_identity: images of each person.

    Returns:
        Seconds to open, records a second, and the largest memory of the process in MB, before and after.
    """
    content = np.random.default_rng(0).bytes(PAYLOAD)
    with tempfile.TemporaryDirectory() as folder:
        sizes = [images_per_identity] * (records // images_per_identity)
        people = ((content for _ in range(size)) for size in tqdm(sizes, desc="writing", unit="person", disable=None))
        file = write_identity_records(Path(folder) / "train.rec", people, sum(sizes))
        before, start = peak_memory(), time.perf_counter()
        faces = RecordFaces(file)
        opened = time.perf_counter() - start
        order = np.random.default_rng(1).integers(len(faces), size=reads)
        start = time.perf_counter()
        for rows in tqdm(np.array_split(order, max(1, reads // 1000)), desc="reading", unit="batch", disable=None):
            faces.payloads(rows)
        read = time.perf_counter() - start
    return {
        "records": len(faces),
        "identities": len(sizes),
        "open_s": opened,
        "random_reads_per_s": reads / read,
        "peak_mb_before": before,
        "peak_mb": peak_memory(),
    }


def peak_memory() -> float:
    """Largest resident memory of this process so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1024

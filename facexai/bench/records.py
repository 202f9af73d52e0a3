"""`facexai bench records`: RecordIO with a million records.

Run as a script with a file and a number of reads, it reads: a process with no more in it than reading needs.
"""

import json
import resource
import subprocess
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
        Seconds to open, and records a second, of the process and on the wall; the largest memory of the process in MB,
        before and after.
    """
    content = np.random.default_rng(0).bytes(PAYLOAD)
    with tempfile.TemporaryDirectory() as folder:
        sizes = [images_per_identity] * (records // images_per_identity)
        people = ((content for _ in range(size)) for size in tqdm(sizes, desc="writing", unit="person", disable=None))
        file = write_identity_records(Path(folder) / "train.rec", people, sum(sizes))
        program = [
            sys.executable,
            "-P",
            __file__,
            str(file),
            str(reads),
        ]  # -P: facexai is not looked for in this folder
        figures = json.loads(subprocess.run(program, check=True, stdout=subprocess.PIPE).stdout)
    return {"identities": len(sizes), **figures}


def _read(file: Path, reads: int) -> dict[str, Any]:
    before, start = peak_memory(), _clock()
    faces = RecordFaces(file)
    opened = _clock() - start
    order = np.random.default_rng(1).integers(len(faces), size=reads)
    start = _clock()
    for rows in tqdm(np.array_split(order, max(1, reads // 1000)), desc="reading", unit="batch", disable=None):
        faces.payloads(rows)
    read = _clock() - start
    return {
        "records": len(faces),
        "open_process_s": float(opened[0]),
        "open_wall_s": float(opened[1]),
        "random_reads_per_process_s": float(reads / read[0]),
        "random_reads_per_wall_s": float(reads / read[1]),
        "peak_mb_before": before,
        "peak_mb": peak_memory(),
    }


def _clock() -> np.ndarray:
    """Seconds of this process, and of the clock on the wall."""
    return np.array([time.process_time(), time.perf_counter()])


def peak_memory() -> float:
    """Largest resident memory of this process so far, in MB.

    Where the system has `/proc` it is asked: what `getrusage` says begins with the memory of the parent process.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1024


if __name__ == "__main__":
    print(json.dumps(_read(Path(sys.argv[1]), int(sys.argv[2]))))

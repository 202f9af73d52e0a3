"""What every training loop here shares: batches, learning rates, the log and the checkpoint."""

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from facexai.errors import InputError


class Images(Protocol):
    """Something indexable by an array of positions: a memory-mapped array, an `IdentityFolder`."""

    def __len__(self) -> int: ...
    def __getitem__(self, indices: np.ndarray) -> np.ndarray: ...


def batches(
    images: Images,
    labels: np.ndarray,
    *,
    batch_size: int,
    epoch: int,
    first: int,
    seed: int,
    rank: int,
    world: int,
    mirrored: Callable[[np.ndarray], np.ndarray] = lambda labels: labels,
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch's batches of one process, from batch number `first` on; the next one is read while this one is used.

    The order depends on seed and epoch alone, so a resumed run sees exactly what an uninterrupted one would have seen.
    Whole batches only. Every second image on average is mirrored, and its label becomes what `mirrored` makes of it.

    Yields:
        Images (batch_size, 3, H, W) uint8 and their labels (batch_size, ...).
    """
    order = np.random.default_rng([seed, epoch]).permutation(len(images))[rank::world]
    mirror = np.random.default_rng([seed, epoch, rank]).random(len(order)) < 0.5

    def read(number: int) -> tuple[Tensor, Tensor]:
        where = slice(number * batch_size, (number + 1) * batch_size)
        chosen, flip = order[where], mirror[where]
        faces, wanted = np.array(images[chosen]), labels[chosen]
        faces[flip] = faces[flip, :, ::-1]
        wanted[flip] = mirrored(wanted[flip])
        return torch.from_numpy(faces).permute(0, 3, 1, 2), torch.from_numpy(wanted)

    count = batches_per_epoch(len(images), batch_size, world)
    with ThreadPoolExecutor(1) as reader:
        waiting = reader.submit(read, first) if first < count else None
        for number in range(first, count):
            assert waiting is not None
            ready = waiting.result()
            waiting = reader.submit(read, number + 1) if number + 1 < count else None
            yield ready


def batches_per_epoch(images: int, batch_size: int, world: int) -> int:
    """Whole batches that each of `world` processes gets."""
    return (images // world) // batch_size


# Shares of a run at which the learning rate falls to a tenth: our own for DDFV, whose paper
# prints none; FSPFM's epochs 10, 13, 16 and 18 of 20.
STEPS = {"steps": (0.40, 0.64, 0.88), "late-steps": (0.50, 0.65, 0.80, 0.90)}


def lr_factor(progress: float, schedule: Literal["constant", "steps", "late-steps", "cosine"], warmup: float) -> float:
    """Share of the initial learning rate at `progress` in [0, 1] of the run."""
    rise = min(1.0, progress / warmup) if warmup > 0 else 1.0
    if schedule == "cosine":
        return rise * (0.5 + 0.5 * math.cos(math.pi * progress))
    if schedule == "constant":
        return rise
    return rise * 0.1 ** sum(progress >= mark for mark in STEPS[schedule])


def to_unit_range(images: Tensor) -> Tensor:
    """uint8 -> float in [-1, 1], in the memory format that convolutions like best."""
    return (images.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


class Log:
    """One JSON object a line, appended as training goes; a resumed run drops what came after its checkpoint."""

    def __init__(self, file: Path, *, keep_below: int) -> None:
        self.file = file
        rows = [row for row in read_log(file) if row["step"] <= keep_below] if file.is_file() else []
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def write(self, row: dict[str, Any]) -> None:
        """Append a row."""
        with open(self.file, "a", encoding="utf-8") as handle:
            handle.write(json.dumps(row) + "\n")


def read_log(file: str | Path) -> list[dict[str, Any]]:
    """Rows of a training log, for curves."""
    return [json.loads(line) for line in Path(file).read_text(encoding="utf-8").splitlines() if line.strip()]


def save_checkpoint(file: Path, state: dict[str, Any]) -> None:
    """Write beside `file`, then rename: an interrupted write leaves the checkpoint before it."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as handle:  # a full disk is then an OSError, as everywhere else
            torch.save(state, handle)
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(file: Path, config: dict[str, Any], free: Sequence[str]) -> dict[str, Any]:
    """A checkpoint of the same settings; those named in `free` may differ.

    Raises:
        InputError: no checkpoint, a damaged one, or one of a run with other settings.
    """
    if not file.is_file():
        raise InputError(f"nothing to resume: {file} does not exist; start without --resume")
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        before = state["config"]
    except Exception as error:  # whatever torch's unpickler stumbles over in a damaged file
        raise InputError(f"{file} is damaged ({type(error).__name__}); start again without --resume") from None
    changed = [key for key in config if key not in free and config[key] != before.get(key)]
    if changed:
        key = changed[0]
        raise InputError(f"cannot resume with another {key}: the run has {before.get(key)}, the command {config[key]}")
    return state

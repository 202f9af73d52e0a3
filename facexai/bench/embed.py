"""`facexai bench embed`: what the evaluation loop costs beside the network's own work."""

import io
import multiprocessing
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from facexai.bench.networks import random_faces
from facexai.bench.records import peak_memory
from facexai.bench.timing import interleaved, ratios, summary, torch_threads
from facexai.benchmarks import VerificationSet, embed_all, verify
from facexai.datasets import BinPack, write_bin_pack
from facexai.datasets.folders import ten_folds
from facexai.images import to_uint8
from facexai.models import build

POOL = 1000  # different images of the packs whose memory is measured


def bench_embed(
    architecture: str = "mobilefacenet", images: int = 512, batch_size: int = 64, rounds: int = 3, threads: int = 2
) -> dict[str, Any]:
    """The evaluation loop on a pack of JPEG images, beside forward passes on batches that are ready in memory.

    Both run one network with random weights, with the mirror images, at one batch size.

    Args:
        architecture: of the network.
        images: in the pack.
        batch_size: of both.
        rounds: how often each takes its turn.
        threads: of torch, for the time of the measurement.

    Returns:
        Seconds and images a second of both, the share of the bare rate that the loop reaches, and the largest memory in
        MB of a process that verifies 1,000 pairs, and of one that verifies 100,000.
    """
    model = build(architecture).eval()
    with tempfile.TemporaryDirectory() as folder, torch_threads(threads):
        file = write_bin_pack(Path(folder) / "x.bin", jpegs(images), np.arange(images // 2) % 2 == 0)
        pack = BinPack(file)
        ready = [to_batch(pack[rows]) for rows in np.split(np.arange(images), range(batch_size, images, batch_size))]
        steps = {
            "loop": lambda: embed_all(model, pack, batch_size=batch_size, progress=False),
            "bare": lambda: bare(model, ready),
        }
        model.embed(ready[0], flip=True)  # warms up
        seconds = interleaved(steps, rounds, {})
        memory = {f"peak_mb_{pairs}_pairs": peak_of_pairs(pairs, Path(folder)) for pairs in (1_000, 100_000)}
    shares = ratios(seconds, "bare", "loop")
    return {
        "network": f"{architecture}, random weights",
        "threads": threads,
        "batch_size": batch_size,
        "images": images,
        **{f"{name}_{key}": value for name, times in seconds.items() for key, value in summary(times).items()},
        **{f"{name}_images_per_s": images / summary(times)["wall_s"] for name, times in seconds.items()},
        "loop_share_of_bare_wall": shares["bare_over_loop_wall"],
        "loop_share_of_bare_process": shares["bare_over_loop_process"],
        **memory,
    }


@torch.inference_mode()
def bare(model: Any, batches: list[Tensor]) -> None:
    """Forward passes, and nothing else."""
    for batch in batches:
        model.embed(batch, flip=True)


def to_batch(faces: np.ndarray) -> Tensor:
    """Pixels (n, H, W, 3) as the network takes them."""
    return torch.from_numpy(faces).permute(0, 3, 1, 2).float() / 127.5 - 1


def jpegs(count: int) -> Iterator[bytes]:
    """Different smooth images, encoded."""
    for start in range(0, count, 100):
        for face in random_faces(min(100, count - start), seed=start, size=(112, 112)):
            buffer = io.BytesIO()
            Image.fromarray(to_uint8(face)).save(buffer, "JPEG", quality=95)
            yield buffer.getvalue()


def peak_of_pairs(pairs: int, folder: Path) -> float:
    """Largest memory in MB of a process that verifies a pack of so many pairs of `POOL` different images."""
    pool = list(jpegs(POOL))
    numbers = np.random.default_rng(0).integers(POOL, size=2 * pairs)
    file = write_bin_pack(folder / "pairs.bin", (pool[number] for number in numbers), np.arange(pairs) % 2 == 0)
    with multiprocessing.get_context("spawn").Pool(1) as workers:
        return workers.apply(_verify_pack, (file,))


def _verify_pack(file: Path) -> float:
    torch.set_num_threads(1)
    pack = BinPack(file)
    data = VerificationSet("pack", pack, pack.probe, pack.gallery, pack.genuine, ten_folds(len(pack.genuine)))
    verify(_Pixels(), data, progress=False)
    return peak_memory()


class _Pixels(nn.Module):
    """In place of a network: sixteen pixels, so that what is measured is the loop."""

    name, input_size = "pixels", (112, 112)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def embed(self, images: Tensor, *, flip: bool = False) -> Tensor:
        return nn.functional.normalize(images[:, 0, ::28, ::28].flatten(1) + 0.1 * self.weight)

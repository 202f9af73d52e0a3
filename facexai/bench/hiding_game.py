"""`facexai bench hiding-game`."""

from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from facexai.bench.networks import calibrated_recognizer, random_faces
from facexai.bench.timing import timed, torch_threads
from facexai.benchmarks import HidingGame, Method, VerificationSet


def bench_hiding_game(pairs: int = 64, threads: int = 2) -> dict[str, Any]:
    """The hiding game on the network `tutorial` with random weights: how much of the time is the network's own?

    Args:
        pairs: of random images, judged by random maps.
        threads: of torch, for the time of the measurement.

    Returns:
        Seconds a pair, images embedded a pair, and the share of the time inside the network's forward passes.
    """
    model = calibrated_recognizer("tutorial")
    images = random_faces(2 * pairs, seed=3, size=model.input_size)
    pixels = ((images + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    number = np.arange(pairs)
    game = HidingGame(VerificationSet("random", pixels, number, number + pairs, number % 2 == 0, number // 2 % 2))
    maps = torch.randn(pairs, 2, *model.input_size, generator=torch.Generator().manual_seed(4))
    chunks = list(game.chunks(model, progress=False))
    method = Method(lambda pair, model: maps[0])  # never called
    with torch_threads(threads):
        game.measure(model, chunks[0], maps[chunks[0].number], method)  # warms up
        with timed(model, "embed") as forward, timed(game, "measure") as whole:
            for chunk in tqdm(chunks, desc="hiding game", disable=None):
                game.measure(model, chunk, maps[chunk.number], method)
    return {
        "network": "tutorial, random weights",
        "threads": threads,
        "pairs": pairs,
        "images_per_pair": 2 * (len(game.fractions) - 1),
        "process_s_per_pair": whole["process"] / pairs,
        "wall_s_per_pair": whole["wall"] / pairs,
        "forward_share_process": forward["process"] / whole["process"],
        "forward_share_wall": forward["wall"] / whole["wall"],
    }

"""Networks and images to measure with: random, and of the right size."""

import torch
from torch import Tensor, nn

from facexai.models import FaceRecognizer, build


def calibrated_recognizer(architecture: str) -> FaceRecognizer:
    """A network with random weights whose activations are of order 1, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build(architecture)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0  # take the statistics of the one batch that follows
    with torch.no_grad():
        features = model.features(random_faces(8, seed=0, size=model.input_size))
        model.pool(features)
        if model.decoder is not None:
            model.reconstruct(features)
    return model.eval()


def random_faces(count: int, seed: int, size: tuple[int, int]) -> Tensor:
    """Smooth noise in place of faces: the work does not depend on what is seen. Shape (count, 3, H, W)."""
    coarse = torch.rand(count, 3, 14, 14, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return nn.functional.interpolate(coarse, size=size, mode="bilinear")

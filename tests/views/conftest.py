import numpy as np
import pytest
import torch

from facexai.pairs import FacePair, Saliency

SIZE, CHANNELS = 48, 12


@pytest.fixture
def pair() -> FacePair:
    generator = torch.Generator().manual_seed(0)
    probe, gallery = torch.rand(2, 3, SIZE, SIZE, generator=generator) * 2 - 1
    return FacePair(probe, gallery, genuine=True, name="a - b")


@pytest.fixture
def saliency() -> Saliency:
    generator = torch.Generator().manual_seed(1)
    return Saliency(torch.randn(2, SIZE, SIZE, generator=generator) / 8, score=0.4321, method="ddfv(weight='x')")


@pytest.fixture
def residuals() -> np.ndarray:
    """Each channel lights up one window of each face; one channel is dead."""
    random = np.random.default_rng(2)
    maps = np.zeros((2, CHANNELS, SIZE, SIZE), dtype=np.float32)
    for face in range(2):
        for channel in range(CHANNELS - 1):
            top, left = random.integers(0, SIZE - 20, size=2)
            maps[face, channel, top : top + 20, left : left + 20] = random.random((20, 20))
    return maps


@pytest.fixture
def weights() -> np.ndarray:
    return np.random.default_rng(3).normal(0.02, 0.05, size=(2, CHANNELS))

"""Small networks for the tests of explainers: one whose maps are known by hand, and one as in the paper."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facexai.models import FaceRecognizer, FullyConnectedHead, MaxPoolHead, ReconstructionDecoder, attach_xcos, build
from facexai.pairs import FacePair

PATCH = 8  # pixels
GRID = 2  # patches along a side


class PatchTrunk(nn.Module):
    """Channel i is 2 + the mean of patch i, in cell i, and 0 in the other cells."""

    def __init__(self, patch: int = PATCH) -> None:
        super().__init__()
        self.patch = patch

    def forward(self, images: Tensor) -> Tensor:
        means = F.avg_pool2d(images.mean(1, keepdim=True), self.patch).flatten(1)  # (N, 4)
        return torch.diag_embed(2 + means).unflatten(2, (GRID, GRID))  # (N, 4, 2, 2)


class PatchDecoder(nn.Module):
    """Writes channel i back to patch i."""

    def __init__(self, patch: int = PATCH) -> None:
        super().__init__()
        self.patch = patch

    def forward(self, features: Tensor) -> Tensor:
        values = features.amax((2, 3)).unflatten(1, (1, GRID, GRID))
        return F.interpolate(values, scale_factor=self.patch).expand(-1, 3, -1, -1)


def patch_recognizer(patch: int = PATCH) -> FaceRecognizer:
    """F_i is exactly the mean of patch i: the head takes 2 away and divides by 1."""
    head = MaxPoolHead(GRID * GRID)
    assert isinstance(head.bn, nn.BatchNorm1d)
    head.bn.running_mean = torch.full((GRID * GRID,), 2.0)
    head.bn.running_var = torch.full((GRID * GRID,), 1.0 - head.bn.eps)
    size = (GRID * patch, GRID * patch)
    return FaceRecognizer(PatchTrunk(patch), head, PatchDecoder(patch), input_size=size).eval()


class WanderingTrunk(PatchTrunk):
    """As PatchTrunk, with 1.4 in the opposite cell, so that a patch darker than -.6 loses the maximum to it."""

    def forward(self, images: Tensor) -> Tensor:
        features = super().forward(images).flatten(2)
        return (features + 1.4 * torch.eye(GRID * GRID).flip(1)).unflatten(2, (GRID, GRID))


class CellDecoder(nn.Module):
    """Writes the sum of each cell over the channels to the patch of the cell."""

    def forward(self, features: Tensor) -> Tensor:
        return F.interpolate(features.sum(1, keepdim=True), scale_factor=PATCH).expand(-1, 3, -1, -1)


def wandering_recognizer() -> FaceRecognizer:
    """F_i is the mean of patch i, shown in patch i; where it falls below -.6, F_i is -.6, shown in patch 3 - i."""
    model = patch_recognizer()
    return FaceRecognizer(WanderingTrunk(), model.head, CellDecoder(), input_size=model.input_size).eval()


def patch_image(*means: float, patch: int = PATCH) -> Tensor:
    """A grey image with these four patches."""
    patches = torch.tensor(means).view(1, 1, GRID, GRID)
    return F.interpolate(patches, scale_factor=patch)[0].repeat(3, 1, 1)


def patch_pair(probe: tuple[float, ...], gallery: tuple[float, ...], patch: int = PATCH) -> FacePair:
    return FacePair(patch_image(*probe, patch=patch), patch_image(*gallery, patch=patch))


def smooth_images(count: int, seed: int = 0, size: int = 112) -> Tensor:
    """Soft random patterns in [-1, 1]."""
    coarse = torch.rand(count, 3, 9, 9, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return F.interpolate(coarse, size=size, mode="bilinear")


def smooth_pair(seed: int = 0) -> FacePair:
    probe, gallery = smooth_images(2, seed)
    return FacePair(probe, gallery)


def tiny_recognizer(normalize: bool = True, activation: str = "tanh") -> FaceRecognizer:
    """The network of the paper with 32 channels and random weights, calibrated to activations of order 1."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build(
            "ddfv-iresnet",
            blocks=(1, 1, 1, 1),
            widths=(8, 8, 16, 32),
            stem_stride=2,
            normalize=normalize,
            activation=activation,
        )
    calibrate(model)
    model.threshold = 0.3
    return model.eval()


def calibrate(model: FaceRecognizer) -> None:
    """Fix the BatchNorm statistics to those of one batch."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        features = model.train().features(smooth_images(8, seed=99))
        model.pool(features)
        model.reconstruct(features)


def with_xcos(model: FaceRecognizer) -> FaceRecognizer:
    """The same model with an xcos head of random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        attach_xcos(model, channels=32)
    return model.eval()


def random_decoder(channels: int = 16, activation: str = "tanh", seed: int = 0) -> ReconstructionDecoder:
    """In double precision and eval mode, with BatchNorm scales and shifts that matter."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        decoder = ReconstructionDecoder(channels, activation=activation).double()  # type: ignore[arg-type]
        for norm in decoder.norms:
            assert isinstance(norm, nn.BatchNorm2d)
            nn.init.uniform_(norm.weight, -1.5, 1.5)
            nn.init.normal_(norm.bias)
            norm.momentum = 1.0
        decoder(torch.randn(8, channels, 7, 7).double())
    return decoder.eval().requires_grad_(False)


def awkward_features(channels: int = 16, height: int = 7, width: int = 7, seed: int = 0) -> Tensor:
    """Features with maxima in every corner, dead channels, ties and negative maxima. Shape (C, h, w), double."""
    features = torch.randn(channels, height, width, generator=torch.Generator().manual_seed(seed)).double()
    for channel, (row, column) in enumerate(((0, 0), (0, -1), (-1, 0), (-1, -1))):
        features[channel, row, column] = 5
    features[4] = 0  # dead
    features[5] = -features[5].abs()
    features[5, 0, 0] = 0  # dead, with something below
    features[6] -= 10  # negative maximum
    features[7].view(-1)[[0, -1]] = 4  # a tie
    features[8] = 1  # all tied
    return features


def conv_recognizer(head: nn.Module | None = None, seed: int = 0) -> FaceRecognizer:
    """A smooth network of two convolutions on 16 x 16 pixels, 6 channels on 4 x 4 cells, in double precision."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        trunk = nn.Sequential(nn.Conv2d(3, 5, 3, 2, 1), nn.Tanh(), nn.Conv2d(5, 6, 3, 2, 1))
        model = FaceRecognizer(trunk, head or FullyConnectedHead(6, 4, 7), input_size=(16, 16)).double()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d):
                nn.init.normal_(module.running_mean, std=0.2)
                nn.init.uniform_(module.running_var, 0.05, 0.2)
    return model.eval()


def small_pair(seed: int = 0) -> FacePair:
    """Soft patterns for `conv_recognizer`."""
    probe, gallery = smooth_images(2, seed, size=16).double()
    return FacePair(probe, gallery)

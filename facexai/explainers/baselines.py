"""Maps that a method must beat: none of them looks at the comparison, and most do not look at the network.

All are magnitudes, >= 0, and have no sign to tell alike from different.

Source: ours; `detail` is what a game that blurs the least salient pixels rewards by itself.
"""

import hashlib
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from facexai.errors import InputError
from facexai.explainers.interface import EXPLAINERS, make_explainer
from facexai.explainers.reference_faces import reference_pairs
from facexai.explainers.scores import pair_embeddings
from facexai.models import FaceRecognizer
from facexai.pairs import FacePair, Saliency
from facexai.smoothing import gaussian_blur


@EXPLAINERS.register("random")
@dataclass(frozen=True)
class Random:
    """Uniform noise in [0, 1), another for each pair and the same for the same pair.

    Args:
        seed: another seed gives other noise for the same pair.
    """

    seed: int = 42

    unsigned: ClassVar[bool] = True

    def __call__(self, pair: FacePair, model: FaceRecognizer) -> Saliency:
        """Noise; with the images exchanged, the maps are exchanged."""
        maps = torch.stack([self.noise(pair.probe, pair.gallery), self.noise(pair.gallery, pair.probe)])
        return magnitudes(maps, pair, model, self)

    def noise(self, image: Tensor, partner: Tensor) -> Tensor:
        """The map of an image beside this partner. Shape (H, W)."""
        content = torch.stack([image, partner]).float().cpu().numpy().tobytes()
        digest = hashlib.sha256(f"{self.seed}:".encode() + content).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
        return torch.rand(image.shape[1:], generator=generator)


@EXPLAINERS.register("centre")
@dataclass(frozen=True)
class Centre:
    """A Gaussian about the centre of the image: where an aligned face is.

    Args:
        sigma: standard deviation, as a share of the image's height and width.
    """

    sigma: float = 0.25

    unsigned: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.sigma > 0:
            raise InputError(f"sigma must be a share of the image above 0; got {self.sigma}")

    def __call__(self, pair: FacePair, model: FaceRecognizer) -> Saliency:
        """One map for every image."""
        rows, columns = (self.profile(length) for length in pair.probe.shape[1:])
        return magnitudes((rows[:, None] * columns).expand(2, -1, -1), pair, model, self)

    def profile(self, length: int) -> Tensor:
        """exp(-d^2 / (2 sigma^2)) for the pixels of one axis. Shape (length,)."""
        distance = (torch.arange(length) + 0.5) / length - 0.5
        return torch.exp(-0.5 * (distance / self.sigma) ** 2)


@EXPLAINERS.register("edges")
@dataclass(frozen=True)
class Edges:
    """Sobel magnitude of the grey image: the length of its gradient."""

    unsigned: ClassVar[bool] = True

    def __call__(self, pair: FacePair, model: FaceRecognizer) -> Saliency:
        """sqrt(g_x^2 + g_y^2); beyond the border the outermost pixels are repeated."""
        grey = F.pad(pair.images.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
        smooth, slope = grey.new_tensor([1, 2, 1]) / 4, grey.new_tensor([-1, 0, 1]) / 2
        kernels = torch.stack([torch.outer(smooth, slope), torch.outer(slope, smooth)])[:, None]
        return magnitudes(F.conv2d(grey, kernels).norm(dim=1), pair, model, self)


@EXPLAINERS.register("detail")
@dataclass(frozen=True)
class Detail:
    """|I - blur(I)|, mean over the colours: how much a blur would change each pixel.

    Args:
        sigma: of the Gaussian blur, in pixels.
    """

    sigma: float = 4.0

    unsigned: ClassVar[bool] = True

    def __call__(self, pair: FacePair, model: FaceRecognizer) -> Saliency:
        """The map that the blurring hiding game rewards whatever the network does."""
        blurred = gaussian_blur(pair.images, self.sigma)
        return magnitudes((pair.images - blurred).abs().mean(1), pair, model, self)


@EXPLAINERS.register("mean-map")
@dataclass(frozen=True)
class MeanMap:
    """The mean of |H| over pairs of rendered faces: what a method says of any face, whoever it is.

    Args:
        of: the method whose maps are averaged, with its default options. The default needs no decoder.
        people: genuine pairs of rendered faces to average over.
        seed: of these people.
    """

    of: str = "max-pool"
    people: int = 16
    seed: int = 42

    unsigned: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.of not in EXPLAINERS or self.of == "mean-map":
            raise InputError(f"mean-map takes the name of another method; got '{self.of}'")
        if self.people < 1:
            raise InputError(f"people must be at least 1; got {self.people}")

    def __call__(self, pair: FacePair, model: FaceRecognizer) -> Saliency:
        """One map for every image."""
        return magnitudes(self.average(model).expand(2, -1, -1), pair, model, self)

    def average(self, model: FaceRecognizer) -> Tensor:
        """The mean map of this network, kept in memory for as long as the network answers as it did. Shape (H, W)."""
        pairs = reference_pairs(self.people, self.seed, model.input_size)
        answer = pair_embeddings(model, pairs[0])  # a fingerprint of the weights
        key = (self, hashlib.sha256(answer.cpu().numpy().tobytes()).hexdigest(), str(answer.device))
        if key not in _AVERAGES:
            explainer = make_explainer(self.of)
            maps = [explainer(faces, model).discriminative.mean(0) for faces in pairs]
            while len(_AVERAGES) >= 8:
                del _AVERAGES[next(iter(_AVERAGES))]
            _AVERAGES[key] = torch.stack(maps).mean(0)
        return _AVERAGES[key]


_AVERAGES: dict[tuple[MeanMap, str, str], Tensor] = {}


def magnitudes(maps: Tensor, pair: FacePair, model: FaceRecognizer, explainer: object) -> Saliency:
    """These maps (2, H, W), with the score of the pair."""
    probe, gallery = pair_embeddings(model, pair)
    return Saliency(maps.to(probe), float(probe @ gallery), repr(explainer))

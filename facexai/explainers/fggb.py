"""Feature-guided gradient backpropagation (FGGB): one gradient map for each dimension of the embedding.

    G_k = |d a_k / dA|, the mean over the colours, brought to L2 norm 1            k = 1 .. D
    H   = sum_k G_k (a_k b_k - tau / D)

The weights sum to the decision margin s - tau. The G_k are those of one image: another partner or another threshold is
a weighted sum, and no network is run.

Source: Lu, Xu, Ebrahimi, "Explainable Face Verification via Feature-Guided Gradient Backpropagation", FG 2024
(arXiv 2403.04549), section III.

Deviations:
    "Normalised" is read as L2 norm 1 of each map, taken after magnitude and colour mean, and a as the embedding of unit
    norm, as in the re-implementation of the FAME authors. Their blur of the finished map is left out.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from facexai.errors import InputError
from facexai.explainers.interface import EXPLAINERS, images_for
from facexai.explainers.options import check_count, check_threshold
from facexai.explainers.scores import decision_threshold, frozen
from facexai.models import FaceRecognizer
from facexai.pairs import FacePair, Saliency


@dataclass(frozen=True)
class EmbeddingGradients:
    """The gradient maps of all dimensions of one image's embedding: what is worth keeping in a gallery.

    Args:
        maps: G_k, of L2 norm 1 (or 0, where the embedding does not answer to the image). Shape (D, H, W).
        embedding: of unit norm. Shape (D,).
    """

    maps: Tensor
    embedding: Tensor

    def against(self, partners: Tensor, threshold: float = 0.0) -> Tensor:
        """H against one partner or many.

        Args:
            partners: unit-norm embeddings. Shape (D,) or (N, D).
            threshold: tau, on the score.

        Returns:
            Shape (H, W) or (N, H, W).
        """
        weights = self.embedding * partners - threshold / len(self.embedding)
        return torch.tensordot(weights, self.maps, dims=1)


@EXPLAINERS.register("fggb")
@dataclass(frozen=True)
class FGGB:
    """Gradient maps of the embedding's dimensions, weighted by what each adds to the decision margin.

    Args:
        threshold: tau, the decision threshold on the score; None: the model's own, or 0 for a model that has none.
        chunk: dimensions in one backward pass; it costs memory and does not change the map beyond rounding.
    """

    threshold: float | None = None
    chunk: int = 8
    unsigned: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_threshold(self.threshold)
        check_count("chunk", self.chunk)

    def __call__(self, pair: FacePair, model: FaceRecognizer) -> Saliency:
        """Maps of both images, which share each pass."""
        probe, gallery = embedding_gradients(model, images_for(model, pair), self.chunk)
        threshold = decision_threshold(model, self.threshold)
        maps = [probe.against(gallery.embedding, threshold), gallery.against(probe.embedding, threshold)]
        return Saliency(torch.stack(maps), float(probe.embedding @ gallery.embedding), repr(self))


def embedding_gradients(model: FaceRecognizer, images: Tensor, chunk: int = 8) -> list[EmbeddingGradients]:
    """G_k of each image, for every dimension k of the embedding.

    Args:
        model: in eval mode.
        images: aligned faces. Shape (N, 3, H, W).
        chunk: dimensions in one backward pass.

    Raises:
        InputError: no image.
    """
    if len(images) == 0:
        raise InputError("embedding_gradients needs one image or more; got none")
    images = images.detach().requires_grad_(True)
    maps = []
    with frozen(model):
        embeddings = model.embed(images)  # (N, D)
        one_hot = torch.eye(embeddings.shape[1]).to(embeddings)
        for rows in one_hot.split(chunk):
            directions = rows[:, None].expand(-1, len(images), -1)  # the same dimension of every image, (chunk, N, D)
            gradients = torch.autograd.grad(embeddings, images, directions, retain_graph=True, is_grads_batched=True)[0]
            maps.append(gradients.abs().mean(2))  # (chunk, N, H, W)
    stacks = unit_norm(torch.cat(maps).transpose(0, 1))
    return [EmbeddingGradients(*both) for both in zip(stacks, embeddings.detach(), strict=True)]


def unit_norm(maps: Tensor) -> Tensor:
    """Bring each map to L2 norm 1; a map of zeros stays. Shape (..., H, W)."""
    norms = torch.linalg.vector_norm(maps, dim=(-2, -1), keepdim=True)
    return maps / norms.clamp_min(torch.finfo(maps.dtype).tiny)

"""xSSAB: backpropagate the arguments for the decision, and those against it, one after the other.

    s = sum_k a_k b_k            argument k is a_k b_k; it supports a match where a_k b_k >= tau / D
    H = |d/dA sum of supporting a_k b_k| - |d/dA sum of the others|        (each the mean over the colours)

Source: Huber, Luu, Terhörst, Damer, "Efficient Explainable Face Verification based on Similarity Score Argument
Backpropagation", WACV 2024 (arXiv 2304.13409). Like the authors' code, gradients pass through the normalisation of A's
embedding.

Deviations:
    Both images get a map, from the same two backward passes: a_k b_k is differentiated with respect to A and to B.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from facexai.explainers.interface import EXPLAINERS, images_for
from facexai.explainers.options import check_threshold
from facexai.explainers.scores import decision_threshold, frozen
from facexai.models import FaceRecognizer
from facexai.pairs import FacePair, Saliency


@EXPLAINERS.register("xssab")
@dataclass(frozen=True)
class XSSAB:
    """Gradient of the supporting arguments minus gradient of the opposing ones, in magnitude.

    Args:
        threshold: tau, the decision threshold on the score; None: the model's own, or 0 for a model that has none.
    """

    threshold: float | None = None
    unsigned: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_threshold(self.threshold)

    def __call__(self, pair: FacePair, model: FaceRecognizer) -> Saliency:
        """Maps of both images, from one forward and two backward passes."""
        images = images_for(model, pair).detach().requires_grad_(True)
        with frozen(model):
            embeddings = model.embed(images)  # (2, D)
            arguments = embeddings[0] * embeddings[1]  # (D,)
            supporting = arguments >= decision_threshold(model, self.threshold) / len(arguments)
            support = gradient_magnitude(arguments[supporting].sum(), images)
            opposition = gradient_magnitude(arguments[~supporting].sum(), images)
        return Saliency(support - opposition, float(arguments.detach().sum()), repr(self))


def gradient_magnitude(score: Tensor, images: Tensor) -> Tensor:
    """Mean over the colours of |d score / d images|. (), (N, 3, H, W) -> (N, H, W)."""
    return torch.autograd.grad(score, images, retain_graph=True)[0].abs().mean(1)

"""The score of a pair as a function of one image: what gradients, masks and class activation maps are taken of.

    s(x) = f(x) . b / |f(x)|

for the image x, the network f and the unit-norm embedding b of the partner, which stays as it is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facexai.errors import InputError
from facexai.explainers.interface import images_for
from facexai.explainers.options import check_choice
from facexai.models import FaceRecognizer
from facexai.pairs import FacePair

Target = Literal["cosine", "cosine-detached", "dot"]


class PairScore(nn.Module):
    """The score of images against a fixed partner.

    Args:
        model: in eval mode.
        partner_embedding: of unit norm; one for all images, or one for each. Shape (D,) or (N, D).
        target: `"cosine"`; `"cosine-detached"`: its gradient leaves out that the image's own norm changes; `"dot"`: the
            image's embedding is not normalised.
        negate: give -score, of which a method that shows positive evidence alone shows the dissimilarity.

    Raises:
        InputError: an unknown target.
    """

    def __init__(
        self, model: FaceRecognizer, partner_embedding: Tensor, target: Target = "cosine", negate: bool = False
    ) -> None:
        super().__init__()
        check_choice("target", target, Target)
        self.model = model
        self.partner_embedding = partner_embedding.detach()
        self.target: Target = target
        self.negate = negate

    def forward(self, images: Tensor, partners: Tensor | None = None) -> Tensor:
        """Scores of images. (N, 3, H, W) -> (N,).

        `partners`, (N, D), stand in for the partner: captum repeats them as it repeats the images.
        """
        partners = self.partner_embedding if partners is None else partners
        scores = score_of(self.model.pooled(images), partners, self.target)
        return -scores if self.negate else scores


def score_of(pooled: Tensor, partners: Tensor, target: Target = "cosine") -> Tensor:
    """Score of head outputs against unit-norm partners. (N, D), (D,) or (N, D) -> (N,)."""
    if target == "cosine":
        pooled = F.normalize(pooled)
    elif target == "cosine-detached":
        pooled = pooled / pooled.norm(dim=1, keepdim=True).detach().clamp_min(torch.finfo(pooled.dtype).tiny)
    return (pooled * partners).sum(1)


def pair_scores(model: FaceRecognizer, pair: FacePair) -> tuple[PairScore, PairScore, float]:
    """The score as a function of the probe, the same of the gallery image, and its value."""
    probe, gallery = pair_embeddings(model, pair)
    return PairScore(model, gallery), PairScore(model, probe), float(probe @ gallery)


@torch.no_grad()
def pair_embeddings(model: FaceRecognizer, pair: FacePair) -> Tensor:
    """Unit-norm embeddings of probe and gallery. Shape (2, D); `flip(0)` gives each image its partner."""
    return model.embed(images_for(model, pair))


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Gradients reach images and features while the block runs, and no weight.

    Afterwards each weight has its own `requires_grad` and `grad` again. Gradients are recorded inside even where the
    caller has turned them off.

    Raises:
        InputError: a network through which no gradient comes.
    """
    if not getattr(model, "differentiable", True):
        raise InputError(
            f"{model.name} is a black box without gradients; choose a method that needs none, such as rise, "
            "corr-rise, min-plus, lime or occlusion"
        )
    before = [(weight, weight.requires_grad, weight.grad) for weight in model.parameters()]
    for weight, _, _ in before:
        weight.requires_grad_(False)
        weight.grad = None
    try:
        with torch.enable_grad():
            yield
    finally:
        for weight, requires_grad, gradient in before:
            weight.requires_grad_(requires_grad)
            weight.grad = gradient


def decision_threshold(model: FaceRecognizer, threshold: float | None = None) -> float:
    """The threshold on the score: this one, else the model's own, else 0."""
    return (model.threshold or 0.0) if threshold is None else float(threshold)

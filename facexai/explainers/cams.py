"""Class activation maps of the last feature map, with the score of the pair in place of a class.

    H = ReLU(L(s)) - ReLU(L(-s)),    L(s) = sum over channels k of w_k(s) A_k

A_k is channel k of the last feature map, and w_k says how much the score s rests on it:

    Grad-CAM      w_k = mean over cells of g,                     g = ds / dA_k
    Grad-CAM++    w_k = sum over cells of alpha ReLU(g),          alpha = g^2 / (2 g^2 + g^3 sum over cells of A_k)

A map shows positive evidence alone, so the evidence against the pair is the map of the score with its sign changed.

Source: Selvaraju et al., "Grad-CAM", ICCV 2017, eq. (1) and (2); Chattopadhay et al., "Grad-CAM++", WACV 2018, eq. (11)
and (19). The weights are computed by pytorch-grad-cam.

Deviations:
    The library brings each map to [0, 1]; here the raw scale is kept, so that evidence for and against can be compared.
    It adds 1e-6 to the denominator of alpha, which suits the gradient of a logit and not that of a cosine, whose square
    is often smaller; g is therefore handed over with its largest value at 10,000 and A divided by the same factor,
    which leaves L as it is. The last feature map has no ReLU in our networks; neither has A.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facexai.compat import import_torchvision
from facexai.explainers.interface import EXPLAINERS, images_for
from facexai.explainers.options import check_choice
from facexai.explainers.scores import Target, frozen, score_of
from facexai.models import FaceRecognizer
from facexai.pairs import FacePair, Saliency

LARGEST_GRADIENT = 1e4  # far above the constants of the library, far below overflow when cubed


@EXPLAINERS.register("grad-cam")
@dataclass(frozen=True)
class GradCAM:
    """Channels weighted by the mean of their gradient.

    As w_k(-s) = -w_k(s), the map is the one of Selvaraju et al. before its ReLU.

    Args:
        target: what is differentiated, see `PairScore`.
    """

    target: Target = "cosine"
    unsigned: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_choice("target", self.target, Target)

    def __call__(self, pair: FacePair, model: FaceRecognizer) -> Saliency:
        """Maps of both images, brought from the cells to the pixels by bilinear interpolation."""
        return class_activation_maps("GradCAM", pair, model, self.target, method=repr(self))


@EXPLAINERS.register("grad-cam++")
@dataclass(frozen=True)
class GradCAMPlusPlus:
    """Channels weighted by their positive gradients, cell by cell.

    Args:
        target: what is differentiated, see `PairScore`.
    """

    target: Target = "cosine"
    unsigned: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_choice("target", self.target, Target)

    def __call__(self, pair: FacePair, model: FaceRecognizer) -> Saliency:
        """Maps of both images, brought from the cells to the pixels by bilinear interpolation."""
        return class_activation_maps("GradCAMPlusPlus", pair, model, self.target, method=repr(self))


class FeatureScore(nn.Module):
    """The score of each image of a pair as a function of its features.

    Args:
        head: features -> pooled, in eval mode.
        partners: unit-norm embedding of the other image, for each. Shape (N, D).
        target: see `PairScore`.
        sign: 1, or -1 for the evidence against.
    """

    def __init__(self, head: nn.Module, partners: Tensor, target: Target = "cosine", sign: int = 1) -> None:
        super().__init__()
        self.features = nn.Identity()  # where pytorch-grad-cam looks
        self.head = head
        self.partners = nn.Parameter(partners, requires_grad=False)  # it asks the first parameter for the device
        self.target: Target = target
        self.sign = sign

    def forward(self, features: Tensor) -> Tensor:
        """Scores, with their sign. (N, C, h, w) -> (N,)."""
        return self.sign * score_of(self.head(self.features(features)), self.partners, self.target)


def class_activation_maps(
    cam: str, pair: FacePair, model: FaceRecognizer, target: Target = "cosine", *, method: str = ""
) -> Saliency:
    """Signed maps of a pair by a class of pytorch-grad-cam. The trunk runs once, the head once for each sign.

    Args:
        cam: name of the class: `"GradCAM"`, `"HiResCAM"`, `"XGradCAM"` ...
        pair: two aligned faces.
        model: in eval mode.
        target: what is differentiated, see `PairScore`.
        method: the record of the explainer; by default the name of the class.
    """
    images = images_for(model, pair)
    with torch.no_grad():
        features = model.features(images)
        embeddings = F.normalize(model.pool(features))
    with frozen(model):
        evidence = [
            activation_map(cam, features, FeatureScore(model.required_head(), embeddings.flip(0), target, sign)).relu()
            for sign in (1, -1)
        ]
    signed = F.interpolate((evidence[0] - evidence[1])[:, None], images.shape[2:], mode="bilinear")[:, 0]
    return Saliency(signed, float(embeddings[0] @ embeddings[1]), method or cam)


def activation_map(cam: str, features: Tensor, score: FeatureScore) -> Tensor:
    """L of each image, before ReLU and on its own scale. (N, C, h, w) -> (N, h, w)."""
    import_torchvision()  # which pytorch-grad-cam imports
    import pytorch_grad_cam

    features = features.detach().requires_grad_(True)
    targets: list[Any] = [lambda output: output] * len(features)  # the outputs are scores already
    explainer = getattr(pytorch_grad_cam, cam)(score, [score.features])
    try:
        explainer(features, targets)
        recorded = explainer.activations_and_grads
        activations, gradients = recorded.activations[0].numpy(), recorded.gradients[0].numpy()
        peak = abs(gradients).max(axis=(1, 2, 3), keepdims=True).clip(min=torch.finfo(features.dtype).tiny)
        weighted = explainer.get_cam_image(
            features,
            score.features,
            targets,
            activations * (peak / LARGEST_GRADIENT),
            gradients * (LARGEST_GRADIENT / peak),
            eigen_smooth=False,
        )
    finally:
        explainer.activations_and_grads.release()
    return torch.from_numpy(weighted).to(features)

"""Adaptation losses: how far a frontalized profile is from its frontal face.

    L_ada = 1/N sum_i || M_g(phi(I_f)) * AM(phi(I_f)) - M_g(phi(I_p)) ||^2                                  (2)

phi(I_f) and phi(I_p) are the embeddings of a frontal and a profile image of one person, M_g is the frontalizer, AM the
attention, * the product of elements. `adaptation_loss` is the distance alone; its `weight` makes it the loss of AGPM,
and `AttentionAdaptationLoss` eq. (2).

Source: Stanishev, Lu, Ebrahimi, "Pose-Invariant Face Recognition via Feature-Space Pose Frontalization" (2025), 3.2
and 3.3; Huang and Ding, "Attention-guided Progressive Mapping for Profile Face Recognition" (IJCB 2021).
"""

import copy
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from facexai.errors import InputError
from facexai.models.frontalizers import Frontalizer, yaw_gate

Reduction = Literal["sum", "mean"]


def adaptation_loss(
    target: Tensor, frontalized: Tensor, weight: Tensor | None = None, *, reduction: Reduction = "sum"
) -> Tensor:
    """Mean over the batch of the squared distance ("No ADA" of the FSPFM paper), weighted by dimension on demand.

    Args:
        target: what the profiles are to become, as a rule the embeddings of frontal faces. (N, D)
        frontalized: what the frontalizer makes of the profiles. (N, D)
        weight: of each squared difference; `huang_weight(target)` gives the loss of AGPM. (N, D)
        reduction: over the dimensions. `"sum"`: the squared norm of eq. (2). `"mean"`: as in AGPM's code, smaller by
            the factor D; the weight of the loss beside ArcFace has to know which.
    """
    if target.ndim != 2 or target.shape != frontalized.shape:
        raise InputError(
            f"targets and frontalized embeddings must be (N, D) alike; got {tuple(target.shape)} and "
            f"{tuple(frontalized.shape)}"
        )
    if weight is not None and weight.shape != target.shape:
        raise InputError(f"weights must be {tuple(target.shape)} like the targets; got {tuple(weight.shape)}")
    if reduction not in ("sum", "mean"):
        raise InputError(f"reduction must be 'sum' or 'mean'; got '{reduction}'")
    square = (target - frontalized).square()
    if weight is not None:
        square = weight * square
    return (square.sum(1) if reduction == "sum" else square.mean(1)).mean()


def huang_weight(frontal: Tensor, *, signed: bool = False) -> Tensor:
    """|f| / max_j |f_j|: the large dimensions of a frontal embedding count most. (N, D) -> (N, D) in [0, 1].

    No gradient passes.

    Source: Huang and Ding (2021), "attentive pair-wise loss", and their code, `train/main.py`.

    Deviations:
        Their code has w = f / max |f|, of embeddings that are never negative. Ours have both signs, and a negative
        weight would reward distance; `signed=True` is theirs.
    """
    frontal = frontal.detach()
    return (frontal if signed else frontal.abs()) / frontal.abs().amax(1, keepdim=True)


class AttentionAdaptationLoss(nn.Module):
    """L_ada, eq. (2): the attention re-weights what the frontal side of the network, F-Net, gives as a target.

    Args:
        frontalizer: M_g as it comes from stage 1. F-Net keeps a frozen copy of it, always in eval mode.
        attention: AM, trained together with the frontalizer of the profile side, P-Net.
        target: `"frontalized"`: M_g(phi(I_f)) * AM(phi(I_f)), eq. (2). `"plain"`: phi(I_f) * AM(phi(I_f)), as the text
            of 3.2 has it.
        keep_length: bring the weighted target back to the length that it had without attention.
        reduction: see `adaptation_loss`.

    Attributes:
        attention: AM; its parameters are the only ones here that learn.

    Source: Stanishev et al. (2025), 3.2 and eq. (2).

    Deviations:
        The paper does not say whether F-Net's M_g learns; it names AM and P-Net's FSPFM alone as trained, so the copy
        is frozen. AM can lower the loss by shrinking the target, which `keep_length`, our addition, rules out.
    """

    def __init__(
        self,
        frontalizer: Frontalizer,
        attention: nn.Module,
        *,
        target: Literal["frontalized", "plain"] = "frontalized",
        keep_length: bool = False,
        reduction: Reduction = "sum",
    ) -> None:
        super().__init__()
        if target not in ("frontalized", "plain"):
            raise InputError(f"target must be 'frontalized' or 'plain'; got '{target}'")
        self.frozen = copy.deepcopy(frontalizer).requires_grad_(False).eval()
        self.attention = attention
        self.plain = target == "plain"
        self.keep_length = keep_length
        self.reduction: Reduction = reduction

    def train(self, mode: bool = True) -> "AttentionAdaptationLoss":
        """Training mode for the attention; the frozen copy stays in eval mode, so that its BatchNorms rest too."""
        super().train(mode)
        self.frozen.eval()
        return self

    def before(self, frontal: Tensor, pose: Tensor) -> Tensor:
        """The target without attention. Frontal embeddings (N, D) and their poses (N, P) -> (N, D).

        It never changes while AM learns, so that it can be computed once. A limit of yaw is not known here.
        """
        return frontal if self.plain else self.frozen(frontal, pose)

    def target(self, frontal: Tensor, pose: Tensor, before: Tensor | None = None) -> Tensor:
        """What the profiles are to become. Frontal embeddings (N, D), poses (N, P), `before` of them -> (N, D)."""
        before = self.before(frontal, pose) if before is None else before
        after = before * self.attention(frontal)
        if self.keep_length:
            after = F.normalize(after) * before.norm(dim=1, keepdim=True)
        return after

    def forward(self, frontal: Tensor, pose: Tensor, frontalized: Tensor) -> Tensor:
        """L_ada. Frontal embeddings (N, D), their poses (N, P), frontalized profiles (N, D)."""
        return adaptation_loss(self.target(frontal, pose), frontalized, reduction=self.reduction)


def angular_distillation_loss(teacher: Tensor, student: Tensor, yaw: Tensor, *, extra: float = 1.0) -> Tensor:
    """Mean of (1 + extra g(yaw)) (1 - cos(student, teacher)), g being DREAM's gate: large poses count more.

    Args:
        teacher: embeddings of frontal faces, or the mean of a person's. (N, D)
        student: embeddings of profiles of the same people, after `PADLike`. (N, D)
        yaw: of the profiles, in degrees. (N,) or (N, 1)
        extra: what a pose of 90 degrees counts more than a frontal one.

    Source: Zhang, Chen, Yang, Wang, Liao, "Pose-Invariant Face Recognition via Adaptive Angular Distillation" (AAAI
    2022), abstract.

    Deviations:
        Reconstructed: the formula is ours; we have read no more than the abstract.
    """
    if teacher.ndim != 2 or teacher.shape != student.shape or yaw.numel() != len(teacher):
        raise InputError(
            "teacher and student must be (N, D) alike, with N yaws; "
            f"got {tuple(teacher.shape)}, {tuple(student.shape)} and {tuple(yaw.shape)}"
        )
    weight = 1 + extra * yaw_gate(yaw.reshape(-1))  # (N,)
    return (weight * (1 - F.cosine_similarity(student, teacher, dim=1))).mean()

"""FSPFM: frontalization in feature space, gated dimension by dimension by the whole pose.

    M_g(phi) = phi + T1(phi) * P1(theta) + T2(phi) * P2(theta)                                              (1)

phi is the embedding, theta the pose feature, * the product of elements.

Source: Stanishev, Lu, Ebrahimi, "Pose-Invariant Face Recognition via Feature-Space Pose Frontalization" (2025), 3.1.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from facexai.errors import InputError
from facexai.models.frontalizers.blocks import PlainBlock, ResidualBlock, ResidualStart
from facexai.models.frontalizers.interface import FRONTALIZERS, Frontalizer

Gate = Literal["linear", "two-layer", "none"]
Block = Literal["batchnorm", "prelu"]


@FRONTALIZERS.register("fspfm")
class FSPFM(Frontalizer):
    """Feature space pose frontalization module, eq. (1).

    Args:
        dimension: D of the embeddings.
        pose_size: P of the pose feature.
        stacked: the second block sees what the first has made, instead of the embedding itself.
        gate: P1 and P2. `"linear"`: Linear, Sigmoid. `"two-layer"`: Linear, ReLU, Linear, Sigmoid. `"none"`: 1, so the
            pose is not looked at.
        yaw_only: the pose is the yaw in degrees, of which the gates see |yaw| / 45, in place of a feature.
        block: T1 and T2. `"batchnorm"`: `ResidualBlock`. `"prelu"`: `PlainBlock`.
        width: dimensions inside a `PlainBlock`, over D.
        residual_start: see `ResidualBlock`.

    Attributes:
        pose_mean, pose_scale: the gates see (theta - mean) / scale; 0 and 1 until `standardise_pose` is called. (P,)

    Source: Stanishev et al., 3.1, eq. (1).

    Deviations:
        The paper calls T1 and T2 "two stacked blocks", its equation adds them; the equation is the default. What is in
        them is not printed: `ResidualBlock` of AGPM, which the authors trained too. P1 and P2 are "two non-linear fully
        connected layers", read as one each, with the sigmoid of a soft gate. The zero start and the standardised pose
        are our additions: without the first, frontalization of few identities ends below no frontalization.
    """

    pose_mean: Tensor
    pose_scale: Tensor

    def __init__(
        self,
        dimension: int,
        pose_size: int,
        *,
        stacked: bool = False,
        gate: Gate = "linear",
        yaw_only: bool = False,
        block: Block = "batchnorm",
        width: int = 1,
        residual_start: ResidualStart = "zero",
    ) -> None:
        if yaw_only:
            self.takes = "yaw"
        super().__init__(dimension, pose_size)
        self.stacked = stacked
        self.T1, self.T2 = (_block(block, dimension, residual_start, width) for _ in range(2))
        self.P1, self.P2 = _gate(gate, pose_size, dimension), _gate(gate, pose_size, dimension)
        self.register_buffer("pose_mean", torch.zeros(pose_size))
        self.register_buffer("pose_scale", torch.ones(pose_size))

    def standardise_pose(self, pose: Tensor) -> None:
        """Let the gates see zero mean and unit deviation. Pose features (M, P) of the training faces."""
        if pose.ndim != 2 or pose.shape[1] != self.pose_size or len(pose) < 2:
            raise InputError(f"pose features must be (M, {self.pose_size}) with M >= 2; got {tuple(pose.shape)}")
        pose = self._magnitude(pose)
        deviation = pose.std(0)
        self.pose_mean.copy_(pose.mean(0))
        self.pose_scale.copy_(torch.where(deviation > 0, deviation, 1.0))  # what never moves is left in its unit

    def frontalize(self, embedding: Tensor, pose: Tensor) -> Tensor:  # noqa: D102
        theta = (self._magnitude(pose) - self.pose_mean) / self.pose_scale  # (N, P)
        first = self.T1(embedding) * self.P1(theta)  # (N, D)
        if self.stacked:
            embedding = embedding + first
            return embedding + self.T2(embedding) * self.P2(theta)
        return embedding + first + self.T2(embedding) * self.P2(theta)

    def _magnitude(self, pose: Tensor) -> Tensor:
        return pose.abs() / 45 if self.takes == "yaw" else pose  # both profiles alike, about 1


class OpenGate(nn.Module):
    """A gate that is always open: 1, whatever the pose."""

    def forward(self, pose: Tensor) -> Tensor:  # noqa: D102
        return pose.new_ones(len(pose), 1)


def _block(kind: Block, dimension: int, start: ResidualStart, width: int) -> nn.Module:
    """Embeddings (N, D) -> residuals (N, D)."""
    if kind == "prelu":
        return PlainBlock(dimension, start, width)
    if kind != "batchnorm" or width != 1:
        raise InputError(f"block must be batchnorm, of width 1, or prelu; got '{kind}' and width {width}")
    return ResidualBlock(dimension, start)


def _gate(kind: Gate, pose_size: int, dimension: int) -> nn.Module:
    """Pose features (N, P) -> (N, D) in (0, 1)."""
    if kind == "linear":
        return nn.Sequential(nn.Linear(pose_size, dimension), nn.Sigmoid())
    if kind == "two-layer":
        hidden = nn.Linear(pose_size, dimension)
        return nn.Sequential(hidden, nn.ReLU(), nn.Linear(dimension, dimension), nn.Sigmoid())
    if kind == "none":
        return OpenGate()
    raise InputError(f"gate must be one of linear, two-layer, none; got '{kind}'")

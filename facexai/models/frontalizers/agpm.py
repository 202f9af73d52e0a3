"""AGPM: from profile over two steps to frontal, each step behind a gate of the yaw.

    x <- x + gate_P(yaw) R_P(x)      profile to half profile, beyond 60 degrees
    x <- x + gate_HP(yaw) R_HP(x)    half profile to half frontal, beyond 40 degrees
    x <- x + gate_HF(yaw) R_HF(x)    half frontal to frontal, beyond 20 degrees

Source: Huang and Ding, "Attention-guided Progressive Mapping for Profile Face Recognition" (IJCB 2021), and its code,
hjy1312/AGPM, `train/branch_util_512.py` and `train/dataset.py`.
"""

import torch
from torch import Tensor, nn

from facexai.models.frontalizers.blocks import ResidualBlock, ResidualStart
from facexai.models.frontalizers.interface import FRONTALIZERS, Frontalizer

OFFSETS = (-35.0, -15.0, 5.0)  # of the yaw, for profile, half profile, half frontal; each gate is half open at 25


def progressive_gates(yaw: Tensor, *, as_published: bool = False) -> Tensor:
    """Gates of the three steps, profile first. Yaw in degrees (N, 1) -> (N, 3).

    The gate with offset o is sigmoid(10 ((|yaw| + o) / 25 - 1)). As published it takes the magnitude of |yaw| + o once
    more, and so the profile step is open, 0.98, for a face that looks into the camera.
    """
    shifted = yaw.abs() + yaw.new_tensor(OFFSETS)
    if as_published:
        shifted = shifted.abs()
    return (10 * (shifted / 25 - 1)).sigmoid()


@FRONTALIZERS.register("agpm")
class AGPM(Frontalizer):
    """Attention-guided progressive mapping: three gated residual blocks in a row.

    Args:
        dimension: D of the embeddings.
        pose_size: 1, the yaw in degrees.
        as_published: the authors' gates, see `progressive_gates`, and their ReLU after each step, which takes the
            negative half of an embedding away.
        residual_start: see `ResidualBlock`. With `as_published` a zero start gives ReLU(x) instead of x.

    Source: Huang and Ding (2021) and their code.

    Deviations:
        Without `as_published`, the gates are what the paper describes, and there is no ReLU after a step: the authors'
        embeddings are averages after a ReLU, ours have both signs.
    """

    takes = "yaw"

    def __init__(
        self,
        dimension: int,
        pose_size: int = 1,
        *,
        as_published: bool = False,
        residual_start: ResidualStart = "zero",
    ) -> None:
        super().__init__(dimension, pose_size)
        self.as_published = as_published
        self.steps = nn.ModuleList(ResidualBlock(dimension, residual_start) for _ in OFFSETS)

    def frontalize(self, embedding: Tensor, pose: Tensor) -> Tensor:  # noqa: D102
        gates = progressive_gates(pose, as_published=self.as_published)  # (N, 3)
        for step, gate in zip(self.steps, gates.split(1, dim=1), strict=True):
            embedding = embedding + gate * step(embedding)
            if self.as_published:
                embedding = torch.relu(embedding)
        return embedding

"""DREAM: one residual block behind a gate that the yaw opens.

    out = x + gate(yaw) * R(x)

Source: Cao, Rong, Li, Tang, Loy, "Pose-Robust Face Recognition via Deep Residual Equivariant Mapping" (CVPR 2018), and
its code, penincillin/DREAM, `src/stitching/branch_util.py`.
"""

import math
from typing import Literal

from torch import Tensor

from facexai.errors import InputError
from facexai.models.frontalizers.blocks import PlainBlock, ResidualStart, starts_at_zero
from facexai.models.frontalizers.interface import FRONTALIZERS, Frontalizer

Slope = Literal["code", "paper"]


def yaw_gate(yaw: Tensor, slope: Slope = "code") -> Tensor:
    """How far the residual is let in. Yaw in degrees, any shape -> the same shape, in (0, 1).

    Args:
        yaw: its sign does not matter.
        slope: `"code"`: sigmoid(10 (|yaw| / 45 - 1)): 0 in front, 0.5 at 45 degrees, 1 at 90. `"paper"`:
            sigmoid(4 / pi |yaw in radians| - 1): from 0.27 in front to 0.73 at 90 degrees, hardly a gate.
    """
    if slope == "code":
        return (10 * (yaw.abs() / 45 - 1)).sigmoid()
    if slope == "paper":
        return (4 / math.pi * yaw.abs().deg2rad() - 1).sigmoid()
    raise InputError(f"the slope of DREAM's gate must be 'code' or 'paper'; got '{slope}'")


@FRONTALIZERS.register("dream")
class DREAM(Frontalizer):
    """Deep residual equivariant mapping: x + gate(yaw) fc2(PReLU(fc1(x))).

    Args:
        dimension: D of the embeddings.
        pose_size: 1, the yaw in degrees.
        slope: of the gate, see `yaw_gate`.
        final_relu: a ReLU after fc2, as in the authors' code; the residual cannot fall below zero then.
        residual_start: `"zero"`: fc2 starts at zero, and the module as the identity; not with `final_relu`, behind
            which a zero would stay. `"default"`: torch's own start.

    Source: Cao et al. (2018), section 3 and their code.

    Deviations:
        Paper and code differ by a factor of ten in the slope of the gate; the code's is the default. The activation is
        the paper's PReLU; the code's ReLU after fc2 belongs to embeddings that are never negative, which ours are.
    """

    takes = "yaw"

    def __init__(
        self,
        dimension: int,
        pose_size: int = 1,
        *,
        slope: Slope = "code",
        final_relu: bool = False,
        residual_start: ResidualStart = "zero",
    ) -> None:
        super().__init__(dimension, pose_size)
        if final_relu and starts_at_zero(residual_start):
            raise InputError("DREAM with final_relu cannot start at zero, where no gradient passes; use 'default'")
        self.slope: Slope = slope
        self.final_relu = final_relu
        self.block = PlainBlock(dimension, residual_start)

    def frontalize(self, embedding: Tensor, pose: Tensor) -> Tensor:  # noqa: D102
        residual = self.block(embedding)  # (N, D)
        if self.final_relu:
            residual = residual.relu()
        return embedding + yaw_gate(pose, self.slope) * residual

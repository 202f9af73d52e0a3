"""PADLike: one residual block with no gate, to be trained with `losses.angular_distillation_loss`.

    out = x + R(x)

Source: Zhang, Chen, Yang, Wang, Liao, "Pose-Invariant Face Recognition via Adaptive Angular Distillation" (AAAI 2022),
abstract.
"""

from torch import Tensor

from facexai.models.frontalizers.blocks import ResidualBlock, ResidualStart
from facexai.models.frontalizers.interface import FRONTALIZERS, Frontalizer


@FRONTALIZERS.register("pad-like")
class PADLike(Frontalizer):
    """x + R(x), whatever the pose; the pose counts in the loss.

    Args:
        dimension: D of the embeddings.
        pose_size: 1, the yaw in degrees.
        residual_start: see `ResidualBlock`.

    Source: Zhang et al. (2022), abstract: a student learns the angles of the teacher's frontal embeddings, large poses
    count more.

    Deviations:
        Reconstructed: no code was published and we have read no more than the abstract. There the student is a whole
        network and nothing is added to it; on a frozen trunk this block is the student.
    """

    takes = "yaw"

    def __init__(self, dimension: int, pose_size: int = 1, *, residual_start: ResidualStart = "zero") -> None:
        super().__init__(dimension, pose_size)
        self.block = ResidualBlock(dimension, residual_start)

    def frontalize(self, embedding: Tensor, pose: Tensor) -> Tensor:  # noqa: D102
        return embedding + self.block(embedding)

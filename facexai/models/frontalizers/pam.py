"""PAMLike: a narrow residual block behind DREAM's gate, after the abstract of PAM.

    out = x + gate(yaw) * R(x),    R: D -> D / 16 -> D

Source: Tsai and Yeh, "PAM: Pose Attention Module for Pose-Invariant Face Recognition" (2021), abstract.
"""

from torch import Tensor, nn

from facexai.models.frontalizers.blocks import ResidualStart, starts_at_zero
from facexai.models.frontalizers.dream import yaw_gate
from facexai.models.frontalizers.interface import FRONTALIZERS, Frontalizer


@FRONTALIZERS.register("pam-like")
class PAMLike(Frontalizer):
    """x + gate(yaw) BN(W2 PReLU(BN(W1 x))) with few dimensions between W1 and W2.

    Args:
        dimension: D of the embeddings.
        pose_size: 1, the yaw in degrees.
        reduction: D over the dimensions between.
        residual_start: `"zero"`: the last BatchNorm's gain starts at zero, and the module as the identity.

    Source: Tsai and Yeh (2021), abstract: a "lightweight" block that learns "residuals between pose variations with a
    soft gate".

    Deviations:
        Reconstructed: no code was published and we have read no more than the abstract. The paper's block works in a
        "hierarchical feature space", on the maps of several stages of the trunk; this one sees the embedding alone, as
        its rivals do.
    """

    takes = "yaw"

    def __init__(
        self, dimension: int, pose_size: int = 1, *, reduction: int = 16, residual_start: ResidualStart = "zero"
    ) -> None:
        super().__init__(dimension, pose_size)
        inner = max(dimension // reduction, 1)
        self.fc1 = nn.Linear(dimension, inner, bias=False)
        self.bn1 = nn.BatchNorm1d(inner)
        self.prelu = nn.PReLU(inner)
        self.fc2 = nn.Linear(inner, dimension, bias=False)
        self.bn2 = nn.BatchNorm1d(dimension)
        if starts_at_zero(residual_start):
            nn.init.zeros_(self.bn2.weight)

    def frontalize(self, embedding: Tensor, pose: Tensor) -> Tensor:  # noqa: D102
        residual = self.bn2(self.fc2(self.prelu(self.bn1(self.fc1(embedding)))))
        return embedding + yaw_gate(pose) * residual

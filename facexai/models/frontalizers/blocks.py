"""ResidualBlock: what the frontalizers learn, and how it starts."""

from typing import Literal

from torch import Tensor, nn

from facexai.errors import InputError

ResidualStart = Literal["zero", "default"]


def starts_at_zero(start: ResidualStart) -> bool:
    """Whether the last layer of a residual is to start at zero."""
    if start not in ("zero", "default"):
        raise InputError(f"residual_start must be 'zero' or 'default'; got '{start}'")
    return start == "zero"


class ResidualBlock(nn.Module):
    """Linear, BatchNorm, ReLU, Linear, BatchNorm: a pose residual (N, D) of an embedding (N, D).

    Args:
        dimension: D.
        start: `"zero"`: the last BatchNorm's gain starts at zero, so the residual does too and the frontalizer starts
            as the identity. `"default"`: torch's own start.

    Source: Huang and Ding, "Attention-guided Progressive Mapping for Profile Face Recognition" (IJCB 2021), the block
    of their code without gate, shortcut and last ReLU; its 1 x 1 convolutions on one cell are linear layers.
    """

    def __init__(self, dimension: int, start: ResidualStart = "zero") -> None:
        super().__init__()
        self.fc1 = nn.Linear(dimension, dimension, bias=False)
        self.bn1 = nn.BatchNorm1d(dimension)
        self.fc2 = nn.Linear(dimension, dimension, bias=False)
        self.bn2 = nn.BatchNorm1d(dimension)
        if starts_at_zero(start):
            nn.init.zeros_(self.bn2.weight)

    def forward(self, embedding: Tensor) -> Tensor:  # noqa: D102
        return self.bn2(self.fc2(self.bn1(self.fc1(embedding)).relu()))


class PlainBlock(nn.Module):
    """Linear, PReLU, Linear: a pose residual (N, D) of an embedding (N, D), without BatchNorm.

    Args:
        dimension: D.
        start: `"zero"`: the last layer starts at zero. `"default"`: torch's own start.
        width: dimensions between the layers, over D.

    Source: Cao et al., "Pose-Robust Face Recognition via Deep Residual Equivariant Mapping" (CVPR 2018): the block of
    DREAM; the width is ours.
    """

    def __init__(self, dimension: int, start: ResidualStart = "zero", width: int = 1) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dimension, width * dimension)
        self.prelu = nn.PReLU()
        self.fc2 = nn.Linear(width * dimension, dimension)
        if starts_at_zero(start):
            nn.init.zeros_(self.fc2.weight)
            nn.init.zeros_(self.fc2.bias)

    def forward(self, embedding: Tensor) -> Tensor:  # noqa: D102
        return self.fc2(self.prelu(self.fc1(embedding)))

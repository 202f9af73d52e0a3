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

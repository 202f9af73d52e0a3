"""XCosHead: a similarity that is a weighted mean of the similarities of places.

    xCos = sum over the cells p of attention[p] x cos(A[p], B[p])

Source: Lin, Liu, Chen, Wang, Lee, Chen, Chang, Hsu, "xCos: An Explainable Cosine Metric for Face Verification Task"
(TOMM 2021), section 3; layers and widths as in the authors' code, `xcos_modules.py`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class XCosHead(nn.Module):
    """Two feature maps -> their xCos.

    Args:
        channels: C of the feature maps.
        grid_channels: of each cell of the grid.
        attention_channels: inside the attention.

    Deviations:
        The authors' attention goes through one more BatchNorm and PReLU before the softmax; so it does here. It is not
        symmetric in the two faces, as its first convolution knows them apart.
    """

    def __init__(self, channels: int = 512, grid_channels: int = 32, attention_channels: int = 16) -> None:
        super().__init__()
        self.to_grid = _layer(channels, grid_channels, kernel=1, slopes=grid_channels)
        self.embed = _layer(grid_channels, attention_channels)
        self.attend = nn.Sequential(_layer(2 * attention_channels, attention_channels), _layer(attention_channels, 1))

    def grid(self, features: Tensor) -> Tensor:
        """A short vector for each cell. (N, C, h, w) -> (N, c, h, w)."""
        return self.to_grid(features)

    def cosines(self, own: Tensor, other: Tensor) -> Tensor:
        """cos(A[p], B[p]) of two grids. (N, c, h, w) twice -> (N, h, w)."""
        return F.cosine_similarity(own, other, dim=1)

    def attention(self, own: Tensor, other: Tensor) -> Tensor:
        """How much each cell counts; sums to 1. Grids (N, c, h, w) twice -> (N, h, w)."""
        logits = self.attend(torch.cat([self.embed(own), self.embed(other)], dim=1))  # (N, 1, h, w)
        return logits.flatten(1).softmax(1).view(logits[:, 0].shape)

    def forward(self, own: Tensor, other: Tensor) -> Tensor:
        """XCos of two grids. (N, c, h, w) twice -> (N,)."""
        return (self.attention(own, other) * self.cosines(own, other)).sum((1, 2))


def _layer(inputs: int, outputs: int, kernel: int = 3, slopes: int = 1) -> nn.Sequential:
    """Convolution, BatchNorm, PReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2), nn.BatchNorm2d(outputs), nn.PReLU(slopes)
    )

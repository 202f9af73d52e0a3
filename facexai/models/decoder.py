"""ReconstructionDecoder: from the last feature map back to a face.

Source: DDFV paper, III.A and III.C: "a stack of four transposed convolutional layers". Kernel, widths, normalisation
and output are not printed; ours are in `Deviations` below.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ReconstructionDecoder(nn.Module):
    """Four transposed convolutions: features (N, C, h, w) -> images (N, 3, 16 h, 16 w) in [-1, 1].

    Args:
        channels: C of the feature map.
        widths: channels after all layers but the last; C/2, C/4, C/8 where not given.
        activation: `"tanh"`, or `"none"` for a linear output.
        doublings: how many layers there are, for maps of other than 1/16 of the image.
        size: (H, W) that the image is brought to, where doublings do not lead there; None: as the last layer gives it.

    Deviations:
        The paper prints four transposed convolutions and no more. Here each has kernel 4, stride 2, padding 1, so it
        doubles the map exactly; BatchNorm and ReLU stand between them and tanh at the end. With this kernel a change in
        one feature cell reaches a window of 46 x 46 pixels and nothing else: `explainers.ddfv` makes use of that. Other
        networks have coarser maps, or sizes that doubling does not lead to: `doublings` and `size` are for those.
    """

    def __init__(
        self,
        channels: int = 512,
        widths: Sequence[int] = (),
        activation: Literal["tanh", "none"] = "tanh",
        doublings: int = 4,
        size: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        inner = tuple(widths) or tuple(max(channels >> level, 1) for level in range(1, doublings))
        self.size = None if size is None else tuple(size)
        sizes = (channels, *inner, 3)
        self.activation = activation
        self.layers = nn.ModuleList(nn.ConvTranspose2d(a, b, 4, 2, 1) for a, b in pairwise(sizes))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in inner)

    def forward(self, features: Tensor) -> Tensor:  # noqa: D102
        x = features  # (N, C, 7, 7)
        for layer, norm in zip(self.layers, self.norms, strict=False):
            x = torch.relu(norm(layer(x)))  # (N, C/2, 14, 14), (N, C/4, 28, 28), (N, C/8, 56, 56)
        x = self.layers[-1](x)  # (N, 3, 112, 112)
        if self.size is not None:
            x = F.interpolate(x, self.size, mode="bilinear", antialias=True)
        return torch.tanh(x) if self.activation == "tanh" else x

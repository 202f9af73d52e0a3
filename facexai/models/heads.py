"""Heads: from the last feature map to one vector.

`pooled = head(features)`, (N, C, h, w) -> (N, D); the embedding is `pooled` at unit length.
"""

from torch import Tensor, nn


class MaxPoolHead(nn.Module):
    """Global max pooling, so that dimension i of the embedding is one position of channel i.

    Args:
        channels: C of the feature map; also D.
        normalize: follow the pooling with BatchNorm1d without affine.

    Source: DDFV paper, III.C: the last fully connected layer gives way to a global max pooling.

    Deviations:
        The paper prints no normalisation after the pooling. Maxima of a channel are almost always positive and share a
        mean, so without it the cosines of strangers are high and the products f_A f_B of Algorithm 1 hardly depend on
        the partner. Taking the training mean (and the scale) away cures both. `normalize=False` is as printed.
    """

    def __init__(self, channels: int, normalize: bool = True) -> None:
        super().__init__()
        self.dimension = channels
        self.bn = nn.BatchNorm1d(channels, affine=False) if normalize else nn.Identity()

    @property
    def normalize(self) -> bool:
        """Whether the training mean of each maximum is taken away."""
        return isinstance(self.bn, nn.BatchNorm1d)

    def forward(self, features: Tensor) -> Tensor:  # noqa: D102
        return self.bn(features.amax((2, 3)))


class FullyConnectedHead(nn.Module):
    """Dropout, fully connected layer, BatchNorm: ArcFace's head. Affine in the features when in eval mode.

    Args:
        channels, size: of the feature map, C and h = w.
        dimension: D.
        dropout: share of the features that training leaves out.
        affine: whether the BatchNorm has a weight (fixed at 1) and a bias; AdaFace's has not.

    Source: insightface, `arcface_torch/backbones/iresnet.py` (names `fc`, `features` are its).
    """

    def __init__(
        self, channels: int = 512, size: int = 7, dimension: int = 512, dropout: float = 0.0, affine: bool = True
    ) -> None:
        super().__init__()
        self.dimension = dimension
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels * size * size, dimension)
        self.features = nn.BatchNorm1d(dimension, eps=1e-5, affine=affine)
        if affine:
            nn.init.constant_(self.features.weight, 1.0)
            self.features.weight.requires_grad = False  # as insightface: the embedding is normalised afterwards

    def forward(self, features: Tensor) -> Tensor:  # noqa: D102
        return self.features(self.fc(self.dropout(features.flatten(1))))


class GlobalDepthwiseHead(nn.Module):
    """Depthwise 7 x 7 convolution to one cell, then a linear 1 x 1: MobileFaceNet's head. Affine in the features.

    Source: Chen et al., "MobileFaceNets" (2018), section 3.1.
    """

    def __init__(self, channels: int = 512, size: int = 7, dimension: int = 128) -> None:
        super().__init__()
        self.dimension = dimension
        self.GDC_dw = nn.Conv2d(channels, channels, size, groups=channels, bias=False)
        self.GDC_bn = nn.BatchNorm2d(channels)
        self.features = nn.Conv2d(channels, dimension, 1, bias=False)
        self.last_bn = nn.BatchNorm2d(dimension)

    def forward(self, features: Tensor) -> Tensor:  # noqa: D102
        return self.last_bn(self.features(self.GDC_bn(self.GDC_dw(features)))).flatten(1)


class AveragePoolHead(nn.Module):
    """Global average pooling, dropout, linear layer, BatchNorm: the head of FaceNet. Affine in eval mode.

    Source: facenet-pytorch, `models/inception_resnet_v1.py` (names `last_linear`, `last_bn` are its).
    """

    def __init__(self, channels: int = 1792, dimension: int = 512, dropout: float = 0.6) -> None:
        super().__init__()
        self.dimension = dimension
        self.dropout = nn.Dropout(dropout)
        self.last_linear = nn.Linear(channels, dimension, bias=False)
        self.last_bn = nn.BatchNorm1d(dimension, eps=1e-3)

    def forward(self, features: Tensor) -> Tensor:  # noqa: D102
        return self.last_bn(self.last_linear(self.dropout(features.mean((2, 3)))))

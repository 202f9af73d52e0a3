"""Inception-ResNet-v1: the trunk of FaceNet as facenet-pytorch has it.

Source: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning" (2017);
facenet-pytorch, `models/inception_resnet_v1.py`, whose parameter names these are.
"""

import torch
from torch import Tensor, nn

Kernel = int | tuple[int, int]


class ConvBlock(nn.Module):
    """Convolution without bias, BatchNorm, ReLU."""

    def __init__(
        self, in_channels: int, channels: int, kernel: Kernel = 1, stride: int = 1, padding: Kernel = 0
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=1e-3)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.relu(self.bn(self.conv(x)))


class Branches(nn.Module):
    """Branches side by side, their channels put in a row; they are named `branch0`, `branch1`, ..."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.names = [f"branch{number}" for number in range(len(branches))]
        for name, branch in zip(self.names, branches, strict=True):
            self.add_module(name, branch)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return torch.cat([getattr(self, name)(x) for name in self.names], 1)


class ResidualBranches(Branches):
    """x + scale x conv(branches), with a ReLU behind unless `linear`."""

    def __init__(
        self, *branches: nn.Module, width: int, channels: int, scale: float = 1.0, linear: bool = False
    ) -> None:
        super().__init__(*branches)
        self.scale = scale
        self.conv2d = nn.Conv2d(width, channels, 1)
        self.relu = nn.Identity() if linear else nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.relu(self.conv2d(super().forward(x)) * self.scale + x)


def block35(scale: float) -> ResidualBranches:
    """On the grid of 17 x 17 at 160 pixels, 256 channels."""
    return ResidualBranches(
        ConvBlock(256, 32),
        nn.Sequential(ConvBlock(256, 32), ConvBlock(32, 32, 3, 1, 1)),
        nn.Sequential(ConvBlock(256, 32), ConvBlock(32, 32, 3, 1, 1), ConvBlock(32, 32, 3, 1, 1)),
        width=96,
        channels=256,
        scale=scale,
    )


def block17(scale: float) -> ResidualBranches:
    """On the grid of 8 x 8, 896 channels."""
    long = nn.Sequential(
        ConvBlock(896, 128), ConvBlock(128, 128, (1, 7), 1, (0, 3)), ConvBlock(128, 128, (7, 1), 1, (3, 0))
    )
    return ResidualBranches(ConvBlock(896, 128), long, width=256, channels=896, scale=scale)


def block8(scale: float = 1.0, linear: bool = False) -> ResidualBranches:
    """On the grid of 3 x 3, 1792 channels."""
    long = nn.Sequential(
        ConvBlock(1792, 192), ConvBlock(192, 192, (1, 3), 1, (0, 1)), ConvBlock(192, 192, (3, 1), 1, (1, 0))
    )
    return ResidualBranches(ConvBlock(1792, 192), long, width=384, channels=1792, scale=scale, linear=linear)


def mixed_6a() -> Branches:
    """From 256 channels to 896, at half the size."""
    middle = nn.Sequential(ConvBlock(256, 192), ConvBlock(192, 192, 3, 1, 1), ConvBlock(192, 256, 3, 2))
    return Branches(ConvBlock(256, 384, 3, 2), middle, nn.MaxPool2d(3, 2))


def mixed_7a() -> Branches:
    """From 896 channels to 1792, at half the size."""
    return Branches(
        nn.Sequential(ConvBlock(896, 256), ConvBlock(256, 384, 3, 2)),
        nn.Sequential(ConvBlock(896, 256), ConvBlock(256, 256, 3, 2)),
        nn.Sequential(ConvBlock(896, 256), ConvBlock(256, 256, 3, 1, 1), ConvBlock(256, 256, 3, 2)),
        nn.MaxPool2d(3, 2),
    )


class InceptionResNetV1(nn.Module):
    """Trunk of FaceNet without its head: images (N, 3, 160, 160) -> features (N, 1792, 3, 3).

    Its last block has no ReLU, so the map is signed.
    """

    channels = 1792

    def __init__(self) -> None:
        super().__init__()
        self.conv2d_1a = ConvBlock(3, 32, 3, 2)
        self.conv2d_2a = ConvBlock(32, 32, 3)
        self.conv2d_2b = ConvBlock(32, 64, 3, 1, 1)
        self.maxpool_3a = nn.MaxPool2d(3, 2)
        self.conv2d_3b = ConvBlock(64, 80)
        self.conv2d_4a = ConvBlock(80, 192, 3)
        self.conv2d_4b = ConvBlock(192, 256, 3, 2)
        self.repeat_1 = nn.Sequential(*(block35(0.17) for _ in range(5)))
        self.mixed_6a = mixed_6a()
        self.repeat_2 = nn.Sequential(*(block17(0.10) for _ in range(10)))
        self.mixed_7a = mixed_7a()
        self.repeat_3 = nn.Sequential(*(block8(0.20) for _ in range(5)))
        self.block8 = block8(linear=True)

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        x = self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(images)))  # (N, 64, 77, 77)
        x = self.conv2d_4b(self.conv2d_4a(self.conv2d_3b(self.maxpool_3a(x))))  # (N, 256, 17, 17)
        x = self.mixed_6a(self.repeat_1(x))  # (N, 896, 8, 8)
        x = self.mixed_7a(self.repeat_2(x))  # (N, 1792, 3, 3)
        return self.block8(self.repeat_3(x))

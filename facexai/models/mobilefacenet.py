"""MobileFaceNet: a face recognition trunk of one million parameters.

Source: Chen et al., "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile Devices" (2018).
Parameter names are those of bubbliiiing/arcface-pytorch, so that its published state dict loads.
"""

from torch import Tensor, nn


class ConvBlock(nn.Module):
    """Convolution without bias, BatchNorm, and PReLU unless `linear`."""

    def __init__(
        self, in_channels: int, channels: int, kernel: int = 1, stride: int = 1, groups: int = 1, linear: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.prelu = nn.Identity() if linear else nn.PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.prelu(self.bn(self.conv(x)))


class Bottleneck(nn.Module):
    """Expand to `groups` channels, filter each of them, project; the shortcut only where `residual`."""

    def __init__(self, in_channels: int, channels: int, groups: int, stride: int = 1, residual: bool = False) -> None:
        super().__init__()
        self.conv = ConvBlock(in_channels, groups)
        self.conv_dw = ConvBlock(groups, groups, 3, stride, groups)
        self.project = ConvBlock(groups, channels, linear=True)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        y = self.project(self.conv_dw(self.conv(x)))
        return x + y if self.residual else y


class Repeat(nn.Module):
    """`count` residual bottlenecks, named `model.0`, `model.1`, ..."""

    def __init__(self, channels: int, groups: int, count: int) -> None:
        super().__init__()
        self.model = nn.Sequential(*(Bottleneck(channels, channels, groups, residual=True) for _ in range(count)))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.model(x)


class MobileFaceNet(nn.Module):
    """Trunk of MobileFaceNet: images (N, 3, 112, 112) -> features (N, 512, 7, 7)."""

    channels = 512

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = ConvBlock(3, 64, 3, 2)
        self.conv2_dw = ConvBlock(64, 64, 3, 1, 64)
        self.conv_23 = Bottleneck(64, 64, 128, 2)
        self.conv_3 = Repeat(64, 128, 4)
        self.conv_34 = Bottleneck(64, 128, 256, 2)
        self.conv_4 = Repeat(128, 256, 6)
        self.conv_45 = Bottleneck(128, 128, 512, 2)
        self.conv_5 = Repeat(128, 256, 2)
        self.sep = nn.Conv2d(128, 512, 1, bias=False)
        self.sep_bn = nn.BatchNorm2d(512)
        self.prelu = nn.PReLU(512)

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        x = self.conv2_dw(self.conv1(images))  # (N, 64, 56, 56)
        x = self.conv_3(self.conv_23(x))  # (N, 64, 28, 28)
        x = self.conv_4(self.conv_34(x))  # (N, 128, 14, 14)
        x = self.conv_5(self.conv_45(x))  # (N, 128, 7, 7)
        return self.prelu(self.sep_bn(self.sep(x)))

"""IResNet: the residual trunk of ArcFace.

Source: insightface, `recognition/arcface_torch/backbones/iresnet.py`; block of Duta et al., "Improved Residual
Networks" (2020). Parameter names are insightface's, so that published state dicts load.
"""

from collections.abc import Sequence

from torch import Tensor, nn

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3), 200: (6, 26, 60, 6)}


class IBasicBlock(nn.Module):
    """BN - conv - BN - PReLU - conv(stride) - BN, plus the shortcut; no activation after the sum."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels, eps=1e-5)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels, eps=1e-5)
        self.prelu = nn.PReLU(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels, eps=1e-5)
        self.downsample = None
        if stride != 1 or in_channels != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels, eps=1e-5)
            )

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        residual = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        residual = self.bn3(self.conv2(residual))
        return residual + (x if self.downsample is None else self.downsample(x))


class IResNet(nn.Module):
    """Trunk of ArcFace without its head: images (N, 3, 112, 112) -> features (N, widths[-1], 7, 7).

    Args:
        blocks: residual blocks in each of the four stages; `BLOCKS` has the published depths.
        widths: channels of the four stages.
        stem_stride: 1 as published. 2 halves the image in the first convolution instead of in the first stage, which
            keeps the 7 x 7 map and saves more than half of the work; for small networks on small machines.

    There is no ReLU on the last map (it ends in `bn2`), so its maxima may be negative.
    """

    def __init__(
        self, blocks: Sequence[int] = BLOCKS[50], widths: Sequence[int] = (64, 128, 256, 512), stem_stride: int = 1
    ) -> None:
        super().__init__()
        self.channels = widths[3]
        self.conv1 = nn.Conv2d(3, widths[0], 3, stem_stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0], eps=1e-5)
        self.prelu = nn.PReLU(widths[0])
        self.layer1 = _stage(widths[0], widths[0], blocks[0], stride=2 // stem_stride)
        self.layer2 = _stage(widths[0], widths[1], blocks[1])
        self.layer3 = _stage(widths[1], widths[2], blocks[2])
        self.layer4 = _stage(widths[2], widths[3], blocks[3])
        self.bn2 = nn.BatchNorm2d(widths[3], eps=1e-5)
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        x = self.prelu(self.bn1(self.conv1(images)))  # (N, 64, 112, 112)
        x = self.layer1(x)  # (N, 64, 56, 56)
        x = self.layer2(x)  # (N, 128, 28, 28)
        x = self.layer3(x)  # (N, 256, 14, 14)
        x = self.layer4(x)  # (N, 512, 7, 7)
        return self.bn2(x)


def _stage(in_channels: int, channels: int, blocks: int, stride: int = 2) -> nn.Sequential:
    first = IBasicBlock(in_channels, channels, stride)
    return nn.Sequential(first, *(IBasicBlock(channels, channels, 1) for _ in range(blocks - 1)))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0, 0.1)  # as arcface_torch: the BatchNorm that follows takes the scale away

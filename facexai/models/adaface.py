"""AdaFace's IR trunk: a residual network like IResNet, with other names and another shortcut.

Source: Kim, Jain, Liu, "AdaFace: Quality Adaptive Margin for Face Recognition" (2022), `net.py` of its repository, mode
`ir`. Parameter names are its, so that published checkpoints load.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from facexai.models.iresnet import BLOCKS


class IRBlock(nn.Module):
    """BN - conv - BN - PReLU - conv(stride) - BN, plus the shortcut.

    Where the width stays the shortcut takes every `stride`-th pixel; IResNet has a convolution there if stride is 2.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        if in_channels == channels:
            self.shortcut_layer = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.Conv2d(in_channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.PReLU(channels),
            nn.Conv2d(channels, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.res_layer(x) + self.shortcut_layer(x)


class AdaFaceIR(nn.Module):
    """Trunk of AdaFace without its head: images (N, 3, 112, 112), BGR -> features (N, widths[-1], 7, 7).

    Args:
        blocks: residual blocks in each of the four stages.
        widths: channels of the four stages.
    """

    def __init__(self, blocks: Sequence[int] = BLOCKS[50], widths: Sequence[int] = (64, 128, 256, 512)) -> None:
        super().__init__()
        self.channels = widths[3]
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.PReLU(widths[0])
        )
        before = (widths[0], *widths[:3])
        self.body = nn.Sequential(
            *(
                IRBlock(channels if block else in_channels, channels, 1 if block else 2)
                for in_channels, channels, count in zip(before, widths, blocks, strict=True)
                for block in range(count)
            )
        )
        self.output_layer = nn.Sequential(nn.BatchNorm2d(self.channels))  # the first of its five; the head has the rest

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        return self.output_layer(self.body(self.input_layer(images)))

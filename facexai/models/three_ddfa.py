"""ThreeDDFA: the face fitting network of 3DDFA_V2, of which the head pose is used.

Source: Guo et al., "Towards Fast, Accurate and Stable 3D Dense Face Alignment" (ECCV 2020), and its code,
cleardusk/3DDFA_V2: `models/mobilenet_v1.py` and `utils/pose.py`. Parameter names are theirs, so that the published
state dict loads.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facexai.errors import InputError
from facexai.models.hopenet import PoseEstimate

SIZE = 120  # pixels
PARAMETERS = 62  # 12 of the camera, 40 of the shape, 10 of the expression
MARGIN = 24 / 112  # of the side of an aligned face, added on each side: the network wants to see more
SIGNS = (-1.0, 1.0, 1.0)  # of yaw, pitch, roll: theirs -> those of `Pose`; seen on rendered faces of known pose


class DepthwiseBlock(nn.Module):
    """Depthwise 3x3 and pointwise convolution, each with BatchNorm and ReLU. (N, C, H, W) -> (N, C', H / s, W / s)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False)
        self.bn_dw = nn.BatchNorm2d(inputs)
        self.conv_sep = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn_sep = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.bn_sep(self.conv_sep(self.bn_dw(self.conv_dw(x)).relu())).relu()


BLOCKS = {  # name: inputs, outputs, stride; MobileNet-V1 at half its width
    "dw2_1": (16, 32, 1),
    "dw2_2": (32, 64, 2),
    "dw3_1": (64, 64, 1),
    "dw3_2": (64, 128, 2),
    "dw4_1": (128, 128, 1),
    "dw4_2": (128, 256, 2),
    **{f"dw5_{number}": (256, 256, 1) for number in range(1, 6)},
    "dw5_6": (256, 512, 2),
    "dw6": (512, 512, 1),
}


class ThreeDDFA(nn.Module):
    """Head pose network: aligned faces (N, 3, H, W) in [-1, 1], RGB -> `PoseEstimate`.

    Args:
        mean, std: of the 62 parameters, as published beside the weights. Shape (62,).

    Attributes:
        pose_size: 512, the length of the pose feature, which is the pooled last map.
        name, card: see `HopeNet`.

    Source: Guo et al. (2020); the half-width network `mb05_120x120`.

    Deviations:
        Published for the box of a face detector; aligned faces get a margin of repeated border pixels instead.
        Their angles are turned about in another order than those of `Pose`; only signs are converted. Beyond 90 degrees
        of yaw, where theirs is defined no further, pitch and roll jump by 180.
    """

    pose_size = 512

    def __init__(self, mean: Tensor | None = None, std: Tensor | None = None) -> None:
        super().__init__()
        self.name = "3ddfa"
        self.card: dict[str, Any] = {}
        self.conv1 = nn.Conv2d(3, 16, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        for name, (inputs, outputs, stride) in BLOCKS.items():
            setattr(self, name, DepthwiseBlock(inputs, outputs, stride))
        self.fc_param = nn.Linear(self.pose_size, PARAMETERS)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.zeros(PARAMETERS) if mean is None else mean.float())
        self.register_buffer("std", torch.ones(PARAMETERS) if std is None else std.float())

    def forward(self, images: Tensor) -> PoseEstimate:  # noqa: D102
        if images.ndim != 4 or images.shape[1] != 3:
            raise InputError(f"ThreeDDFA takes faces of shape (N, 3, H, W) in [-1, 1]; got {tuple(images.shape)}")
        margin = round(MARGIN * images.shape[3])
        x = F.pad(images, (margin,) * 4, mode="replicate")
        x = F.interpolate(x, (SIZE, SIZE), mode="bilinear", antialias=True)
        x = x.flip(1) * (127.5 / 128)  # BGR, (pixel - 127.5) / 128
        x = self.bn1(self.conv1(x)).relu()
        for name in BLOCKS:
            x = getattr(self, name)(x)
        feature = x.mean((2, 3))  # (N, 512)
        return PoseEstimate(feature, pose_of_parameters(self.fc_param(feature) * self.std + self.mean))


def pose_of_parameters(parameters: Tensor) -> Tensor:
    """Yaw, pitch, roll in degrees, with the signs of `Pose`, of the 62 parameters (N, 62) -> (N, 3).

    The first twelve are a camera matrix (3, 4); its first two rows, made of length one, and their cross product are the
    rotation.
    """
    camera = parameters[:, :12].reshape(-1, 3, 4)
    first, second = F.normalize(camera[:, 0, :3]), F.normalize(camera[:, 1, :3])  # (N, 3)
    third = torch.linalg.cross(first, second)
    yaw = third[:, 0].clamp(-1, 1).asin()
    pitch = torch.atan2(third[:, 1], third[:, 2])
    roll = torch.atan2(second[:, 0], first[:, 0])  # the cosine of the yaw divides both sides and is positive
    return torch.stack([yaw, pitch, roll], 1).rad2deg() * parameters.new_tensor(SIGNS)

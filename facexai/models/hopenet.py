"""HopeNet: head pose from a face, and the pose feature that FSPFM looks at.

A residual trunk, pooled to one vector, and for each angle a classifier over 66 bins of 3 degrees; the angle is the
expectation over the bins.

Source: Ruiz, Chong, Rehg, "Fine-Grained Head Pose Estimation Without Keypoints" (CVPR workshops 2018), section 3, and
its code, natanielruiz/deep-head-pose. Parameter names are theirs, so that published state dicts load.
"""

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facexai.compat import import_torchvision
from facexai.errors import InputError

BLOCKS = {10: [1, 1, 1, 1], 18: [2, 2, 2, 2], 50: [3, 4, 6, 3]}  # of each stage, by depth
BINS = 66
WIDTH = 3.0  # degrees in a bin
LIMIT = 99.0  # the bins reach from -99 to 99 degrees
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class PoseEstimate(NamedTuple):
    """What a pose network says about N faces.

    Attributes:
        feature: pooled vector before the angles. (N, P)
        angles: yaw, pitch, roll in degrees, with the signs of `Pose`. (N, 3)
    """

    feature: Tensor
    angles: Tensor


class PoseEstimator(Protocol):
    """Anything that estimates poses of aligned faces."""

    def __call__(self, images: Tensor) -> PoseEstimate:
        """Poses of faces (N, 3, H, W) in [-1, 1]."""
        ...


class HopeNet(nn.Module):
    """Head pose network: faces (N, 3, H, W) in [-1, 1], RGB -> `PoseEstimate`.

    Args:
        depth: 50 as published; 18: torchvision's trunk of that depth; 10: that with one block in each stage.
        size: side in pixels to which faces are resized; 224 as published.
        stages: 4 as published. 3 leaves the last stage, and most of the parameters, out; with depth 10 and size 96 a
            small network for small machines, and P = 256.

    Attributes:
        pose_size: P of the pose feature: 2048, or 512 with depth 10 or 18; half of it with 3 stages.
        options: depth, size and stages, from which the network is built again.
        name: of the saved network or file that the weights came from.
        card: the model card that came with the weights, the sha256 of a published file, {} for a fresh network.

    Convention:
        The bins have the signs of the published network, whose positive yaw turns the face to the image's left,
        positive pitch up, positive roll clockwise: each the opposite of `Pose`. `angles` are those of `Pose`.

    Source: Ruiz et al. (2018), section 3 and Fig. 3; signs as drawn by `plot_pose_cube` of their code.

    Deviations:
        The published angles are turned about in another order, Rx Ry Rz in place of `Pose`'s Rz Rx Ry; both agree
        where the roll is zero, as it is on aligned faces, and for other faces only the signs are converted.
        The published network saw loose crops: on aligned ones its angles have to be checked.
    """

    def __init__(self, depth: int = 50, *, size: int = 224, stages: int = 4) -> None:
        super().__init__()
        if depth not in BLOCKS or stages not in (3, 4):
            raise InputError(f"HopeNet comes with depth 10, 18 or 50 and 3 or 4 stages; got {depth} and {stages}")
        if size < 32:
            raise InputError(f"HopeNet halves its images five times: size must be at least 32 pixels; got {size}")
        import_torchvision()
        from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

        trunk = ResNet(Bottleneck if depth == 50 else BasicBlock, BLOCKS[depth])
        self.options = {"depth": depth, "size": size, "stages": stages}
        self.name = f"hopenet{depth}"
        self.card: dict[str, Any] = {}
        self.size = size
        self.pose_size = int(trunk.fc.in_features) // (1 if stages == 4 else 2)
        self.conv1, self.bn1 = trunk.conv1, trunk.bn1
        self.layer1, self.layer2, self.layer3 = trunk.layer1, trunk.layer2, trunk.layer3
        self.layer4 = trunk.layer4 if stages == 4 else nn.Identity()
        self.fc_yaw = nn.Linear(self.pose_size, BINS)
        self.fc_pitch = nn.Linear(self.pose_size, BINS)
        self.fc_roll = nn.Linear(self.pose_size, BINS)

    def feature(self, images: Tensor) -> Tensor:
        """The universal pose feature. Faces (N, 3, H, W) in [-1, 1] -> (N, P)."""
        if images.ndim != 4 or images.shape[1] != 3:
            raise InputError(f"HopeNet takes faces of shape (N, 3, H, W) in [-1, 1]; got {tuple(images.shape)}")
        if images.shape[2:] != (self.size, self.size):
            with torch.autocast(images.device.type, enabled=False):  # half precision cannot be resized everywhere
                images = F.interpolate(images.float(), (self.size, self.size), mode="bilinear", antialias=True)
        mean, std = (images.new_tensor(x)[:, None, None] for x in (IMAGENET_MEAN, IMAGENET_STD))
        x = self.bn1(self.conv1(((images + 1) / 2 - mean) / std)).relu()  # (N, 64, 112, 112)
        x = F.max_pool2d(x, 3, 2, 1)  # (N, 64, 56, 56)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))  # (N, P, 7, 7)
        return x.mean((2, 3))

    def logits(self, feature: Tensor) -> Tensor:
        """Of the bins of yaw, pitch, roll. Pose features (N, P) -> (N, 3, 66)."""
        return torch.stack([self.fc_yaw(feature), self.fc_pitch(feature), self.fc_roll(feature)], dim=1)

    def forward(self, images: Tensor) -> PoseEstimate:  # noqa: D102
        feature = self.feature(images)
        return PoseEstimate(feature, expected_angles(self.logits(feature)))

    def load_published(self, state: dict[str, Tensor]) -> None:
        """Take the weights of a published state dict, with or without "module." before the names.

        Its `fc_finetune`, which the published code does not use for its angles either, is left out.

        Raises:
            InputError: the weights of another network.
        """
        state = {name.removeprefix("module."): value for name, value in state.items()}
        state = {name: value for name, value in state.items() if not name.startswith("fc_finetune.")}
        own = self.state_dict()
        counters = {name for name in own if name.endswith("num_batches_tracked")}
        missing, unknown = sorted(own.keys() - state.keys() - counters), sorted(state.keys() - own.keys())
        odd = sorted(name for name in own.keys() & state.keys() if own[name].shape != state[name].shape)
        if missing or unknown or odd:
            raise InputError(
                f"these are not the weights of this HopeNet: {len(missing)} tensors missing, {len(unknown)} unknown, "
                f"{len(odd)} of another shape (first: {(missing or unknown or odd)[0]}); check depth and stages"
            )
        self.load_state_dict(state, strict=False)


def expected_angles(logits: Tensor) -> Tensor:
    """Expectation over the bins, in degrees, with the signs of `Pose`. (..., 66) -> (...)."""
    index = torch.arange(BINS, device=logits.device, dtype=logits.dtype)
    published = (logits.softmax(-1) * index).sum(-1) * WIDTH - LIMIT
    return -published


def angle_bins(angles: Tensor) -> Tensor:
    """The bin that an angle falls into. Degrees, with the signs of `Pose`, any shape -> indices of the same shape.

    As published, bin b reaches from 3 b - 99 degrees to 3 more, and stands for its lower edge in the expectation.

    Raises:
        InputError: an angle beyond 99 degrees, or no number.
    """
    published = -angles
    if not bool((published.abs() <= LIMIT).all()):
        raise InputError(f"angles must be within {LIMIT:g} degrees; got {_worst(angles):g}. Leave such faces out.")
    return ((published + LIMIT) / WIDTH).floor().long().clamp(max=BINS - 1)


def _worst(angles: Tensor) -> float:
    flat = angles.flatten()
    return flat[(~(flat.abs() <= LIMIT)).nonzero()[0, 0]].item()

"""head_pose_loss: HopeNet's, of bins and of degrees."""

from torch import Tensor
from torch.nn import functional as F

from facexai.errors import InputError
from facexai.models.hopenet import BINS, angle_bins, expected_angles


def head_pose_loss(logits: Tensor, angles: Tensor, *, alpha: float = 1.0) -> Tensor:
    """Sum over yaw, pitch, roll of cross entropy(bins) + alpha * squared error of the expectation, in degrees.

    Args:
        logits: `HopeNet.logits`. (N, 3, 66)
        angles: yaw, pitch, roll in degrees, with the signs of `Pose`. (N, 3)
        alpha: 1 or 2 in the released models.

    Source: Ruiz, Chong, Rehg (2018), section 3; `train_hopenet.py` of their code.
    """
    if logits.ndim != 3 or logits.shape[1:] != (3, BINS) or angles.shape != logits.shape[:2]:
        raise InputError(
            f"logits must be (N, 3, {BINS}) and angles (N, 3); got {tuple(logits.shape)} and {tuple(angles.shape)}"
        )
    bins = F.cross_entropy(logits.flatten(0, 1), angle_bins(angles).flatten())  # mean over N and the three angles
    return 3 * (bins + alpha * F.mse_loss(expected_angles(logits), angles))

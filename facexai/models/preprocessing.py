"""Preprocessing: what a network wants to see in place of RGB in [-1, 1].

Networks agree on neither the order of the colours nor the range of their values, and one that is fed the wrong way
still answers, only worse. So the conversion belongs to the network: it is part of `FaceRecognizer` and of its card.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from facexai.errors import InputError

ChannelOrder = Literal["RGB", "BGR"]


@dataclass(frozen=True)
class Preprocessing:
    """From RGB in [-1, 1] to (x - mean) / std, where x lies in [0, 1] and its channels in `channel_order`.

    Args:
        mean: one for each channel in the network's own order, or one for all; on the scale of [0, 1].
        std: the same.
        channel_order: `"RGB"` or `"BGR"`.

    Published ways, by (mean, std): ArcFace `(x - 127.5) / 127.5` is (0.5, 0.5), the default, which changes nothing;
    FaceNet `(x - 127.5) / 128` is (0.5, 128 / 255); values in [0, 1] are (0, 1); in [0, 255] (0, 1 / 255).

    Raises:
        InputError: another number of channels, or numbers that are not on the scale of [0, 1].
    """

    mean: Sequence[float] | float = 0.5
    std: Sequence[float] | float = 0.5
    channel_order: ChannelOrder = "RGB"

    def __post_init__(self) -> None:
        if self.channel_order not in get_args(ChannelOrder):
            raise InputError(f"channel_order must be RGB or BGR; got {self.channel_order!r}")
        for name in ("mean", "std"):
            object.__setattr__(self, name, _three(name, getattr(self, name)))
        if min(self.channels[1]) <= 0:
            raise InputError(f"std must be above 0; got {self.std}")

    @property
    def channels(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and std of each of the three channels."""
        return _three("mean", self.mean), _three("std", self.std)

    @property
    def scale_and_shift(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """A and b, for each channel of the network, with `a x + b` for x in [-1, 1]."""
        pairs = list(zip(*self.channels, strict=True))
        return tuple(0.5 / std for _, std in pairs), tuple((0.5 - mean) / std for mean, std in pairs)

    def __call__(self, images: Tensor) -> Tensor:
        """What the network sees. RGB (N, 3, H, W) in [-1, 1] -> (N, 3, H, W)."""
        if self.channel_order == "BGR":
            images = images.flip(1)
        if set(self.scale_and_shift) == {(1.0,) * 3, (0.0,) * 3}:
            return images
        scale, shift = (images.new_tensor(values).view(3, 1, 1) for values in self.scale_and_shift)
        return torch.addcmul(shift, images, scale)

    def to_json(self) -> dict[str, Any]:
        """For a model card."""
        mean, std = self.channels
        return {"mean": list(mean), "std": list(std), "channel_order": self.channel_order}


def _three(name: str, values: float | Sequence[float]) -> tuple[float, ...]:
    try:
        given = tuple(float(value) for value in values) if isinstance(values, Sequence) else (float(values),) * 3
    except (TypeError, ValueError):
        given = ()
    if len(given) != 3 or not all(math.isfinite(value) for value in given):
        raise InputError(f"{name} must be a number or one for each of three channels; got {values!r}")
    if max(map(abs, given)) > 1:
        raise InputError(f"{name} is meant for values in [0, 1]; got {values!r}. Divide it by 255.")
    return given

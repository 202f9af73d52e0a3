"""Channel residuals: where the reconstructed face changes when one channel of its features is masked.

This is the loop of Algorithm 1. It is written three times, and the three agree: `literal` as printed, `batched` with
many channels a pass, and `local` (in `local_residuals`), which computes only the pixels that can change.

Source: Xu, Lu, Ebrahimi, "Discriminative Deep Feature Visualization for Explainable Face Recognition", Algorithm 1.

Deviations:
    The printed loop never resets C'; the text ("modifies the maximum value of this channel") reads as one channel at a
    time, and so it is here. Of several equal maxima the first is masked. "abs" leaves three colours, of which the mean
    is taken; "normalization" is division by the maximum, which equals min-max as a residual is zero outside its window.
    A channel whose masking changes nothing has the residual zero.

Precision:
    In double precision the three agree to 1e-13. In single precision `literal` and `batched` take the difference of two
    nearly equal images, and dividing a weak channel by its small maximum magnifies their rounding to 3e-5; `local`
    carries the difference alone and stays within 1e-5. (`tutorial` and the network of the paper, in units of the
    maximum.)
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facexai.errors import InputError
from facexai.explainers.local_residuals import is_local, local_windows

Algorithm = Literal["local", "batched", "literal"]
Mask = Literal["max", "channel"]
Normalization = Literal["max", "none", "l1"]


@dataclass(frozen=True)
class ImageResiduals:
    """The residuals of all channels of one image, each kept as the window outside which it is zero.

    They depend on this image alone: another partner or another threshold costs one `weighted_sum`.

    Args:
        windows: residual of each channel inside its window; zero where the window leaves the image. Shape (C, s, s).
        corners: row and column of each window's first pixel; negative where it begins outside. Shape (C, 2).
        size: (H, W) of the image.
    """

    windows: Tensor
    corners: Tensor
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.windows)

    def weighted_sum(self, weights: Tensor) -> Tensor:
        """H = sum of weight x residual over the channels.

        Args:
            weights: one weight a channel, or one such row for each of N partners. Shape (C,) or (N, C).

        Returns:
            One map, or one for each row. Shape (H, W) or (N, H, W).
        """
        if weights.ndim == 1:
            return self.weighted_sum(weights[None])[0]
        weights = weights.to(self.windows)
        corners, corner_of_channel = torch.unique(self.corners, dim=0, return_inverse=True)  # (K, 2), (C,)
        shares_corner = F.one_hot(corner_of_channel, len(corners)).to(weights).T  # (K, C)
        sums = (weights[:, None] * shares_corner) @ self.windows.flatten(1)  # (N, K, s * s): one sum for each corner
        return self._placed(sums.unflatten(2, self.windows.shape[1:]), corners)

    def map(self, channel: int) -> Tensor:
        """The residual of one channel, on the whole image. Shape (H, W)."""
        return self._placed(self.windows[None, channel, None], self.corners[channel, None])[0]

    def stack(self) -> Tensor:
        """The residuals of all channels, on the whole image. Shape (C, H, W)."""
        return torch.stack([self.map(channel) for channel in range(len(self))])

    def _placed(self, windows: Tensor, corners: Tensor) -> Tensor:
        """The sum of K windows, each at its corner, cut to the image. (N, K, s, s), (K, 2) -> (N, H, W)."""
        (height, width), (rows, columns) = self.size, self.windows.shape[1:]
        canvas = windows.new_zeros(len(windows), height + 2 * rows, width + 2 * columns)  # one window more on each side
        for index, (top, left) in enumerate(corners.tolist()):
            canvas[:, rows + top : 2 * rows + top, columns + left : 2 * columns + left] += windows[:, index]
        return canvas[:, rows : rows + height, columns : columns + width]


@torch.no_grad()
def channel_residuals(
    features: Tensor,
    decoder: nn.Module,
    algorithm: Algorithm = "local",
    *,
    mask: Mask = "max",
    normalization: Normalization = "max",
    chunk: int = 64,
) -> ImageResiduals:
    """The residual of every channel of one image.

    Args:
        features: last spatial map of one image. Shape (C, h, w).
        decoder: features (N, C, h, w) -> images (N, 3, H, W), in eval mode.
        algorithm: `"literal"` as printed, `"batched"`, or `"local"`. All give the same residuals; `local` is the
            fastest and turns to `batched` where the decoder is not local (see `is_local`) or a whole channel is masked.
        mask: what is set to zero: the maximum of the channel, or the whole `"channel"`.
        normalization: divide each residual by its maximum, by its sum (`"l1"`), or leave it (`"none"`).
        chunk: channels decoded at once; it costs memory and never changes the result beyond rounding.

    Returns:
        Residuals which can be summed with any weights.

    Source: DDFV paper, Algorithm 1, lines 6 to 12.
    """
    if algorithm == "literal":
        return _whole_images(literal_residuals(features, decoder, mask, normalization))
    if algorithm == "batched" or mask == "channel" or not is_local(decoder):
        return _whole_images(batched_residuals(features, decoder, mask, normalization, chunk))
    if algorithm == "local":
        windows, corners, size = local_windows(features, decoder, chunk)
        return ImageResiduals(normalize(windows, normalization), corners, size)
    raise InputError(f"unknown algorithm '{algorithm}'; choose one of local, batched, literal")


def literal_residuals(
    features: Tensor, decoder: nn.Module, mask: Mask = "max", normalization: Normalization = "max"
) -> Tensor:
    """Algorithm 1 as printed: one channel at a time, two reconstructions each. (C, h, w) -> (C, H, W)."""
    residuals = []
    for channel in range(len(features)):
        masked = mask_channel(features, channel, mask)
        reconstruction, masked_reconstruction = decoder(features[None]), decoder(masked[None])
        residual = (reconstruction - masked_reconstruction).abs().mean(1)
        residuals.append(normalize(residual, normalization))
    return torch.cat(residuals)


def batched_residuals(
    features: Tensor,
    decoder: nn.Module,
    mask: Mask = "max",
    normalization: Normalization = "max",
    chunk: int = 64,
) -> Tensor:
    """The same with `chunk` channels a pass and one unmasked reconstruction each. (C, h, w) -> (C, H, W)."""
    residuals = []
    for channels in torch.arange(len(features)).split(chunk):
        masked = [mask_channel(features, channel, mask) for channel in channels.tolist()]
        # The unmasked features ride along, so that equal inputs meet the same arithmetic and cancel to the last bit.
        batch = torch.stack([*masked, features]).contiguous(memory_format=torch.channels_last)  # a quarter faster
        reconstructions = decoder(batch)
        residual = (reconstructions[-1] - reconstructions[:-1]).abs().mean(1)
        residuals.append(normalize(residual, normalization))
    return torch.cat(residuals)


def mask_channel(features: Tensor, channel: int, mask: Mask = "max", value: float = 0.0) -> Tensor:
    """A copy of the features with `value` for the first maximum of one channel, or for all of it. (C, h, w) -> same."""
    masked = features.clone()
    if mask == "channel":
        masked[channel] = value
    else:
        masked[channel].view(-1)[features[channel].argmax()] = value
    return masked


def normalize(residuals: Tensor, normalization: Normalization = "max") -> Tensor:
    """Bring each residual (n, H, W) to maximum 1, or to sum 1, or leave it.

    What lies below the rounding of an image in [-1, 1] is zero: brought to maximum 1 it would be a map of noise.
    """
    peak = residuals.amax((1, 2), keepdim=True)
    residuals = residuals * (peak > 8 * torch.finfo(residuals.dtype).eps)
    if normalization == "none":
        return residuals
    scale = peak if normalization == "max" else residuals.sum((1, 2), keepdim=True)
    return residuals / scale.clamp_min(torch.finfo(residuals.dtype).tiny)


def _whole_images(residuals: Tensor) -> ImageResiduals:
    corners = torch.zeros(len(residuals), 2, dtype=torch.long, device=residuals.device)
    return ImageResiduals(residuals, corners, (residuals.shape[1], residuals.shape[2]))

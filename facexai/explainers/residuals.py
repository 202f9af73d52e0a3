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
    carries the difference alone and stays within 1e-5; with its convolutions in bfloat16, within 1e-2. (`tutorial` and
    the network of the paper, in units of the maximum.)
"""

from dataclasses import dataclass, replace
from functools import cached_property
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
        left_out: channels that were not computed and stand as zero. Shape (C,), bool; None where all were computed.
    """

    windows: Tensor
    corners: Tensor
    size: tuple[int, int]
    left_out: Tensor | None = None

    def __len__(self) -> int:
        return len(self.windows)

    def part(self, channels: Tensor) -> "ImageResiduals":
        """Some of the channels, by number or by a mask."""
        left_out = None if self.left_out is None else self.left_out[channels]
        return replace(self, windows=self.windows[channels], corners=self.corners[channels], left_out=left_out)

    def moved(self, shifts: Tensor) -> "ImageResiduals":
        """The same, each window moved by so many rows and columns of pixels. (C, 2)."""
        return replace(self, corners=self.corners + shifts)

    def weighted_sum(self, weights: Tensor) -> Tensor:
        """H = sum of weight x residual over the channels.

        Args:
            weights: one weight a channel, or one such row for each of N partners. Shape (C,) or (N, C).

        Returns:
            One map, or one for each row. Shape (H, W) or (N, H, W).
        """
        if weights.ndim == 2:
            maps = self.windows.new_empty(len(weights), *self.size)
            for map_, row in zip(maps, weights, strict=True):
                map_.copy_(self.weighted_sum(row))
            return maps
        order, first, corners = self._by_corner
        summands = weights.to(self.windows)[order]
        sums = F.embedding_bag(order, self.windows.flatten(1), first, mode="sum", per_sample_weights=summands)
        return self._placed(corners, sums.view(-1, *self.windows.shape[1:]))

    def error_bound(self, weights: Tensor) -> Tensor:
        """How far `weighted_sum(weights)` may lie, in any pixel, from the sum with the channels that were left out.

        A residual brought to maximum 1 lies between 0 and 1 in its window, and is zero outside. So in no pixel is the
        error larger than the sum of |weight| over the windows of left-out channels that cover it.

        Args:
            weights: as for `weighted_sum`.

        Returns:
            One bound, or one for each row. Shape () or (N,).
        """
        if self.left_out is None:
            return weights.new_zeros(weights.shape[:-1])
        reach = replace(self, windows=torch.ones_like(self.windows))
        return reach.weighted_sum(weights.abs() * self.left_out.to(weights)).amax((-2, -1))

    def map(self, channel: int) -> Tensor:
        """The residual of one channel, on the whole image. Shape (H, W)."""
        return self._placed(self.corners[channel][None], self.windows[channel][None])

    def stack(self) -> Tensor:
        """The residuals of all channels, on the whole image. Shape (C, H, W)."""
        return torch.stack([self.map(channel) for channel in range(len(self))])

    @cached_property
    def _by_corner(self) -> tuple[Tensor, Tensor, Tensor]:
        """Channels sorted by corner (C,); where each of K corners begins among them (K,); those corners (K, 2)."""
        columns = self.size[1] + self.windows.shape[2]
        key, order = (self.corners[:, 0] * 2 * columns + self.corners[:, 1]).sort(stable=True)  # a number a corner
        _, counts = key.unique_consecutive(return_counts=True)
        first = counts.cumsum(0) - counts
        return order, first, self.corners[order[first]]

    def _placed(self, corners: Tensor, windows: Tensor) -> Tensor:
        """The sum of windows at their corners, cut to the image. (K, 2), (K, s, s) -> (H, W)."""
        (height, width), (rows, columns) = self.size, windows.shape[1:]
        places = [(0, 0), *corners.tolist()]
        above, before = (max(-place[axis] for place in places) for axis in (0, 1))
        bottom, right = (max(place[axis] for place in places) for axis in (0, 1))
        canvas = windows.new_zeros(above + max(height, bottom + rows), before + max(width, right + columns))
        for (top, left), window in zip(places[1:], windows, strict=True):
            canvas[above + top : above + top + rows, before + left : before + left + columns] += window
        return canvas[above : above + height, before : before + width]


@torch.no_grad()
def channel_residuals(
    features: Tensor,
    decoder: nn.Module,
    algorithm: Algorithm = "local",
    *,
    mask: Mask = "max",
    normalization: Normalization = "max",
    chunk: int = 128,
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
        return local_residuals(features[None], decoder, normalization, chunk=chunk)[0]
    raise InputError(f"unknown algorithm '{algorithm}'; choose one of local, batched, literal")


@torch.no_grad()
def local_residuals(
    features: Tensor,
    decoder: nn.Module,
    normalization: Normalization = "max",
    *,
    wanted: Tensor | None = None,
    bf16: bool = False,
    chunk: int = 128,
) -> tuple[ImageResiduals, ...]:
    """The residuals of several images in one pass, by the local algorithm.

    Args:
        features: last spatial maps. Shape (N, C, h, w).
        decoder: one for which `is_local` holds.
        normalization: see `channel_residuals`.
        wanted: which channels of which images; all of them where None. Shape (N, C), bool.
        bf16: see `local_windows`.
        chunk: see `channel_residuals`.

    Returns:
        One for each image.
    """
    chosen = torch.ones_like(features[:, :, 0, 0], dtype=torch.bool) if wanted is None else wanted
    windows, corners, size = local_windows(features, decoder, chosen, bf16=bf16, chunk=chunk)
    left_out = [None] * len(features) if wanted is None else ~wanted
    return tuple(
        ImageResiduals(normalize(image_windows, normalization), image_corners, size, image_left_out)
        for image_windows, image_corners, image_left_out in zip(windows, corners, left_out, strict=True)
    )


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
    chunk: int = 128,
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
    if normalization == "max":
        scale = peak
    else:
        scale = residuals.sum((1, 2), keepdim=True) if normalization == "l1" else torch.ones_like(peak)
    return residuals / scale.masked_fill(peak <= 8 * torch.finfo(peak.dtype).eps, torch.inf)


def _whole_images(residuals: Tensor) -> ImageResiduals:
    corners = torch.zeros(len(residuals), 2, dtype=torch.long, device=residuals.device)
    return ImageResiduals(residuals, corners, (residuals.shape[1], residuals.shape[2]))

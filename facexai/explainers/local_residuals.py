"""The exact local algorithm: channel residuals from the pixels that can change, and from no others.

Masking one feature changes one cell. A transposed convolution with kernel 4, stride 2 and padding 1 spreads a change of
s x s cells over (2 s + 2) x (2 s + 2), so four of them reach windows of 4, 10, 22 and at last 46 x 46 of 112 x 112
pixels. Everything outside stays as it is, to the last bit. So one reconstruction is made in full, and for each channel
only the change is carried forward, through windows:

    change of layer 1      d = -max(C[i]) x kernel of channel i              4 x 4, no convolution needed
    through ReLU           d = ReLU(u + d) - ReLU(u)                         u: what the full pass had before its ReLU
    through a layer        d = transposed convolution of d                   bias and everything unchanged cancel
    through the output     d = tanh(u + d) - tanh(u)

In eval mode BatchNorm is affine: its shift cancels, its scale is folded into the kernels. For 512 channels of 7 x 7
cells this takes 24 GFLOP in place of the 651 of the printed loop, and less where maxima lie at the border: what is
outside the image is cut from each window.

Channels with their maximum in one cell have one window, so u is read where it stands and never copied; with it,

    ReLU(u + d) - ReLU(u) = max(min(u, 0) + d, -ReLU(u))                     one addition and one maximum
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facexai.models import ReconstructionDecoder

LAYER = {"kernel_size": (4, 4), "stride": (2, 2), "padding": (1, 1), "output_padding": (0, 0), "dilation": (1, 1)}


def is_local(decoder: nn.Module) -> bool:
    """Whether `local_windows` computes what this decoder computes: known layers, fixed statistics."""
    if type(decoder) is not ReconstructionDecoder or decoder.activation not in ("tanh", "none"):
        return False
    if decoder.size is not None or len(decoder.layers) < 2:
        return False
    fixed_norms = all(
        type(norm) is nn.BatchNorm2d and not norm.training and norm.running_var is not None for norm in decoder.norms
    )
    doubling_layers = all(
        type(layer) is nn.ConvTranspose2d
        and layer.groups == 1
        and all(getattr(layer, name) == value for name, value in LAYER.items())
        for layer in decoder.layers
    )
    return fixed_norms and doubling_layers and len(decoder.layers) == len(decoder.norms) + 1


@torch.no_grad()
def local_windows(
    features: Tensor, decoder: nn.Module, wanted: Tensor, *, bf16: bool = False, chunk: int = 128
) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """The residuals of the wanted channels before normalization, inside the windows that masking a maximum can reach.

    Args:
        features: last spatial maps of N images. Shape (N, C, h, w).
        decoder: one for which `is_local` holds.
        wanted: which channels of which images; the windows of the others stay zero. Shape (N, C), bool.
        bf16: convolve in bfloat16. What is rounded is the change alone, so the error stays small beside it.
        chunk: channels carried through the windows at once.

    Returns:
        Windows (N, C, s, s), zero outside the image; row and column of their first pixels (N, C, 2); (H, W).
    """
    assert isinstance(decoder, ReconstructionDecoder)
    maxima, cells = features.flatten(2).max(2)  # the first of equal maxima; (N, C)
    first, *others = folded_kernels(decoder)
    layers = [widening(kernel.bfloat16() if bf16 else kernel) for kernel in others]
    *hidden, output = pre_activations(features, decoder)
    bounds = [(u.clamp_max(0), -u.clamp_min(0)) for u in hidden]
    painted = output.tanh()
    levels, (height, width) = len(decoder.layers), features.shape[2:]
    windows = features.new_zeros(*cells.shape, 3 * 2**levels - 2, 3 * 2**levels - 2)
    for batch in batches(cells, wanted, (height, width), chunk):
        cell = batch.cells[0]  # the image cuts all windows of a batch alike
        change = -maxima[batch.image, batch.channel, None, None, None] * first[batch.channel]
        change = cell.cut(change).contiguous(memory_format=torch.channels_last)  # (n, C/2, 4, 4)
        for level, ((low, floor), layer) in enumerate(zip(bounds, layers, strict=True), 1):
            for part, window in batch.parts(change, level):
                part.add_(low[window]).clamp_(min=floor[window])
            change = cell.cut(layer(change)).to(features)  # (n, C/4, 10, 10), (n, C/8, 22, 22), (n, 3, 46, 46)
        if decoder.activation == "tanh":
            for part, window in batch.parts(change, levels):
                part.add_(output[window]).tanh_().sub_(painted[window])
        windows[batch.image, batch.channel, *cell.inside(levels)] = change.abs_().mean(1)
    return windows, window_corners(cells, width, levels), (height << levels, width << levels)


@dataclass(frozen=True)
class Cell:
    """A cell of the feature map of one image, and where a change in it can go.

    Args:
        image: which of the images.
        position: row and column.
        size: (h, w) of the feature map.
    """

    image: int
    position: tuple[int, int]
    size: tuple[int, int]

    def reach(self, level: int) -> list[slice]:
        """Rows and columns, inside the map, of what the change reaches after `level` layers."""
        step = 2**level
        return [
            slice(max(0, step * (at - 1) + 1), min(step * (at + 2) - 1, step * end))
            for at, end in zip(self.position, self.size, strict=True)
        ]

    def window(self, level: int) -> tuple[int | slice, ...]:
        """The same as an index that takes maps (N, c, 2^level h, 2^level w) to (c, s, s)."""
        return self.image, slice(None), *self.reach(level)

    def inside(self, level: int) -> list[slice]:
        """Rows and columns of the uncut window that lie inside the image."""
        step = 2**level
        return [
            slice((step - 1) * (at == 0), 3 * step - 2 - (step - 1) * (at == end - 1))
            for at, end in zip(self.position, self.size, strict=True)
        ]

    def cut(self, change: Tensor) -> Tensor:
        """What a layer made of a window, without the row and the column that it put outside the map."""
        rows, columns = (
            slice(int(at == 0), -1 if at == end - 1 else None) for at, end in zip(self.position, self.size, strict=True)
        )
        return change[..., rows, columns]


@dataclass(frozen=True)
class Batch:
    """Channels whose windows are cut alike, sorted by the cell of their maximum.

    Args:
        image: of each channel. Shape (n,).
        channel: its number. Shape (n,).
        cells: where their maxima lie.
        counts: how many channels have theirs in each of these cells.
    """

    image: Tensor
    channel: Tensor
    cells: list[Cell]
    counts: list[int]

    def parts(self, change: Tensor, level: int) -> Iterator[tuple[Tensor, tuple[int | slice, ...]]]:
        """The change of the channels of each cell, and the window that they have in common."""
        windows = (cell.window(level) for cell in self.cells)
        return zip(change.split(self.counts), windows, strict=True)


def batches(cells: Tensor, wanted: Tensor, size: tuple[int, int], chunk: int) -> Iterator[Batch]:
    """The wanted channels, at most `chunk` at a time.

    Args:
        cells: where each channel has its maximum. Shape (N, C).
        wanted: which channels of which images. Shape (N, C), bool.
        size: (h, w) of the feature map.
        chunk: largest number of channels in a batch.
    """
    height, width = size
    image, channel = wanted.nonzero(as_tuple=True)
    cell = cells[image, channel]
    row, column = cell // width, cell % width
    cut = (row == 0) * 8 + (row == height - 1) * 4 + (column == 0) * 2 + (column == width - 1)
    place = image * height * width + cell
    order = (cut * len(cells) * height * width + place).argsort(stable=True)
    for alike in order.split(cut.bincount().tolist()):
        for members in alike.split(chunk) if len(alike) else ():
            places, counts = (values.tolist() for values in place[members].unique_consecutive(return_counts=True))
            found = [Cell(at // (height * width), divmod(at % (height * width), width), size) for at in places]
            yield Batch(image[members], channel[members], found, counts)


def pre_activations(features: Tensor, decoder: ReconstructionDecoder) -> list[Tensor]:
    """What the decoder holds before each ReLU and before its output. (N, C, h, w) -> (N, C/2, 2h, 2w), ..."""
    x, before = features.contiguous(memory_format=torch.channels_last), []
    for layer, norm in zip(decoder.layers, decoder.norms, strict=False):
        before.append(norm(layer(x)))
        x = torch.relu(before[-1])
    return [*before, decoder.layers[-1](x)]


def window_corners(cells: Tensor, columns: int, level: int) -> Tensor:
    """Row and column of the first pixel of each cell's window after `level` layers. (...) -> (..., 2)."""
    position = torch.stack([cells // columns, cells % columns], dim=-1)
    return position * 2**level - (2**level - 1)


def widening(kernel: Tensor) -> Callable[[Tensor], Tensor]:
    """The transposed convolution of windows, without padding: (n, c, s, s) -> (n, c', 2 s + 2, 2 s + 2).

    A layer with few outputs, as the last, leaves most of a processor's vector unused. Its subpixel form has four times
    as many and is quicker, for such a layer alone.

    Args:
        kernel: of the layer, in the precision to convolve in. Shape (c, c', 4, 4).
    """
    if kernel.shape[1] < 16:
        subpixel = subpixel_kernel(kernel)
        return lambda change: F.pixel_shuffle(F.conv2d(change.to(subpixel), subpixel, padding=1), 2)
    kernel = kernel.contiguous(memory_format=torch.channels_last)
    return lambda change: F.conv_transpose2d(change.to(kernel), kernel, stride=2)


def folded_kernels(decoder: ReconstructionDecoder) -> list[Tensor]:
    """The kernels (in, out, 4, 4) with the scale of the BatchNorm that follows them folded in."""
    norms = [norm for norm in decoder.norms if isinstance(norm, nn.BatchNorm2d)]
    scales = [batchnorm_scale(norm)[:, None, None] for norm in norms]
    layers = [layer.weight for layer in decoder.layers if isinstance(layer, nn.ConvTranspose2d)]
    return [weight * scale for weight, scale in zip(layers, scales, strict=False)] + layers[-1:]


def batchnorm_scale(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> Tensor:
    """The factor by which a BatchNorm in eval mode multiplies each channel. Shape (C,)."""
    assert norm.running_var is not None
    scale = (norm.running_var + norm.eps).rsqrt()
    return scale if norm.weight is None else scale * norm.weight


def subpixel_kernel(kernel: Tensor) -> Tensor:
    """The 2 x 2 convolution whose four results a cell are the four pixels which that cell becomes.

    A transposed convolution with kernel 4 and stride 2 gives `out[2 a + p] = x[a] k[p] + x[a - 1] k[p + 2]` along each
    axis, so it equals an ordinary convolution over (x[a - 1], x[a]) with one set of channels for each p, followed by a
    pixel shuffle.

    Args:
        kernel: of the transposed convolution. Shape (in, out, 4, 4).

    Returns:
        Kernel of the convolution. Shape (4 out, in, 2, 2).
    """
    inputs, outputs = kernel.shape[:2]
    taps = kernel.reshape(inputs, outputs, 2, 2, 2, 2).flip(2, 4)  # k[2 q + p] at [1 - q, p], rows then columns
    taps = taps.permute(1, 3, 5, 0, 2, 4).reshape(4 * outputs, inputs, 2, 2)
    return taps.contiguous(memory_format=torch.channels_last)

"""Discriminative deep feature visualization (DDFV).

Mask the maximum of one channel, reconstruct the face, and see where it changes. The sum of these residuals, each
weighted by what the channel does to the cosine score of the pair, is the map: where it is positive the faces look alike
to the network, where it is negative they look different.

Source: Xu, Lu, Ebrahimi, "Discriminative Deep Feature Visualization for Explainable Face Recognition", Algorithm 1.

Deviations:
    `ddfv-paper` has the printed weights, F_A x F_B - T. T is not printed; with T = threshold / C they sum to the
    decision margin, score - threshold. `ddfv` differs from it in three ways, each an option of `DDFV`:

    * `weight`: on a MaxPoolHead with BatchNorm what the channel adds to the score, which is the printed product. On
      other heads channel maxima are almost all positive, so that their products say more about the face than about the
      comparison; there it is the fall of the score when the maximum is taken away (see `ablation`).
    * `missing`: a channel which the image lacks (F_i <= 0) has its maximum anywhere, and what is shown there means
      nothing. If the partner has the channel, it is shown where the partner has it, as the faces are aligned: that is
      what A lacks. If neither has it, it is left out.
    * `balance`: evidence for and evidence against are each brought to a sum of 1. Else the weaker of the two vanishes
      under the windows of the stronger one, 46 pixels wide.

    Both images get a map; printed is one. For the residuals see `Deviations` in `residuals`.
"""

import math
import warnings
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facexai.errors import InputError
from facexai.explainers.ablation import Fall, ablation_changes, ablation_weights
from facexai.explainers.interface import EXPLAINERS, eval_mode, evaluation, images_for, make_explainer
from facexai.explainers.local_residuals import is_local
from facexai.explainers.residuals import (
    Algorithm,
    ImageResiduals,
    Mask,
    Normalization,
    channel_residuals,
    local_residuals,
)
from facexai.explainers.truncation import wanted_channels
from facexai.models import FaceRecognizer, MaxPoolHead
from facexai.pairs import FacePair, Saliency

Weight = Literal["auto", "contribution", "ablation", "product", "second-max", "first-order"]
Missing = Literal["partner", "own", "skip"]
Which = Literal["both", "probe"]
Precision = Literal["full", "bf16"]
CHOICES = {
    "weight": Weight,
    "missing": Missing,
    "residual": Normalization,
    "mask": Mask,
    "which": Which,
    "algorithm": Algorithm,
    "precision": Precision,
}


@dataclass(frozen=True)
class Decomposition:
    """A score, taken apart into channels: what the maps are made of.

    The first index of every field is the image, probe first.

    Args:
        features: last spatial maps. Shape (2, C, h, w).
        embeddings: of unit norm. Shape (2, D).
        decoder: of the network.
        weights: what each channel does to the score, before T is taken away. Shape (2, C).
        counted: which channels enter the sum; see `DDFV.missing`. Shape (2, C).
        residuals: where each channel acts; of the probe alone where `which="probe"`.
        score: cosine of the pair.
        threshold: T of Algorithm 1, a constant taken from each weight.
        balance: see `DDFV`.
        method: record of the explainer and its options.
    """

    features: Tensor
    embeddings: Tensor
    decoder: nn.Module
    weights: Tensor
    counted: Tensor
    residuals: tuple[ImageResiduals, ...]
    score: float
    threshold: float
    balance: bool
    method: str

    @cached_property
    def reconstructions(self) -> Tensor:
        """What the decoder makes of the features, when first asked for. Shape (2, 3, H, W)."""
        with torch.no_grad(), eval_mode(self.decoder):
            return self.decoder(self.features)

    def saliency(self, threshold: float | None = None) -> Saliency:
        """H = sum of residual x weight in the map, for this T or another. No network is run."""
        weights = self.map_weights(threshold)
        maps = [residuals.weighted_sum(row) for residuals, row in zip(self.residuals, weights, strict=False)]
        maps += [torch.zeros_like(maps[0])] * (2 - len(maps))
        return Saliency(torch.stack(maps), self.score, self.method, balanced=self.balance)

    def error_bound(self, threshold: float | None = None) -> list[float]:
        """How far each map may lie, in any pixel, from the map of all channels; 0 without a `tolerance`."""
        weights = self.map_weights(threshold)
        return [float(residuals.error_bound(row)) for residuals, row in zip(self.residuals, weights, strict=False)]

    def map_weights(self, threshold: float | None = None) -> Tensor:
        """What each residual is multiplied by: weight - T, 0 where a channel does not count, balanced. Shape (2, C)."""
        threshold = self.threshold if threshold is None else threshold
        return weights_in_map(self.weights, self.counted, threshold, self.balance)

    def top_channels(self, count: int = 8) -> Tensor:
        """The channels with the largest share in the map of each image, largest first. Shape (2, count)."""
        return self.map_weights().abs().topk(min(count, self.weights.shape[1])).indices


class Algorithm1(ABC):
    """What `ddfv` and `ddfv-paper` share. Subclasses are frozen dataclasses whose fields are the options."""

    def __post_init__(self) -> None:
        check_options(self.as_ddfv())

    def __call__(self, pair: FacePair, model: FaceRecognizer) -> Saliency:
        """S, S+ and S- of Algorithm 1, as one signed map H for each image."""
        return self.decompose(pair, model).saliency()

    def decompose(self, pair: FacePair, model: FaceRecognizer) -> Decomposition:
        """The parts of the map, for a model in eval mode."""
        return run_algorithm_1(pair, model, self.as_ddfv(), method=repr(self))

    @abstractmethod
    def as_ddfv(self) -> "DDFV":
        """The same in terms of `DDFV`."""


@EXPLAINERS.register("ddfv")
@dataclass(frozen=True)
class DDFV(Algorithm1):
    """Algorithm 1 in balance: what a face lacks is drawn where its partner has it, and both sides weigh the same.

    `Deviations` of this module says what differs from the printed form, and why.

    Args:
        weight: `"contribution"`: what the channel adds to the score, the length of the embedding kept (on an affine
            head channels of identical images may then be dissimilar);
            `"ablation"`: the fall of the score without the channel, the embedding brought to unit norm again;
            `"second-max"`: as ablation, with the channel's second maximum in place of the first;
            `"first-order"`: the linear part of the ablation, which sums to zero over the channels of a MaxPoolHead with
            BatchNorm (on a head that is neither max pooling nor affine, linear in the head's output only);
            `"product"`: F_A x F_B, the cosine's summands, as printed; `"auto"`: contribution on a MaxPoolHead with
            BatchNorm, ablation on any other head.
        missing: a channel that the image lacks (F_i <= 0) is drawn where the `"partner"` has it, and not at all where
            neither has it; or where its `"own"` maximum lies, as printed; or left out (`"skip"`).
        balance: evidence for and evidence against sum to 1 each; with False to what they are, as printed.
        threshold: T, taken from each weight; `"margin"`: the model's threshold / C, or 0 for a model that has none.
        residual: bring each residual to maximum 1, to sum 1 (`"l1"`), or leave it (`"none"`).
        mask: set the channel's maximum to zero, or the whole `"channel"`.
        which: maps of both images, or of the probe alone (the gallery's map is zero).
        algorithm: `"local"`, `"batched"` or `"literal"`: three ways to the same residuals.
        precision: `"bf16"`: convolve the changes of the local algorithm in bfloat16; score and weights stay in full
            precision. Faster where the processor has bfloat16 units, slower where it has not.
        tolerance: leave out weak channels as long as a map errs nowhere by more than this share of the largest value
            that it could have (see `truncation`); `Decomposition.error_bound` says by how much at most. Of the local
            algorithm with `residual="max"`.
        chunk: channels decoded at once.
    """

    weight: Weight = "auto"
    missing: Missing = "partner"
    balance: bool = True
    threshold: float | Literal["margin"] = 0.0
    residual: Normalization = "max"
    mask: Mask = "max"
    which: Which = "both"
    algorithm: Algorithm = "local"
    precision: Precision = "full"
    tolerance: float = 0.0
    chunk: int = 128

    def as_ddfv(self) -> "DDFV":
        """Itself."""
        return self


@EXPLAINERS.register("ddfv-paper")
@dataclass(frozen=True)
class DDFVPaper(Algorithm1):
    """Algorithm 1 with its printed weights, F_A x F_B - T.

    F is the output of a MaxPoolHead; for any other head it is the vector of channel maxima, and a warning says how
    little the map then depends on the partner.

    Args:
        threshold: T, taken from each weight; `"margin"`: the model's threshold / C, so that the weights sum to the
            decision margin, score - threshold. It is 0 for a model without a calibrated threshold.
        residual: see `DDFV`, as for the others.
        mask: see `DDFV`.
        which: see `DDFV`.
        algorithm: see `DDFV`.
        precision: see `DDFV`.
        tolerance: see `DDFV`.
        chunk: see `DDFV`.
    """

    threshold: float | Literal["margin"] = "margin"
    residual: Normalization = "max"
    mask: Mask = "max"
    which: Which = "both"
    algorithm: Algorithm = "local"
    precision: Precision = "full"
    tolerance: float = 0.0
    chunk: int = 128

    def as_ddfv(self) -> DDFV:
        """The same in terms of `DDFV`."""
        return DDFV(weight="product", missing="own", balance=False, **asdict(self))


def decompose(pair: FacePair, model: FaceRecognizer, method: str = "ddfv", **options: Any) -> Decomposition:
    """What `explain(pair, model, method, **options)` is made of: weights and residuals of every channel.

    Args:
        pair: two aligned faces of the model's input size.
        model: a network with a decoder.
        method: `"ddfv"` or `"ddfv-paper"`.
        options: fields of that explainer.

    Raises:
        InputError: as `explain`, and for a method that has no channels to show.
    """
    explainer = make_explainer(method, **options)
    if not isinstance(explainer, Algorithm1):
        raise InputError(f"'{method}' does not work by channels; choose ddfv or ddfv-paper")
    with evaluation(pair, model):
        return explainer.decompose(pair, model)


@torch.no_grad()
def run_algorithm_1(pair: FacePair, model: FaceRecognizer, options: DDFV, method: str) -> Decomposition:
    """Algorithm 1 in the paper's order, up to the sum; with both images as `A` in turn."""
    features = model.features(images_for(model, pair))  # C_A, C_B: (2, C, h, w)
    if model.decoder is None:
        raise InputError(
            "ddfv shows features by reconstructing faces, and this model has no decoder; train one with `facexai train "
            "decoder`, or choose a method that needs none, such as gradient"
        )
    embeddings = F.normalize(model.pool(features))  # (2, D)
    weights = channel_weights(model, features, options)  # (2, C)
    cells, counted = channel_places(model, features, options.missing)  # (2, C), twice
    parts = Decomposition(
        features=features,
        embeddings=embeddings,
        decoder=model.decoder,
        weights=weights,
        counted=counted,
        residuals=(),
        score=float(embeddings[0] @ embeddings[1]),
        threshold=resolve_threshold(options.threshold, model, channels=features.shape[1]),
        balance=options.balance,
        method=method,
    )
    wanted = None
    if options.tolerance:
        wanted = wanted_channels(parts.map_weights(), cells, features, options.tolerance)
    mapped = slice(2 if options.which == "both" else 1)
    residuals = image_residuals(features[mapped], model.decoder, options, None if wanted is None else wanted[mapped])
    shifts = pixel_shifts(features, cells, model.input_size)
    moved = (one.moved(shift) for one, shift in zip(residuals, shifts, strict=False))
    return replace(parts, residuals=tuple(moved))


def channel_places(model: FaceRecognizer, features: Tensor, missing: Missing) -> tuple[Tensor, Tensor]:
    """Where each channel of each image of a pair is drawn, and which channels count; see `DDFV.missing`.

    Args:
        model: in eval mode.
        features: of the pair. Shape (2, C, h, w).
        missing: what becomes of channels that an image lacks.

    Returns:
        Cells (2, C), counted row by row, and whether the channel counts (2, C), bool.
    """
    cells, present = features.flatten(2).argmax(2), channel_vectors(model, features) > 0
    if missing == "own":
        return cells, torch.ones_like(present)
    if missing == "skip":
        return cells, present
    return torch.where(present, cells, cells.flip(0)), present | present.flip(0)


def pixel_shifts(features: Tensor, cells: Tensor, size: tuple[int, int]) -> Tensor:
    """How far from its own maximum each channel is drawn, in pixels. (N, C, h, w), (..., N, C) -> (..., N, C, 2)."""
    height, width = features.shape[2:]
    own = features.flatten(2).argmax(2)
    rows, columns = cells // width - own // width, cells % width - own % width
    steps = rows * size[0] / height, columns * size[1] / width
    return torch.stack([step.round().long() for step in steps], dim=-1)


def weights_in_map(weights: Tensor, counted: Tensor, threshold: float, balance: bool) -> Tensor:
    """What residuals are multiplied by: weight - T, 0 where a channel does not count, balanced if chosen. (..., C)."""
    weights = (weights - threshold) * counted
    return balanced(weights) if balance else weights


def balanced(weights: Tensor) -> Tensor:
    """Weights whose positive ones sum to 1, and whose negative ones sum to -1, where there are any. Same shape.

    A side that sums to no more than rounding is none.
    """
    evidence = weights.clamp(min=0), (-weights).clamp(min=0)
    sums = [side.sum(-1, keepdim=True) for side in evidence]
    rounding = 8 * torch.finfo(weights.dtype).eps
    supporting, opposing = (
        side / total.masked_fill(total <= rounding, torch.inf) for side, total in zip(evidence, sums, strict=True)
    )
    return supporting - opposing


def image_residuals(
    features: Tensor, decoder: nn.Module, options: DDFV, wanted: Tensor | None = None
) -> tuple[ImageResiduals, ...]:
    """Lines 6 to 12 of Algorithm 1 for each of N images, all in one pass where the local algorithm can be used.

    Args:
        features: last spatial maps. Shape (N, C, h, w).
        decoder: in eval mode.
        options: `algorithm`, `mask`, `residual`, `precision` and `chunk` are used.
        wanted: channels that the local algorithm must not leave out; all where None. Shape (N, C), bool.
    """
    mask, normalization, chunk = options.mask, options.residual, options.chunk
    if options.algorithm == "local" and mask == "max" and is_local(decoder):
        bf16 = options.precision == "bf16"
        return local_residuals(features, decoder, normalization, wanted=wanted, bf16=bf16, chunk=chunk)
    return tuple(
        channel_residuals(one, decoder, options.algorithm, mask=mask, normalization=normalization, chunk=chunk)
        for one in features
    )


def channel_weights(model: FaceRecognizer, features: Tensor, options: DDFV) -> Tensor:
    """What each channel of each image does to the score of the two, before T is taken away.

    Args:
        model: in eval mode.
        features: of the pair. Shape (2, C, h, w).
        options: `weight`, `mask` and `chunk` are used.

    Returns:
        Weights. Shape (2, C).
    """
    if options.weight == "product":
        return product_weights(model, features)
    pooled = model.pool(features)  # (2, D)
    rows = []
    for own, partner in ((0, 1), (1, 0)):
        changes = channel_changes(model, features[own], options)  # (C, D)
        rows.append(ablation_weights(pooled[own], pooled[partner], changes, fall_of(options.weight, model)))
    return torch.stack(rows)


def fall_of(weight: Weight, model: FaceRecognizer) -> Fall:
    """Which fall of the score the weights of this model are; see `ablation_weights`."""
    if weight == "contribution" or (weight == "auto" and has_centred_maxima(model)):
        return "numerator"
    return "first-order" if weight == "first-order" else "cosine"


def channel_changes(model: FaceRecognizer, features: Tensor, options: DDFV) -> Tensor:
    """What ablating each channel of one image adds to the output of the head. (C, h, w) -> (C, D)."""
    substitute = "second-max" if options.weight == "second-max" else "neutral"
    return ablation_changes(model.required_head(), features, substitute, options.mask, options.chunk)


def product_weights(model: FaceRecognizer, features: Tensor) -> Tensor:
    """F_A x F_B as printed: the summands of the cosine of eq. (1), the same for both images. (2, C, h, w) -> (2, C)."""
    if not has_centred_maxima(model):
        warnings.warn(
            "ddfv-paper on a head that is not max pooling with BatchNorm: products of channel maxima are almost all "
            "positive and the map hardly depends on the partner; method 'ddfv' does not have this fault",
            stacklevel=2,
        )
    probe, gallery = F.normalize(channel_vectors(model, features))
    return (probe * gallery).expand(2, -1)


def has_centred_maxima(model: FaceRecognizer) -> bool:
    """Whether F_i tells if a face has channel i: it does in a MaxPoolHead with BatchNorm, where its mean is zero."""
    return isinstance(model.head, MaxPoolHead) and model.head.normalize


def channel_vectors(model: FaceRecognizer, features: Tensor) -> Tensor:
    """F: one number a channel. The head's output for a MaxPoolHead, else the maxima. (N, C, h, w) -> (N, C)."""
    return model.pool(features) if isinstance(model.head, MaxPoolHead) else features.amax((2, 3))


def resolve_threshold(threshold: float | str, model: FaceRecognizer, channels: int) -> float:
    """T as a number: `"margin"` is the model's threshold / C, and 0 where the model has none."""
    if threshold == "margin":
        return (model.threshold or 0.0) / channels
    return float(threshold)


def check_options(options: DDFV) -> None:
    """Raise `InputError` for a value that an option does not take."""
    for name, choices in CHOICES.items():
        value, known = getattr(options, name), get_args(choices)
        if value not in known:
            raise InputError(f"unknown {name} '{value}'; choose one of {', '.join(known)}")
    threshold = options.threshold
    if threshold != "margin" and not (isinstance(threshold, int | float) and math.isfinite(threshold)):
        raise InputError(f"threshold must be a finite number or 'margin'; got {threshold!r}")
    tolerance = options.tolerance
    if not (isinstance(tolerance, int | float) and 0 <= tolerance < 1):
        raise InputError(f"tolerance must be a share in [0, 1); got {tolerance!r}")
    if tolerance and (options.algorithm, options.mask, options.residual) != ("local", "max", "max"):
        raise InputError("a tolerance holds for algorithm='local', mask='max' and residual='max'; leave it at 0")
    if options.precision == "bf16" and (options.algorithm, options.mask) != ("local", "max"):
        raise InputError("precision='bf16' is for algorithm='local' and mask='max'; leave it at 'full'")
    if not (isinstance(options.chunk, int) and options.chunk >= 1):
        raise InputError(f"chunk must be a whole number of channels, 1 or more; got {options.chunk!r}")

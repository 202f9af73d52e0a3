"""Discriminative deep feature visualization (DDFV).

Mask the maximum of one channel, reconstruct the face, and see where it changes. The sum of these residuals, each
weighted by what the channel does to the cosine score of the pair, is the map: where it is positive the faces look alike
to the network, where it is negative they look different.

Source: Xu, Lu, Ebrahimi, "Discriminative Deep Feature Visualization for Explainable Face Recognition", Algorithm 1.

Deviations:
    The weight of a channel is, by default (`ddfv`), the fall of the score when that channel is ablated (see
    `ablation`). Printed is the product F_A x F_B - T, which `ddfv-paper` uses. On a head without BatchNorm channel
    maxima are almost all positive, so their products say more about the face than about the comparison. T is not
    printed; with T = threshold / C the product weights sum to the decision margin, score - threshold. Both images get a
    map; printed is one. For the residuals see `Deviations` in `residuals`.
"""

import math
import warnings
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facexai.errors import InputError
from facexai.explainers.ablation import ablation_changes, ablation_weights
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

Weight = Literal["ablation", "product", "second-max", "first-order"]
Which = Literal["both", "probe"]
Precision = Literal["full", "bf16"]
CHOICES = {
    "weight": Weight,
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
        counted: which channels enter the sum; all of them unless `present_only`. Shape (2, C).
        residuals: where each channel acts; of the probe alone where `which="probe"`.
        score: cosine of the pair.
        threshold: T of Algorithm 1, a constant taken from each weight.
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
    method: str

    @cached_property
    def reconstructions(self) -> Tensor:
        """What the decoder makes of the features, when first asked for. Shape (2, 3, H, W)."""
        with torch.no_grad(), eval_mode(self.decoder):
            return self.decoder(self.features)

    def saliency(self, threshold: float | None = None) -> Saliency:
        """H = sum of residual x (weight - T), for this T or another. No network is run."""
        weights = self.balanced_weights(threshold)
        maps = [residuals.weighted_sum(row) for residuals, row in zip(self.residuals, weights, strict=False)]
        maps += [torch.zeros_like(maps[0])] * (2 - len(maps))
        return Saliency(torch.stack(maps), self.score, self.method)

    def error_bound(self, threshold: float | None = None) -> list[float]:
        """How far each map may lie, in any pixel, from the map of all channels; 0 without a `tolerance`."""
        weights = self.balanced_weights(threshold)
        return [float(residuals.error_bound(row)) for residuals, row in zip(self.residuals, weights, strict=False)]

    def balanced_weights(self, threshold: float | None = None) -> Tensor:
        """Weight - T, and 0 for channels that do not count. Shape (2, C)."""
        return (self.weights - (self.threshold if threshold is None else threshold)) * self.counted

    def top_channels(self, count: int = 8) -> Tensor:
        """The channels with the largest |weight - T| of each image, largest first. Shape (2, count)."""
        return self.balanced_weights().abs().topk(min(count, self.weights.shape[1])).indices


@EXPLAINERS.register("ddfv")
@dataclass(frozen=True)
class DDFV:
    """Algorithm 1 with ablation weights.

    Args:
        weight: `"ablation"`; `"second-max"`: as ablation, with the channel's second maximum in place of the first;
            `"first-order"`: the linear part of the ablation, which sums to zero over the channels of a MaxPoolHead with
            BatchNorm (on a head that is neither max pooling nor affine, linear in the head's output only);
            `"product"`: F_A x F_B, the cosine's summands, as printed.
        threshold: T, taken from each weight; `"margin"`: the model's threshold / C, or 0 for a model that has none.
        present_only: count only channels which the image has (F_i > 0 of that image): where a channel is missing, the
            place of its maximum means little.
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

    weight: Weight = "ablation"
    threshold: float | Literal["margin"] = 0.0
    present_only: bool = False
    residual: Normalization = "max"
    mask: Mask = "max"
    which: Which = "both"
    algorithm: Algorithm = "local"
    precision: Precision = "full"
    tolerance: float = 0.0
    chunk: int = 128

    def __post_init__(self) -> None:
        check_options(self)

    def __call__(self, pair: FacePair, model: FaceRecognizer) -> Saliency:
        """S, S+ and S- of Algorithm 1, as one signed map H for each image."""
        return self.decompose(pair, model).saliency()

    def decompose(self, pair: FacePair, model: FaceRecognizer) -> Decomposition:
        """The parts of the map, for a model in eval mode."""
        return run_algorithm_1(pair, model, self, method=repr(self))


@EXPLAINERS.register("ddfv-paper")
@dataclass(frozen=True)
class DDFVPaper:
    """Algorithm 1 with its printed weights, F_A x F_B - T.

    F is the output of a MaxPoolHead; for any other head it is the vector of channel maxima, and a warning says how
    little the map then depends on the partner.

    Args:
        threshold: T, taken from each weight; `"margin"`: the model's threshold / C, so that the weights sum to the
            decision margin, score - threshold. It is 0 for a model without a calibrated threshold.
        present_only: as for `DDFV`, and so are the others.
        residual: see `DDFV`.
        mask: see `DDFV`.
        which: see `DDFV`.
        algorithm: see `DDFV`.
        precision: see `DDFV`.
        tolerance: see `DDFV`.
        chunk: see `DDFV`.
    """

    threshold: float | Literal["margin"] = "margin"
    present_only: bool = False
    residual: Normalization = "max"
    mask: Mask = "max"
    which: Which = "both"
    algorithm: Algorithm = "local"
    precision: Precision = "full"
    tolerance: float = 0.0
    chunk: int = 128

    def __post_init__(self) -> None:
        check_options(self)

    def __call__(self, pair: FacePair, model: FaceRecognizer) -> Saliency:
        """S, S+ and S- of Algorithm 1, as one signed map H for each image."""
        return self.decompose(pair, model).saliency()

    def decompose(self, pair: FacePair, model: FaceRecognizer) -> Decomposition:
        """The parts of the map, for a model in eval mode."""
        return run_algorithm_1(pair, model, DDFV(weight="product", **asdict(self)), method=repr(self))


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
    if not isinstance(explainer, DDFV | DDFVPaper):
        raise InputError(f"'{method}' does not work by channels; choose ddfv or ddfv-paper")
    with evaluation(pair, model):
        return explainer.decompose(pair, model)


@torch.no_grad()
def run_algorithm_1(pair: FacePair, model: FaceRecognizer, options: DDFV, method: str) -> Decomposition:
    """Algorithm 1 in the paper's order, up to the sum; with both images as `A` in turn."""
    if model.decoder is None:
        raise InputError(
            "ddfv shows features by reconstructing faces, and this model has no decoder; choose one that has"
        )
    features = model.features(images_for(model, pair))  # C_A, C_B: (2, C, h, w)
    embeddings = F.normalize(model.pool(features))  # (2, D)
    threshold = resolve_threshold(options.threshold, model, channels=features.shape[1])
    weights = channel_weights(model, features, options)  # (2, C)
    present = channel_vectors(model, features) > 0
    counted = present if options.present_only else torch.ones_like(present)
    mapped = slice(2 if options.which == "both" else 1)
    balanced = (weights - threshold) * counted
    wanted = wanted_channels(balanced, features, options.tolerance)[mapped] if options.tolerance else None
    return Decomposition(
        features=features,
        embeddings=embeddings,
        decoder=model.decoder,
        weights=weights,
        counted=counted,
        residuals=image_residuals(features[mapped], model.decoder, options, wanted),
        score=float(embeddings[0] @ embeddings[1]),
        threshold=threshold,
        method=method,
    )


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
    first_order = options.weight == "first-order"
    rows = []
    for own, partner in ((0, 1), (1, 0)):
        changes = channel_changes(model, features[own], options)  # (C, D)
        rows.append(ablation_weights(pooled[own], pooled[partner], changes, first_order=first_order))
    return torch.stack(rows)


def channel_changes(model: FaceRecognizer, features: Tensor, options: DDFV) -> Tensor:
    """What ablating each channel of one image adds to the output of the head. (C, h, w) -> (C, D)."""
    substitute = "second-max" if options.weight == "second-max" else "neutral"
    return ablation_changes(model.head, features, substitute, options.mask, options.chunk)


def product_weights(model: FaceRecognizer, features: Tensor) -> Tensor:
    """F_A x F_B as printed: the summands of the cosine of eq. (1), the same for both images. (2, C, h, w) -> (2, C)."""
    if not (isinstance(model.head, MaxPoolHead) and model.head.normalize):
        warnings.warn(
            "ddfv-paper on a head that is not max pooling with BatchNorm: products of channel maxima are almost all "
            "positive and the map hardly depends on the partner; method 'ddfv' does not have this fault",
            stacklevel=2,
        )
    probe, gallery = F.normalize(channel_vectors(model, features))
    return (probe * gallery).expand(2, -1)


def channel_vectors(model: FaceRecognizer, features: Tensor) -> Tensor:
    """F: one number a channel. The head's output for a MaxPoolHead, else the maxima. (N, C, h, w) -> (N, C)."""
    return model.pool(features) if isinstance(model.head, MaxPoolHead) else features.amax((2, 3))


def resolve_threshold(threshold: float | str, model: FaceRecognizer, channels: int) -> float:
    """T as a number: `"margin"` is the model's threshold / C, and 0 where the model has none."""
    if threshold == "margin":
        return (model.threshold or 0.0) / channels
    return float(threshold)


def check_options(options: DDFV | DDFVPaper) -> None:
    """Raise `InputError` for a value that an option does not take."""
    for name, choices in CHOICES.items():
        value, known = getattr(options, name, None), get_args(choices)
        if value is not None and value not in known:
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

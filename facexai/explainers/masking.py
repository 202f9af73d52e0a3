"""Masked embeddings: one image under many masks, embedded once, compared with any number of partners.

The embeddings of the masked images of A do not depend on B. They are N x D numbers; each partner then costs one product
of N scores with N masks, and the network is not run again.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from facexai.errors import InputError
from facexai.explainers.interface import EXPLAINERS, evaluation, images_for, make_explainer
from facexai.explainers.masks import Fill, Masks, background
from facexai.explainers.options import check_choice
from facexai.models import FaceRecognizer
from facexai.pairs import FacePair, Saliency

DRAWN_AT_ONCE = 128  # masks; 6 MB at 112 x 112 pixels
GROWTH = 1.25  # between two looks at the standard error


@dataclass(frozen=True)
class MaskedEmbeddings:
    """What the network makes of one image under N masks.

    Args:
        masks: in compact form.
        embeddings: of unit norm. Shape (N, D).
    """

    masks: Masks
    embeddings: Tensor

    def __len__(self) -> int:
        return len(self.embeddings)

    def scores(self, partners: Tensor) -> Tensor:
        """Cosine of each masked image with each of P partners. (P, D) -> (P, N)."""
        return partners @ self.embeddings.T

    def weighted_sum(self, weights: Tensor, power: int = 1) -> Tensor:
        """The sum of weight x mask^power over the masks, for P rows of weights. (P, N) -> (P, H, W)."""
        total = weights.new_zeros(len(weights), *self.masks.size)
        for start in range(0, len(self), DRAWN_AT_ONCE):
            part = slice(start, start + DRAWN_AT_ONCE)
            masks = self.masks[part].draw(weights).pow(power)
            total += (weights[:, part] @ masks.flatten(1)).unflatten(1, masks.shape[1:])
        return total

    def mean_mask(self, power: int = 1) -> Tensor:
        """Mean of mask^power over the masks. Shape (H, W)."""
        return self.weighted_sum(self.embeddings.new_ones(1, len(self)), power)[0] / len(self)


def embed_masked(
    image: Tensor, model: FaceRecognizer, masks: Masks, *, fill: Fill = "grey", chunk: int = 32
) -> MaskedEmbeddings:
    """Embed one image under every mask.

    Args:
        image: RGB in [-1, 1], on the device and in the precision of the model. Shape (3, H, W).
        model: in eval mode.
        masks: what is kept of the image.
        fill: what takes the place of the rest.
        chunk: images a forward pass; it costs memory and never changes the result beyond rounding.

    Returns:
        Embeddings in the order of the masks.
    """
    filling = background(image, fill)
    embeddings = []
    for start in range(0, len(masks), chunk):
        kept = masks[start : start + chunk].draw(image)[:, None]
        embeddings.append(model.embed(filling + kept * (image - filling)))
    return MaskedEmbeddings(masks, torch.cat(embeddings))


def embed_until(
    image: Tensor,
    model: FaceRecognizer,
    masks: Masks,
    settled: Callable[[MaskedEmbeddings], bool],
    *,
    minimum: int,
    fill: Fill = "grey",
    chunk: int = 32,
) -> MaskedEmbeddings:
    """The same, but stop before the last mask once the result is `settled`.

    It is asked after `minimum` masks and whenever a quarter more has come. The masks used are the first ones, so that
    an early stop gives exactly what fewer masks would have given.
    """
    used = min(minimum, len(masks))
    masked = embed_masked(image, model, masks[:used], fill=fill, chunk=chunk)
    while used < len(masks) and not settled(masked):
        begin, used = used, min(int(used * GROWTH) + 1, len(masks))
        more = embed_masked(image, model, masks[begin:used], fill=fill, chunk=chunk)
        masked = MaskedEmbeddings(masks[:used], torch.cat([masked.embeddings, more.embeddings]))
    return masked


class MaskingExplainer(ABC):
    """What the methods of this family share: prepare an image once, then map it against any partners.

    Subclasses are frozen dataclasses whose fields are the options.
    """

    unsigned: ClassVar[bool] = False

    @abstractmethod
    def prepare(self, image: Tensor, model: FaceRecognizer, partners: Tensor) -> Any:
        """All that needs the network. Only an early stop looks at the partners.

        Args:
            image: on the device and in the precision of the model. Shape (3, H, W).
            model: in eval mode.
            partners: embeddings of unit norm. Shape (P, D).
        """

    @abstractmethod
    def maps(self, prepared: Any, partners: Tensor) -> Tensor:
        """Signed maps of the prepared image against each partner. (P, D) -> (P, H, W)."""

    @torch.no_grad()
    def __call__(self, pair: FacePair, model: FaceRecognizer) -> Saliency:
        """Maps of both images, each against the other; both meet the same masks."""
        images = images_for(model, pair)
        embeddings = model.embed(images)
        maps = []
        for image, partner in zip(images, embeddings.flip(0), strict=True):
            prepared = self.prepare(image, model, partner[None])
            maps.append(self.maps(prepared, partner[None])[0])
        return Saliency(torch.stack(maps), float(embeddings[0] @ embeddings[1]), repr(self))


@torch.no_grad()
def gallery_maps(
    probe: Tensor, partners: Tensor, model: FaceRecognizer, method: str = "rise", **options: Any
) -> Tensor:
    """One probe against many enrolled faces: the masked probe is embedded once for all of them.

    Args:
        probe: RGB in [-1, 1]. Shape (3, H, W).
        partners: embeddings of the enrolled faces, `model.embed(galleries)`. Shape (P, D).
        model: the network whose scores are explained.
        method: `"rise"`, `"corr-rise"`, `"min-plus"` or `"occlusion"`.
        options: fields of that explainer. With `tolerance` masks come until the map of every partner has settled.

    Returns:
        What `explain` gives on the probe, for each partner. Shape (P, H, W), on the device of the probe.

    Raises:
        InputError: a method that does not keep masked embeddings, or partners of another shape.
    """
    explainer = make_explainer(method, **options)
    if not isinstance(explainer, MaskingExplainer):
        known = [name for name in EXPLAINERS if issubclass(EXPLAINERS[name], MaskingExplainer)]
        raise InputError(f"'{method}' keeps no masked embeddings; choose one of {', '.join(known)}, or call explain")
    if partners.ndim != 2 or partners.shape[1] != model.dimension:
        raise InputError(
            f"partners must be embeddings of shape (P, {model.dimension}); got {tuple(partners.shape)}. "
            "Use model.embed(galleries)."
        )
    pair = FacePair(probe, probe)
    with evaluation(pair, model):
        image = images_for(model, pair)[0]
        partners = F.normalize(partners.to(image))
        return explainer.maps(explainer.prepare(image, model, partners), partners).to(probe.device)


def check_fill(fill: object) -> None:
    """Raise `InputError` unless `fill` is one of `Fill`."""
    check_choice("fill", fill, Fill)

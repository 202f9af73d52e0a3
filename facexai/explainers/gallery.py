"""One probe against a whole gallery: what depends on the probe alone is computed once.

The residuals of an image know nothing of its partner. A further partner costs one row of weights and a weighted sum, a
further threshold the weighted sum alone.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from facexai.errors import InputError
from facexai.explainers.ablation import Fall, ablation_weights
from facexai.explainers.ddfv import (
    DDFV,
    Algorithm1,
    channel_changes,
    channel_vectors,
    fall_of,
    has_centred_maxima,
    image_residuals,
    pixel_shifts,
    resolve_threshold,
    weights_in_map,
)
from facexai.explainers.interface import eval_mode, evaluation, make_explainer
from facexai.explainers.residuals import ImageResiduals
from facexai.models import FaceRecognizer, MaxPoolHead
from facexai.pairs import FacePair


@dataclass(frozen=True)
class Partners:
    """What Algorithm 1 wants to know of N other faces; made by `prepare_partners`.

    Args:
        embeddings: of any length. Shape (N, D).
        present: which channels each face has. Shape (N, C), bool.
        cells: where each channel has its maximum. Shape (N, C).
    """

    embeddings: Tensor
    present: Tensor
    cells: Tensor


@dataclass(frozen=True)
class PreparedProbe:
    """A probe, ready to meet any number of partners; made by `prepare_probe`.

    Args:
        pooled: head output of the probe. Shape (D,).
        changes: what ablating each channel adds to it; None where the weights are F_A x F_B. Shape (C, D).
        present: which channels it has. Shape (C,), bool.
        features: its last spatial map. Shape (C, h, w).
        residuals: where each channel acts.
        threshold: T of Algorithm 1.
        fall: which fall of the score the weights are; see `ablation_weights`.
        options: of the method.
    """

    pooled: Tensor
    changes: Tensor | None
    present: Tensor
    features: Tensor
    residuals: ImageResiduals
    threshold: float
    fall: Fall
    options: DDFV

    def scores(self, partners: Tensor | Partners) -> Tensor:
        """Cosines with partners. (N, D) -> (N,)."""
        return F.normalize(embeddings_of(partners).to(self.pooled)) @ F.normalize(self.pooled, dim=0)

    def weights(self, partners: Tensor | Partners) -> Tensor:
        """What each channel of the probe does to the score with each partner, before T is taken away. (N, C)."""
        embeddings = embeddings_of(partners).to(self.pooled)
        if self.changes is None:
            return F.normalize(self.pooled, dim=0) * F.normalize(embeddings)
        return ablation_weights(self.pooled, embeddings, self.changes, self.fall)

    def maps(self, partners: Tensor | Partners, threshold: float | None = None) -> Tensor:
        """Signed maps of the probe, one for each partner. (N, D) -> (N, H, W).

        Args:
            partners: see `prepare_partners`; embeddings (N, D) are enough unless `missing="partner"`.
            threshold: T, in place of the one that was chosen.

        Raises:
            InputError: embeddings, where the places of the partners' channels are needed.
        """
        threshold = self.threshold if threshold is None else threshold
        weights = weights_in_map(self.weights(partners), self.counted(partners), threshold, self.options.balance)
        if not isinstance(partners, Partners) or self.options.missing != "partner":
            return self.residuals.weighted_sum(weights)
        cells = torch.where(self.present, self.features.flatten(1).argmax(1), partners.cells)  # (N, C)
        shifts = pixel_shifts(self.features[None], cells[:, None], self.residuals.size)[:, 0]  # (N, C, 2)
        maps = [self.residuals.moved(shift).weighted_sum(row) for shift, row in zip(shifts, weights, strict=True)]
        return torch.stack(maps) if maps else self.residuals.weighted_sum(weights)

    def counted(self, partners: Tensor | Partners) -> Tensor:
        """Which channels enter the sum; see `DDFV.missing`. Shape (C,) or (N, C), bool."""
        if self.options.missing == "own":
            return torch.ones_like(self.present)
        if self.options.missing == "skip":
            return self.present
        if isinstance(partners, Partners):
            return self.present | partners.present
        raise InputError(
            "a channel that the probe lacks is drawn where the partner has it, which embeddings do not tell; give "
            "images, or choose missing='skip'"
        )


def embeddings_of(partners: Tensor | Partners) -> Tensor:
    """The embeddings of partners, if that is not what they are. (N, D)."""
    return partners.embeddings if isinstance(partners, Partners) else partners


@torch.no_grad()
def prepare_partners(images: Tensor, model: FaceRecognizer) -> Partners:
    """What `PreparedProbe` wants to know of aligned faces (N, 3, H, W)."""
    with eval_mode(model):
        features = model.features(images.to(next(model.parameters(), images)))
        return Partners(model.pool(features), channel_vectors(model, features) > 0, features.flatten(2).argmax(2))


@torch.no_grad()
def prepare_probe(probe: Tensor, model: FaceRecognizer, method: str = "ddfv", **options: Any) -> PreparedProbe:
    """Everything of Algorithm 1 that does not depend on the partner.

    Args:
        probe: an aligned face. Shape (3, H, W).
        model: a network with a decoder.
        method: `"ddfv"`, or `"ddfv-paper"` for a network with a MaxPoolHead.
        options: fields of that explainer, except `tolerance` and `which`.

    Raises:
        InputError: as `explain`, and for a method or an option that needs the partner at once.
    """
    explainer = make_explainer(method, **options)
    if not isinstance(explainer, Algorithm1):
        raise InputError(f"'{method}' does not work by channels; choose ddfv or ddfv-paper")
    chosen = explainer.as_ddfv()
    if chosen.tolerance:
        raise InputError("a tolerance needs the weights of one partner; leave it at 0 for a gallery")
    if model.decoder is None:
        raise InputError(f"{model.name} has no decoder; train one with `facexai train decoder`")
    if chosen.weight == "product" and not isinstance(model.head, MaxPoolHead):
        raise InputError("product weights need the partners' channel maxima, not their embeddings; choose method ddfv")
    with evaluation(FacePair(probe, probe), model):
        features = model.features(probe[None].to(next(model.parameters(), probe)))
        fall = fall_of(chosen.weight, model)
        products = chosen.weight == "product" or (fall == "numerator" and has_centred_maxima(model))
        return PreparedProbe(
            pooled=model.pool(features)[0],
            changes=None if products else channel_changes(model, features[0], chosen),
            present=channel_vectors(model, features)[0] > 0,
            features=features[0],
            residuals=image_residuals(features, model.decoder, chosen)[0],
            threshold=resolve_threshold(chosen.threshold, model, channels=features.shape[1]),
            fall=fall,
            options=chosen,
        )


@torch.no_grad()
def explain_gallery(
    probe: Tensor, gallery: Tensor, model: FaceRecognizer, method: str = "ddfv", batch_size: int = 32, **options: Any
) -> tuple[Tensor, Tensor]:
    """Where does one face look like each face of a gallery to the network, and where not?

    Args:
        probe: an aligned face. Shape (3, H, W).
        gallery: aligned faces, or, unless `missing="partner"`, their embeddings. Shape (N, 3, H, W) or (N, D).
        model: a network with a decoder.
        method: see `prepare_probe`.
        batch_size: partners embedded, or mapped, at once.
        options: see `prepare_probe`.

    Returns:
        Signed maps of the probe (N, H, W), equal to the first map of `explain` for each pair, and scores (N,), on the
        device of the probe.
    """
    prepared = prepare_probe(probe, model, method, **options)
    maps, scores = [], []
    with evaluation(FacePair(probe, probe), model):
        for faces in gallery.split(batch_size):
            partners = prepare_partners(faces, model) if faces.ndim == 4 else faces
            maps.append(prepared.maps(partners).to(probe.device))
            scores.append(prepared.scores(partners).to(probe.device))
    return torch.cat(maps), torch.cat(scores)

"""One probe against a whole gallery: what depends on the probe alone is computed once.

The residuals of an image know nothing of its partner. A further partner costs one row of weights and one weighted sum,
a further threshold the weighted sum alone.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from facexai.errors import InputError
from facexai.explainers.ablation import ablation_weights
from facexai.explainers.ddfv import (
    DDFV,
    DDFVPaper,
    channel_changes,
    channel_vectors,
    image_residuals,
    resolve_threshold,
)
from facexai.explainers.interface import evaluation, make_explainer
from facexai.explainers.residuals import ImageResiduals
from facexai.models import FaceRecognizer, MaxPoolHead
from facexai.pairs import FacePair


@dataclass(frozen=True)
class PreparedProbe:
    """A probe, ready to meet any number of partners; made by `prepare_probe`.

    Args:
        pooled: head output of the probe. Shape (D,).
        changes: what ablating each channel adds to it; None for the printed weights F_A x F_B. Shape (C, D).
        first_order: see `ablation_weights`.
        counted: which channels enter the sum. Shape (C,).
        residuals: where each channel acts.
        threshold: T of Algorithm 1.
    """

    pooled: Tensor
    changes: Tensor | None
    first_order: bool
    counted: Tensor
    residuals: ImageResiduals
    threshold: float

    def scores(self, partners: Tensor) -> Tensor:
        """Cosines with partners, given by their embeddings. (N, D) -> (N,)."""
        return F.normalize(partners.to(self.pooled)) @ F.normalize(self.pooled, dim=0)

    def weights(self, partners: Tensor) -> Tensor:
        """What each channel of the probe does to the score with each partner, before T is taken away. (N, C)."""
        partners = partners.to(self.pooled)
        if self.changes is None:
            return F.normalize(self.pooled, dim=0) * F.normalize(partners)
        return ablation_weights(self.pooled, partners, self.changes, first_order=self.first_order)

    def maps(self, partners: Tensor, threshold: float | None = None) -> Tensor:
        """Signed maps of the probe, one for each partner. (N, D) -> (N, H, W).

        Args:
            partners: embeddings of the partners, of any length. Shape (N, D).
            threshold: T, in place of the one that was chosen.
        """
        weights = self.weights(partners) - (self.threshold if threshold is None else threshold)
        return self.residuals.weighted_sum(weights * self.counted)


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
    if not isinstance(explainer, DDFV | DDFVPaper):
        raise InputError(f"'{method}' does not work by channels; choose ddfv or ddfv-paper")
    if explainer.tolerance:
        raise InputError("a tolerance needs the weights of one partner; leave it at 0 for a gallery")
    if model.decoder is None:
        raise InputError(f"{model.name} has no decoder; train one with `facexai train decoder`")
    chosen = explainer if isinstance(explainer, DDFV) else DDFV(weight="product", **asdict(explainer))
    if chosen.weight == "product" and not isinstance(model.head, MaxPoolHead):
        raise InputError("product weights need the partners' channel maxima, not their embeddings; choose method ddfv")
    with evaluation(FacePair(probe, probe), model):
        features = model.features(probe[None].to(next(model.parameters(), probe)))
        present = channel_vectors(model, features)[0] > 0
        return PreparedProbe(
            pooled=model.pool(features)[0],
            changes=None if chosen.weight == "product" else channel_changes(model, features[0], chosen),
            first_order=chosen.weight == "first-order",
            counted=present if chosen.present_only else torch.ones_like(present),
            residuals=image_residuals(features, model.decoder, chosen)[0],
            threshold=resolve_threshold(chosen.threshold, model, channels=features.shape[1]),
        )


@torch.no_grad()
def explain_gallery(
    probe: Tensor, gallery: Tensor, model: FaceRecognizer, method: str = "ddfv", batch_size: int = 32, **options: Any
) -> tuple[Tensor, Tensor]:
    """Where does one face look like each face of a gallery to the network, and where not?

    Args:
        probe: an aligned face. Shape (3, H, W).
        gallery: aligned faces, or the embeddings of faces. Shape (N, 3, H, W) or (N, D).
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
        for partners in gallery.split(batch_size):
            if partners.ndim == 4:
                partners = model.embed(partners.to(next(model.parameters(), probe)))
            maps.append(prepared.maps(partners).to(probe.device))
            scores.append(prepared.scores(partners).to(probe.device))
    return torch.cat(maps), torch.cat(scores)

"""What frontalization changed, and where on the face.

On a MaxPoolHead, dimension i of the embedding is the maximum of channel i, and the residual r_i of that channel says
where on the face it acts (DDFV, Algorithm 1). A frontalizer moves the embedding of a profile, a' = M_g(a, theta)
(FSPFM, eq. (1)), dimension by dimension; so each step that it takes can be put on the face. With u = a / |a| and
u' = a' / |a'|,

    s  = sum_i u_Ai  u_Bi        before        H      = sum_i u_Ai  u_Bi  r_i
    s' = sum_i u'_Ai u'_Bi       after         H'     = sum_i u'_Ai u'_Bi r_i
                                               gain     = sum_i (u'_Ai u'_Bi - u_Ai u_Bi) r_i  =  H' - H
                                               change   = sum_i |u'_i - u_i| r_i
                                               added    = sum_i max(u'_i - u_i, 0) r_i
                                               distrust = sum_i max(|u_i| - |u'_i|, 0) r_i

Gain belongs to the pair, the other three to one face each. A face that passes by the frontalizer has change 0.

Why unit length: a cosine sees directions alone. A module that doubles an embedding changes no score, and |a' - a| would
call it a change everywhere. In unit vectors, where only the probe is moved, channel i gains (u'_Ai - u_Ai) u_Bi: the
gain of a channel is its change, with a sign, times what the partner has of it. The price: what is raised at one place
makes all others a little smaller.

Source: joins Xu, Lu, Ebrahimi, "Discriminative Deep Feature Visualization for Explainable Face Recognition", Algorithm
1, and Stanishev, Lu, Ebrahimi, "Pose-Invariant Face Recognition via Feature-Space Pose Frontalization" (2025), eq. (1).

Deviations:
    Ours altogether: neither paper explains a frontalizer. A frontalizer mixes dimensions on its way; what is shown is
    what becomes of each, not which others made it so.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from facexai.errors import InputError
from facexai.explainers.ddfv import DDFV, Missing, channel_places, channel_vectors, image_residuals, pixel_shifts
from facexai.explainers.interface import evaluation, images_for
from facexai.explainers.residuals import ImageResiduals
from facexai.models import FaceRecognizer, MaxPoolHead
from facexai.models.frontalizers import WCCN
from facexai.models.pose_invariant import PoseInvariantRecognizer
from facexai.pairs import FacePair, Saliency


@dataclass(frozen=True)
class FrontalizationMaps:
    """What a frontalizer did to a pair. The first index of every tensor is the image, probe first.

    Maps are on the raw scale and lie on the device of the model.

    Args:
        embeddings: u and u', before and after. Shape (2, 2, D).
        present: which channels a face has, before: those above their training mean. Shape (2, D), bool.
        counted: which channels are drawn on a face; see `draw` of `explain_frontalization`. Shape (2, D), bool.
        residuals: of each face, where its channels are drawn.
        own_residuals: of each face, where its channels have their maxima.
        angles: yaw, pitch, roll in degrees, as the pose network sees them. Shape (2, 3).
        frontalized: which faces went through the frontalizer. Shape (2,), bool.
        method: record of the explanation.
    """

    embeddings: Tensor
    present: Tensor
    counted: Tensor
    residuals: tuple[ImageResiduals, ...]
    own_residuals: tuple[ImageResiduals, ...]
    angles: Tensor
    frontalized: Tensor
    method: str

    @property
    def contributions(self) -> Tensor:
        """Of the channels to the scores before and after, to which they sum. Shape (2, D)."""
        return self.embeddings[0] * self.embeddings[1]

    @property
    def steps(self) -> Tensor:
        """How each embedding was moved, u' - u. Shape (2, D)."""
        return self.embeddings[:, 1] - self.embeddings[:, 0]

    @cached_property
    def before(self) -> Saliency:
        """Signed maps H and the score s, without the frontalizer."""
        return self._saliency(0, "before")

    @cached_property
    def after(self) -> Saliency:
        """Signed maps H' and the score s', with it."""
        return self._saliency(1, "after")

    @cached_property
    def gain(self) -> Tensor:
        """> 0 where frontalization raised the score, < 0 where it lowered it. Shape (2, H, W)."""
        before, after = self.contributions
        return self.on_own((after - before).expand(2, -1))

    @cached_property
    def change(self) -> Tensor:
        """>= 0: where it changed the embedding of each face, whether or not the score noticed. Shape (2, H, W)."""
        return self.on_own(self.steps.abs())

    @cached_property
    def added(self) -> Tensor:
        """>= 0: where it raised the embedding of each face, so what it supplies. Shape (2, H, W)."""
        return self.on_own(self.steps.clamp(min=0))

    @cached_property
    def distrust(self) -> Tensor:
        """>= 0: where it made the embedding of each face smaller, of either sign. Shape (2, H, W)."""
        before, after = self.embeddings.abs().unbind(1)
        return self.on_own((before - after).clamp(min=0))

    @cached_property
    def change_on_partner(self) -> Tensor:
        """The change of each face's embedding, drawn on the *other* face; see `on_partner`. Shape (2, H, W)."""
        return self.on_partner(self.steps.abs())

    @cached_property
    def added_on_partner(self) -> Tensor:
        """What was added to each face's embedding, drawn on the *other* face; see `on_partner`. Shape (2, H, W)."""
        return self.on_partner(self.steps.clamp(min=0))

    def on_own(self, weights: Tensor) -> Tensor:
        """Sum of weight x residual on each face, of the channels that count. (2, D) -> (2, H, W)."""
        return torch.stack(
            [one.weighted_sum(row) for one, row in zip(self.residuals, weights * self.counted, strict=True)]
        )

    def on_partner(self, weights: Tensor) -> Tensor:
        """The weights of each face with the residuals of the other, of the channels that the other has.

        A frontal partner shows what a turned face hides. (2, D) -> (2, H, W); the first map lies on the gallery face.
        """
        rows = weights * self.present.flip(0)
        return torch.stack([one.weighted_sum(row) for one, row in zip(self.own_residuals[::-1], rows, strict=True)])

    def of_probe(self, weights: Tensor) -> Tensor:
        """Weights of the probe's channels on both faces: as `on_own` on the probe, as `on_partner` on the gallery face.

        (D,) -> (2, H, W). `of_probe(steps[0].clamp(min=0))` is what was added to the probe, where it shows.
        """
        probe = self.residuals[0].weighted_sum(weights * self.counted[0])
        gallery = self.own_residuals[1].weighted_sum(weights * self.present[1])
        return torch.stack([probe, gallery])

    def _saliency(self, when: int, name: str) -> Saliency:
        parts = self.contributions[when]
        return Saliency(self.on_own(parts.expand(2, -1)), float(parts.sum()), f"{self.method}: {name}")


@torch.no_grad()
def explain_frontalization(
    pair: FacePair, model: PoseInvariantRecognizer, *, draw: Missing = "partner"
) -> FrontalizationMaps:
    """Where did frontalization change what the network sees of two faces, and what did that do to their score?

    "Before" is what the frontalizer is given: the embedding of the recognizer, centred where the frontalization centres
    it. The model runs in eval mode on its own device; its modes, weights and the pair are left as they were.

    Args:
        pair: two aligned faces of the model's input size.
        model: its recognizer needs a MaxPoolHead, so that a dimension has a place, and a decoder, which shows it.
        draw: where a channel is drawn that a face lacks (`DDFV.missing`), the same before and after: where the
            `"partner"` has it, and not at all where neither has it; or where its `"own"` maximum lies; or not at all
            (`"skip"`).

    Raises:
        InputError: a model without frontalizer, max pooling or decoder; a control that mixes dimensions; images that do
            not fit the model; another value of `draw`.

    Source: see the module.
    """
    recognizer = check_model(model)
    decoder = recognizer.decoder
    assert decoder is not None
    if draw not in get_args(Missing):
        raise InputError(f"draw must be one of {', '.join(get_args(Missing))}; got '{draw}'")
    with evaluation(pair, model):
        images = images_for(model, pair)
        features = recognizer.features(images)  # (2, C, h, w)
        pose = model.estimator(images)
        head = recognizer.pool(features)
        seen, _ = model.frontalization.seen(head, pose.feature, pose.angles)
        moved = model.frontalization(head, pose.feature, pose.angles)
        present = channel_vectors(recognizer, features) > 0  # (2, C)
        cells, counted = channel_places(recognizer, features, draw)  # (2, C), twice
        own = image_residuals(features, decoder, DDFV())
    shifts = pixel_shifts(features, cells, recognizer.input_size)
    return FrontalizationMaps(
        embeddings=F.normalize(torch.stack([seen, moved], dim=1), dim=2),
        present=present,
        counted=counted,
        residuals=tuple(one.moved(shift) for one, shift in zip(own, shifts, strict=True)),
        own_residuals=own,
        angles=pose.angles,
        frontalized=model.frontalization.applies(pose.angles),
        method=f"explain_frontalization({model.frontalization.name}, draw={draw!r})",
    )


def check_model(model: PoseInvariantRecognizer) -> FaceRecognizer:
    """The recognizer inside, once it is known that a dimension of its embedding has a place on the face."""
    if not isinstance(model, PoseInvariantRecognizer):
        raise InputError(
            f"explain_frontalization takes a PoseInvariantRecognizer; got {type(model).__name__}, which has no "
            "frontalizer. Use load_pose_invariant."
        )
    recognizer, frontalization = model.recognizer, model.frontalization
    if not isinstance(recognizer.head, MaxPoolHead):
        raise InputError(
            f"a dimension of the embedding has a place on the face where the head is a MaxPoolHead; {recognizer.name} "
            f"has a {type(recognizer.head).__name__}. Use a network such as tutorial."
        )
    if recognizer.decoder is None:
        raise InputError(f"{recognizer.name} has no decoder; train one with `facexai train decoder`")
    if isinstance(frontalization.centring, WCCN) or isinstance(frontalization.frontalizer, WCCN):
        raise InputError("WCCN mixes the dimensions, so that none belongs to one channel; explain another frontalizer")
    return recognizer

"""What frontalization changed, and where on the face.

On a MaxPoolHead, dimension i of the embedding is the maximum of channel i, and the residual r_i of that channel says
where on the face it acts (DDFV, Algorithm 1). A frontalizer moves the embedding of a profile, a' = M_g(a, theta)
(FSPFM, eq. (1)), dimension by dimension; so each step that it takes can be put on the face. With u = a / |a| and
u' = a' / |a'|,

    s  = sum_i u_Ai  u_Bi        before        H      = sum_i u_Ai  u_Bi  r_i
    s' = sum_i u'_Ai u'_Bi       after         H'     = sum_i u'_Ai u'_Bi r_i
                                               gain   = sum_i (u'_Ai u'_Bi - u_Ai u_Bi) r_i  =  H' - H
                                               change = sum_i |u'_i - u_i| r_i
                                               distrust = sum_i max(|u_i| - |u'_i|, 0) r_i

Gain belongs to the pair, change and distrust to one face each. A face that passes by the frontalizer has change 0.

Why unit length: a cosine sees directions alone. A module that doubles an embedding changes no score, and |a' - a| would
call it a change everywhere. In unit vectors, where only the probe is moved, channel i gains (u'_Ai - u_Ai) u_Bi: the
gain of a channel is its change, with a sign, times what the partner has of it.

Source: joins Xu, Lu, Ebrahimi, "Discriminative Deep Feature Visualization for Explainable Face Recognition", Algorithm
1, and Stanishev, Lu, Ebrahimi, "Pose-Invariant Face Recognition via Feature-Space Pose Frontalization" (2025), eq. (1).

Deviations:
    Ours altogether: neither paper explains a frontalizer. A frontalizer mixes dimensions on its way; what is shown is
    what becomes of each, not which others made it so.
"""

from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from facexai.errors import InputError
from facexai.explainers.ddfv import DDFV, Missing, channel_places, image_residuals, pixel_shifts
from facexai.explainers.interface import evaluation, images_for
from facexai.models import FaceRecognizer, MaxPoolHead
from facexai.models.frontalizers import WCCN
from facexai.models.pose_invariant import PoseInvariantRecognizer
from facexai.pairs import FacePair, Saliency


@dataclass(frozen=True)
class FrontalizationMaps:
    """What a frontalizer did to a pair. The first index of all tensors but the contributions is the image, probe first.

    Args:
        before: signed maps H and the score s without the frontalizer.
        after: signed maps H' and the score s' with it.
        gain: > 0 where frontalization raised the score, < 0 where it lowered it. Shape (2, H, W).
        change: >= 0; where it changed the embedding of this face, whether or not the score noticed. Shape (2, H, W).
        distrust: >= 0; where it turned the embedding of this face down. Shape (2, H, W).
        partner_change: the change of this face's embedding, drawn with the residuals of the *other* face, where that
            one has the channels: what a turned face hides can be seen there. Shape (2, H, W), each on the other face.
        embeddings: u and u'. Shape (2 images, 2, D).
        contributions: of the channels to s and to s'. Shape (2, D).
        angles: yaw, pitch, roll in degrees, as the pose network sees them. Shape (2, 3).
        frontalized: which faces went through the frontalizer. Shape (2,), bool.
    """

    before: Saliency
    after: Saliency
    gain: Tensor
    change: Tensor
    distrust: Tensor
    partner_change: Tensor
    embeddings: Tensor
    contributions: Tensor
    angles: Tensor
    frontalized: Tensor


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
            (`"skip"`). A face has a channel if its value, before frontalization, is above the training mean.

    Returns:
        Maps on the device of the pair, on the raw scale: those of all channels, before places are found for them, sum
        to the scores.

    Raises:
        InputError: a model without frontalizer, max pooling or decoder; a control that mixes dimensions; images that do
            not fit the model.

    Source: see the module.
    """
    recognizer = check_model(model)
    decoder = recognizer.decoder
    assert decoder is not None
    if draw not in get_args(Missing):
        raise InputError(f"draw must be one of {', '.join(get_args(Missing))}; got '{draw}'")
    with evaluation(pair, model):  # type: ignore[arg-type]
        images = images_for(model, pair)
        features = recognizer.features(images)  # (2, C, h, w)
        pose = model.estimator(images)
        head = recognizer.pool(features)
        seen, _ = model.frontalization.seen(head, pose.feature, pose.angles)
        moved = model.frontalization(head, pose.feature, pose.angles)
        unit = F.normalize(torch.stack([seen, moved], dim=1), dim=2)  # (2 images, 2, D)
        cells, counted = channel_places(recognizer, features, draw)  # (2, C), twice
        own = image_residuals(features, decoder, DDFV())
    shifts = pixel_shifts(features, cells, recognizer.input_size)
    placed = [one.moved(shift) for one, shift in zip(own, shifts, strict=True)]
    contributions = unit[0] * unit[1]  # (2, D)
    change = (unit[:, 1] - unit[:, 0]).abs()  # (2 images, D)
    fall = (unit[:, 0].abs() - unit[:, 1].abs()).clamp(min=0)

    def on_faces(weights: Tensor) -> Tensor:
        """Sum of weight x residual on each face. (D,) for both or (2, D) -> (2, H, W)."""
        rows = weights.expand(2, -1) * counted
        return torch.stack([one.weighted_sum(row) for one, row in zip(placed, rows, strict=True)])

    across = torch.stack([one.weighted_sum(row) for one, row in zip(own[::-1], change, strict=True)])
    scores = contributions.sum(1).tolist()
    home = pair.probe.device
    method = f"explain_frontalization({model.frontalization.name}, draw={draw!r})"
    return FrontalizationMaps(
        before=Saliency(on_faces(contributions[0]).to(home), scores[0], f"{method}: before"),
        after=Saliency(on_faces(contributions[1]).to(home), scores[1], f"{method}: after"),
        gain=on_faces(contributions[1] - contributions[0]).to(home),
        change=on_faces(change).to(home),
        distrust=on_faces(fall).to(home),
        partner_change=across.to(home),
        embeddings=unit.to(home),
        contributions=contributions.to(home),
        angles=pose.angles.to(home),
        frontalized=model.frontalization.applies(pose.angles).to(home),
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

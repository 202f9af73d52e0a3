"""Stage 2 of FSPFM: the networks rest, the frontalizer learns to turn profile embeddings into frontal ones.

    L = L_arcface + lambda L_ada                                                                            (3)

F-Net and P-Net are one frozen recognizer. What it says of the faces is computed once; then an epoch takes a second.

Source: Stanishev, Lu, Ebrahimi, "Pose-Invariant Face Recognition via Feature-Space Pose Frontalization" (2025), 3.2,
3.3 and 4.1.2.
"""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from facexai.datasets.features import PoseFeatures
from facexai.errors import InputError
from facexai.losses import (
    ArcFaceLoss,
    AttentionAdaptationLoss,
    adaptation_loss,
    angular_distillation_loss,
    huang_weight,
)
from facexai.models.frontalizers import AttentionModule, Frontalization, Frontalizer
from facexai.training.configs import FinetuneConfig
from facexai.training.cross_pose import CrossPoseFaces


class Faces(NamedTuple):
    """What a frontalizer sees of N faces: embeddings (N, D), poses (N, P) as it takes them, yaws in degrees (N, 1)."""

    embedding: Tensor
    pose: Tensor
    yaw: Tensor


class Pairs(NamedTuple):
    """A batch of N pairs: a profile, a frontal face of the same person, what the profile is to become, and who it is.

    `target` is (N, D), `identity` (N,), `frontalized` what F-Net makes of the frontal face (N, D), where it is known.
    """

    profile: Faces
    frontal: Faces
    target: Tensor
    identity: Tensor
    frontalized: Tensor | None = None


class FinetuneObjective(nn.Module):
    """L_arcface + lambda L_ada, eq. (3).

    Args:
        frontalizer: M_g of P-Net; learns. F-Net keeps it as it is now.
        classes: class matrix of ArcFace. (K, D)
        config: the settings of the losses.
    """

    def __init__(self, frontalizer: Frontalizer, classes: Tensor, config: FinetuneConfig) -> None:
        super().__init__()
        self.frontalizer = frontalizer
        self.config = config
        self.arcface = ArcFaceLoss(len(classes), classes.shape[1], scale=config.scale, margin=config.margin)
        if config.train_classes:
            self.arcface.weight.data.copy_(classes)
        else:
            self.arcface.freeze(classes)
        self.adaptation = AttentionAdaptationLoss(
            frontalizer,
            AttentionModule(frontalizer.dimension),
            keep_length=config.keep_length,
            reduction=config.reduction,
        )
        self.adaptation.attention.requires_grad_(config.adaptation == "proposed")

    def forward(self, pairs: Pairs) -> dict[str, Tensor]:
        """`"loss"`, its two parts, and what exposes the trivial solution of eq. (2), a target that shrinks to nothing.

        `"attention"` is the mean weight that AM gives, `"target_norm"` the length of the target, `"cosine"` that of
        the target and what the frontalizer makes of the profile; each a mean over the batch.
        """
        config, (profile, frontal, target, identity, frontalized) = self.config, pairs
        embedding, pose = profile[:2]
        if config.frontal_faces:  # all at once, so that BatchNorm sees the faces that it will meet
            embedding, pose = torch.cat([embedding, frontal.embedding]), torch.cat([pose, frontal.pose])
        attention, recognition = target.new_ones(()), target.new_zeros(())
        with torch.autocast(embedding.device.type, torch.bfloat16, enabled=config.precision == "bf16-mixed"):
            shown = F.dropout(embedding, config.dropout, self.training)  # to the residual; the embedding itself stays
            moved, *kept = _full(embedding - shown + self.frontalizer(shown, pose)).split(len(target))
            if config.adaptation == "proposed":
                target = _full(self.adaptation.target(frontal.embedding, frontal.pose, frontalized))
                with torch.no_grad():
                    attention = _full(self.adaptation.attention(frontal.embedding)).mean()
            if config.arcface_weight:
                recognition = torch.stack([self.arcface(part, identity) for part in (moved, *kept)]).sum()
        distance = self._distance(target, moved, profile.yaw)
        for frontal_again in kept:  # frontal faces are to stay where F-Net has them
            still = frontal.embedding if frontalized is None or not config.start else frontalized
            distance = distance + self._distance(still, frontal_again, frontal.yaw)
        loss = config.arcface_weight * recognition + config.adaptation_weight * distance
        facts = {
            "loss_arcface": recognition,
            "loss_ada": distance,
            "attention": attention,
            "target_norm": target.norm(dim=1).mean(),
            "cosine": F.cosine_similarity(target, moved).mean(),
        }
        return {"loss": loss} | {name: value.detach() for name, value in facts.items()}

    def _distance(self, target: Tensor, moved: Tensor, yaw: Tensor) -> Tensor:
        if self.config.adaptation == "angular":
            return angular_distillation_loss(target, moved, yaw)
        weight = huang_weight(target) if self.config.adaptation == "huang" else None
        return adaptation_loss(target, moved, weight, reduction=self.config.reduction)


@dataclass(frozen=True)
class Finetuned:
    """How a frontalizer was learnt.

    Attributes:
        history: one row an epoch, epoch 0 before the first step: means of the terms of `FinetuneObjective`, and
            `"auc"`, `"genuine"`, `"impostor"` of the held-out people, see `cross_pose_scores`.
        epoch: the one that was kept.
    """

    history: list[dict[str, float]]
    epoch: int


def finetune(
    frontalization: Frontalization,
    learning: CrossPoseFaces,
    held_out: CrossPoseFaces,
    config: FinetuneConfig,
    *,
    progress: bool = True,
    log: Callable[[dict[str, float]], None] = lambda row: None,
) -> Finetuned:
    """Learn the frontalizer of a frontalization, in place.

    Args:
        frontalization: its frontalizer learns, its centring does not.
        learning: people to learn from.
        held_out: other people to validate on.
        config: losses and optimiser; the networks and the data are given.
        progress: show a bar.
        log: told of each row of the history.

    Raises:
        InputError: fewer pairs than one batch, or losses that leave the range of numbers.

    Source: Stanishev et al. (2025), 3.2 and 3.3.

    Deviations:
        The class matrix is inherited from stage 1 in the paper; here it is the mean of a person's frontal embeddings as
        F-Net gives them, so that any recognizer will do. The augmentations of 4.1.2 but mirroring need images: they
        are not applied.
    """
    with torch.random.fork_rng(devices=[]):  # random starts and dropout; the global state is left alone
        torch.manual_seed(config.seed)
        return _finetune(frontalization, learning, held_out, config, progress, log)


def _finetune(
    frontalization: Frontalization,
    learning: CrossPoseFaces,
    held_out: CrossPoseFaces,
    config: FinetuneConfig,
    progress: bool,
    log: Callable[[dict[str, float]], None],
) -> Finetuned:
    sampler = PairSampler(frontalization, learning, config)
    if len(learning.profile) < config.batch_size:
        raise InputError(
            f"{len(learning.profile)} profiles are less than one batch of {config.batch_size}; lower batch_size"
        )
    objective = FinetuneObjective(frontalization.frontalizer, sampler.classes, config)
    optimizer = _optimizer(objective, config)
    steps = config.epochs * (len(learning.profile) // config.batch_size)
    step, history, best = 0, [], (-math.inf, 0, None)
    bar = tqdm(total=config.epochs, unit="epoch", disable=None if progress else True)
    for epoch in range(config.epochs + 1):
        terms: list[dict[str, Tensor]] = []
        objective.train()
        for pairs in sampler.epoch(epoch) if epoch else ():
            if config.schedule == "cosine":
                optimizer.param_groups[0]["lr"] = config.lr * (0.5 + 0.5 * math.cos(math.pi * step / steps))
            terms.append(objective(pairs))
            optimizer.zero_grad()
            terms[-1]["loss"].backward()
            optimizer.step()
            step += 1
        objective.eval()
        means = {
            name: float(torch.stack([t[name].detach() for t in terms]).mean()) for name in (terms[0] if terms else ())
        }
        if not all(map(math.isfinite, means.values())):
            bar.close()
            raise InputError(f"the loss is no number any more in epoch {epoch}; lower lr, now {config.lr:g}")
        row = {"step": step, "epoch": epoch, **means, **cross_pose_scores(frontalization, held_out)}
        history.append(row)
        log(row)
        if row["auc"] > best[0] and config.keep_best:
            best = row["auc"], epoch, copy.deepcopy(frontalization.frontalizer.state_dict())
        bar.update(1 if epoch else 0)
        bar.set_postfix(auc=f"{row['auc']:.4f}")
    bar.close()
    if best[2] is not None:
        frontalization.frontalizer.load_state_dict(best[2])
    return Finetuned(history, best[1] if config.keep_best else config.epochs)


class PairSampler:
    """Pairs of a profile and a frontal face of the same person: each profile once an epoch, half of them mirrored.

    Args:
        frontalization: says what its frontalizer sees.
        faces: people with both.
        config: `start`, `adaptation`, `target`, `batch_size` and `seed` are used.

    Attributes:
        frontalized: what F-Net makes of all frontal faces, where there is a stage 1 to go on from, or an attention to
            weigh it. (M, 2, D)
        classes: mean frontal embedding of each person: of `frontalized` after a stage 1, else as the frontalizer sees
            it. (K, D)
    """

    def __init__(self, frontalization: Frontalization, faces: CrossPoseFaces, config: FinetuneConfig) -> None:
        self.profile, self.frontal = (seen_faces(frontalization, part) for part in (faces.profile, faces.frontal))
        self.identity = faces.profile_identity
        order = faces.frontal_identity.argsort(stable=True)
        self.frontal_rows = order
        self.count = faces.frontal_identity.bincount(minlength=faces.people)  # frontal faces of each person
        self.first = self.count.cumsum(0) - self.count
        self.frontalized: Tensor | None = None  # by F-Net: frozen, as its inputs are, and so asked once
        if config.start or config.adaptation == "proposed":
            self.frontalized = _f_net(frontalization, self.frontal)
        # where frontal faces are at home: after a stage 1, where its module has put them
        self.home = self.frontal.embedding if self.frontalized is None or not config.start else self.frontalized
        embedding = self.home
        length = embedding.norm(dim=-1).mean()
        total = torch.zeros(faces.people, embedding.shape[-1])
        total.index_add_(0, faces.frontal_identity, F.normalize(embedding, dim=-1).mean(1))
        self.classes = F.normalize(total) * length
        self.config = config

    def epoch(self, number: int) -> Iterator[Pairs]:
        """The batches of one epoch, whole ones only; seed and number decide all of it."""
        config = self.config
        rng = np.random.default_rng([config.seed, number])
        order = torch.from_numpy(rng.permutation(len(self.identity)))
        for rows in order.split(config.batch_size):
            if len(rows) < config.batch_size:
                return
            identity = self.identity[rows]
            chosen = (
                self.first[identity] + torch.from_numpy(rng.integers(1 << 30, size=len(rows))) % self.count[identity]
            )
            profile_view, frontal_view = (torch.from_numpy(rng.integers(2, size=len(rows))) for _ in range(2))
            profile = Faces(*(_views(part, rows, profile_view) for part in self.profile))
            frontal_rows = self.frontal_rows[chosen]
            frontal = Faces(*(_views(part, frontal_rows, frontal_view) for part in self.frontal))
            frontalized = None if self.frontalized is None else _views(self.frontalized, frontal_rows, frontal_view)
            one = _views(self.home, frontal_rows, frontal_view)
            target = self.classes[identity] if config.target == "mean" else one
            yield Pairs(profile, frontal, target, identity, frontalized)


def _views(part: Tensor, rows: Tensor, view: Tensor) -> Tensor:
    """`part[rows, view]`, (M, 2, ...) -> (N, ...), whole rows at once."""
    return part.flatten(0, 1).index_select(0, 2 * rows + view)


@torch.no_grad()
def _f_net(frontalization: Frontalization, faces: Faces) -> Tensor:
    """What a frontalization, as it is now, makes of each view. Faces (M, 2, ...) -> (M, 2, D)."""
    frontalization.eval()
    parts = zip(*(part.flatten(0, 1).split(1024) for part in faces), strict=True)
    return torch.cat([frontalization.moved(*some) for some in parts]).unflatten(0, (-1, 2))


@torch.no_grad()
def seen_faces(frontalization: Frontalization, features: PoseFeatures) -> Faces:
    """What the frontalizer sees of each view, image and mirror image: M features -> `Faces` of shape (M, 2, ...)."""
    flat = [part.flatten(0, 1) for part in (features.embedding, features.pose, features.angles)]
    embedding, pose = frontalization.seen(*flat)
    return Faces(*(part.unflatten(0, (-1, 2)) for part in (embedding, pose, flat[2][:, :1])))


@torch.no_grad()
def cross_pose_scores(frontalization: Frontalization, faces: CrossPoseFaces, strangers: int = 20) -> dict[str, float]:
    """How well profiles are told by frontal faces: each profile against those of its person and of some others.

    Args:
        frontalization: in eval mode.
        faces: K people.
        strangers: how many other people each profile is compared with, at most.

    Returns:
        `"auc"` of the ROC, and the mean scores `"genuine"` and `"impostor"`.
    """
    profile, frontal = (
        frontalization.embed(part.embedding, part.pose, part.angles) for part in (faces.profile, faces.frontal)
    )
    rows, columns, genuine = faces.pairs(strangers)
    scores = (profile @ frontal.T)[rows, columns]  # (P,)
    auc = float(roc_auc_score(genuine.numpy(), scores.numpy()))
    return {"auc": auc, "genuine": float(scores[genuine].mean()), "impostor": float(scores[~genuine].mean())}


def _full(values: Tensor) -> Tensor:
    """Half precision is for matrix products alone; losses are taken in full."""
    return values.float() if values.dtype == torch.bfloat16 else values


def _optimizer(objective: FinetuneObjective, config: FinetuneConfig) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(parameters, config.lr, weight_decay=config.weight_decay, fused=True)
    return torch.optim.SGD(
        parameters, config.lr, momentum=config.momentum, weight_decay=config.weight_decay, fused=True
    )

"""Joint training of recognition and reconstruction (DDFV paper, III.C and IV.A).

`train_ddfv` says what is learnt, from what and by which optimisers; `fit` is the loop that it shares with others.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from facexai.datasets import identity_faces
from facexai.datasets.rendered import RenderedFaces
from facexai.errors import InputError
from facexai.losses import ArcFaceLoss, reconstruction_loss
from facexai.models import FaceRecognizer, build
from facexai.training.augmentation import augment
from facexai.training.configs import DDFVConfig
from facexai.training.fit import Task, fit, run_facts, start_fabric
from facexai.training.loop import Images, to_unit_range
from facexai.weights import load_model, save_model

Validate = Callable[[FaceRecognizer], dict[str, float]]


class JointObjective(nn.Module):
    """L = L_id + lambda L_rec (eq. 2).

    Args:
        model: recognizer with a decoder.
        arcface: L_id, which owns the class matrix.
        config: for lambda, the margin's growth, the share of the batch that is decoded, and whether L_rec reaches the
            trunk.
    """

    def __init__(self, model: FaceRecognizer, arcface: ArcFaceLoss, config: DDFVConfig) -> None:
        super().__init__()
        self.model, self.arcface, self.config = model, arcface, config

    def forward(self, images: Tensor, identity: Tensor, epoch: float) -> dict[str, Tensor]:
        """Loss and its terms for images (N, 3, H, W) in [-1, 1] and identities (N,)."""
        self.arcface.margin = self.config.margin * _margin_share(epoch, self.config.margin_epochs)
        features = self.model.features(images)  # (N, C, h, w)
        decoded = max(1, round(len(images) * self.config.reconstructed))
        seen = features[:decoded].detach() if self.config.detach_decoder else features[:decoded]
        reconstruction = self.model.reconstruct(seen)
        with torch.autocast(images.device.type, enabled=False):  # angles and squares want full precision
            pooled = self.model.pool(features.float())
            loss_id = self.arcface(pooled, identity)
            loss_rec = reconstruction_loss(reconstruction.float(), images[:decoded])
            nearest = self.arcface.cosines(pooled.detach()).argmax(1)
        return {
            "loss": loss_id + self.config.reconstruction_weight * loss_rec,
            "loss_id": loss_id.detach(),
            "loss_rec": loss_rec.detach(),
            "accuracy": (nearest == identity).float().mean(),
        }


def train_ddfv(
    config: DDFVConfig,
    out: str | Path,
    *,
    resume: bool = False,
    validate: Validate | None = None,
    card: dict[str, Any] | None = None,
    progress: bool = True,
) -> Path:
    """Train a recognizer and its decoder together, and save both.

    Runs on what Fabric finds: CPU, one GPU, or as many processes as `torchrun` starts.

    Args:
        config: all settings; `PRESETS` holds the paper's.
        out: folder for the model, `config.json`, `log.jsonl` and the checkpoint `last.ckpt`.
        resume: go on from `last.ckpt`.
        validate: called after each epoch with the model in eval mode; its figures go to the log, the last ones to the
            card. Where it gives a `threshold`, that becomes the model's.
        card: further entries of the model card.
        progress: show a bar with losses and images/s.

    Returns:
        `out`, which `load_model` reads.

    Raises:
        InputError: too few images, or a checkpoint that does not fit.
        KeyboardInterrupt: after the checkpoint has been written.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    fabric = start_fabric(config.precision)
    with fabric.rank_zero_first():
        images, identity = _training_set(config, progress and fabric.is_global_zero)
    model, joint, optimizers = _networks(config, int(identity.max()) + 1)
    if config.start and not resume:
        joint.arcface.weight.data = _centres(model.to(fabric.device), images, identity)  # else the margin tears at it
    if config.compile:
        model.trunk.compile()
        model.decoder.compile()  # type: ignore[union-attr]
    judge = (lambda: validate(model.eval())) if validate else None
    change = partial(augment, strength=config.augment, seed=config.seed + fabric.global_rank)
    task = Task(joint, joint, optimizers, images, identity, judge, lambda faces, step: change(faces, step=step))
    outcome = fit(task, config, out, fabric, resume=resume, progress=progress)
    if fabric.is_global_zero:
        model.threshold = outcome.metrics.get("threshold", model.threshold)
        limits = "" if config.images else "It has seen rendered faces only and is no judge of photographs."
        facts = {"limits": limits, **run_facts(config, images, outcome, fabric), **_history(config)}
        save_model(model, out, {"name": out.name, **(card or {}), **facts}, half=config.half)
    fabric.barrier()
    return out


def _training_set(config: DDFVConfig, progress: bool) -> tuple[Images, np.ndarray]:
    if config.images:
        folder = identity_faces(config.images)
        return folder, folder.identity
    faces = RenderedFaces(config.identities, config.images_per_identity, config.data_seed)
    return faces.images(progress=progress), faces.identity  # type: ignore[return-value]


def _recognizer(config: DDFVConfig) -> FaceRecognizer:
    """With random weights, or with those that training starts from."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = build(config.architecture, normalize=config.normalize)
    if config.start:
        started = load_model(config.start)
        if started.architecture != model.architecture:
            raise InputError(
                f"start must be a model of the same architecture, {model.architecture}; {config.start} is "
                f"{started.architecture}"
            )
        model.load_state_dict(started.state_dict())
    return model


def _history(config: DDFVConfig) -> dict[str, Any]:
    """What the card of the model says that training started from."""
    if not config.start:
        return {}
    before = load_model(config.start).card
    known = "command", "data", "steps", "images_seen", "training_seconds", "started_from"
    return {"started_from": {key: before[key] for key in known if key in before}}


@torch.no_grad()
def _centres(model: FaceRecognizer, images: Images, identity: np.ndarray, views: int = 2) -> Tensor:
    """Where a network puts each identity: the mean embedding of its first `views` images. Shape (K, D)."""
    order = np.argsort(identity, kind="stable")
    first = np.searchsorted(identity[order], identity[order])  # where in that order each one's identity begins
    chosen = order[np.arange(len(order)) - first < views]
    device = next(model.parameters()).device
    sums = torch.zeros(int(identity.max()) + 1, model.dimension, device=device)
    for rows in np.array_split(chosen, -(-len(chosen) // 128)):
        faces = torch.from_numpy(np.array(images[rows])).permute(0, 3, 1, 2).to(device)
        sums.index_add_(0, torch.from_numpy(identity[rows]).to(device), model.eval().embed(to_unit_range(faces)))
    return nn.functional.normalize(sums)


def _networks(
    config: DDFVConfig, identities: int
) -> tuple[FaceRecognizer, JointObjective, list[torch.optim.Optimizer]]:
    """Model, objective, and one optimiser each for recognition and for the decoder."""
    model = _recognizer(config)
    if model.decoder is None:
        raise InputError(f"architecture '{config.architecture}' has no decoder; choose a ddfv one or 'tutorial'")
    for part in (model.trunk, model.decoder):
        for parameter in part.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    arcface = ArcFaceLoss(identities, model.dimension, scale=config.scale, margin=config.margin, seed=config.seed)
    recognition = [*model.trunk.parameters(), *model.required_head().parameters(), *arcface.parameters()]
    if config.optimizer == "sgd":
        first: torch.optim.Optimizer = torch.optim.SGD(
            recognition, config.lr, momentum=config.momentum, weight_decay=config.weight_decay
        )
    else:
        first = torch.optim.AdamW(recognition, config.lr, weight_decay=config.weight_decay)
    second = torch.optim.Adam(model.decoder.parameters(), config.decoder_lr)
    return model, JointObjective(model, arcface, config), [first, second]


def _margin_share(epoch: float, margin_epochs: float) -> float:
    return min(1.0, epoch / margin_epochs) if margin_epochs > 0 else 1.0

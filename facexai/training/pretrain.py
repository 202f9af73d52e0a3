"""Stage 1 of FSPFM: recognizer and frontalizer learn together, from faces in all poses, to tell people apart.

Source: Stanishev, Lu, Ebrahimi, "Pose-Invariant Face Recognition via Feature-Space Pose Frontalization" (2025), 3.2
("in the first stage, F-Net and P-Net share the same architecture and weights") and 4.1.2.
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
from facexai.frontalizations import RECOGNIZER_FOLDER, network_digests, save_frontalization
from facexai.losses import ArcFaceLoss
from facexai.models import build, detach_decoder
from facexai.models.frontalizers import Frontalization
from facexai.models.pose_invariant import PoseInvariantRecognizer
from facexai.pose_networks import load_pose_network
from facexai.training.augmentation import augment
from facexai.training.configs import PretrainConfig
from facexai.training.fit import Task, fit, run_facts, start_fabric
from facexai.training.frontalizer import fresh_frontalizer
from facexai.training.loop import Images
from facexai.weights import load_model, save_model

Validate = Callable[[PoseInvariantRecognizer], dict[str, float]]


class PretrainObjective(nn.Module):
    """L_arcface of frontalized embeddings.

    Args:
        model: recognizer, pose network and frontalizer; the pose network is not trained.
        arcface: owns the class matrix.
    """

    def __init__(self, model: PoseInvariantRecognizer, arcface: ArcFaceLoss) -> None:
        super().__init__()
        self.model, self.arcface = model, arcface
        if isinstance(model.estimator, nn.Module):
            model.estimator.requires_grad_(False)

    def forward(self, images: Tensor, identity: Tensor, epoch: float) -> dict[str, Tensor]:
        """The loss for images (N, 3, H, W) in [-1, 1] and identities (N,)."""
        embedding = self.model.frontalized(images)  # (N, D)
        with torch.autocast(images.device.type, enabled=False):  # angles want full precision
            loss = self.arcface(embedding.float(), identity)
            nearest = self.arcface.cosines(embedding.detach().float()).argmax(1)
        return {"loss": loss, "accuracy": (nearest == identity).float().mean()}


def train_pose_invariant(
    config: PretrainConfig,
    out: str | Path,
    *,
    resume: bool = False,
    validate: Validate | None = None,
    card: dict[str, Any] | None = None,
    progress: bool = True,
) -> Path:
    """Train a recognizer together with its frontalizer, and save both.

    Runs on what Fabric finds: CPU, one GPU, or as many processes as `torchrun` starts.

    Args:
        config: all settings; `PRESETS` holds the paper's.
        out: folder for the frontalizer, which `load_pose_invariant` reads, the recognizer in a folder of its own in
            it, `config.json`, `log.jsonl` and the checkpoint `last.ckpt`.
        resume: go on from `last.ckpt`.
        validate: called after each epoch with the model in eval mode; its figures go to the log, the last ones to the
            cards.
        card: further entries of both cards.
        progress: show a bar with the loss and images/s.

    Raises:
        InputError: networks that are not there, too few images, or a checkpoint that does not fit.
        KeyboardInterrupt: after the checkpoint has been written.

    Source: Stanishev et al. (2025), 4.1.2.

    Deviations:
        Of the augmentations the paper names grey, mirrored and recoloured images; `augmentation.augment` also reframes
        and covers them.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    fabric = start_fabric(config.precision)
    with fabric.rank_zero_first():
        images, identity = _training_set(config, progress and fabric.is_global_zero)
    model = _networks(config)
    arcface = ArcFaceLoss(int(identity.max()) + 1, model.dimension, scale=config.scale, margin=config.margin)
    objective = PretrainObjective(model, arcface)
    learnt = nn.ModuleList([model.recognizer, model.frontalization, arcface])
    parameters = [parameter for parameter in learnt.parameters() if parameter.requires_grad]
    optimizer: torch.optim.Optimizer = torch.optim.SGD(
        parameters, config.lr, momentum=config.momentum, weight_decay=config.weight_decay
    )
    if config.optimizer == "adamw":
        optimizer = torch.optim.AdamW(parameters, config.lr, weight_decay=config.weight_decay)
    if config.compile:
        for network in (model.recognizer.trunk, model.estimator):
            if isinstance(network, nn.Module):
                network.compile()
    change = partial(augment, strength=config.augment, seed=config.seed + fabric.global_rank)
    judge = (lambda: validate(model.eval())) if validate else None
    task = Task(objective, learnt, [optimizer], images, identity, judge, lambda faces, step: change(faces, step=step))
    outcome = fit(task, config, out, fabric, resume=resume, progress=progress)
    if fabric.is_global_zero:
        facts = {"name": out.name, **(card or {}), **run_facts(config, images, outcome, fabric)}
        save_model(model.recognizer, out / RECOGNIZER_FOLDER, facts, half=config.half)
        written, estimator = load_model(out / RECOGNIZER_FOLDER), load_pose_network(config.pose_network)
        names = {"recognizer": RECOGNIZER_FOLDER, "pose_network": config.pose_network}
        digests = {"network_sha256": network_digests(written, estimator)}
        save_frontalization(model.frontalization, out, {**facts, **names, **digests}, half=config.half)
    fabric.barrier()
    return out


def _training_set(config: PretrainConfig, progress: bool) -> tuple[Images, np.ndarray]:
    if config.images:
        folder = identity_faces(config.images)
        return folder, folder.identity
    faces = RenderedFaces(config.identities, config.images_per_identity, config.data_seed, frontal=config.frontal)
    return faces.images(progress=progress), faces.identity  # type: ignore[return-value]


def _networks(config: PretrainConfig) -> PoseInvariantRecognizer:
    """The recognizer, with random weights or those that training starts from, and a fresh frontalizer."""
    estimator = load_pose_network(config.pose_network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        recognizer = build(config.architecture)
    if config.start:
        started = load_model(config.start)
        if started.architecture["name"] != config.architecture:
            raise InputError(
                f"start must be a model of the same architecture, {config.architecture}; {config.start} is "
                f"{started.architecture['name']}"
            )
        recognizer = started
    if recognizer.decoder is not None:
        detach_decoder(recognizer)  # recognition alone is trained, and would leave the decoder behind
    frontalizer = fresh_frontalizer(config.frontalizer, recognizer.dimension, estimator.pose_size, config.seed)
    frontalization = Frontalization(frontalizer, limit=config.limit or None)
    return PoseInvariantRecognizer(recognizer.train(), estimator, frontalization)

"""A head pose network: HopeNet, on rendered faces whose poses are known exactly, or on the user's own.

`train_hopenet` says what is learnt, from what and by which optimiser; `fit` is the loop that it shares with others.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from facexai.datasets import PoseFolder
from facexai.datasets.rendered import RenderedPoses
from facexai.errors import InputError
from facexai.losses import head_pose_loss
from facexai.models.hopenet import HopeNet, expected_angles
from facexai.pose_networks import load_pose_network, save_pose_network
from facexai.training.augmentation import augment
from facexai.training.configs import HopeNetConfig
from facexai.training.fit import Task, fit, run_facts, start_fabric
from facexai.training.loop import Images

Validate = Callable[[HopeNet], dict[str, float]]
MIRRORED = np.array([-1.0, 1.0, -1.0], np.float32)  # signs of yaw, pitch, roll in a mirror


class PoseObjective(nn.Module):
    """CE + alpha MSE, summed over yaw, pitch and roll; see `head_pose_loss`.

    Args:
        model: the network.
        alpha: weight of the squared error in degrees.
    """

    def __init__(self, model: HopeNet, alpha: float) -> None:
        super().__init__()
        self.model, self.alpha = model, alpha

    def forward(self, images: Tensor, angles: Tensor, epoch: float) -> dict[str, Tensor]:
        """Loss, and mean errors in degrees, for images (N, 3, H, W) in [-1, 1] and angles (N, 3) in degrees."""
        feature = self.model.feature(images)
        with torch.autocast(images.device.type, enabled=False):  # a hundredth of a degree wants full precision
            logits = self.model.logits(feature.float())  # (N, 3, 66)
            loss = head_pose_loss(logits, angles, alpha=self.alpha)
            errors = (expected_angles(logits.detach()) - angles).abs().mean(0)
        return {"loss": loss, "loss_pose": loss.detach(), **dict(zip(("yaw", "pitch", "roll"), errors, strict=True))}


def train_hopenet(
    config: HopeNetConfig,
    out: str | Path,
    *,
    resume: bool = False,
    validate: Validate | None = None,
    card: dict[str, Any] | None = None,
    progress: bool = True,
) -> Path:
    """Train a head pose network, and save it.

    Runs on what Fabric finds: CPU, one GPU, or as many processes as `torchrun` starts. What it learns is the pose that
    one sees in the crop; see `rendering.scene.pose_in_crop`.

    Args:
        config: all settings; `PRESETS` holds the published ones.
        out: folder for the network, `config.json`, `log.jsonl` and the checkpoint `last.ckpt`.
        resume: go on from `last.ckpt`.
        validate: called after each epoch with the network in eval mode; its figures go to the log, the last ones to
            the card.
        card: further entries of the model card.
        progress: show a bar with the loss, errors in degrees and images/s.

    Returns:
        `out`, which `load_pose_network` reads.

    Raises:
        InputError: poses that cannot be used, too few images, or a checkpoint that does not fit.
        KeyboardInterrupt: after the checkpoint has been written.

    Source: Ruiz et al. (2018), sections 3 and 4.

    Deviations: those of `HopeNetConfig`. Faces are mirrored, as in the published code; what else changes them is
        `augmentation.augment` without its turn, since a turned face has another roll.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    fabric = start_fabric(config.precision)
    with fabric.rank_zero_first():
        images, poses = _training_set(config, progress and fabric.is_global_zero)
    model = _network(config)
    change = partial(
        augment, strength=config.augment, seed=config.seed + fabric.global_rank, turn=False, cut=config.cut
    )
    task = Task(
        objective=PoseObjective(model, config.alpha),
        learnt=model,
        optimizers=[_optimizer(model, config)],
        images=images,
        labels=poses,
        validate=(lambda: validate(model.eval())) if validate else None,
        augment=lambda faces, step: change(faces, step=step),
        mirrored=lambda angles: angles * MIRRORED,
    )
    outcome = fit(task, config, out, fabric, resume=resume, progress=progress)
    if fabric.is_global_zero:
        limits = "" if config.images else "It has seen rendered faces only; on photographs its angles are rough."
        facts = {"limits": limits, **run_facts(config, images, outcome, fabric)}
        save_pose_network(model, out, {"name": out.name, **(card or {}), **facts}, half=config.half)
    fabric.barrier()
    return out


def _training_set(config: HopeNetConfig, progress: bool) -> tuple[Images, np.ndarray]:
    if config.images:
        folder = PoseFolder(config.images, config.poses)
        return folder, folder.poses
    faces = RenderedPoses(config.identities, config.images_per_identity, config.data_seed, loose=config.loose)
    return faces.images(progress=progress), faces.poses()  # type: ignore[return-value]


def _network(config: HopeNetConfig) -> HopeNet:
    """With random weights, or with those that training starts from."""
    if config.start:
        started = load_pose_network(config.start)
        wanted = {"depth": config.depth, "size": config.size, "stages": config.stages}
        if not isinstance(started, HopeNet) or started.options != wanted:
            raise InputError(f"start must be a HopeNet with {wanted}; {config.start} is another network")
        model = started.train()
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            model = HopeNet(config.depth, size=config.size, stages=config.stages)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _optimizer(model: HopeNet, config: HopeNetConfig) -> torch.optim.Optimizer:
    """Adam with two groups: the heads learn at a rate of their own."""
    heads = [parameter for name, parameter in model.named_parameters() if name.startswith("fc_")]
    trunk = [parameter for name, parameter in model.named_parameters() if not name.startswith("fc_")]
    groups = [{"params": trunk, "lr": config.lr}, {"params": heads, "lr": config.lr * config.head_lr}]
    return torch.optim.AdamW(groups, weight_decay=config.weight_decay)

"""Joint training of recognition and reconstruction (DDFV paper, III.C and IV.A).

`train_ddfv` is the whole story, top to bottom; what it shares with other trainings is in `loop.py`.
"""

import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from tqdm import tqdm

from facexai.datasets import IdentityFolder, RenderedFaces
from facexai.errors import InputError
from facexai.losses import ArcFaceLoss, reconstruction_loss
from facexai.models import FaceRecognizer, build
from facexai.training.configs import DDFVConfig
from facexai.training.loop import (
    Images,
    Log,
    batches,
    batches_per_epoch,
    load_checkpoint,
    lr_factor,
    save_checkpoint,
    to_unit_range,
)
from facexai.weights import save_model, write_atomically

FREE = ("log_every", "checkpoint_every", "compile")  # settings that may change when a run is resumed
Validate = Callable[[FaceRecognizer], dict[str, float]]


class JointObjective(nn.Module):
    """L = L_id + lambda L_rec (eq. 2), as one module so that it can be spread over processes.

    Args:
        model: recognizer with a decoder.
        arcface: L_id, which owns the class matrix.
        config: for lambda, the share of the batch that is decoded, and whether L_rec reaches the trunk.
    """

    def __init__(self, model: FaceRecognizer, arcface: ArcFaceLoss, config: DDFVConfig) -> None:
        super().__init__()
        self.model, self.arcface, self.config = model, arcface, config

    def forward(self, images: Tensor, identity: Tensor) -> dict[str, Tensor]:
        """Loss and its terms for images (N, 3, H, W) in [-1, 1] and identities (N,)."""
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
    fabric = _fabric(config)
    with fabric.rank_zero_first():
        images, identity = _training_set(config, progress and fabric.is_global_zero)
    per_epoch = batches_per_epoch(len(images), config.batch_size, fabric.world_size)
    if per_epoch == 0:
        raise InputError(f"{len(images)} images are less than one batch of {config.batch_size}; lower batch_size")
    steps = config.epochs * per_epoch

    model, joint, optimizers = _networks(config, int(identity.max()) + 1)
    step, seconds = 0, 0.0
    if resume:
        step, seconds = _restore(out / "last.ckpt", config, joint, optimizers)
    if config.compile:
        model.trunk.compile()
        model.decoder.compile()  # type: ignore[union-attr]
    parallel, *optimizers = fabric.setup(joint, *optimizers)
    if fabric.is_global_zero:
        write_atomically(out / "config.json", (json.dumps(config.to_json(), indent=2) + "\n").encode())
    log = Log(out / "log.jsonl", keep_below=step) if fabric.is_global_zero else None
    meter = _Meter(config.batch_size * fabric.world_size, seconds)
    bar = tqdm(total=steps, initial=step, unit="step", disable=None if progress and log else True)
    metrics: dict[str, float] = {}

    try:
        for epoch in range(step // per_epoch, config.epochs):
            joint.train()
            loader = batches(
                images,
                identity,
                batch_size=config.batch_size,
                epoch=epoch,
                first=step % per_epoch,
                seed=config.seed,
                rank=fabric.global_rank,
                world=fabric.world_size,
            )
            for faces, labels in loader:
                factor = lr_factor(step / steps, config.schedule, config.warmup)
                _set_rates(optimizers, factor)
                joint.arcface.margin = config.margin * _margin_share(step / per_epoch, config.margin_epochs)

                terms = parallel(to_unit_range(faces.to(fabric.device)), labels.to(fabric.device))
                for optimizer in optimizers:
                    optimizer.zero_grad()
                fabric.backward(terms["loss"])
                for optimizer in optimizers:
                    optimizer.step()

                step += 1
                meter.add(terms)
                bar.update()
                if log and (step % config.log_every == 0 or step == steps):
                    row = {"step": step, "epoch": step / per_epoch, **meter.mean(), "lr": config.lr * factor}
                    log.write(row)
                    bar.set_postfix({key: f"{row[key]:.3g}" for key in ("loss_id", "loss_rec", "accuracy")})
                    bar.set_postfix_str(f"{bar.postfix}, {row['images_per_second']:.0f} images/s")
                if log and step % config.checkpoint_every == 0:
                    save_checkpoint(out / "last.ckpt", _state(step, meter.seconds, config, joint, optimizers))
            if validate and log:
                with torch.compiler.set_stance("force_eager"):  # evaluation is not worth compiling for
                    metrics = validate(model.eval())
                log.write({"step": step, "epoch": step / per_epoch, "validation": metrics})
    except KeyboardInterrupt:
        if log:
            save_checkpoint(out / "last.ckpt", _state(step, meter.seconds, config, joint, optimizers))
        raise
    finally:
        bar.close()
    if log:
        save_checkpoint(out / "last.ckpt", _state(step, meter.seconds, config, joint, optimizers))
        if validate and not metrics:  # resumed after the last step
            metrics = validate(model.eval())
        _finish(out, config, model, {**(card or {}), **_facts(config, images, step, meter, fabric, metrics)}, metrics)
    fabric.barrier()
    return out


def _fabric(config: DDFVConfig) -> Fabric:
    """One process, or those that `torchrun` has started: it says how many in the environment."""
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # else it announces the precision on each start
    world, local = (int(os.environ.get(name, 1)) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    fabric = Fabric(
        devices=local,
        num_nodes=world // local,
        strategy="ddp" if world > 1 else "auto",
        precision=config.precision,  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


def _training_set(config: DDFVConfig, progress: bool) -> tuple[Images, np.ndarray]:
    if config.images:
        folder = IdentityFolder(config.images)
        return folder, folder.identity
    faces = RenderedFaces(config.identities, config.images_per_identity, config.data_seed)
    return faces.images(progress=progress), faces.identity  # type: ignore[return-value]


def _networks(
    config: DDFVConfig, identities: int
) -> tuple[FaceRecognizer, JointObjective, list[torch.optim.Optimizer]]:
    """Model, objective, and one optimiser each for recognition and for the decoder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = build(config.architecture, normalize=config.normalize)
    if model.decoder is None:
        raise InputError(f"architecture '{config.architecture}' has no decoder; choose a ddfv one or 'tutorial'")
    for part in (model.trunk, model.decoder):
        for parameter in part.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    arcface = ArcFaceLoss(identities, model.dimension, scale=config.scale, margin=config.margin, seed=config.seed)
    recognition = [*model.trunk.parameters(), *model.head.parameters(), *arcface.parameters()]
    if config.optimizer == "sgd":
        first: torch.optim.Optimizer = torch.optim.SGD(
            recognition, config.lr, momentum=config.momentum, weight_decay=config.weight_decay
        )
    else:
        first = torch.optim.AdamW(recognition, config.lr, weight_decay=config.weight_decay)
    second = torch.optim.Adam(model.decoder.parameters(), config.decoder_lr)
    for optimizer in (first, second):
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return model, JointObjective(model, arcface, config), [first, second]


def _set_rates(optimizers: list[Any], factor: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor


def _margin_share(epoch: float, margin_epochs: float) -> float:
    return min(1.0, epoch / margin_epochs) if margin_epochs > 0 else 1.0


class _Meter:
    """Means of the loss terms since they were last asked for, and the time spent."""

    def __init__(self, images_per_step: int, seconds: float) -> None:
        self.images_per_step, self.seconds = images_per_step, seconds
        self._start()

    def _start(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._steps, self._since = 0, time.perf_counter()

    def add(self, terms: dict[str, Tensor]) -> None:
        for name in ("loss_id", "loss_rec", "accuracy"):
            self._sums[name] = self._sums.get(name, 0) + terms[name].detach()
        self._steps += 1

    def mean(self) -> dict[str, float]:
        elapsed = time.perf_counter() - self._since
        means = {name: float(total) / self._steps for name, total in self._sums.items()}
        means["images_per_second"] = self._steps * self.images_per_step / elapsed
        self.seconds += elapsed
        self._start()
        return means


def _state(step: int, seconds: float, config: DDFVConfig, joint: nn.Module, optimizers: list[Any]) -> dict[str, Any]:
    return {
        "step": step,
        "seconds": seconds,
        "config": config.to_json(),
        "joint": joint.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
    }


def _restore(file: Path, config: DDFVConfig, joint: nn.Module, optimizers: list[Any]) -> tuple[int, float]:
    state = load_checkpoint(file, config.to_json(), FREE)
    joint.load_state_dict(state["joint"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return state["step"], state["seconds"]


def _facts(
    config: DDFVConfig, images: Images, step: int, meter: _Meter, fabric: Fabric, metrics: dict[str, float]
) -> dict[str, Any]:
    rendered = (
        f"rendered faces: {config.identities} identities x {config.images_per_identity} images, seed {config.data_seed}"
    )
    return {
        "seed": config.seed,
        "data": f"{config.images}: {len(images)} images" if config.images else rendered,
        "limits": "" if config.images else "It has seen rendered faces only and is no judge of photographs.",
        "steps": step,
        "images_seen": step * config.batch_size * fabric.world_size,
        "training_seconds": round(meter.seconds),
        "machine": f"{fabric.world_size} process(es) on {fabric.device.type}, torch {torch.__version__}",
        "validation": metrics,
        "settings": config.to_json(),
    }


def _finish(
    out: Path, config: DDFVConfig, model: FaceRecognizer, card: dict[str, Any], metrics: dict[str, float]
) -> None:
    model.threshold = metrics.get("threshold", model.threshold)
    save_model(model, out, {"name": out.name, **card}, half=config.half)

"""The training loop, once for all trainings: a task goes in, learnt weights, a log and a checkpoint come out."""

import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from tqdm import tqdm

from facexai.errors import InputError
from facexai.training.configs import RunConfig
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
from facexai.weights import write_atomically

FREE = ("log_every", "checkpoint_every", "compile")  # settings that may change when a run is resumed


@dataclass(frozen=True)
class Task:
    """What is to be learnt, and from what.

    Args:
        objective: images (N, 3, H, W) in [-1, 1], labels (N, ...) and the epoch (a float, counted from 0) -> `"loss"`,
            and further terms for the log. One module, so that it can be spread over processes.
        learnt: the module whose weights go to the checkpoint.
        optimizers: at their initial learning rates.
        images: uint8, (H, W, 3) each.
        labels: what is to be said of each image: whom it shows, or in which pose; zeros where nobody asks.
            Shape (len(images), ...).
        validate: called after each epoch; its figures go to the log.
        augment: (images, step) -> images, before the objective sees them.
        mirrored: labels -> labels of the mirrored images.
    """

    objective: nn.Module
    learnt: nn.Module
    optimizers: list[torch.optim.Optimizer]
    images: Images
    labels: np.ndarray
    validate: Callable[[], dict[str, float]] | None = None
    augment: Callable[[Tensor, int], Tensor] = lambda images, step: images
    mirrored: Callable[[np.ndarray], np.ndarray] = lambda labels: labels


@dataclass(frozen=True)
class Outcome:
    """How a run ended: steps taken, seconds of training, and the figures of the last validation."""

    steps: int
    seconds: float
    metrics: dict[str, float]


def fit(
    task: Task, config: RunConfig, out: Path, fabric: Fabric, *, resume: bool = False, progress: bool = True
) -> Outcome:
    """Learn, and leave `config.json`, `log.jsonl` and the checkpoint `last.ckpt` in `out`.

    Args:
        task: what to learn.
        config: epochs, batch size, schedule and the like.
        out: folder that exists.
        fabric: from `start_fabric`.
        resume: go on from `last.ckpt`, as if nothing had happened.
        progress: show a bar with losses and images/s.

    Raises:
        InputError: too few images, or a checkpoint that does not fit.
        KeyboardInterrupt: after the checkpoint has been written.
    """
    per_epoch = batches_per_epoch(len(task.images), config.batch_size, fabric.world_size)
    if per_epoch == 0:
        raise InputError(f"{len(task.images)} images are less than one batch of {config.batch_size}; lower batch_size")
    steps = config.epochs * per_epoch
    step, seconds = _restore(out / "last.ckpt", config, task) if resume else (0, 0.0)

    for optimizer in task.optimizers:
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
    parallel, *optimizers = fabric.setup(task.objective, *task.optimizers)
    if fabric.is_global_zero:
        write_atomically(out / "config.json", (json.dumps(config.to_json(), indent=2) + "\n").encode())
    log = Log(out / "log.jsonl", keep_below=step) if fabric.is_global_zero else None
    meter = _Meter(config.batch_size * fabric.world_size, seconds)
    bar = tqdm(total=steps, initial=step, unit="step", disable=None if progress and log else True)
    metrics: dict[str, float] = {}

    def save() -> None:
        if log:
            save_checkpoint(out / "last.ckpt", _state(step, meter.seconds, config, task.learnt, optimizers))

    try:
        for epoch in range(step // per_epoch, config.epochs):
            task.objective.train()
            loader = batches(
                task.images,
                task.labels,
                batch_size=config.batch_size,
                epoch=epoch,
                first=step % per_epoch,
                seed=config.seed,
                rank=fabric.global_rank,
                world=fabric.world_size,
                mirrored=task.mirrored,
            )
            for faces, labels in loader:
                _set_rates(optimizers, lr_factor(step / steps, config.schedule, config.warmup))
                faces = task.augment(to_unit_range(faces.to(fabric.device)), step)
                terms = parallel(faces, labels.to(fabric.device), step / per_epoch)
                for optimizer in optimizers:
                    optimizer.zero_grad()
                fabric.backward(terms["loss"])
                for optimizer in optimizers:
                    optimizer.step()

                step += 1
                meter.add(terms)
                bar.update()
                if log and (step % config.log_every == 0 or step == steps):
                    means = meter.mean()
                    rate = optimizers[0].param_groups[0]["lr"]
                    log.write({"step": step, "epoch": step / per_epoch, **means, "lr": rate})
                    bar.set_postfix({name: f"{value:.3g}" for name, value in means.items()})
                if step % config.checkpoint_every == 0:
                    save()
            if task.validate and log:
                with torch.compiler.set_stance("force_eager"):  # evaluation is not worth compiling for
                    metrics = task.validate()
                log.write({"step": step, "epoch": step / per_epoch, "validation": metrics})
    except KeyboardInterrupt:
        save()
        raise
    finally:
        bar.close()
    save()
    if task.validate and log and not metrics:  # resumed after the last step
        metrics = task.validate()
    return Outcome(step, meter.seconds, metrics)


def start_fabric(precision: str) -> Fabric:
    """One process, or those that `torchrun` has started: it says how many in the environment."""
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # else it announces the precision on each start
    world, local = (int(os.environ.get(name, 1)) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    fabric = Fabric(
        devices=local,
        num_nodes=world // local,
        strategy="ddp" if world > 1 else "auto",
        precision=precision,  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


def run_facts(config: RunConfig, images: Images, outcome: Outcome, fabric: Fabric) -> dict[str, Any]:
    """What a model card says of any run."""
    rendered = (
        f"rendered faces: {config.identities} identities x {config.images_per_identity} images, seed {config.data_seed}"
    )
    return {
        "seed": config.seed,
        "data": f"{config.images}: {len(images)} images" if config.images else rendered,
        "steps": outcome.steps,
        "images_seen": outcome.steps * config.batch_size * fabric.world_size,
        "training_seconds": round(outcome.seconds),
        "machine": f"{fabric.world_size} process(es) on {fabric.device.type}, torch {torch.__version__}",
        "validation": outcome.metrics,
        "settings": config.to_json(),
    }


def _set_rates(optimizers: list[Any], factor: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor


class _Meter:
    """Means of the terms since they were last asked for, and the time spent."""

    def __init__(self, images_per_step: int, seconds: float) -> None:
        self.images_per_step, self.seconds = images_per_step, seconds
        self._start()

    def _start(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._steps, self._since = 0, time.perf_counter()

    def add(self, terms: dict[str, Tensor]) -> None:
        for name in terms.keys() - {"loss"}:
            self._sums[name] = self._sums.get(name, 0) + terms[name].detach()
        self._steps += 1

    def mean(self) -> dict[str, float]:
        elapsed = time.perf_counter() - self._since
        means = {name: float(self._sums[name]) / self._steps for name in sorted(self._sums)}
        means["images_per_second"] = self._steps * self.images_per_step / elapsed
        self.seconds += elapsed
        self._start()
        return means


def _state(step: int, seconds: float, config: RunConfig, learnt: nn.Module, optimizers: list[Any]) -> dict[str, Any]:
    return {
        "step": step,
        "seconds": seconds,
        "config": config.to_json(),
        "weights": learnt.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
    }


def _restore(file: Path, config: RunConfig, task: Task) -> tuple[int, float]:
    state = load_checkpoint(file, config.to_json(), FREE)
    task.learnt.load_state_dict(state["weights"])
    for optimizer, saved in zip(task.optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return state["step"], state["seconds"]

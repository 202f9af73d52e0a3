"""A decoder for a finished network: it learns to rebuild faces from the features of a frozen trunk.

Recognition stays as it is, to the last bit; what is gained are the explanations that need reconstructions.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from facexai.datasets import FittedImages, ImageFolder
from facexai.datasets.rendered import RenderedFaces
from facexai.errors import InputError
from facexai.losses import reconstruction_loss
from facexai.models import FaceRecognizer, ReconstructionDecoder, attach_decoder
from facexai.training.configs import DecoderConfig
from facexai.training.fit import Task, fit, run_facts, start_fabric
from facexai.training.loop import Images, to_unit_range
from facexai.weights import load_model, save_model


class DecoderObjective(nn.Module):
    """L_rec, the mean squared error of the reconstruction; the trunk gives its features and learns nothing.

    Args:
        model: recognizer with a decoder.
    """

    def __init__(self, model: FaceRecognizer) -> None:
        super().__init__()
        assert model.decoder is not None
        self.model = model.requires_grad_(False)
        model.decoder.requires_grad_(True)

    def train(self, mode: bool = True) -> "DecoderObjective":
        """Training mode for the decoder alone: the trunk keeps its BatchNorm statistics."""
        self.model.eval()
        self.model.decoder.train(mode)  # type: ignore[union-attr]
        return self

    def forward(self, images: Tensor, identity: Tensor, epoch: float) -> dict[str, Tensor]:
        """The loss for images (N, 3, H, W) in [-1, 1], whoever they show."""
        with torch.no_grad():
            features = self.model.features(images)  # (N, C, h, w)
        reconstruction = self.model.reconstruct(features)
        with torch.autocast(images.device.type, enabled=False):  # squares want full precision
            loss = reconstruction_loss(reconstruction.float(), images)
        return {"loss": loss, "loss_rec": loss.detach()}


class Selection:
    """Some images of a larger set, as a set of its own."""

    def __init__(self, images: Images, chosen: np.ndarray) -> None:
        self.images, self.chosen = images, chosen

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        return self.images[self.chosen[indices]]


def train_decoder(
    config: DecoderConfig,
    out: str | Path,
    *,
    model: FaceRecognizer | None = None,
    resume: bool = False,
    card: dict[str, Any] | None = None,
    progress: bool = True,
) -> Path:
    """Train a decoder on the frozen trunk of any network, and save the two as one model.

    Runs on what Fabric finds: CPU, one GPU, or as many processes as `torchrun` starts.

    Args:
        config: all settings; `config.model` names the network, whose own decoder, if any, is replaced.
        out: folder for the model, `config.json`, `log.jsonl` and the checkpoint `last.ckpt`.
        model: the network itself, in place of `config.model`, such as `wrap_model` gives; it gets the decoder.
        resume: go on from `last.ckpt`.
        card: further entries of the model card.
        progress: show a bar with the loss and images/s.

    Returns:
        `out`, which `load_model` reads. Its card says how well faces are rebuilt, see `reconstruction_quality`.

    Raises:
        InputError: a network without features, too few images, or a checkpoint that does not fit.
        KeyboardInterrupt: after the checkpoint has been written.

    Source: DDFV paper, III.C: the decoder and its loss.

    Deviations:
        The paper trains trunk and decoder jointly. A trunk that is given has never been asked to keep what a painter
        needs, so faces come back less well.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    fabric = start_fabric(config.precision)
    model = load_model(config.model) if model is None else model
    decoder = fresh_decoder(model, config.seed)
    with fabric.rank_zero_first():
        images = _training_set(config, model, progress and fabric.is_global_zero)
    learning, held_out = split(images, config.held_out, config.seed)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    task = Task(
        objective=DecoderObjective(model),
        learnt=decoder,
        optimizers=[torch.optim.Adam(decoder.parameters(), config.lr)],
        images=learning,
        labels=np.zeros(len(learning), dtype=np.int64),
        validate=lambda: reconstruction_quality(model.eval(), held_out, config.batch_size),
    )
    outcome = fit(task, config, out, fabric, resume=resume, progress=progress)
    if fabric.is_global_zero:
        facts = {**recognizer_facts(model, config), **run_facts(config, images, outcome, fabric)}
        save_model(model, out, {"name": out.name, **(card or {}), **facts}, half=config.half)
    fabric.barrier()
    return out


def fresh_decoder(model: FaceRecognizer, seed: int = 42) -> ReconstructionDecoder:
    """A decoder with random weights, put into the model, for the feature map that its trunk gives.

    Its layers double the map until it is as large as the image; where it gets larger, the decoder shrinks it.
    """
    height, width = model.input_size
    with torch.no_grad():
        _, channels, rows, columns = model.features(torch.zeros(1, 3, height, width)).shape
    doublings = max(1, math.ceil(math.log2(max(height / rows, width / columns))))
    options: dict[str, Any] = {} if doublings == 4 else {"doublings": doublings}
    if (rows << doublings, columns << doublings) != (height, width):
        options["size"] = [height, width]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return attach_decoder(model, channels=channels, **options)


def split(images: Images, held_out: int, seed: int = 42) -> tuple[Selection, Selection]:
    """Images to learn from, and at most `held_out` of them, or a tenth, to validate on."""
    order = np.random.default_rng(seed).permutation(len(images))
    count = min(held_out, len(images) // 10)
    if count < 2:
        raise InputError(f"a tenth of the images is kept for validation; {len(images)} are too few, give 20 or more")
    return Selection(images, order[count:]), Selection(images, order[:count])


@torch.no_grad()
def reconstruction_quality(model: FaceRecognizer, images: Images, batch_size: int = 64) -> dict[str, float]:
    """How well a model, in eval mode, rebuilds faces.

    Returns:
        `mse`: mean squared error in [-1, 1] units; `mean_image_mse`: that of the mean of these very images, the best
        that one can paint without looking; `variance_explained`: 1 - mse / mean_image_mse.
    """
    device = next(model.parameters()).device
    error, total, squares = 0.0, torch.zeros(()), 0.0
    for where in np.array_split(np.arange(len(images)), -(-len(images) // batch_size)):
        faces = to_unit_range(torch.from_numpy(images[where]).permute(0, 3, 1, 2).to(device))  # (n, 3, H, W)
        rebuilt = model.reconstruct(model.features(faces))
        error += float((rebuilt - faces).square().sum(dtype=torch.float64))
        total = total + faces.double().sum(0).cpu()
        squares += float(faces.square().sum(dtype=torch.float64))
    count = len(images) * total.numel()
    variance = (squares - float(total.square().sum()) / len(images)) / count
    return {"mse": error / count, "mean_image_mse": variance, "variance_explained": 1 - error / count / variance}


def recognizer_facts(model: FaceRecognizer, config: DecoderConfig) -> dict[str, Any]:
    """What the card keeps of the network that was given."""
    kept = {key: model.card[key] for key in ("command", "data", "steps", "validation") if key in model.card}
    own_limits = "" if config.images else "Its decoder has seen rendered faces only."
    return {"recognizer": {"name": model.name, **kept}, "limits": model.card.get("limits") or own_limits}


def _training_set(config: DecoderConfig, model: FaceRecognizer, progress: bool) -> Images:
    if config.images:
        return ImageFolder(config.images, model.input_size)
    faces = RenderedFaces(config.identities, config.images_per_identity, config.data_seed)
    return FittedImages(faces.images(progress=progress), model.input_size)  # type: ignore[return-value]

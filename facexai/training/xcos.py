"""An xCos head for a finished network: it learns, on the frozen trunk, to say the score place by place.

    L = L_cos + lambda L_id        L_cos = (xCos - cosine of the network)^2        L_id: ArcFace on the whole grid

Recognition stays as it is, to the last bit.

Source: Lin et al., "xCos: An Explainable Cosine Metric for Face Verification Task" (TOMM 2021), section 3.

Deviations:
    The paper trains the trunk along with the head, against the cosines of a second network which is frozen; here one
    frozen network is both. Pairs are mirrored together.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facexai.datasets import FittedImages, identity_faces
from facexai.datasets.rendered import RenderedFaces
from facexai.errors import InputError
from facexai.losses import ArcFaceLoss
from facexai.models import FaceRecognizer, XCosHead, attach_xcos
from facexai.training.configs import XCosConfig
from facexai.training.fit import Task, fit, run_facts, start_fabric
from facexai.training.loop import Images, to_unit_range
from facexai.weights import load_model, save_model


class XCosObjective(nn.Module):
    """L_cos + lambda L_id; the trunk and its head give features and cosines and learn nothing.

    Args:
        model: recognizer with an xcos head.
        arcface: L_id, which owns the class matrix.
        identity_weight: lambda.
    """

    def __init__(self, model: FaceRecognizer, arcface: ArcFaceLoss, identity_weight: float = 1.0) -> None:
        super().__init__()
        assert model.xcos is not None
        self.model = model.requires_grad_(False)
        self.arcface, self.identity_weight = arcface, identity_weight
        model.xcos.requires_grad_(True)

    def train(self, mode: bool = True) -> "XCosObjective":
        """Training mode for the xcos head alone: the trunk keeps its BatchNorm statistics."""
        self.model.eval()
        self.model.xcos.train(mode)  # type: ignore[union-attr]
        return self

    def forward(self, pairs: Tensor, identity: Tensor, epoch: float) -> dict[str, Tensor]:
        """Loss and its terms for pairs, one face above the other, (N, 3, 2 H, W), and their identities (N, 2)."""
        faces = torch.cat(pairs.chunk(2, dim=2))  # (2 N, 3, H, W)
        head = self.model.xcos
        assert head is not None
        with torch.no_grad():
            features = self.model.features(faces)
        with torch.autocast(pairs.device.type, enabled=False):  # angles and squares want full precision
            features = features.float()  # (2 N, C, h, w)
            with torch.no_grad():
                probe, gallery = F.normalize(self.model.pool(features)).chunk(2)
            grids = head.grid(features)  # (2 N, c, h, w)
            loss_cos = F.mse_loss(head(*grids.chunk(2)), (probe * gallery).sum(1))
            loss_id = self.arcface(grids.flatten(1), identity.T.flatten())
        return {
            "loss": loss_cos + self.identity_weight * loss_id,
            "loss_cos": loss_cos.detach(),
            "loss_id": loss_id.detach(),
        }


class PairedFaces:
    """Pairs out of a set of images, each as one picture with the probe above the gallery image.

    Args:
        images: the set.
        pairs: places of probe and gallery image. Shape (P, 2).
    """

    def __init__(self, images: Images, pairs: np.ndarray) -> None:
        self.images, self.pairs = images, pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        """Shape (len(indices), 2 H, W, 3), uint8."""
        probe, gallery = self.pairs[indices].T
        return np.concatenate([np.array(self.images[probe]), np.array(self.images[gallery])], axis=1)


def train_xcos(
    config: XCosConfig,
    out: str | Path,
    *,
    resume: bool = False,
    card: dict[str, Any] | None = None,
    progress: bool = True,
) -> Path:
    """Train an xcos head on the frozen trunk of any network, and save the two as one model.

    Runs on what Fabric finds: CPU, one GPU, or as many processes as `torchrun` starts.

    Args:
        config: all settings; `config.model` names the network.
        out: folder for the model, `config.json`, `log.jsonl` and the checkpoint `last.ckpt`.
        resume: go on from `last.ckpt`.
        card: further entries of the model card.
        progress: show a bar with losses and pairs/s.

    Returns:
        `out`, which `load_model` reads. Its card says how well xCos follows the score, see `xcos_quality`.

    Raises:
        InputError: too few images or identities, or a checkpoint that does not fit.
        KeyboardInterrupt: after the checkpoint has been written.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    fabric = start_fabric(config.precision)
    model = load_model(config.model)
    with fabric.rank_zero_first():
        images, identity = _training_set(config, model, progress and fabric.is_global_zero)
    learning, held_out = split_pairs(identity, config.seed)
    head, arcface = fresh_head(model, int(identity.max()) + 1, config)
    task = Task(
        objective=XCosObjective(model, arcface, config.identity_weight),
        learnt=nn.ModuleList([head, arcface]),
        optimizers=[torch.optim.Adam([*head.parameters(), *arcface.parameters()], config.lr)],
        images=PairedFaces(images, learning),
        labels=identity[learning],
        validate=lambda: xcos_quality(model.eval(), PairedFaces(images, held_out), config.batch_size),
    )
    outcome = fit(task, config, out, fabric, resume=resume, progress=progress)
    if fabric.is_global_zero:
        kept = {key: model.card[key] for key in ("command", "data", "steps", "validation") if key in model.card}
        limits = model.card.get("limits") or ("" if config.images else "Its xcos head has seen rendered faces only.")
        facts = {"recognizer": {"name": model.name, **kept}, "limits": limits}
        facts |= run_facts(config, images, outcome, fabric)
        save_model(model, out, {"name": out.name, **(card or {}), **facts}, half=config.half)
    fabric.barrier()
    return out


def fresh_head(model: FaceRecognizer, identities: int, config: XCosConfig) -> tuple[XCosHead, ArcFaceLoss]:
    """An xcos head with random weights, put into the model, and the class matrix for its grid."""
    with torch.no_grad():
        features = model.features(torch.zeros(1, 3, *model.input_size))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        head = attach_xcos(model, channels=features.shape[1])
    dimension = head.eval().grid(features).numel()
    return head, ArcFaceLoss(identities, dimension, scale=config.scale, margin=config.margin, seed=config.seed)


def split_pairs(identity: np.ndarray, seed: int = 42) -> tuple[np.ndarray, np.ndarray]:
    """Pairs to learn from, and pairs of a tenth of the people, two at least, to validate on. Shapes (P, 2), (Q, 2)."""
    rng = np.random.default_rng(seed)
    people = rng.permutation(np.unique(identity))
    if len(people) < 4:
        raise InputError(f"xcos learns from pairs of at least four people; got {len(people)}")
    is_held_out = np.isin(identity, people[: max(2, len(people) // 10)])
    return tuple(draw_pairs(identity, np.flatnonzero(chosen), rng) for chosen in (~is_held_out, is_held_out))  # type: ignore[return-value]


def draw_pairs(identity: np.ndarray, places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each image as probe of a genuine pair, where its person has two images, and of an impostor pair. Shape (P, 2)."""
    order = rng.permutation(places)
    order = order[np.argsort(identity[order], kind="stable")]  # person by person, each in random order
    last = np.r_[identity[order][1:] != identity[order][:-1], True]
    first_of_own = order[np.searchsorted(identity[order], identity[order])]
    mates = np.where(last, first_of_own, np.r_[order[1:], order[:1]])
    strangers = rng.choice(places, len(order))
    while (clash := identity[strangers] == identity[order]).any():
        strangers[clash] = rng.choice(places, clash.sum())
    genuine = np.stack([order, mates], axis=1)[mates != order]
    return np.concatenate([genuine, np.stack([order, strangers], axis=1)])


@torch.no_grad()
def xcos_quality(model: FaceRecognizer, pairs: PairedFaces, batch_size: int = 64) -> dict[str, float]:
    """How well xCos follows the score of the network, which is in eval mode.

    Returns:
        `mse`: mean squared difference; `variance_explained`: 1 - mse / variance of the scores.
    """
    device = next(model.parameters()).device
    head = model.xcos
    assert head is not None
    said, meant = [], []
    for where in np.array_split(np.arange(len(pairs)), -(-len(pairs) // batch_size)):
        faces = to_unit_range(torch.from_numpy(pairs[where]).permute(0, 3, 1, 2).to(device))
        features = model.features(torch.cat(faces.chunk(2, dim=2)))
        probe, gallery = F.normalize(model.pool(features)).chunk(2)
        said.append(head(*head.grid(features).chunk(2)))
        meant.append((probe * gallery).sum(1))
    xcos, score = torch.cat(said).double(), torch.cat(meant).double()
    mse = float(F.mse_loss(xcos, score))
    return {"mse": mse, "variance_explained": 1 - mse / float(score.var(correction=0))}


def _training_set(config: XCosConfig, model: FaceRecognizer, progress: bool) -> tuple[Images, np.ndarray]:
    if config.images:
        folder = identity_faces(config.images, model.input_size)
        return folder, folder.identity
    faces = RenderedFaces(config.identities, config.images_per_identity, config.data_seed)
    return FittedImages(faces.images(progress=progress), model.input_size), faces.identity  # type: ignore[return-value]

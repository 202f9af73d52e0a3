"""`facexai train finetune`: from networks and faces to a saved frontalizer."""

import hashlib
import json
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from facexai.cache import cache_folder
from facexai.datasets import PoseFolder, identity_faces
from facexai.datasets.features import Images, PoseFeatures, extract_features, features_once
from facexai.datasets.frontal_profile import RenderedFrontalProfiles
from facexai.datasets.rendered import versioned
from facexai.errors import InputError
from facexai.frontalizations import load_frontalization, network_digests, save_frontalization
from facexai.models import FaceRecognizer, Preprocessing
from facexai.models.frontalizers import (
    CONTROLS,
    FRONTALIZERS,
    FSPFM,
    Frontalization,
    Frontalizer,
    build_control,
    build_frontalizer,
)
from facexai.pose_networks import PoseNetwork, load_pose_network
from facexai.training.configs import FinetuneConfig
from facexai.training.cross_pose import CrossPoseFaces
from facexai.training.finetune import finetune
from facexai.training.loop import Log
from facexai.weights import load_model, write_atomically


def train_frontalizer(
    config: FinetuneConfig, out: str | Path, *, card: dict[str, Any] | None = None, progress: bool = True
) -> Path:
    """Train a frontalizer on top of frozen networks, and save it.

    Args:
        config: all settings.
        out: folder for the frontalizer, `config.json` and `log.jsonl`.
        card: further entries of its card.
        progress: show bars.

    Returns:
        `out`, which `load_frontalization` reads.

    Raises:
        InputError: networks that are not there, faces without poses, nobody who is seen from both sides.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    recognizer, estimator = load_model(config.model), load_pose_network(config.pose_network)
    faces, data = cross_pose_faces(config, recognizer, estimator, progress=progress)
    learning, held_out = split_people(faces, config.held_out)
    frontalization = prepare(config, learning)
    write_atomically(out / "config.json", (json.dumps(config.to_json(), indent=2) + "\n").encode())
    log = Log(out / "log.jsonl", keep_below=-1)
    start = time.perf_counter()
    done = finetune(frontalization, learning, held_out, config, progress=progress, log=log.write)
    facts = {
        "recognizer": config.model,
        "pose_network": config.pose_network,
        "network_sha256": network_digests(recognizer, estimator),
        "seed": config.seed,
        "data": data,
        "pairs": len(learning.profile),
        "people": learning.people,
        "epochs": config.epochs,
        "kept_epoch": done.epoch,
        "training_seconds": round(time.perf_counter() - start),
        "validation": {
            "people": held_out.people,
            "auc_before": done.history[0]["auc"],
            "auc": done.history[done.epoch]["auc"],
        },
        "settings": config.to_json(),
    }
    return save_frontalization(frontalization, out, {"name": out.name, **(card or {}), **facts}, half=config.half)


def cross_pose_faces(
    config: FinetuneConfig, recognizer: FaceRecognizer, estimator: PoseNetwork, *, progress: bool = True
) -> tuple[CrossPoseFaces, str]:
    """The faces to learn from, and in words what they are; features of rendered faces are kept in the cache."""
    if config.poses and not config.images:
        raise InputError("poses belong to images: give the folder of the faces too, --set images=DIR")
    if not config.images:
        rendered = RenderedFrontalProfiles(config.identities, config.frontals, config.profiles, config.data_seed)
        faces = LazyImages(lambda: rendered.images(progress=progress), len(rendered.identity))
        features = cached_features(versioned(rendered.recipe), faces, recognizer, estimator, progress=progress)
        words = (
            f"rendered faces: {rendered.identities} identities x ({rendered.frontals} frontal + {rendered.profiles} "
            f"profile), seed {rendered.seed}"
        )
        return _sorted(config, features, rendered.identity, rendered.pose), words
    size = recognizer.input_size
    folder = PoseFolder(config.images, config.poses, size) if config.poses else identity_faces(config.images, size)
    features = extract_features(recognizer, estimator, folder, progress=progress)
    angles = folder.poses if isinstance(folder, PoseFolder) else features.angles[:, 0].numpy()
    return _sorted(config, features, folder.identity, angles), f"{config.images}: {len(folder)} images"


def _sorted(config: FinetuneConfig, features: PoseFeatures, identity: np.ndarray, angles: np.ndarray) -> CrossPoseFaces:
    limits = {"frontal": config.frontal_within, "profile": config.profile_beyond}
    return CrossPoseFaces.sort(features, identity, angles, **limits)


def cached_features(
    what: Any, images: Images, recognizer: FaceRecognizer, estimator: PoseNetwork, *, progress: bool = True
) -> PoseFeatures:
    """Features, kept in the cache.

    Args:
        what: everything that the images depend on, JSON-able; for rendered faces their recipe, `versioned`.
        images: aligned faces; looked at only where their features are not in the cache.
        recognizer: gives the embeddings; its weights belong to the key.
        estimator: gives the poses; its weights belong to the key.
        progress: show a bar.
    """
    key = hashlib.sha256(json.dumps([fingerprint(recognizer), fingerprint(estimator), what]).encode()).hexdigest()[:16]
    file = cache_folder() / "features" / f"{key}.safetensors"
    return features_once(file, lambda: extract_features(recognizer, estimator, images, progress=progress))


class LazyImages:
    """Images that are made when the first of them is looked at."""

    def __init__(self, make: Callable[[], np.ndarray], count: int) -> None:
        self._make, self._count = make, count

    def __len__(self) -> int:
        return self._count

    @cached_property
    def _images(self) -> np.ndarray:
        return self._make()

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        return self._images[indices]


def fingerprint(module: torch.nn.Module) -> str:
    """sha256 of all weights of a network, and of its preprocessing where it has any."""
    digest = hashlib.sha256()
    if getattr(module, "preprocessing", Preprocessing()) != Preprocessing():
        digest.update(repr(module.preprocessing).encode())
    for name, value in module.state_dict().items():
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def split_people(faces: CrossPoseFaces, held_out: int) -> tuple[CrossPoseFaces, CrossPoseFaces]:
    """People to learn from, and at most `held_out` of them, or a tenth but two, to validate on."""
    count = max(min(held_out, faces.people // 10), 2)
    if faces.people < count + 2:
        raise InputError(f"at least four people must be seen from both sides, two to validate on; got {faces.people}")
    return faces.of(0, faces.people - count), faces.of(faces.people - count, faces.people)


def prepare(config: FinetuneConfig, learning: CrossPoseFaces) -> Frontalization:
    """The frontalizer to be learnt, or the one of stage 1, behind what is fitted to the people to learn from."""
    if config.start:
        return load_frontalization(config.start)
    dimension = learning.profile.embedding.shape[2]
    centring = fit_centring(config.centring, learning)
    frontalizer = fresh_frontalizer(config.frontalizer, dimension, learning.profile.pose.shape[2], config.seed)
    if isinstance(frontalizer, FSPFM):
        parts = (learning.frontal, learning.profile)
        poses = [part.angles[..., :1] if frontalizer.takes == "yaw" else part.pose for part in parts]
        frontalizer.standardise_pose(torch.cat(poses).flatten(0, 1))
    return Frontalization(frontalizer, centring=centring, limit=config.limit or None).eval()


def fit_centring(name: str, learning: CrossPoseFaces) -> Frontalizer | None:
    """What stands before the frontalizer: `"none"`, `"unit"` for unit length alone, or one of `CONTROLS`.

    Pose classes are told by the yaws that came with the faces, and by estimated ones where none did.
    """
    dimension = learning.profile.embedding.shape[2]
    if name == "none":
        return None
    if name == "unit":
        return build_control("global-centring", dimension)  # unfitted, its mean is zero
    parts = (learning.frontal, learning.profile)
    embedding = torch.cat([part.embedding for part in parts]).flatten(0, 1)
    yaw = torch.cat([learning.frontal_yaw, learning.profile_yaw]).repeat_interleave(2)  # classes know no side
    identity = torch.cat([learning.frontal_identity, learning.profile_identity]).repeat_interleave(2)
    return CONTROLS[name](embedding, identity, yaw).eval()


def fresh_frontalizer(spec: str, dimension: int, pose_size: int, seed: int) -> Frontalizer:
    """A frontalizer from NAME[:option=value...] with random weights; the global random state is left alone."""
    name, *settings = spec.split(":")
    options = dict(_option(setting) for setting in settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        takes_yaw = FRONTALIZERS[name].takes == "yaw" or options.get("yaw_only") is True
        return build_frontalizer(name, dimension, 1 if takes_yaw else pose_size, **options)


def _option(setting: str) -> tuple[str, Any]:
    key, equals, text = setting.partition("=")
    if not equals:
        raise InputError(f"an option of a frontalizer is option=value; got '{setting}'")
    try:
        return key, json.loads(text)
    except ValueError:
        return key, text

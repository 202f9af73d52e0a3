"""Embeddings that are computed once for a network and a set of images, and kept in the cache."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeGuard

import numpy as np
import torch

import facexai
from facexai.benchmarks.verification import Embedder, embed_all
from facexai.cache import cache_folder, save_array
from facexai.datasets import Images
from facexai.datasets.folders import images_digest
from facexai.models import ARCHITECTURES, FaceRecognizer
from facexai.weights import model_digest


def embeddings_once(
    model: Embedder,
    images: np.ndarray | Sequence[Path] | Images,
    *,
    flip: bool = True,
    batch_size: int = 64,
    progress: bool = True,
    normalize: bool = True,
    digest: str | None = None,
) -> np.ndarray:
    """What `embed_all` gives, from the cache where it is there; arguments as there, and `images_sha256` of a set.

    The key holds the weights, the architecture and its preprocessing, the content of the images in their order, the
    options, and the versions of facexai and torch. Only facexai's own architectures are looked up: of a network whose
    code is elsewhere the weights do not say all. A damaged file is made anew.

    Returns:
        Shape (M, D), float32; read from disk as it is needed.
    """
    if not _own_architecture(model):
        return embed_all(model, images, flip=flip, batch_size=batch_size, progress=progress, normalize=normalize)
    recipe = {
        "model": model_digest(model),
        "architecture": model.architecture,
        "preprocessing": asdict(model.preprocessing),
        "images": digest or images_digest(images),
        "flip": flip,
        "normalize": normalize,
        "batch_size": batch_size,
        "device": next(model.parameters()).device.type,
        "versions": [facexai.__version__, torch.__version__],
    }
    key = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:32]
    file = cache_folder() / "embeddings" / f"{key}.npy"
    try:
        kept = np.load(file, mmap_mode="r")
        if kept.shape == (len(images), model.dimension) and kept.dtype == np.float32:
            return kept
    except (OSError, ValueError, EOFError):
        pass
    embedding = embed_all(model, images, flip=flip, batch_size=batch_size, progress=progress, normalize=normalize)
    save_array(file, embedding)
    return embedding


def _own_architecture(model: Embedder) -> TypeGuard[FaceRecognizer]:
    if type(model) is not FaceRecognizer or model.architecture.get("name") not in ARCHITECTURES:
        return False
    return ARCHITECTURES[model.architecture["name"]].__module__.startswith("facexai.")

"""PoseFeatures: what frozen networks say about many faces, computed once, so that frontalizers train in minutes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor
from tqdm import tqdm

from facexai.datasets.folders import Images
from facexai.errors import InputError
from facexai.models import FaceRecognizer
from facexai.models.hopenet import PoseEstimator
from facexai.pixels import fit_crops
from facexai.weights import write_atomically


@dataclass(frozen=True)
class PoseFeatures:
    """Embeddings and poses of M faces, of each image and of its mirror image.

    Attributes:
        embedding: what the recognizer's head gives, of any length. Shape (M, 2, D), float32.
        pose: pose feature of the pose network. Shape (M, 2, P), float32.
        angles: yaw, pitch, roll in degrees, by the pose network. Shape (M, 2, 3), float32.
    """

    embedding: Tensor
    pose: Tensor
    angles: Tensor

    def __post_init__(self) -> None:
        shapes = [tuple(part.shape) for part in (self.embedding, self.pose, self.angles)]
        if any(len(shape) != 3 or shape[:2] != shapes[0][:2] or shape[1] != 2 for shape in shapes):
            raise InputError(f"embeddings, pose features and angles must be (M, 2, ...) with one M; got {shapes}")

    def __len__(self) -> int:
        return len(self.embedding)

    def __getitem__(self, chosen: np.ndarray | Tensor | slice) -> "PoseFeatures":
        """The faces at these positions."""
        return PoseFeatures(self.embedding[chosen], self.pose[chosen], self.angles[chosen])


@torch.inference_mode()
def extract_features(
    recognizer: FaceRecognizer,
    estimator: PoseEstimator,
    images: Images,
    *,
    batch_size: int = 64,
    progress: bool = True,
) -> PoseFeatures:
    """Embeddings and poses of many faces, and of their mirror images.

    Args:
        recognizer: gives the embeddings, in eval mode; its mode is restored.
        estimator: gives the poses; in eval mode where it is a network.
        images: M aligned faces (H, W, 3) uint8.
        batch_size: images at once; memory only.
        progress: show a bar.
    """
    training, device = recognizer.training, next(recognizer.parameters()).device
    recognizer.eval()
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    try:
        starts = range(0, len(images), batch_size)
        for start in tqdm(starts, desc="features", unit="batch", disable=None if progress else True):
            faces = np.array(images[np.arange(start, min(start + batch_size, len(images)))])
            pixels = faces, fit_crops(faces, recognizer.input_size)
            batches = (torch.from_numpy(one).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1 for one in pixels)
            for_pose, for_identity = (torch.cat([batch, batch.flip(3)]) for batch in batches)  # (2n, 3, H, W)
            embedding = recognizer.pooled(for_identity)
            pose = estimator(for_pose)
            parts.append(tuple(_paired(x) for x in (embedding, pose.feature, pose.angles)))  # type: ignore[arg-type]
    finally:
        recognizer.train(training)
    return PoseFeatures(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _paired(values: Tensor) -> Tensor:
    """N images, then their n mirror images: (2n, K) -> (n, 2, K), on the CPU."""
    return torch.stack(values.float().cpu().chunk(2), dim=1)


def features_once(file: Path, make: Callable[[], PoseFeatures]) -> PoseFeatures:
    """The features in `file`, or made and put there.

    Args:
        file: a name that no other features have; a damaged file is made anew.
        make: called where they have to be computed.
    """
    try:
        return PoseFeatures(**load_safetensors(file.read_bytes()))
    except (OSError, SafetensorError, TypeError, InputError):
        features = make()
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, save_safetensors({name: value.contiguous() for name, value in vars(features).items()}))
    return features

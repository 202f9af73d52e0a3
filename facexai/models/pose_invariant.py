"""PoseInvariantRecognizer: a recognizer whose profile embeddings are frontalized.

Source: Stanishev, Lu, Ebrahimi, "Pose-Invariant Face Recognition via Feature-Space Pose Frontalization" (2025), Fig. 1:
P-Net.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facexai.errors import InputError
from facexai.models.frontalizers import Frontalization
from facexai.models.hopenet import PoseEstimator
from facexai.models.recognizer import FaceRecognizer


class PoseInvariantRecognizer(nn.Module):
    """Recognizer, pose estimator and frontalization: what `verify` needs of a network.

    Args:
        recognizer: gives the embeddings.
        estimator: gives the poses, of the same aligned faces; never trained here, and in eval mode where it is a
            network.
        frontalization: for embeddings of this recognizer and poses of this estimator.

    Attributes:
        name, threshold: see `FaceRecognizer`.

    Source: Stanishev et al. (2025), 3.1 and Fig. 1.
    """

    def __init__(self, recognizer: FaceRecognizer, estimator: PoseEstimator, frontalization: Frontalization) -> None:
        super().__init__()
        if frontalization.dimension != recognizer.dimension:
            raise InputError(
                f"frontalizer {frontalization.name} is made for embeddings of dimension {frontalization.dimension}, "
                f"but {recognizer.name} gives {recognizer.dimension}; take the one that was trained for it"
            )
        self.recognizer = recognizer
        self.estimator = estimator
        self.frontalization = frontalization
        self.name = f"{recognizer.name} + {frontalization.name}"
        self.threshold: float | None = None
        self.train(recognizer.training)

    @property
    def dimension(self) -> int:
        """D, the length of an embedding."""
        return self.recognizer.dimension

    @property
    def input_size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.recognizer.input_size

    def train(self, mode: bool = True) -> "PoseInvariantRecognizer":
        """Training mode for all but the pose estimator."""
        super().train(mode)
        if isinstance(self.estimator, nn.Module):
            self.estimator.eval()
        return self

    def frontalized(self, images: Tensor) -> Tensor:
        """Embeddings before they are brought to unit length. Aligned faces (N, 3, H, W) in [-1, 1] -> (N, D)."""
        embedding = self.recognizer.pooled(images)  # (N, D)
        with torch.no_grad():
            pose = self.estimator(images)
        return self.frontalization(embedding, pose.feature, pose.angles)

    def embed(self, images: Tensor, *, flip: bool = False) -> Tensor:
        """Embeddings of unit norm. (N, 3, H, W) -> (N, D).

        Args:
            images: aligned faces in [-1, 1].
            flip: add the embeddings of the mirrored images, each by its own pose, before normalising.
        """
        return F.normalize(self.unnormalized(images, flip=flip))

    def unnormalized(self, images: Tensor, *, flip: bool = False) -> Tensor:
        """Embeddings before they are brought to unit length, as templates sum them. (N, 3, H, W) -> (N, D)."""
        embedding = self.frontalized(images)
        return embedding + self.frontalized(images.flip(3)) if flip else embedding

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        return self.embed(images)

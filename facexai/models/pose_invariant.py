"""PoseInvariantRecognizer: a recognizer whose profile embeddings are frontalized.

Source: Stanishev, Lu, Ebrahimi, "Pose-Invariant Face Recognition via Feature-Space Pose Frontalization" (2025), Fig. 1:
P-Net.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facexai.errors import InputError
from facexai.models.frontalizers import Frontalizer
from facexai.models.hopenet import PoseEstimator
from facexai.models.recognizer import FaceRecognizer


class PoseInvariantRecognizer(nn.Module):
    """Recognizer, pose estimator and frontalizer: what `verify` needs of a network.

    Args:
        recognizer: gives the embeddings.
        estimator: gives the poses, of the same aligned faces; never trained here, and in eval mode where it is a
            network.
        frontalizer: for embeddings of this recognizer and poses of this estimator.
        centring: a fitted control that stands before the frontalizer; its output is brought to the length sqrt(D), so
            that dimensions are about 1. None: the frontalizer sees what the recognizer's head gives.
        limit: yaw in degrees up to which an embedding passes by the frontalizer untouched; None frontalizes all.

    Attributes:
        name, threshold: see `FaceRecognizer`.

    Source: Stanishev et al. (2025), 3.1 and Fig. 1.

    Deviations:
        The paper sends every face through the module and centres nothing. The limit keeps frontal pairs as they were;
        centring alone explains much of what a frontalizer gains on few identities.
    """

    def __init__(
        self,
        recognizer: FaceRecognizer,
        estimator: PoseEstimator,
        frontalizer: Frontalizer,
        *,
        centring: Frontalizer | None = None,
        limit: float | None = 30.0,
    ) -> None:
        super().__init__()
        for part in (frontalizer, centring):
            if part is not None and part.dimension != recognizer.dimension:
                raise InputError(
                    f"{type(part).__name__} is made for embeddings of dimension {part.dimension}, but "
                    f"{recognizer.name} gives {recognizer.dimension}; take the one that was trained for it"
                )
        self.recognizer = recognizer
        self.estimator = estimator
        self.frontalizer = frontalizer
        self.centring = centring
        self.limit = limit
        self.name = f"{recognizer.name} + {type(frontalizer).__name__}"
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
        embedding = self.recognizer.pool(self.recognizer.features(images))  # (N, D)
        with torch.no_grad():
            feature, angles = self.estimator(images)
        yaw = angles[:, :1]  # (N, 1)
        if self.centring is not None:
            embedding = self.centring(embedding, yaw) * self.dimension**0.5
        moved = self.frontalizer(embedding, yaw if self.frontalizer.takes == "yaw" else feature)
        return moved if self.limit is None else torch.where(yaw.abs() > self.limit, moved, embedding)

    def embed(self, images: Tensor, *, flip: bool = False) -> Tensor:
        """Embeddings of unit norm. (N, 3, H, W) -> (N, D).

        Args:
            images: aligned faces in [-1, 1].
            flip: add the embeddings of the mirrored images, each by its own pose, before normalising.
        """
        embedding = self.frontalized(images)
        if flip:
            embedding = embedding + self.frontalized(images.flip(3))
        return F.normalize(embedding)

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        return self.embed(images)

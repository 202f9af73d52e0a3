"""Frontalization: a frontalizer in its place, between the head of a recognizer and the cosine."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facexai.errors import InputError
from facexai.models.frontalizers.controls import CENTRINGS, build_control
from facexai.models.frontalizers.interface import Frontalizer, build_frontalizer


class Frontalization(nn.Module):
    """What becomes of an embedding whose pose is known: centred, frontalized, or left as it is.

    Args:
        frontalizer: M_g of FSPFM, or a rival; a fitted control stands here too.
        centring: a fitted control that stands before the frontalizer; its output is brought to the length sqrt(D), so
            that dimensions are about 1. None: the frontalizer sees what the recognizer's head gives.
        limit: yaw in degrees up to which an embedding passes by the frontalizer; None frontalizes all.

    Attributes:
        name: of the frontalizer.
        card: the card it was loaded with, {} for a fresh one.

    Deviations:
        The FSPFM paper sends every face through the module and centres nothing. The limit keeps frontal pairs as they
        were; centring alone explains much of what a frontalizer gains on few identities.
    """

    def __init__(
        self, frontalizer: Frontalizer, *, centring: Frontalizer | None = None, limit: float | None = 30.0
    ) -> None:
        super().__init__()
        if centring is not None and centring.dimension != frontalizer.dimension:
            raise InputError(
                f"{type(centring).__name__} is made for embeddings of dimension {centring.dimension}, "
                f"{type(frontalizer).__name__} for {frontalizer.dimension}; fit both to one recognizer"
            )
        self.frontalizer = frontalizer
        self.centring = centring
        self.limit = limit
        self.name: str = frontalizer.architecture.get("name", type(frontalizer).__name__)
        self.card: dict[str, Any] = {}

    @property
    def dimension(self) -> int:
        """D of the embeddings."""
        return self.frontalizer.dimension

    def seen(self, embedding: Tensor, feature: Tensor, angles: Tensor) -> tuple[Tensor, Tensor]:
        """What the frontalizer is given: embeddings (N, D) after centring, and poses (N, P) as it takes them.

        Args:
            embedding: what the head gives. (N, D)
            feature: of the pose network. (N, P)
            angles: yaw, pitch, roll in degrees. (N, 3)
        """
        yaw = angles[:, :1]
        if self.centring is not None:
            embedding = self.centring(embedding, yaw) * self.dimension**0.5
        return embedding, yaw if self.frontalizer.takes == "yaw" else feature

    def forward(self, embedding: Tensor, feature: Tensor, angles: Tensor) -> Tensor:
        """Embeddings (N, D) of any length, in the frontal space; arguments as in `seen`."""
        return self.moved(*self.seen(embedding, feature, angles), angles)

    def moved(self, embedding: Tensor, pose: Tensor, angles: Tensor) -> Tensor:
        """What `forward` makes of what was `seen`. (N, D), (N, P) and (N, 3), of which only yaw counts -> (N, D)."""
        return torch.where(self.applies(angles)[:, None], self.frontalizer(embedding, pose), embedding)

    def applies(self, angles: Tensor) -> Tensor:
        """Which faces go through the frontalizer. Yaw, pitch, roll in degrees (N, 3) -> (N,), bool."""
        yaw = angles[:, 0].abs()
        return torch.ones_like(yaw, dtype=torch.bool) if self.limit is None else yaw > self.limit

    def embed(self, embedding: Tensor, feature: Tensor, angles: Tensor) -> Tensor:
        """Unit embeddings from precomputed ones. (M, V, D), (M, V, P), (M, V, 3) -> (M, D).

        The V views of a face, the image and its mirror image, are summed, each frontalized by its own pose.
        """
        views = self(*(part.flatten(0, 1) for part in (embedding, feature, angles)))
        return F.normalize(views.view(len(embedding), -1, self.dimension).sum(1))

    @property
    def architecture(self) -> dict[str, Any]:
        """What `build_frontalization` needs to make it again."""
        return {
            "frontalizer": self.frontalizer.architecture,
            "centring": None if self.centring is None else self.centring.architecture,
            "limit": self.limit,
        }


def build_frontalization(architecture: dict[str, Any]) -> Frontalization:
    """A fresh frontalization, as `Frontalization.architecture` describes it.

    Raises:
        InputError: an unknown frontalizer or control.
    """
    centring = architecture["centring"]
    return Frontalization(
        _build(architecture["frontalizer"]),
        centring=None if centring is None else _build(centring),
        limit=architecture["limit"],
    )


def _build(part: dict[str, Any]) -> Frontalizer:
    build = build_control if part["name"] in CENTRINGS else build_frontalizer
    return build(part["name"], part["dimension"], part["pose_size"], **part["options"])

"""What every frontalizer is, where it is found by name, and `build_frontalizer`, which makes one."""

from abc import ABC, abstractmethod
from typing import Any, Literal

from torch import Tensor, nn

from facexai.errors import InputError
from facexai.registry import Registry


class Frontalizer(nn.Module, ABC):
    """Moves an embedding towards what the same face would have, seen from the front: M_g of the FSPFM paper, eq. (1).

    Args:
        dimension: D of the embeddings.
        pose_size: P, numbers that describe a pose.

    Attributes:
        takes: what the pose is. `"feature"`: the pooled feature of a pose network, of any size P, as it comes from
            there. `"yaw"`: the yaw in degrees, P = 1.
        architecture: {"name", "dimension", "pose_size", "options"}: what `build_frontalizer` needs to make it again.
    """

    takes: Literal["feature", "yaw"] = "feature"

    def __init__(self, dimension: int, pose_size: int) -> None:
        super().__init__()
        if self.takes == "yaw" and pose_size != 1:
            raise InputError(f"{type(self).__name__} takes the yaw alone, so pose_size must be 1; got {pose_size}")
        self.dimension = dimension
        self.pose_size = pose_size
        self.architecture: dict[str, Any] = {}

    def forward(self, embedding: Tensor, pose: Tensor) -> Tensor:
        """Frontalized embeddings, not normalised. Embeddings (N, D) of any length, poses (N, P) -> (N, D)."""
        if embedding.ndim != 2 or embedding.shape[1] != self.dimension:
            raise InputError(
                f"{type(self).__name__} takes embeddings (N, {self.dimension}); got {tuple(embedding.shape)}. "
                "Use the frontalizer that was trained for this recognizer."
            )
        if pose.shape != (len(embedding), self.pose_size):
            unit = "yaws in degrees" if self.takes == "yaw" else "pose features"
            raise InputError(
                f"{type(self).__name__} takes {unit} ({len(embedding)}, {self.pose_size}), one row an embedding; "
                f"got {tuple(pose.shape)}"
            )
        return self.frontalize(embedding, pose)

    @abstractmethod
    def frontalize(self, embedding: Tensor, pose: Tensor) -> Tensor:
        """The formula of the method, on arguments of the right shapes."""


FRONTALIZERS: Registry[type[Frontalizer]] = Registry("frontalizer")


def build_frontalizer(name: str, dimension: int, pose_size: int, **options: Any) -> Frontalizer:
    """A fresh frontalizer of a registered kind, in training mode.

    Args:
        name: one of `FRONTALIZERS`.
        dimension: D of the embeddings.
        pose_size: P of the poses.
        options: the options of that frontalizer.

    Raises:
        InputError: unknown name or option, or a pose size that the method does not take.
    """
    factory = FRONTALIZERS[name]
    try:
        model = factory(dimension, pose_size, **options)
    except TypeError as error:
        raise InputError(f"frontalizer '{name}' does not take these options: {error}") from None
    model.architecture = {"name": name, "dimension": dimension, "pose_size": pose_size, "options": options}
    return model

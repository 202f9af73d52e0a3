"""FacePair and Saliency: the two pieces of data that every explainer, judge and figure passes on."""

from dataclasses import dataclass

import torch
from torch import Tensor

from facexai.errors import InputError


@dataclass(frozen=True)
class FacePair:
    """Two aligned faces to compare.

    Args:
        probe: the questioned image, RGB in [-1, 1]. Shape (3, H, W).
        gallery: the enrolled image, same shape and range.
        genuine: True for one identity, False for two, None where it is not known.
        name: a label for figures and files.

    Raises:
        InputError: another shape, range, or a value that is not finite.
    """

    probe: Tensor
    gallery: Tensor
    genuine: bool | None = None
    name: str = ""

    def __post_init__(self) -> None:
        for role, image in (("probe", self.probe), ("gallery", self.gallery)):
            check_image(image, role)
        if self.probe.shape != self.gallery.shape:
            raise InputError(
                f"probe and gallery must have one size; got {tuple(self.probe.shape)} and {tuple(self.gallery.shape)}. "
                "Align both with facexai.align_face."
            )

    @property
    def images(self) -> Tensor:
        """Both images, probe first. Shape (2, 3, H, W)."""
        return torch.stack([self.probe, self.gallery])

    def swapped(self) -> "FacePair":
        """The same pair with the roles exchanged."""
        return FacePair(self.gallery, self.probe, self.genuine, self.name)


@dataclass(frozen=True)
class Saliency:
    """Signed maps of a pair, on the raw scale of the method.

    Args:
        signed: `signed[0]` lies on the probe, `signed[1]` on the gallery image; > 0 raises the score, < 0 lowers it.
            Shape (2, H, W).
        score: cosine similarity of the pair.
        method: name of the explainer, with its options (`repr` of the explainer is the record of the experiment).
        balanced: on each face the evidence for the pair and that against it weigh the same, so that places can be
            compared, and strengths cannot.

    Source: DDFV paper, Algorithm 1: S = |H|, S+ = ReLU(H), S- = ReLU(-H) are three readings of one signed map H.
    """

    signed: Tensor
    score: float
    method: str
    balanced: bool = False

    @property
    def similarity(self) -> Tensor:
        """S+ = ReLU(H). Shape (2, H, W)."""
        return self.signed.clamp(min=0)

    @property
    def dissimilarity(self) -> Tensor:
        """S- = ReLU(-H). Shape (2, H, W)."""
        return (-self.signed).clamp(min=0)

    @property
    def discriminative(self) -> Tensor:
        """S = |H|. Shape (2, H, W)."""
        return self.signed.abs()


def check_image(image: Tensor, role: str) -> None:
    """Raise `InputError` unless `image` is RGB in [-1, 1] of shape (3, H, W), H and W at least 16."""
    if not isinstance(image, Tensor):
        raise InputError(f"{role} must be a torch tensor; got {type(image).__name__}. Use facexai.load_image.")
    if image.ndim != 3 or image.shape[0] != 3 or min(image.shape[1:]) < 16:
        raise InputError(
            f"{role} must be one RGB image of shape (3, H, W), at least 16 pixels a side; got {tuple(image.shape)}. "
            "Use facexai.load_image."
        )
    if not image.is_floating_point():
        raise InputError(f"{role} must be floating point in [-1, 1]; got {image.dtype}. Use facexai.load_image.")
    if not torch.isfinite(image).all():
        raise InputError(f"{role} must be finite; it holds NaN or infinite values. Use facexai.load_image.")
    low, high = float(image.min()), float(image.max())
    if low < -1.001 or high > 1.001:
        raise InputError(f"{role} must lie in [-1, 1]; got [{low:.2f}, {high:.2f}]. Use facexai.load_image.")

"""CrossPoseFaces: the embeddings of people who are seen from the front and from the side."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from facexai.datasets.features import PoseFeatures
from facexai.errors import InputError


@dataclass(frozen=True)
class CrossPoseFaces:
    """Frontal faces and profiles of K people, each with at least one of both.

    Attributes:
        frontal, profile: their features.
        frontal_identity, profile_identity: whose, in [0, K). Shapes (number of frontal faces,), (of profiles,), int64.
        frontal_yaw, profile_yaw: in degrees, as given with the faces or estimated. Same shapes, float32.
    """

    frontal: PoseFeatures
    profile: PoseFeatures
    frontal_identity: Tensor
    profile_identity: Tensor
    frontal_yaw: Tensor
    profile_yaw: Tensor

    @classmethod
    def sort(
        cls,
        features: PoseFeatures,
        identity: np.ndarray,
        angles: np.ndarray,
        *,
        frontal: float = 20.0,
        profile: float = 40.0,
    ) -> "CrossPoseFaces":
        """Tell frontal faces from profiles; who lacks either is left out, and so are the poses in between.

        Args:
            features: of M faces.
            identity: whose each is. Shape (M,).
            angles: yaw, pitch, roll of each in degrees. Shape (M, 3).
            frontal: a face is frontal where no angle is larger.
            profile: a face is a profile where any angle is larger.

        Raises:
            InputError: arrays of other lengths, an angle that is no number, or nobody with both.

        Source: Stanishev et al. (2025), 4.1.1: profiles have "more than 40 degrees yaw, pitch, or roll".
        """
        identity, angles = np.asarray(identity), np.asarray(angles, np.float64)
        if identity.shape != (len(features),) or angles.shape != (len(features), 3):
            raise InputError(
                f"{len(features)} faces need as many identities and (M, 3) angles; got {identity.shape} and "
                f"{angles.shape}"
            )
        if not np.isfinite(angles).all():
            raise InputError(
                f"angles must be numbers; those of {int((~np.isfinite(angles)).any(1).sum())} faces are not. "
                "Leave such faces out, or estimate their poses."
            )
        largest = np.abs(angles).max(1)
        is_frontal, is_profile = largest <= frontal, largest > profile
        both = np.intersect1d(identity[is_frontal], identity[is_profile])
        if len(both) < 2:
            raise InputError(
                f"at least two people must have a frontal face (all angles within {frontal:g} degrees) and a profile "
                f"(one beyond {profile:g}); there are {int(is_frontal.sum())} frontal faces and "
                f"{int(is_profile.sum())} profiles, and {len(both)} people with both"
            )
        rows_f, rows_p = (np.flatnonzero(kind & np.isin(identity, both)) for kind in (is_frontal, is_profile))
        label = {name: number for number, name in enumerate(both)}
        whose_f, whose_p = (torch.tensor([label[name] for name in identity[rows]]) for rows in (rows_f, rows_p))
        yaw_f, yaw_p = (torch.tensor(angles[rows, 0], dtype=torch.float32) for rows in (rows_f, rows_p))
        return cls(
            features[torch.from_numpy(rows_f)], features[torch.from_numpy(rows_p)], whose_f, whose_p, yaw_f, yaw_p
        )

    @property
    def people(self) -> int:
        """K."""
        return int(self.profile_identity.max()) + 1

    def of(self, first: int, last: int) -> "CrossPoseFaces":
        """The people numbered from `first` up to, not including, `last`."""
        front, side = ((x >= first) & (x < last) for x in (self.frontal_identity, self.profile_identity))
        return CrossPoseFaces(
            self.frontal[front],
            self.profile[side],
            self.frontal_identity[front] - first,
            self.profile_identity[side] - first,
            self.frontal_yaw[front],
            self.profile_yaw[side],
        )

    def mean_frontal(self) -> Tensor:
        """Unit mean of each person's frontal embeddings, images and mirror images. Shape (K, D)."""
        unit = F.normalize(self.frontal.embedding, dim=-1).mean(1)  # (number of frontal faces, D)
        total = torch.zeros(self.people, unit.shape[1]).index_add_(0, self.frontal_identity, unit)
        return F.normalize(total)

    def pairs(self, strangers: int = 20) -> tuple[Tensor, Tensor, Tensor]:
        """Each profile with the frontal faces of its person and of the `strangers` people after it, in a circle.

        Returns:
            Rows of `profile`, rows of `frontal`, and whether both are one person. Shape (P,) each.
        """
        apart = (self.frontal_identity[None] - self.profile_identity[:, None]) % self.people
        profile, frontal = (apart <= strangers).nonzero(as_tuple=True)
        return profile, frontal, apart[profile, frontal] == 0

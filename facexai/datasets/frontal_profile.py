"""Frontal faces and profiles of the same people, with their poses: what frontalization is learnt from."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from facexai.datasets.rendered import poses_in_crops, rendered_once, two_looks
from facexai.errors import InputError
from facexai.rendering import Identity, Nuisance, sample_nuisance
from facexai.rendering.scene import framing


@dataclass(frozen=True)
class RenderedFrontalProfiles:
    """Rendered frontal faces and profiles of the same people, the twin of MS1M with MS1M-Pose-Sim.

    Args:
        identities: how many different people.
        frontals, profiles: images of each.
        seed: another seed gives other people.
        frontal_yaw, profile_yaw: smallest and largest |yaw| in degrees; the side is drawn by a coin.
        strength: lowest and highest nuisance strength k; each image draws its own.
        occlusion: probability of an occluder at k = 1.

    Every second image of a person wears another hair and beard, so that a network cannot lean on them.

    Source: Stanishev et al. (2025), 4.1.1: pairs of a frontal image and one simulated beyond 40 degrees.
    """

    identities: int = 4000
    frontals: int = 4
    profiles: int = 6
    seed: int = 4
    frontal_yaw: tuple[float, float] = (0.0, 20.0)
    profile_yaw: tuple[float, float] = (40.0, 90.0)
    strength: tuple[float, float] = (0.2, 1.4)
    occlusion: float = 0.25

    def __post_init__(self) -> None:
        for name in ("identities", "frontals", "profiles"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1; got {getattr(self, name)}")

    @property
    def identity(self) -> np.ndarray:
        """Identity label of each image. Shape (N,), int64."""
        return np.repeat(np.arange(self.identities), self.frontals + self.profiles)

    @property
    def frontal(self) -> np.ndarray:
        """Whether each image is one of the frontal ones. Shape (N,), bool."""
        return np.tile(np.arange(self.frontals + self.profiles) < self.frontals, self.identities)

    @property
    def pose(self) -> np.ndarray:
        """Yaw, pitch, roll of each image in degrees, as one sees them in the crop: see `pose_in_crop`. Shape (N, 3)."""
        return poses_in_crops((nuisance, framing(look, nuisance)) for look, nuisance in self.jobs())

    @property
    def recipe(self) -> dict[str, Any]:
        """What the images depend on."""
        return {**asdict(self), "kind": "frontal-profile"}

    def jobs(self) -> Iterator[tuple[Identity, Nuisance]]:
        """What to render: person by person, frontal faces before profiles."""
        for person in range(self.identities):
            rng = np.random.default_rng([self.seed, person])
            looks = two_looks(rng)
            for image in range(self.frontals + self.profiles):
                yaw = self.frontal_yaw if image < self.frontals else self.profile_yaw
                yield looks[image % 2], self._nuisance(rng, yaw)

    def images(self, *, workers: int | None = None, progress: bool = True) -> np.ndarray:
        """All images, rendered on first use. Shape (N, 112, 112, 3), uint8, read from disk as they are needed."""
        return rendered_once(self.recipe, self.jobs, workers=workers, progress=progress)

    def _nuisance(self, rng: np.random.Generator, yaw: tuple[float, float]) -> Nuisance:
        nuisance = sample_nuisance(rng, strength=rng.uniform(*self.strength), occlusion=self.occlusion)
        return replace(nuisance, yaw=float(rng.uniform(*yaw) * rng.choice([-1, 1])))

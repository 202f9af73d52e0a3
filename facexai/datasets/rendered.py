"""RenderedFaces: identities made from seeds, with no download and nobody's photo.

A set is a handful of numbers; its images are rendered on first use and kept in the user's cache.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from facexai.cache import cache_folder, save_array
from facexai.pixels import CROP_SIZE
from facexai.pose import Pose
from facexai.rendering import Identity, Nuisance, render_many, sample_identity, sample_nuisance, swap_regions
from facexai.rendering.scene import framing, place_in_picture, pose_in_crop

APPEARANCE = 1  # raise it whenever the renderer gives other pixels for the same seeds: cached images are then made anew


@dataclass(frozen=True)
class RenderedPeople:
    """What sets of rendered identities have in common; the sets say what their settings mean."""

    identities: int = 500
    images_per_identity: int = 20
    seed: int = 1
    strength: tuple[float, float] = (0.2, 1.4)
    occlusion: float = 0.25

    @property
    def identity(self) -> np.ndarray:
        """Identity label of each image. Shape (N,), int64."""
        return np.repeat(np.arange(self.identities), self.images_per_identity)


@dataclass(frozen=True)
class RenderedFaces(RenderedPeople):
    """Images of rendered identities, for training.

    Args:
        identities: how many different people.
        images_per_identity: images of each.
        seed: another seed gives other people.
        strength: lowest and highest nuisance strength k; each image draws its own.
        occlusion: probability of an occluder at k = 1.
        frontal: share of the images with a yaw about zero (standard deviation 15 degrees); the others lie anywhere
            within +-90 degrees.

    Every second image of a person wears another hair and beard, so that a network cannot lean on them.
    """

    frontal: float = 0.5

    def jobs(self) -> Iterator[tuple[Identity, Nuisance]]:
        """What to render, image by image."""
        for person in range(self.identities):
            rng = np.random.default_rng([self.seed, person])
            looks = two_looks(rng)
            for image in range(self.images_per_identity):
                yield looks[image % 2], self._nuisance(rng)

    def images(self, *, workers: int | None = None, progress: bool = True) -> np.ndarray:
        """All images, rendered on first use. Shape (N, 112, 112, 3), uint8, read from disk as they are needed."""
        return rendered_once(asdict(self), self.jobs, workers=workers, progress=progress)

    def _nuisance(self, rng: np.random.Generator) -> Nuisance:
        nuisance = sample_nuisance(rng, strength=rng.uniform(*self.strength), occlusion=self.occlusion)
        if rng.random() < self.frontal:
            nuisance = replace(nuisance, yaw=float(np.clip(15 * rng.standard_normal(), -90, 90)))
        return nuisance


FACE_CENTRE = np.array([[0.0, -30.0, 80.0]])  # between eyes and mouth in the mean head, mm
LOOSE_SCALE = 0.28, 0.5  # pixels a mm; an aligned frontal face has 0.52
LOOSE_SHIFT = 8.0  # pixels


@dataclass(frozen=True)
class RenderedPoses(RenderedPeople):
    """Images of rendered identities whose pose is known exactly.

    Args:
        identities: how many different people.
        images_per_identity: images of each.
        seed: another seed gives other people.
        strength: lowest and highest nuisance strength k; each image draws its own.
        occlusion: probability of an occluder at k = 1.
        loose: share of the images that are framed loosely, as a face detector's box does: smaller, off the centre, and
            with the head's roll left as it is. The others are aligned, as all faces that facexai looks at.

    Yaw lies anywhere within +-90 degrees; pitch and roll are those of `sample_nuisance`. As in `RenderedFaces` every
    second image of a person wears another hair.
    """

    loose: float = 0.5

    def jobs(self) -> Iterator[tuple[Identity, Nuisance, np.ndarray]]:
        """What to render, image by image, and how it is framed."""
        for person in range(self.identities):
            rng = np.random.default_rng([self.seed, person])
            looks = two_looks(rng)
            for image in range(self.images_per_identity):
                look, strength = looks[image % 2], rng.uniform(*self.strength)
                nuisance = sample_nuisance(rng, strength=strength, occlusion=self.occlusion)
                loosely = rng.random() < self.loose
                yield look, nuisance, loose_framing(nuisance, rng) if loosely else framing(look, nuisance)

    def images(self, *, workers: int | None = None, progress: bool = True) -> np.ndarray:
        """All images, rendered on first use. Shape (N, 112, 112, 3), uint8, read from disk as they are needed."""
        return rendered_once({**asdict(self), "kind": "poses"}, self.jobs, workers=workers, progress=progress)

    def poses(self) -> np.ndarray:
        """Yaw, pitch, roll of each image in degrees, as one sees them in the crop: see `pose_in_crop`. Shape (N, 3)."""
        return poses_in_crops((nuisance, alignment) for _, nuisance, alignment in self.jobs())


def poses_in_crops(placed: Iterable[tuple[Nuisance, np.ndarray]]) -> np.ndarray:
    """Yaw, pitch, roll in degrees, as one sees them in the crops, of images and how they are framed. Shape (N, 3)."""
    seen: Iterator[Pose] = (pose_in_crop(nuisance.pose, alignment) for nuisance, alignment in placed)
    return np.array([(pose.yaw, pose.pitch, pose.roll) for pose in seen], np.float32)


def loose_framing(nuisance: Nuisance, rng: np.random.Generator) -> np.ndarray:
    """An alignment that neither turns the face nor puts it exactly into the middle. Shape (2, 3)."""
    scale, shift = rng.uniform(*LOOSE_SCALE), rng.uniform(-LOOSE_SHIFT, LOOSE_SHIFT, 2)
    (centre,) = place_in_picture(FACE_CENTRE, nuisance)
    return np.column_stack([scale * np.eye(2), (CROP_SIZE - 1) / 2 + shift - scale * centre])


def two_looks(rng: np.random.Generator) -> tuple[Identity, Identity]:
    """A person, and the same person with somebody else's hair and beard."""
    person, other = sample_identity(rng), sample_identity(rng)
    return person, swap_regions(person, other, ["hair"])


def rendered_once(
    recipe: dict, jobs, *, workers: int | None = None, progress: bool = True, labels: bool = False
) -> np.ndarray:
    """Images of a recipe: from the cache, or rendered and put there.

    Args:
        recipe: everything that the images depend on but the renderer, JSON-able; its hash names the file.
        jobs: called without arguments where the images must be made; gives the jobs of `render_many`.
        workers: processes; the number of cores where None.
        progress: show a bar while rendering.
        labels: keep the region map of each image with it, as `render_many` does.

    Returns:
        Images, memory-mapped. Shape (N, 112, 112, 3), or (N, 112, 112, 4) with labels, uint8.
    """
    if labels:
        recipe = {**recipe, "labels": True}
    key = hashlib.sha256(json.dumps(versioned(recipe), sort_keys=True).encode()).hexdigest()[:16]
    file = cache_folder() / "rendered" / f"{key}.npy"
    if not file.is_file():
        images = render_many(list(jobs()), workers or os.cpu_count() or 1, progress=progress, labels=labels)
        save_array(file, images)
    return np.load(file, mmap_mode="r")


def versioned(recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe with the version of the renderer: what is kept of rendered images, pixels or features, depends on."""
    return {"appearance": APPEARANCE, **recipe}

"""How far a head pose network is from the truth: mean absolute errors, by how far a face is turned.

The truth is what one sees in the crop (`rendering.scene.pose_in_crop`). Rendered faces know it exactly; they are no
photographs, and an error on them says nothing about those.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from facexai.benchmarks.statistics import Interval, cluster_interval
from facexai.benchmarks.tables import aligned
from facexai.datasets import PoseFolder
from facexai.datasets.folders import load_faces
from facexai.datasets.rendered import RenderedPoses
from facexai.errors import InputError
from facexai.models.hopenet import PoseEstimator

ANGLES = ("yaw", "pitch", "roll")
BINS = ((0.0, 15.0), (15.0, 30.0), (30.0, 45.0), (45.0, 60.0), (60.0, 75.0), (75.0, 90.0))  # of |yaw|
WITHIN = (60.0, 90.0)
UNSEEN = RenderedPoses(100, 20, seed=1500, strength=(1.0, 1.0), occlusion=0.15, loose=0.0)


@dataclass(frozen=True)
class PoseSet:
    """Faces with known poses.

    Args:
        name: for reports.
        images: (N, H, W, 3) uint8, or paths of aligned faces.
        poses: yaw, pitch, roll in degrees, as one sees them in the crop. (N, 3)
        identity: label of each face; intervals are over identities. (N,)
        rendered: whether these are rendered faces.
    """

    name: str
    images: Any
    poses: np.ndarray
    identity: np.ndarray
    rendered: bool = False

    @classmethod
    def of_rendered(cls, faces: RenderedPoses = UNSEEN, *, progress: bool = True) -> "PoseSet":
        """Rendered faces; those of `UNSEEN` are aligned, at k = 1, of people that no training set holds."""
        return cls("rendered-poses", faces.images(progress=progress), faces.poses(), faces.identity, rendered=True)

    @classmethod
    def of_folder(cls, folder: PoseFolder) -> "PoseSet":
        """The user's own faces."""
        return cls(folder.root.name, folder.paths, folder.poses, folder.identity)

    def __len__(self) -> int:
        return len(self.poses)

    def faces(self, where: slice) -> torch.Tensor:
        """Some of the faces, (n, 3, H, W) in [-1, 1]."""
        chosen = self.images[where]
        pixels = np.array(chosen) if isinstance(chosen, np.ndarray) else load_faces(chosen)
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(127.5).sub(1)


@dataclass(frozen=True)
class ErrorRow:
    """Mean absolute errors, in degrees, of the faces whose |yaw| is at least `low` and below `high` (or equal to it).

    `errors` holds the means of yaw, pitch and roll with their intervals; nan where there are no faces.
    """

    low: float
    high: float
    images: int
    errors: tuple[Interval, Interval, Interval]


@dataclass(frozen=True)
class PoseReport:
    """What `measure_pose_error` found.

    Attributes:
        name, model: of the set and of the network.
        images, identities: how many.
        rendered: whether the faces are.
        bins: by |yaw|.
        within: of all faces up to 60 and up to 90 degrees of |yaw|.
        seconds: that the network took.
    """

    name: str
    model: str
    images: int
    identities: int
    rendered: bool
    bins: list[ErrorRow]
    within: list[ErrorRow]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The figures, JSON-able."""
        facts = {key: value for key, value in asdict(self).items() if key not in ("name", "bins", "within")}
        return {
            "benchmark": self.name,
            **facts,
            "bins": [_row_json(row) for row in self.bins],
            "within": [_row_json(row) for row in self.within],
        }

    def table(self) -> str:
        """The figures for people."""
        rows = [*self.bins, *self.within]
        columns = [["|yaw|", *(f"{row.low:g} - {row.high:g}" for row in rows)]]
        columns += [["images", *(str(row.images) for row in rows)]]
        for number, angle in enumerate(ANGLES):
            intervals = [row.errors[number] for row in rows]
            columns += [[angle, *(f"{interval.mean:.2f}" for interval in intervals)]]
            columns += [["95 % interval", *(f"[{interval.low:.2f}, {interval.high:.2f}]" for interval in intervals)]]
        faces = "rendered faces; not to be compared with photos" if self.rendered else "photos"
        return "\n".join(
            [
                *aligned(columns),
                f"mean absolute errors in degrees, {self.images} images of {self.identities} people ({faces}), "
                f"model {self.model}",
            ]
        )


def measure_pose_error(
    estimator: PoseEstimator,
    data: PoseSet,
    *,
    bins: Sequence[tuple[float, float]] = BINS,
    batch_size: int = 64,
    progress: bool = True,
) -> PoseReport:
    """Mean absolute errors of a pose network, with 95 % bootstrap intervals over identities.

    Args:
        estimator: the network, in eval mode.
        data: the faces.
        bins: lowest and highest |yaw| in degrees.
        batch_size: faces at a time.
        progress: show a bar.

    Raises:
        InputError: a set without faces.
    """
    if len(data) == 0:
        raise InputError(f"the set '{data.name}' holds no faces; give one with at least one face and its pose")
    start = time.perf_counter()
    estimated = estimate_angles(estimator, data, batch_size=batch_size, progress=progress)
    seconds = time.perf_counter() - start
    errors = angular_distance(estimated, data.poses)  # (N, 3)
    yaw = np.abs(data.poses[:, 0])
    return PoseReport(
        data.name,
        getattr(estimator, "name", type(estimator).__name__),
        len(data),
        len(np.unique(data.identity)),
        data.rendered,
        [_row(errors, yaw, data.identity, low, high) for low, high in bins],
        [_row(errors, yaw, data.identity, 0.0, high) for high in WITHIN],
        seconds,
    )


@torch.inference_mode()
def estimate_angles(
    estimator: PoseEstimator, data: PoseSet, *, batch_size: int = 64, progress: bool = True
) -> np.ndarray:
    """Yaw, pitch, roll in degrees that a network sees in each face. Shape (N, 3), float32."""
    parameters = getattr(estimator, "parameters", None)
    device = next(parameters()).device if parameters else torch.device("cpu")
    parts = [
        estimator(data.faces(slice(first, first + batch_size)).to(device)).angles.float().cpu().numpy()
        for first in tqdm(range(0, len(data), batch_size), desc="pose", disable=None if progress else True)
    ]
    return np.concatenate(parts)


def angular_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Distance of two angles on the circle, 0..180 degrees; same shapes."""
    return np.abs((first - second + 180) % 360 - 180)


def _row(errors: np.ndarray, yaw: np.ndarray, identity: np.ndarray, low: float, high: float) -> ErrorRow:
    inside = (yaw >= low) & ((yaw <= high) if high >= max(WITHIN) else (yaw < high))
    intervals = [cluster_interval(errors[inside, angle], identity[inside]) for angle in range(3)]
    return ErrorRow(low, high, int(inside.sum()), (intervals[0], intervals[1], intervals[2]))


def _row_json(row: ErrorRow) -> dict[str, Any]:
    figures = {
        angle: {"mae": interval.mean, "ci95": interval.ci95}
        for angle, interval in zip(ANGLES, row.errors, strict=True)
        if row.images
    }
    return {"from": row.low, "to": row.high, "images": row.images, **figures}

"""Identity and circumstances to an image with its ground truth."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facexai.errors import InputError
from facexai.pixels import TEMPLATE, similarity_transform
from facexai.pose import Pose
from facexai.rendering.camera import develop
from facexai.rendering.drawing import SAMPLES, draw
from facexai.rendering.head import LABEL
from facexai.rendering.heads import build_head
from facexai.rendering.identity import Identity
from facexai.rendering.nuisance import Nuisance
from facexai.rendering.shape import head_shape, landmark_points

if TYPE_CHECKING:
    from torch import Tensor

_ONE_A_PIXEL = slice(SAMPLES // 2, None, SAMPLES)  # which samples the maps show
_VISIBLE_DEPTH = 5.0  # a landmark is hidden where something lies this much nearer, mm


@dataclass(frozen=True)
class Rendering:
    """An image and what is true about it.

    Attributes:
        image: RGB. Shape (H, W, 3), uint8.
        regions: index into `LABELS` of what each pixel shows. Shape (H, W), uint8.
        occluder: where an occluder hides the face; lenses of clear glasses do not. Shape (H, W), bool.
        landmarks: right eye, left eye, nose tip, right and left mouth corner as (x, y) in pixels; right is the person's
            right, the image's left. True places, free of `landmark_jitter`. Shape (5, 2).
        visible: whether each landmark can be seen. Shape (5,), bool.
        pose: the head pose.
        alignment: maps projected millimetres (x right, y down) to pixels; give it to `render` to frame another face in
            the same way. Shape (2, 3).
        depth: how near to the camera the surface in each pixel lies, in mm from the origin of the head; very negative
            where there is none. Shape (H, W), float32.
    """

    image: np.ndarray
    regions: np.ndarray
    occluder: np.ndarray
    landmarks: np.ndarray
    visible: np.ndarray
    pose: Pose
    alignment: np.ndarray
    depth: np.ndarray

    def tensor(self) -> "Tensor":
        """The image in [-1, 1]. Shape (3, H, W), float32."""
        import torch

        return torch.from_numpy(self.image).permute(2, 0, 1).float().div(127.5).sub(1)


def render(
    identity: Identity, nuisance: Nuisance | None = None, *, size: int = 112, alignment: np.ndarray | None = None
) -> Rendering:
    """Photograph a person.

    Args:
        identity: who.
        nuisance: under which circumstances; None for a neutral face in a studio.
        size: side of the image in pixels.
        alignment: framing of another rendering of this size; None aligns the five landmarks (with
            `nuisance.landmark_jitter`) to the ArcFace template. Shape (2, 3).

    Returns:
        The image with region map, landmarks and the rest of the ground truth. One machine gives the same image for the
        same arguments in every process; other machines may differ in the last bit of a pixel.

    Raises:
        InputError: size outside 16..1024, or an alignment that is not a finite (2, 3) matrix.
    """
    nuisance = Nuisance() if nuisance is None else nuisance
    check_size(size)
    alignment = _check_alignment(alignment)
    head = build_head(identity)
    points = _landmarks(head.vertices, nuisance)
    flat = _flatten(points, nuisance.distance)
    if alignment is None:
        alignment = _align(flat, nuisance, size)
    light, labels, depth = draw(head, nuisance, _expression(nuisance), alignment, size)
    landmarks = flat @ alignment[:, :2].T + alignment[:, 2]
    regions = np.ascontiguousarray(labels[_ONE_A_PIXEL, _ONE_A_PIXEL])
    return Rendering(
        image=develop(light, nuisance),
        regions=regions,
        occluder=regions == LABEL["occluder"],
        landmarks=landmarks,
        visible=_visibility(landmarks, points[:, 2], depth, labels),
        pose=nuisance.pose,
        alignment=alignment,
        depth=np.ascontiguousarray(depth[_ONE_A_PIXEL, _ONE_A_PIXEL]),
    )


def framing(identity: Identity, nuisance: Nuisance | None = None, *, size: int = 112) -> np.ndarray:
    """The alignment that `render` gives this rendering: what another face must be given to be framed like it.

    Shape (2, 3).
    """
    nuisance = Nuisance() if nuisance is None else nuisance
    points = _landmarks(head_shape(identity), nuisance)
    return _align(_flatten(points, nuisance.distance), nuisance, size)


def landmarks_in_crop(identity: Identity, nuisance: Nuisance, alignment: np.ndarray) -> np.ndarray:
    """Where `render` puts the five landmarks under this alignment. Shape (5, 2)."""
    flat = _flatten(_landmarks(head_shape(identity), nuisance), nuisance.distance)
    return flat @ alignment[:, :2].T + alignment[:, 2]


def pose_in_crop(pose: Pose, alignment: np.ndarray) -> Pose:
    """The pose that one sees in a crop, whose turn in the image plane takes part of the roll away.

    Roll is applied last, so a crop that is turned by an angle changes the roll by that angle and nothing else. An
    aligned crop stands the face upright: little roll is left in it, whatever the head's was.

    Args:
        pose: of the head before the camera.
        alignment: `Rendering.alignment`. Shape (2, 3).
    """
    clockwise = np.degrees(np.arctan2(alignment[1, 0], alignment[0, 0]))  # as seen in the image, where y points down
    roll = (pose.roll - clockwise + 180) % 360 - 180
    return Pose(pose.yaw, pose.pitch, float(roll))


def place_in_picture(points: np.ndarray, nuisance: Nuisance) -> np.ndarray:
    """Where points of the head, in its own coordinates, come to lie in projected millimetres. (K, 3) -> (K, 2)."""
    return _flatten(points @ nuisance.pose.matrix().T, nuisance.distance)


def check_size(size: int) -> None:
    """Raise `InputError` unless an image of this side can be rendered."""
    if not 16 <= size <= 1024:
        raise InputError(f"size must be 16 to 1024 pixels; got {size}.")


def _check_alignment(alignment: np.ndarray | None) -> np.ndarray | None:
    if alignment is None:
        return None
    alignment = np.asarray(alignment, np.float64)
    if alignment.shape != (2, 3) or not np.isfinite(alignment).all():
        raise InputError(
            f"alignment must be a finite (2, 3) matrix; got shape {alignment.shape}. Use Rendering.alignment."
        )
    return alignment


def _expression(nuisance: Nuisance) -> np.ndarray:
    """Weights of the blend shapes. Shape (5,), float32."""
    shapes = (nuisance.mouth_open, nuisance.smile, nuisance.eye_closure, nuisance.brow_raise, nuisance.age)
    return np.array(shapes, np.float32)


def _landmarks(vertices: np.ndarray, nuisance: Nuisance) -> np.ndarray:
    """The five landmarks of a turned head in camera coordinates. Shape (5, 3)."""
    return landmark_points(vertices, _expression(nuisance)) @ nuisance.pose.matrix().T


def _align(flat: np.ndarray, nuisance: Nuisance, size: int) -> np.ndarray:
    """What maps projected landmarks, with their jitter, to the ArcFace template. Shape (2, 3)."""
    jitter = 0 if nuisance.landmark_jitter is None else np.asarray(nuisance.landmark_jitter)
    return similarity_transform(flat + jitter, (TEMPLATE + 0.5) * (size / 112) - 0.5)


def _flatten(points: np.ndarray, distance: float) -> np.ndarray:
    """Perspective: camera coordinates to millimetres in the picture, x right, y down. Shape (K, 2)."""
    scale = distance / (distance - points[:, 2])
    return np.stack([points[:, 0] * scale, -points[:, 1] * scale], -1)


def _visibility(landmarks: np.ndarray, depth: np.ndarray, nearest: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """A landmark is visible where it lies inside the image and nothing lies in front of it. Shape (5,), bool."""
    places = np.round((landmarks + 0.5) * SAMPLES - 0.5).astype(int)
    last = nearest.shape[0] - 1
    inside = ((places >= 0) & (places <= last)).all(axis=1)
    x, y = np.clip(places, 0, last).T
    uncovered = labels[y, x] != LABEL["occluder"]
    return inside & uncovered & (nearest[y, x] < depth + _VISIBLE_DEPTH)

"""Identity and circumstances to an image with its ground truth."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facexai.errors import InputError
from facexai.images import TEMPLATE, similarity_transform
from facexai.pose import Pose
from facexai.rendering.appearance import mean_skin_colour, skin_texture
from facexai.rendering.background import background
from facexai.rendering.camera import develop
from facexai.rendering.ears import ear_layers
from facexai.rendering.eyes import Eye, Face, eye_of
from facexai.rendering.hair import covers_ears, hair_layers
from facexai.rendering.head import LABEL, SHELL, SHELL_STEP, SKIN, TEXTURE_PLACES, smoothstep
from facexai.rendering.identity import Identity
from facexai.rendering.layers import GLASS_MATERIAL, HAIR_MATERIAL, SKIN_MATERIAL, Layer
from facexai.rendering.nuisance import Nuisance
from facexai.rendering.occluders import COVERS_HAIR, occluder_layers
from facexai.rendering.rasterizer import FAR, NOTHING, project, rasterize, sunlight, vertex_normals
from facexai.rendering.shading import Light, glaze, key_light, shade_shell, shade_skin
from facexai.rendering.shape import EXPRESSIONS, head_shape, landmark_points

if TYPE_CHECKING:
    from torch import Tensor

SAMPLES = 2  # samples per pixel and axis
_SHADOW_SIZE = 88
_SHADOW_WIDTH = 290.0  # millimetres
_VISIBLE_DEPTH = 5.0  # a landmark is hidden where something lies this much nearer, mm
_SHELL_EXPRESSIONS = np.ascontiguousarray(EXPRESSIONS[:, ::SHELL_STEP, ::SHELL_STEP])
_EVEN_ROWS = np.linspace(118, -190, 140)
_SKIN_FOLLOWS = np.ones(SKIN.shape[0], np.float32)


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
    """

    image: np.ndarray
    regions: np.ndarray
    occluder: np.ndarray
    landmarks: np.ndarray
    visible: np.ndarray
    pose: Pose
    alignment: np.ndarray

    def tensor(self) -> "Tensor":
        """The image in [-1, 1]. Shape (3, H, W), float32."""
        import torch

        return torch.from_numpy(self.image).permute(2, 0, 1).float().div(127.5).sub(1)


@dataclass(frozen=True)
class Head:
    """What an identity looks like before any circumstances."""

    vertices: np.ndarray
    layers: list[Layer]
    hair: list[Layer]
    eye: Eye
    gloss: float


class _Buffers:
    """The z-buffer: nearest depth, grid coordinates there, and number of the layer."""

    def __init__(self, size: int) -> None:
        self.depth = np.full((size, size), FAR, np.float32)
        self.columns = np.zeros((size, size), np.float32)
        self.rows = np.zeros((size, size), np.float32)
        self.layers = np.full((size, size), NOTHING, np.int8)

    def draw(self, screen: np.ndarray, layer: Layer, number: int) -> None:
        skin = layer.material == SKIN_MATERIAL
        rasterize(screen, layer.texture, not skin, skin, number, self.depth, self.columns, self.rows, self.layers)


@lru_cache(maxsize=16)
def build_head(identity: Identity) -> Head:
    """Shape, texture and hair of an identity; remembered, as many images show one person."""
    vertices = head_shape(identity)
    skin = Layer(SKIN_MATERIAL, vertices, skin_texture(identity), _ambient_occlusion(vertices), _SKIN_FOLLOWS)
    ears = [] if covers_ears(identity) else ear_layers(identity, mean_skin_colour(identity))
    gloss = float(np.exp(0.3 * identity.named("skin").gloss))
    return Head(vertices, [skin, *ears], hair_layers(identity, vertices), eye_of(identity), gloss)


def _ambient_occlusion(vertices: np.ndarray) -> np.ndarray:
    """Hollows get less light: compare each vertex with its blurred surroundings at two scales."""
    # On evenly spaced rows, as the blur would be narrower where rows are dense and leave a bright line there.
    even = _interpolate_rows(vertices, SKIN.row[:, 0], _EVEN_ROWS)
    normals = vertex_normals(even)
    light = np.ones(even.shape[:2], np.float32)
    for sigma, weight in ((2.2, 0.085), (6.0, 0.028)):
        hollow = ((cv2.GaussianBlur(even, (0, 0), sigma) - even) * normals).sum(-1)
        light *= np.clip(1 - weight * np.maximum(hollow, 0), 0.35, 1)
    light[_EVEN_ROWS < -119] *= 0.62
    light = _interpolate_rows(light, _EVEN_ROWS, SKIN.row[:, 0])
    return (light * (1 - 0.15 * SKIN.bump(6, 4, -47, 3))).astype(np.float32)


def _interpolate_rows(values: np.ndarray, rows: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Linear interpolation between rows that run downwards."""
    place = np.interp(-wanted, -rows, np.arange(len(rows)))
    above = np.minimum(place.astype(int), len(rows) - 2)
    share = (place - above).astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))
    return np.ascontiguousarray(values[above] * (1 - share) + values[above + 1] * share)


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
    weights = np.array(
        [nuisance.mouth_open, nuisance.smile, nuisance.eye_closure, nuisance.brow_raise, nuisance.age], np.float32
    )
    points = landmark_points(head.vertices, weights) @ nuisance.pose.matrix().T
    flat = _flatten(points, nuisance.distance)
    if alignment is None:
        jitter = 0 if nuisance.landmark_jitter is None else np.asarray(nuisance.landmark_jitter)
        alignment = similarity_transform(flat + jitter, (TEMPLATE + 0.5) * (size / 112) - 0.5)
    buffers, light, labels = _draw(head, nuisance, weights, alignment, size)
    landmarks = flat @ alignment[:, :2].T + alignment[:, 2]
    regions = np.ascontiguousarray(labels[SAMPLES // 2 :: SAMPLES, SAMPLES // 2 :: SAMPLES])
    return Rendering(
        image=develop(light, nuisance),
        regions=regions,
        occluder=regions == LABEL["occluder"],
        landmarks=landmarks,
        visible=_visibility(landmarks, points[:, 2], buffers.depth, labels),
        pose=nuisance.pose,
        alignment=alignment,
    )


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


def _flatten(points: np.ndarray, distance: float) -> np.ndarray:
    """Perspective: camera coordinates to millimetres in the picture, x right, y down. Shape (K, 2)."""
    scale = distance / (distance - points[:, 2])
    return np.stack([points[:, 0] * scale, -points[:, 1] * scale], -1)


def _draw(
    head: Head, nuisance: Nuisance, weights: np.ndarray, alignment: np.ndarray, size: int
) -> tuple[_Buffers, np.ndarray, np.ndarray]:
    """Draw all layers; returns the z-buffer, linear light and labels at `SAMPLES` times the size."""
    fine = size * SAMPLES
    layers = _layers(head, nuisance, weights)
    rotation = nuisance.pose.matrix().astype(np.float32)
    to_samples = (alignment * SAMPLES + [[0, 0, (SAMPLES - 1) / 2]]).astype(np.float32)
    key = key_light(nuisance.light_direction, nuisance.light_strength)
    buffers, shadows = _Buffers(fine), _Buffers(_SHADOW_SIZE)
    projected = []
    for number, layer in enumerate(layers):
        views = _project(layer, weights, rotation, nuisance.distance, to_samples, key)
        projected.append(views)
        if layer.material != GLASS_MATERIAL:
            buffers.draw(views[1], layer, number)
        if layer.casts_shadow:
            coarse = np.ascontiguousarray(views[2][:-6:2, ::2]) if layer.material == SKIN_MATERIAL else views[2]
            shadows.draw(coarse, layer, number)
    light, labels = background(nuisance.background, fine), np.zeros((fine, fine), np.uint8)
    harmonics = (np.asarray(nuisance.ambient_shape) * nuisance.ambient).astype(np.float32)
    face = _face(head, nuisance, size)
    for number, (layer, views) in enumerate(zip(layers, projected, strict=True)):
        attributes = _attributes(layer, views, shadows.depth)
        if layer.material == SKIN_MATERIAL:
            shade_skin(
                *(number, attributes, layer.texture, TEXTURE_PLACES, buffers.columns, buffers.rows, buffers.layers),
                *(rotation, key, harmonics, head.eye, face, light, labels),
            )
        elif layer.material == GLASS_MATERIAL:
            lenses = _lenses(buffers, views[1], layer, number)
            glaze(number, attributes, lenses.columns, lenses.rows, lenses.layers, key, harmonics, light)
        else:
            hairy = layer.material == HAIR_MATERIAL
            shade_shell(
                *(number, hairy, attributes, layer.texture, buffers.columns, buffers.rows, buffers.layers),
                *(key, harmonics, nuisance.grey, light, labels),
            )
    return buffers, light, labels


def _layers(head: Head, nuisance: Nuisance, weights: np.ndarray) -> list[Layer]:
    if nuisance.occluder is None:
        return [*head.layers, *head.hair]
    skin = head.vertices[::SHELL_STEP, ::SHELL_STEP] + np.tensordot(weights, _SHELL_EXPRESSIONS, 1)
    skin = np.ascontiguousarray(skin, np.float32)
    covering = occluder_layers(nuisance.occluder, skin, nuisance.occluder_colour, nuisance.occluder_variant)
    hair = [_under_hat(layer, skin) for layer in head.hair] if nuisance.occluder in COVERS_HAIR else head.hair
    return [*head.layers, *hair, *covering]


def _under_hat(layer: Layer, skin: np.ndarray) -> Layer:
    """Hair above the brim is pressed to the head."""
    if layer.points.shape != skin.shape:
        return layer
    pressed = smoothstep(SHELL.row, 30, 46)[..., None]
    close = skin + 2 * vertex_normals(skin)
    return layer._replace(points=(layer.points + (close - layer.points) * pressed).astype(np.float32))


def _project(
    layer: Layer, weights: np.ndarray, rotation: np.ndarray, distance: float, to_samples: np.ndarray, key: Light
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    expressions = EXPRESSIONS if layer.material == SKIN_MATERIAL else _SHELL_EXPRESSIONS
    return project(
        *(layer.points, expressions, weights, layer.follows, rotation, np.float32(distance), to_samples),
        *(_light_frame(key), np.float32(_SHADOW_SIZE / _SHADOW_WIDTH), np.float32(_SHADOW_SIZE)),
    )


def _light_frame(key: Light) -> np.ndarray:
    """Rotation into the coordinates of the shadow map, whose z points towards the light. Shape (3, 3)."""
    towards = np.array([key.x, key.y, key.z])
    helper = np.array([0.0, 1.0, 0.0]) if abs(key.y) < 0.9 else np.array([1.0, 0.0, 0.0])
    across = np.cross(helper, towards)
    across /= np.linalg.norm(across)
    return np.stack([across, np.cross(towards, across), towards]).astype(np.float32)


def _attributes(layer: Layer, views: tuple[np.ndarray, ...], shadow_map: np.ndarray) -> np.ndarray:
    """Per vertex: normal (3), occlusion, sun, and for hair the direction along the strands (3)."""
    camera, _, shadow = views
    rows, columns, _ = camera.shape
    attributes = np.empty((rows, columns, 8 if layer.material == HAIR_MATERIAL else 5), np.float32)
    attributes[..., :3] = vertex_normals(camera)
    attributes[..., 3] = layer.occlusion
    bias = np.float32(7 if layer.material == SKIN_MATERIAL else 11)
    attributes[..., 4] = sunlight(shadow, shadow_map, bias) if layer.casts_shadow else 0.8
    if layer.material == HAIR_MATERIAL:
        attributes[1:-1, :, 5:] = camera[2:] - camera[:-2]
        attributes[0, :, 5:], attributes[-1, :, 5:] = attributes[1, :, 5:], attributes[-2, :, 5:]
    return attributes


def _face(head: Head, nuisance: Nuisance, size: int) -> Face:
    return Face(
        mouth_open=float(nuisance.mouth_open),
        closure=float(nuisance.eye_closure),
        age=float(nuisance.age),
        grey=float(nuisance.grey),
        gaze_x=float(nuisance.gaze[0]),
        gaze_y=float(nuisance.gaze[1]),
        gloss=head.gloss,
        detail=1.0,
    )


def _lenses(buffers: _Buffers, screen: np.ndarray, layer: Layer, number: int) -> _Buffers:
    """Where the lens is the nearest surface; the picture behind it stays in `buffers`."""
    lenses = _Buffers(0)
    lenses.depth, lenses.columns, lenses.rows = buffers.depth.copy(), buffers.columns.copy(), buffers.rows.copy()
    lenses.layers = np.full_like(buffers.layers, NOTHING)
    lenses.draw(screen, layer, number)
    return lenses


def _visibility(landmarks: np.ndarray, depth: np.ndarray, nearest: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """A landmark is visible where it lies inside the image and nothing lies in front of it. Shape (5,), bool."""
    places = np.round((landmarks + 0.5) * SAMPLES - 0.5).astype(int)
    last = nearest.shape[0] - 1
    inside = ((places >= 0) & (places <= last)).all(axis=1)
    x, y = np.clip(places, 0, last).T
    uncovered = labels[y, x] != LABEL["occluder"]
    return inside & uncovered & (nearest[y, x] < depth + _VISIBLE_DEPTH)

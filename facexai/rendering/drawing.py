"""Layers to light: shadow map, z-buffer, shading. What comes out is linear light, not yet a photograph."""

import numpy as np

from facexai.rendering.background import background
from facexai.rendering.eyes import Face
from facexai.rendering.head import SHELL, SHELL_STEP, TEXTURE_PLACES, smoothstep
from facexai.rendering.heads import Head
from facexai.rendering.layers import GLASS_MATERIAL, HAIR_MATERIAL, SKIN_MATERIAL, Layer
from facexai.rendering.lighting import Light, make_light
from facexai.rendering.nuisance import Nuisance
from facexai.rendering.occluders import COVERS_HAIR, occluder_layers
from facexai.rendering.rasterizer import (
    NOTHING,
    Buffers,
    empty_buffers,
    project,
    rasterize,
    sunlight,
    vertex_normals,
)
from facexai.rendering.shading import glaze, shade_shell, shade_skin
from facexai.rendering.shape import EXPRESSIONS

SAMPLES = 2  # samples per pixel and axis
_SHADOW_SIZE = 88
_SHADOW_WIDTH = 290.0  # millimetres
_SHELL_EXPRESSIONS = np.ascontiguousarray(EXPRESSIONS[:, ::SHELL_STEP, ::SHELL_STEP])

Views = tuple[np.ndarray, np.ndarray, np.ndarray]  # a mesh in camera, screen and shadow-map coordinates


def draw(
    head: Head, nuisance: Nuisance, weights: np.ndarray, alignment: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw all layers of a head.

    Args:
        head: who.
        nuisance: pose, light, occluder and background.
        weights: of the five expressions in shape.py. Shape (5,).
        alignment: projected millimetres to pixels. Shape (2, 3).
        size: side of the image in pixels.

    Returns:
        Linear RGB, labels and depth at `SAMPLES` times the size. Shapes (S, S, 3), (S, S), (S, S).
    """
    layers = _layers(head, nuisance, weights)
    rotation = nuisance.pose.matrix().astype(np.float32)
    harmonics = (np.asarray(nuisance.ambient_shape) * nuisance.ambient).astype(np.float32)
    light = make_light(nuisance.light_direction, nuisance.light_strength, harmonics)
    to_samples = (alignment * SAMPLES + [[0, 0, (SAMPLES - 1) / 2]]).astype(np.float32)
    views = [_project(layer, weights, rotation, nuisance.distance, to_samples, light) for layer in layers]
    shadow_map = _shadow_map(layers, views)
    buffers = _visible_surfaces(layers, views, size * SAMPLES)
    image = background(nuisance.background, size * SAMPLES)
    labels = np.zeros(image.shape[:2], np.uint8)
    face = _face(head, nuisance)
    for number, (layer, view) in enumerate(zip(layers, views, strict=True)):
        attributes = _attributes(layer, view, shadow_map)
        if layer.material == SKIN_MATERIAL:
            shade_skin(
                *(number, attributes, layer.texture, TEXTURE_PLACES, buffers),
                *(rotation, light, head.eye, face, image, labels),
            )
        elif layer.material == GLASS_MATERIAL:
            glaze(number, attributes, _lenses(buffers, view[1], layer, number), light, image)
        else:
            hairy = layer.material == HAIR_MATERIAL
            shade_shell(number, hairy, attributes, layer.texture, buffers, light, nuisance.grey, image, labels)
    return image, labels, buffers.depth


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


def _shadow_map(layers: list[Layer], views: list[Views]) -> np.ndarray:
    """Depth of the nearest surface as the key light sees it; the skin at half its resolution."""
    buffers = empty_buffers(_SHADOW_SIZE)
    for number, (layer, (_, _, shadow)) in enumerate(zip(layers, views, strict=True)):
        if layer.casts_shadow:
            coarse = np.ascontiguousarray(shadow[:-6:2, ::2]) if layer.material == SKIN_MATERIAL else shadow
            _rasterize(coarse, layer, number, buffers)
    return buffers.depth


def _visible_surfaces(layers: list[Layer], views: list[Views], size: int) -> Buffers:
    """Z-buffer of everything but glass."""
    buffers = empty_buffers(size)
    for number, (layer, (_, screen, _)) in enumerate(zip(layers, views, strict=True)):
        if layer.material != GLASS_MATERIAL:
            _rasterize(screen, layer, number, buffers)
    return buffers


def _rasterize(screen: np.ndarray, layer: Layer, number: int, buffers: Buffers) -> None:
    skin = layer.material == SKIN_MATERIAL
    rasterize(screen, layer.texture, not skin, skin, number, buffers)


def _project(
    layer: Layer, weights: np.ndarray, rotation: np.ndarray, distance: float, to_samples: np.ndarray, light: Light
) -> Views:
    expressions = EXPRESSIONS if layer.material == SKIN_MATERIAL else _SHELL_EXPRESSIONS
    return project(
        *(layer.points, expressions, weights, layer.follows, rotation, np.float32(distance), to_samples),
        *(_light_frame(light), np.float32(_SHADOW_SIZE / _SHADOW_WIDTH), np.float32(_SHADOW_SIZE)),
    )


def _light_frame(light: Light) -> np.ndarray:
    """Rotation into the coordinates of the shadow map, whose z points towards the light. Shape (3, 3)."""
    towards = np.array([light.x, light.y, light.z])
    helper = np.array([0.0, 1.0, 0.0]) if abs(light.y) < 0.9 else np.array([1.0, 0.0, 0.0])
    across = np.cross(helper, towards)
    across /= np.linalg.norm(across)
    return np.stack([across, np.cross(towards, across), towards]).astype(np.float32)


def _attributes(layer: Layer, view: Views, shadow_map: np.ndarray) -> np.ndarray:
    """Per vertex: normal (3), occlusion, sun, and for hair the direction along the strands (3)."""
    camera, _, shadow = view
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


def _face(head: Head, nuisance: Nuisance) -> Face:
    return Face(
        mouth_open=float(nuisance.mouth_open),
        closure=float(nuisance.eye_closure),
        age=float(nuisance.age),
        grey=float(nuisance.grey),
        gaze_x=float(nuisance.gaze[0]),
        gaze_y=float(nuisance.gaze[1]),
        gloss=head.gloss,
    )


def _lenses(buffers: Buffers, screen: np.ndarray, layer: Layer, number: int) -> Buffers:
    """Where the lens is the nearest surface; what lies behind it stays in `buffers`."""
    columns, rows = np.zeros_like(buffers.columns), np.zeros_like(buffers.rows)
    lenses = Buffers(buffers.depth.copy(), columns, rows, np.full_like(buffers.layers, NOTHING))
    _rasterize(screen, layer, number, lenses)
    return lenses

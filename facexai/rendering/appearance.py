"""Skin: the reflectance of every texel, from melanin and blood to lips, brows, stubble and wrinkles."""

from types import SimpleNamespace

import cv2
import numpy as np

from facexai.rendering.compiled import compiled
from facexai.rendering.hair import beard_coverage, hair_colour, scalp_tint
from facexai.rendering.head import LABEL, REGION_OF_TEXEL, TEXTURE, bell, sigmoid, smoothstep
from facexai.rendering.identity import Identity
from facexai.rendering.layers import AGE_SPOT, COVERAGE, GLOSS, LABEL_CHANNEL, WRINKLE
from facexai.rendering.noise import BLOTCHES, BROW_HAIRS, FINE, MEDIUM, STRANDS
from facexai.rendering.wrinkles import WRINKLES

_ABSORPTION = np.array([0.40, 0.70, 0.96], np.float32)
_MELANIN = np.array([1.85, 2.1, 2.3], np.float32)
_BLOOD = np.array([0.05, 0.42, 0.34], np.float32)
_CLOTH = np.array([0.12, 0.13, 0.18], np.float32)
_MOLE_COUNT = 40


def skin_colour(melanin: np.ndarray, blood: np.ndarray) -> np.ndarray:
    """Linear RGB of skin (Beer-Lambert). Shape (..., 3)."""
    return np.exp(-(_ABSORPTION + melanin[..., None] * _MELANIN + blood[..., None] * _BLOOD))


def mean_skin_colour(identity: Identity) -> np.ndarray:
    """Colour of plain skin without features, which the ears wear. Shape (3,)."""
    melanin, blood = _pigments(identity.named("skin"))
    return skin_colour(np.array(melanin + 0.03), np.array((blood + 0.25) * (1 - 0.55 * melanin)))


def iris_colour(identity: Identity) -> np.ndarray:
    """Linear RGB of the iris: grey-blue to brown by melanin, green to hazel in between. Shape (3,)."""
    eyes = identity.named("eyes")
    brown = float(sigmoid(1.5 * eyes.melanin + 0.9))
    hazel = (1 - brown) * brown * np.array([0.10, 0.10, -0.10]) * (1 + np.tanh(eyes.hue))
    return np.array([0.11, 0.16, 0.22]) * (1 - brown) + np.array([0.075, 0.035, 0.016]) * brown + hazel


def skin_texture(identity: Identity) -> np.ndarray:
    """Everything that is painted on the skin. Shape (352, 352, 8), float32; channels as named above."""
    skin, mouth = identity.named("skin"), identity.named("mouth")
    colour = skin_colour(*_pigment_maps(skin, identity.fields("skin")))
    upper, lower = lip_mask(mouth, True), lip_mask(mouth, False)
    lips = np.clip(upper + lower, 0, 1)
    colour = _paint_lips(colour, upper, lower, skin, mouth)
    colour = _paint_openings(colour)
    brows, beard, scalp = brow_coverage(identity.named("brows")), beard_coverage(identity, lips), scalp_tint(identity)
    colour = _blend(colour, hair_colour(1.7 * identity.named("brows").tone + 1.6, 0.25), np.clip(brows, 0, 0.95))
    hair = identity.named("hair")
    whiskers = hair_colour(1.7 * hair.tone + 1.4, 0.8 * max(hair.redness, 0)) * _WHISKERS[..., None]
    colour = _blend(colour, whiskers, beard)
    colour = _blend(colour, hair_colour(1.7 * hair.tone + 0.9, 0.8 * max(hair.redness, 0)), scalp)
    colour[_IS_CLOTH] = _CLOTH
    coverage = np.maximum(np.maximum(brows, beard), scalp)
    texture = np.empty((*TEXTURE.shape, 8), np.float32)
    texture[..., :3] = colour
    texture[..., GLOSS] = np.clip((_OILY + 0.9 * lips + 0.12 * skin.oil) * (1 - coverage), 0, 2)
    texture[..., AGE_SPOT] = _AGE_SPOTS
    texture[..., WRINKLE] = WRINKLES
    texture[..., COVERAGE] = coverage
    texture[..., LABEL_CHANNEL] = _labels(brows, beard, scalp)
    return texture


def _pigments(skin: SimpleNamespace) -> tuple[float, float]:
    return 0.02 + 0.80 * float(sigmoid(1.25 * skin.melanin - 0.65)), 0.53 + 0.24 * skin.blood


def _pigment_maps(skin: SimpleNamespace, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Melanin and blood of every texel."""
    melanin, blood = _pigments(skin)
    low = np.tensordot(weights.astype(np.float32), BLOTCHES, 1) / 4
    low = cv2.resize(low, (TEXTURE.shape[1], TEXTURE.shape[0]), interpolation=cv2.INTER_CUBIC)
    dark = melanin * (1 + 0.07 * low + 0.02 * MEDIUM) + (0.012 * (0.6 + melanin)) * FINE + 0.03
    red = (blood * (1 + 0.14 * np.roll(low, 90, 1)) + 0.05 * FINE) * (1 - 0.55 * melanin)
    red += (1 - 0.6 * melanin) * (0.40 * (1 + 0.6 * skin.flush) * _FLUSHED + _REDDISH)
    red += 0.06 * skin.warmth * (1 - 0.6 * melanin)
    dark += (0.09 + 0.05 * skin.circles) * TEXTURE.bump(29, 12, -9, 4.5) + _SHADED
    dark += max(skin.freckles - 0.2, 0) * 0.23 * _FRECKLED
    _add_moles(dark, weights)
    return dark, red


def _add_moles(dark: np.ndarray, weights: np.ndarray) -> None:
    """Forty candidate moles, each with a strength that is a steep but continuous function of the skin fields."""
    strengths = sigmoid(6 * (_MOLE_WEIGHTS @ weights[8:] - 1.9))
    for (x, row), strength in zip(_MOLE_PLACES, strengths, strict=True):
        if strength > 0.05:
            _add_spot(dark, x, row, radius=0.8 + 0.5 * strength, amount=0.62 * strength)


def _add_spot(values: np.ndarray, x: float, row: float, radius: float, amount: float) -> None:
    i = int(np.searchsorted(-TEXTURE.row[:, 0], -row))
    j = int(np.argmin(np.abs(TEXTURE.x[i] - x) + 1e6 * (TEXTURE.front[i] < 0.5)))
    window = (slice(i - 12, i + 13), slice(j - 12, j + 13))
    distance = (TEXTURE.x[window] - x) ** 2 + (TEXTURE.row[window] - row) ** 2
    values[window] += amount * np.exp(-distance / (2 * radius * radius))


def lip_mask(mouth: SimpleNamespace, upper: bool) -> np.ndarray:
    """Painted part of one lip, with a cupid's bow on the upper one. Shape (352, 352)."""
    grid = TEXTURE
    share = np.clip(grid.across / 25.5, 0, 1)
    envelope = np.clip(1 - share**2.4, 0, 1) ** 0.6
    beyond = (grid.row + 73) * (1 if upper else -1)
    height = 10.6 * envelope
    if upper:
        bow = 0.20 * np.exp(-((grid.across / 3) ** 2)) * (1 + 0.5 * mouth.bow)
        height = 10.0 * envelope * (1 - bow + 0.10 * np.exp(-(((grid.across - 6.5) / 3.5) ** 2)))
    return smoothstep(height - beyond, -0.6, 0.9) * (beyond > -0.4) * (envelope > 0) * grid.front


def _paint_lips(
    colour: np.ndarray, upper: np.ndarray, lower: np.ndarray, skin: SimpleNamespace, mouth: SimpleNamespace
) -> np.ndarray:
    melanin, _ = _pigments(skin)
    lips = skin_colour(np.array(0.82 * melanin + 0.10), np.array(1.7 + 0.5 * mouth.redness + 0.2 * skin.blood))
    shade = (1 + 0.09 * STRANDS) * np.where(upper > lower, 0.88, 1.03)
    return _blend(colour, lips * shade[..., None], 0.86 * np.clip(upper + lower, 0, 1))


def _paint_openings(colour: np.ndarray) -> np.ndarray:
    """The line between the lips and the nostrils."""
    return colour * _OPENINGS[..., None]


def brow_coverage(brows: SimpleNamespace) -> np.ndarray:
    """Hairs of the brows, 0..1. Shape (352, 352)."""
    grid = TEXTURE
    inner, outer = 11 + 1.6 * brows.inner, 50 + 2.5 * brows.outer
    along = np.clip((grid.across - np.float32(inner)) / np.float32(outer - inner), -0.2, 1.2)
    inside = np.clip(along, 0, 1)
    arch = (4.5 + 2 * brows.arch) * np.sin(np.pi * inside**1.3 * 0.72)
    centre = 15.5 + arch - 1.6 * brows.slant * (along - 0.5) - 10 * np.clip(along - 0.6, 0, 1)
    thickness = np.clip(3.3 + 0.9 * brows.thickness, 1.2, 6) * (1 - 0.62 * inside**1.5)
    distance = np.abs(grid.row - centre) / thickness + 0.28 * BROW_HAIRS
    ends = smoothstep(along, -0.08, 0.1) * (1 - smoothstep(along, 0.85, 1.08))
    density = np.clip(0.72 + 0.16 * brows.density + 0.14 * BROW_HAIRS, 0.2, 1)
    return smoothstep(-distance, -1.25, -0.45) * ends * grid.front * density


def _labels(brows: np.ndarray, beard: np.ndarray, scalp: np.ndarray) -> np.ndarray:
    labels = REGION_OF_TEXEL.copy()
    labels[scalp > 0.3] = LABEL["hair"]
    labels[beard > 0.3] = LABEL["beard"]
    labels[brows > 0.25] = LABEL["brows"]
    return labels


def _blend(below: np.ndarray, above: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """Lay one colour, or a picture, over a picture."""
    return _blend_texels(below, np.broadcast_to(above, below.shape), coverage)


@compiled()
def _blend_texels(below, above, coverage):
    blended = np.empty_like(below)
    for i in range(below.shape[0]):
        for j in range(below.shape[1]):
            for k in range(3):
                blended[i, j, k] = below[i, j, k] + (above[i, j, k] - below[i, j, k]) * coverage[i, j]
    return blended


def _oily() -> np.ndarray:
    return 0.5 + 0.45 * TEXTURE.bump(0, 14, -20, 25) + 0.3 * TEXTURE.bump(0, 35, 45, 18)


def _reddish() -> np.ndarray:
    bump = TEXTURE.bump
    return 0.5 * bump(0, 12, -40, 9) + 0.4 * bump(31, 16, 1, 9) + 0.3 * bump(0, 16, -106, 9)


def _openings() -> np.ndarray:
    grid = TEXTURE
    line = bell(grid.row, -73, 0.8) * (1 - smoothstep(grid.across, 22, 26.5)) * grid.front
    nostril = np.exp(-(((grid.across - 6.6) / 3.1) ** 2) - ((grid.row + 45.8) / 1.7) ** 2) * grid.front
    return (1 - 0.68 * line) * (1 - 0.66 * np.clip(1.1 * nostril, 0, 1))


_generator = np.random.default_rng(40)
_MOLE_PLACES = np.stack([_generator.uniform(-52, 52, _MOLE_COUNT), _generator.uniform(-100, 50, _MOLE_COUNT)], 1)
_MOLE_WEIGHTS = _generator.standard_normal((_MOLE_COUNT, 8)) / np.sqrt(8)
_IS_CLOTH = TEXTURE.row < -158
_WHISKERS = np.maximum(0.9 + 0.22 * STRANDS + 0.15 * FINE, 0.15)
_OILY, _REDDISH, _OPENINGS = _oily(), _reddish(), _openings()
_FLUSHED = TEXTURE.bump(42, 15, -30, 12)
_SHADED = 0.05 * TEXTURE.bump(31, 14, 7, 5) - 0.06 * TEXTURE.front * (TEXTURE.row < -125)
_FRECKLED = smoothstep(FINE + 0.25 * MEDIUM, 1.15, 1.9) * (
    TEXTURE.bump(30, 26, -22, 16) + 0.6 * TEXTURE.bump(0, 10, -25, 14)
)
_AGE_SPOTS = smoothstep(np.roll(FINE, 50, 1) + 0.8 * np.roll(MEDIUM, 77, 0), 1.5, 2.4) * TEXTURE.front

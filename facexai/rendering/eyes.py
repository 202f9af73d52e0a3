"""Eyes and the open mouth, evaluated per pixel in millimetres of the canonical face.

The eye is not geometry: an almond is cut into the skin texture, and inside it the ball of the eye is painted with its
own normal. Closing an eye only lowers the upper curve of the almond.
"""

from typing import NamedTuple

import numpy as np

from facexai.rendering.appearance import iris_colour
from facexai.rendering.compiled import compiled
from facexai.rendering.head import LABEL
from facexai.rendering.identity import Identity
from facexai.rendering.lighting import Skin
from facexai.rendering.rasterizer import JIT

EYE_CENTRE = 31.5
SLIT_ROW = -73.0  # line between the lips
MOUTH_LABEL = LABEL["mouth"]
MISSED = -1.0  # what `eyeball` returns as its first value outside the almond


class Eye(NamedTuple):
    """Shape and colour of the eyes of an identity, millimetres and linear RGB."""

    half_width: float
    upper: float
    lower: float
    tilt: float
    skew: float
    crease: float
    lash: float
    red: float
    green: float
    blue: float


class Face(NamedTuple):
    """State of one image that the skin shader reads."""

    mouth_open: float
    closure: float
    age: float
    grey: float
    gaze_x: float
    gaze_y: float
    gloss: float


def eye_of(identity: Identity) -> Eye:
    """Read the eyes slice."""
    eyes = identity.named("eyes")
    red, green, blue = iris_colour(identity)
    return Eye(
        half_width=15.4 + 0.5 * eyes.size,
        upper=6.0 + 0.6 * eyes.opening,
        lower=4.1 + 0.3 * eyes.opening,
        tilt=0.9 * eyes.tilt,
        skew=0.16 + 0.09 * eyes.skew,
        crease=3.0 + 0.9 * eyes.crease - 0.4 * eyes.opening,
        lash=max(0.6 * eyes.skew, -0.5),
        red=float(red),
        green=float(green),
        blue=float(blue),
    )


@compiled(**JIT)
def lid_curves(along, eye, closure):
    """Rows of the open upper lid, the upper lid as it is now, and the lower lid; `along` runs outwards, -1..1."""
    width = max(1 - along * along, 0.0)
    upper = eye.upper * np.sqrt(width) * (0.6 + 0.4 * width) * (1 - eye.skew * along)
    lower = -eye.lower * width * (1 + 0.25 * along)
    return upper, upper + (lower + 0.3 - upper) * closure, lower


@compiled(**JIT)
def eyeball(x, row, along, level, eye, face):
    """Colour of the ball of the eye, or (MISSED, 0, 0) outside the almond."""
    _, lid, lower = lid_curves(along, eye, face.closure)
    if level <= lower or level >= lid or abs(along) >= 1:
        return MISSED, 0.0, 0.0
    side = 1.0 if x > 0 else -1.0
    across, up = x - side * EYE_CENTRE - face.gaze_x, row - 0.4 - face.gaze_y
    distance = np.sqrt(across * across + up * up)
    if distance < 2.4:
        red, green, blue = 0.006, 0.006, 0.006
    elif distance < 6.2:
        fibres = 0.55 + 0.12 * distance + 0.14 * np.sin(distance * 2.1 + 13 * np.arctan2(up, across))
        rim = 0.35 if distance > 5.3 else 1.0
        red, green, blue = eye.red * fibres * rim, eye.green * fibres * rim, eye.blue * fibres * rim
    else:
        corner = 1 - 0.45 * along * along
        red, green, blue = 0.41 * corner, 0.375 * corner * 0.97, 0.355 * corner * 0.95
        tear_duct = 1 / (1 + np.exp((along + 0.93) / 0.03))
        red, green, blue = red, green * (1 - 0.45 * tear_duct), blue * (1 - 0.45 * tear_duct)
    below_lid = min(max((lid - level) / 3.4, 0.0), 1.0)
    shade = 0.45 + 0.55 * below_lid
    return red * shade, green * shade, blue * shade


@compiled(**JIT)
def lid_shade(along, level, eye, face):
    """How far lashes, lid line and lid crease darken the skin around the eye, 0..1."""
    open_lid, lid, lower = lid_curves(along, eye, face.closure)
    width = max(1 - along * along, 0.0)
    above = level - lid
    line = (above - 0.25) / (1.15 + 0.45 * eye.lash)
    strength = 0.80 if face.closure < 0.6 else 0.9
    shade = 1 - strength * np.exp(-line * line) * min(1.0, width * 3 + 0.25)
    if 0 < above < 3.2:
        # Single lashes fan out from the lid: visible from about 160 pixels on, a soft band below that.
        fan = np.sin(26 * along + 2.2 * above * along + 0.7)
        shade *= 1 - (0.55 + 0.3 * eye.lash) * max(fan, 0.0) * (1 - above / 3.2) * min(1.0, 2 * width)
    under = (level - lower) / 0.7
    shade *= 1 - 0.28 * np.exp(-under * under) * (0.4 + 0.6 * width)
    crease = (level - (open_lid * (0.95 + 0.05 * along) + eye.crease)) / 0.85
    return shade * (1 - 0.42 * np.exp(-crease * crease) * min(1.0, width * 1.6 + 0.1) * (1 - 0.7 * face.closure))


@compiled(**JIT)
def inside_mouth(across, row, face):
    """Colour between the open lips: teeth, tongue, cavity. The first value is MISSED on the lips themselves."""
    place = (row - SLIT_ROW + 1.75) / 3.5  # 0 at the lower lip, 1 at the upper lip
    if place <= 0.06 or place >= 0.97:
        return MISSED, 0.0, 0.0
    below_lip = (1 - place) * face.mouth_open
    arch = 1 - (across / 25.0) ** 2
    if 0.3 < below_lip < 6.8 * arch:
        gap = np.cos(across * 0.78)
        tooth = (0.55 + 0.45 * arch) * (1 - 0.22 * max(gap - 0.9, 0.0) * 10) * (1 - 0.12 * below_lip / 6.8)
        return 0.62 * tooth, 0.58 * tooth, 0.50 * tooth
    if place < 0.38 and face.mouth_open > 9:
        return 0.22, 0.07, 0.065
    return 0.05, 0.014, 0.012


@compiled(**JIT)
def is_detailed(x, row):
    """Eyes and lip line, where every sample is lit."""
    return (12 < abs(x) < 52 and abs(row) < 16) or (abs(row - SLIT_ROW) < 5 and abs(x) < 28)


@compiled(**JIT)
def paint_eye(skin, x, row, rotation, eye, face, surface):
    """Skin with the eye at canonical position (x, row) mm; on the ball of the eye `surface` gets its normal."""
    along = (abs(x) - EYE_CENTRE) / eye.half_width
    if abs(along) >= 1.13:
        return skin
    level = row - eye.tilt * along
    red, green, blue = eyeball(x, row, along, level, eye, face)
    if red == MISSED:
        shade = lid_shade(along, level, eye, face)
        red, green, blue = skin.red * shade, skin.green * shade * 0.98, skin.blue * shade
        return Skin(red, green, blue, skin.shine, skin.occlusion, skin.sharp, skin.label)
    # The catch-light belongs to the cornea: none in the corners and none on an eye seen from the side.
    sharp = surface[2] > 0.45 and abs(along) < 0.72
    occlusion = max(skin.occlusion, 0.8) * min(1.0, 0.45 + surface[2])
    ball_normal(x, row, rotation, surface)
    return Skin(red, green, blue, skin.shine, occlusion, sharp, skin.label)


@compiled(**JIT)
def paint_mouth(skin, x, row, face):
    """Skin with the inside of an open mouth at canonical position (x, row) mm."""
    red, green, blue = inside_mouth(abs(x), row, face)
    if red == MISSED:
        return Skin(skin.red, skin.green, skin.blue, skin.shine, skin.occlusion, skin.sharp, MOUTH_LABEL)
    return Skin(red, green, blue, 0.05, min(skin.occlusion, 0.8), skin.sharp, MOUTH_LABEL)


@compiled(**JIT)
def ball_normal(x, row, rotation, surface):
    """Normal of a sphere of 13 mm behind the lids, in camera coordinates: it makes the catch-light."""
    side = 1.0 if x > 0 else -1.0
    ox, oy = (x - side * EYE_CENTRE) / 13.0, row / 13.0
    oz = np.sqrt(max(1 - ox * ox - oy * oy, 0.05))
    for k in range(3):
        surface[k] = rotation[k, 0] * ox + rotation[k, 1] * oy + rotation[k, 2] * oz

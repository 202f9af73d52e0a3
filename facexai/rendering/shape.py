"""From identity to vertices: every displacement reads the coefficients of exactly one region."""

from functools import lru_cache
from types import SimpleNamespace

import cv2
import numpy as np
from scipy.interpolate import PchipInterpolator

from facexai.rendering.head import LANDMARK_VERTICES, SKIN, Grid, bell, lip_profile, smoothstep
from facexai.rendering.identity import Identity
from facexai.rendering.wrinkles import WRINKLES

SHAPE_GAIN = 1.3  # how far people differ; 1 looked like siblings
FIELD_GAIN = 0.9

_FIELD_CENTRES = {
    "nose": ((0, -8), (0, -28), (9, -30)),
    "mouth": ((0, -62), (18, -80), (8, -73)),
    "jaw": ((45, -80), (30, -98), (0, -106), (55, -60)),
    "cheeks": ((40, -20), (30, -45), (55, -30), (46, -50)),
    "forehead": ((0, 45), (32, 42), (52, 25)),
}
_FIELDS = {
    name: np.stack([SKIN.bump(x, 11, row, 10) for x, row in centres]) for name, centres in _FIELD_CENTRES.items()
}


def _mean_features(grid: Grid) -> np.ndarray:
    """Displacement that turns the plain loft into the mean face. Shape (rows, columns, 3)."""
    bump, across, row = grid.bump, grid.across, grid.row
    moved = np.zeros((*grid.shape, 3))
    depth = moved[..., 2]
    depth += -8 * bump(31, 13, 5, 9) - 4 * bump(17, 6, 1, 7) + 6.5 * bump(31.5, 11.5, -0.5, 8)  # sockets, eyeballs
    depth += 3 * bump(26, 17, 18, 6) + 1.2 * bump(0, 14, 22, 7)  # brow ridge, glabella
    depth += 4 * bump(47, 13, -22, 12) - 2.2 * bump(38, 12, -58, 12) - 2 * bump(28, 9, -14, 6)  # cheeks
    depth += 2.5 * bump(0, 24, -70, 14) + 7 * lip_profile(grid, True) + 7.5 * lip_profile(grid, False)
    depth -= 4 * bump(0, 17, -73, 1.3) * (1 - smoothstep(across, 17, 27))  # line between the lips
    depth += -1.4 * bump(0, 3, -60, 5) + 1.2 * bump(5, 2.5, -61, 5)  # philtrum
    depth += -2.5 * bump(0, 17, -89, 4.5) + 6 * bump(0, 13, -105, 9) - 2.5 * bump(26, 6, -74, 6)  # chin, corners
    depth += grid.front * _nose_ridge(across, row) + 6.5 * bump(12, 4.8, -40.5, 5.4)
    depth += -3 * bump(19.8, 3.2, -39, 6) - 3.5 * bump(6.5, 2.8, -46, 2.2)  # wing crease, nostrils
    moved[..., 0] -= grid.side * 2 * bump(62, 14, 28, 16)  # temples
    return moved


def _nose_ridge(across: np.ndarray, row: np.ndarray) -> np.ndarray:
    rows = [-60, -54, -50, -46, -42.5, -38.5, -34, -26, -17, -8, 2, 10, 20]
    ridge = [0, 0.8, 3.5, 10, 17.5, 20.5, 19.8, 16, 12, 8.2, 5, 2, 0]
    height = PchipInterpolator(rows, ridge)(np.clip(row, -60, 20))
    width = np.interp(row, [-55, -42, -36, -25, -10, 5, 15], [13, 11.5, 11, 9.8, 8.6, 8, 10])
    return height * np.exp(-(np.abs(across / width) ** 2.05))


MEAN_HEAD = (SKIN.points + _mean_features(SKIN)).astype(np.float32)


@lru_cache(maxsize=16)
def head_shape(identity: Identity) -> np.ndarray:
    """Vertices of the neutral head of an identity. Shape (113, 113, 3), float32 millimetres, not to be written to."""
    moved = np.zeros((3, *SKIN.shape))
    _shape_eyes(identity.named("eyes"), *moved)
    _shape_brows(identity.named("brows"), *moved)
    _shape_nose(identity.named("nose"), *moved)
    _shape_mouth(identity.named("mouth"), *moved)
    _shape_jaw(identity.named("jaw"), *moved)
    _shape_cheeks(identity.named("cheeks"), *moved)
    _shape_forehead(identity.named("forehead"), *moved)
    for name, fields in _FIELDS.items():
        moved[2] += FIELD_GAIN * np.tensordot(identity.fields(name), fields, 1)
    vertices = (MEAN_HEAD + SHAPE_GAIN * np.moveaxis(moved, 0, -1)).astype(np.float32)
    vertices.flags.writeable = False  # remembered, as many images show one person
    return vertices


def _shape_eyes(eyes: SimpleNamespace, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> None:
    socket = SKIN.bump(31.5, 12, 0, 9)
    outwards = SKIN.across - 31.5
    x += SKIN.side * (1.9 * eyes.spacing + 0.09 * eyes.size * outwards) * socket
    y += (0.09 * eyes.size * SKIN.row + 1.2 * eyes.height + 1.7 * eyes.tilt * outwards / 14) * socket
    z += 1.6 * eyes.protrusion * socket + 1.3 * eyes.fold * SKIN.bump(31, 12, 8, 4)


def _shape_brows(brows: SimpleNamespace, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> None:
    y += 1.3 * brows.height * SKIN.bump(30, 18, 18, 6)
    z += 1.2 * brows.ridge * SKIN.bump(26, 16, 17, 5)


def _shape_nose(nose: SimpleNamespace, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> None:
    tip, wings = SKIN.bump(0, 9, -40, 7), SKIN.bump(14, 6, -43, 7)
    x += SKIN.side * (
        1.9 * nose.width * wings
        + 1.2 * nose.bridge * SKIN.bump(7, 5, -20, 15)
        + 1.0 * nose.tip_width * SKIN.bump(8, 4, -38, 6)
    )
    y += -2.2 * nose.length * SKIN.bump(0, 16, -36, 14) + 1.6 * nose.tip_lift * tip + 0.9 * nose.wing_height * wings
    z += nose.projection * (2.6 * tip + 1.4 * SKIN.bump(0, 8, -28, 10))
    z += 1.9 * nose.hump * SKIN.bump(0, 6, -15, 8) + 1.6 * nose.root * SKIN.bump(0, 7, -1, 6)


def _shape_mouth(mouth: SimpleNamespace, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> None:
    envelope = SKIN.front * np.sqrt(np.clip(1 - (SKIN.across / 27) ** 2, 0, 1))
    whole = SKIN.bump(0, 26, -73, 9)
    x += SKIN.side * 2.4 * mouth.width * SKIN.bump(22, 9, -73, 8)
    y += 1.7 * mouth.height * whole + 1.5 * mouth.corners * SKIN.bump(25, 7, -73, 5)
    y += envelope * (1.3 * mouth.upper * bell(SKIN.row, -67, 3.2) - 1.6 * mouth.lower * bell(SKIN.row, -81, 4))
    z += 1.5 * mouth.protrusion * whole - 0.7 * mouth.bow * SKIN.bump(0, 3, -62, 5)
    z += (1.1 * mouth.upper + 0.5 * mouth.bow) * lip_profile(SKIN, True) + 1.2 * mouth.lower * lip_profile(SKIN, False)


def _shape_jaw(jaw: SimpleNamespace, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> None:
    below = smoothstep(-SKIN.row, 70, 112) * SKIN.front * (SKIN.row > -150)
    flank = SKIN.front * smoothstep(SKIN.across, 18, 52) * bell(SKIN.row, -92, 22)
    x += SKIN.side * (3.7 * jaw.width * flank + 2.6 * jaw.chin_width * SKIN.bump(22, 11, -108, 11))
    x -= SKIN.side * 1.8 * jaw.taper * SKIN.bump(40, 12, -100, 12)
    y += -4.2 * jaw.length * below * np.exp(-((SKIN.across / 50) ** 2)) + 3.4 * jaw.angle * SKIN.bump(50, 16, -90, 14)
    z += 3.2 * jaw.chin * SKIN.bump(0, 17, -107, 10) - 1.3 * max(jaw.cleft - 0.6, 0) * SKIN.bump(0, 2.5, -108, 6)
    z += 1.4 * jaw.crease * SKIN.bump(0, 16, -90, 5)


def _shape_cheeks(cheeks: SimpleNamespace, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> None:
    x += SKIN.side * (3.2 * cheeks.width * SKIN.bump(62, 18, -20, 18))
    x += SKIN.side * (2.3 * cheeks.lower_width * SKIN.bump(54, 12, -46, 12))
    z += 2.2 * cheeks.bone * SKIN.bump(44, 12, -20, 10) + 2.4 * cheeks.fullness * SKIN.bump(40, 11, -48, 10)
    z -= 1.1 * cheeks.fold * SKIN.bump(27, 4, -54, 9)


def _shape_forehead(forehead: SimpleNamespace, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> None:
    x += SKIN.side * 2.6 * forehead.temples * SKIN.bump(60, 15, 36, 16)
    z += 2.4 * forehead.slope * SKIN.bump(0, 40, 55, 14) + 1.7 * forehead.bulge * SKIN.bump(24, 18, 28, 7)
    z += 1.0 * forehead.glabella * SKIN.bump(0, 12, 24, 6)
    y += 2.4 * forehead.height * SKIN.bump(0, 40, 45, 14)


def _expressions() -> np.ndarray:
    """Linear motions: mouth opening (1 mm), smile, lid closure, brow raise, age. Shape (5, rows, columns, 3)."""
    motions = np.zeros((5, *SKIN.shape, 3))
    _open_mouth(motions[0])
    _smile(motions[1])
    motions[2, ..., 2] = 0.8 * SKIN.bump(31.5, 10, 1, 6)
    motions[3, ..., 1] = 4 * SKIN.bump(30, 20, 19, 8)
    _grow_old(motions[4])
    return motions.astype(np.float32)


def _open_mouth(motion: np.ndarray) -> None:
    """Rows of the lip line stretch apart; further out the whole lower face comes down."""
    outside = smoothstep(SKIN.across, 20, 31)
    middle, half_height = -73 - 6 * outside, 1.7 + 26 * outside
    drop = smoothstep(-(SKIN.row - middle) / half_height, -1, 1) * SKIN.front
    drop *= np.exp(-((np.maximum(np.abs(SKIN.azimuth) - 0.5, 0) / 0.75) ** 2)) * smoothstep(SKIN.row, -175, -130)
    motion[..., 1] = -drop
    inside = bell(SKIN.row, -73, 1.1) * (1 - smoothstep(SKIN.across, 18, 25)) * SKIN.front
    motion[..., 2] = -0.25 * drop - 0.9 * inside
    motion[..., 0] = -SKIN.side * 0.12 * SKIN.bump(24, 8, -75, 12)


def _smile(motion: np.ndarray) -> None:
    corners, cheeks = SKIN.bump(25, 9, -72, 9), SKIN.bump(42, 13, -34, 12)
    motion[..., 0] = SKIN.side * 5.5 * corners
    motion[..., 1] = 4.2 * corners + 3 * cheeks
    motion[..., 2] = -2.5 * corners + 3.2 * cheeks - 1.8 * SKIN.bump(30, 4, -56, 9) - SKIN.bump(0, 15, -73, 8)


def _grow_old(motion: np.ndarray) -> None:
    """Wrinkles sink in, cheeks and lids sag, temples and lips thin out."""
    columns, rows = SKIN.shape[1], SKIN.shape[0]
    motion[..., 2] = -0.8 * cv2.resize(WRINKLES.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
    motion[..., 2] -= 0.9 * lip_profile(SKIN, True) + 0.9 * lip_profile(SKIN, False) + 1.2 * SKIN.bump(38, 10, -46, 12)
    motion[..., 1] = -2.2 * (SKIN.bump(42, 16, -55, 18) + 0.8 * SKIN.bump(31, 13, 6, 5)) - 1.5 * SKIN.bump(0, 9, -40, 7)
    motion[..., 0] = SKIN.side * (1.8 * SKIN.bump(44, 12, -78, 12) - 1.5 * SKIN.bump(60, 12, 30, 14))


EXPRESSIONS = _expressions()


def landmark_points(vertices: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Both eyes, nose tip and both mouth corners of a head with an expression. Shape (5, 3), millimetres."""
    rows, columns = LANDMARK_VERTICES
    moved = np.tensordot(weights, EXPRESSIONS[:, rows, columns], 1)
    return (vertices[rows, columns] + moved).astype(np.float64)

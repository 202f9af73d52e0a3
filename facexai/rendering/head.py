"""The canonical head: a loft of superellipse cross-sections in millimetres, and the grids that sample it.

Every identity shares one parameterisation, azimuth by row. An identity only moves the vertices and repaints the texels,
so the region of a texel and the place of a landmark are fixed look-ups. The origin lies between the eyes on the head's
axis; x points to the image's right, y up, z towards the camera.
"""

import numpy as np
from scipy.interpolate import PchipInterpolator

# Row label, height at the front, depth at the front, height at the side, half width, depth at the back, exponent.
# A row sits at chin height in front and at the height of the jaw angle at the side: this is what makes a jaw line.
CROSS_SECTIONS = np.array(
    [
        [118, 118, 0.2, 118, 0.2, 0.2, 2],
        [115, 115, 30, 115, 28, 34, 2],
        [108, 108, 51, 108, 47, 58, 2],
        [95, 95, 70, 95, 62, 77, 2.05],
        [78, 78, 83, 78, 71, 90, 2.1],
        [55, 55, 92, 55, 75, 97, 2.15],
        [30, 30, 95.5, 30, 74.5, 98, 2.2],
        [10, 10, 92.5, 10, 72.5, 94, 2.25],
        [-10, -10, 89.5, -10, 71, 86, 2.2],
        [-30, -30, 89, -28, 69.5, 78, 2.12],
        [-50, -50, 89.5, -43, 67, 70, 2.05],
        [-70, -70, 89.5, -56, 62, 64, 2.0],
        [-85, -85, 87.5, -65, 58, 62, 1.95],
        [-100, -100, 85, -73, 55, 60, 1.9],
        [-112, -112, 82, -81, 53, 60, 1.85],
        [-119, -118.5, 75, -87, 51, 60, 1.8],
        [-123, -120.5, 62, -93, 50, 60, 1.8],
        [-128, -121, 42, -99, 49, 62, 1.9],
        [-135, -125, 24, -110, 50, 64, 2],
        [-150, -145, 20, -140, 55, 68, 2],
        [-170, -168, 30, -160, 90, 75, 2],
        [-190, -190, 60, -178, 170, 90, 2],
    ]
)
SKIN_ROWS = SKIN_COLUMNS = 113
TEXTURE_ROWS = TEXTURE_COLUMNS = 352
SHELL_STEP = 2  # hair and occluders use every second vertex of the skin

# Rows are dense at the eyes, the nose and above all at the 6 mm around the line between the lips.
_ROW_SHARES = (0, 0.09, 0.21, 0.27, 0.43, 0.5, 0.64, 0.71, 0.79, 0.86, 0.94, 1)
_ROW_HEIGHTS = (118, 80, 28, 14, -14, -26, -56, -70, -76, -92, -124, -190)
_PROFILES = [PchipInterpolator(CROSS_SECTIONS[::-1, 0], CROSS_SECTIONS[::-1, column]) for column in range(1, 7)]

LABELS = (
    *("background", "cheeks", "forehead", "eyes", "brows", "nose", "mouth", "jaw", "hair", "beard"),
    *("ears", "neck", "cloth", "occluder"),
)
LABEL = {name: index for index, name in enumerate(LABELS)}


def smoothstep(value: np.ndarray, start: float, stop: float) -> np.ndarray:
    """Rise from 0 at `start` to 1 at `stop` with flat ends."""
    share = np.clip((value - start) / (stop - start), 0, 1)
    return share * share * (3 - 2 * share)


def sigmoid(value: np.ndarray | float) -> np.ndarray:
    """Logistic function."""
    return 1 / (1 + np.exp(-np.asarray(value)))


def bell(value: np.ndarray, centre: np.ndarray | float, width: float) -> np.ndarray:
    """Gaussian of height 1 and standard deviation `width`."""
    return np.exp(-0.5 * ((value - centre) / width) ** 2)


def loft(rows: np.ndarray, azimuths: np.ndarray) -> np.ndarray:
    """Points of the canonical head without features. Shape (rows, azimuths, 3), millimetres."""
    y_front, z_front, y_side, x_side, z_back, exponent = (profile(rows)[:, None] for profile in _PROFILES)
    sine, cosine = np.sin(azimuths)[None], np.cos(azimuths)[None]
    depth = np.where(cosine > 0, z_front, z_back)
    radius = (np.abs(sine / x_side) ** exponent + np.abs(cosine / depth) ** exponent) ** (-1 / exponent)
    height = y_front + (y_side - y_front) * np.where(cosine > 0, sine * sine, 1)
    return np.stack([radius * sine, height, radius * cosine], -1)


class Grid:
    """Samples of the canonical head, crown to collar by azimuth -pi to pi; the columns are dense at the front.

    Attributes (float32, shape (rows, columns)):
        row: row label in mm, which is the height on the front of the face.
        azimuth: angle about the vertical axis, 0 at the nose, positive to the image's right.
        x, across, side: millimetres from the midline, their absolute value and their sign.
        front: 1 on the face, 0 on the back of the head.
        points: positions of the loft. Shape (rows, columns, 3).
    """

    def __init__(self, rows: int, columns: int, step: int = 1) -> None:
        heights = np.interp(np.linspace(0, 1, rows), _ROW_SHARES, _ROW_HEIGHTS)[::step]
        places = np.linspace(-1, 1, columns)[::step]
        azimuths = np.pi * (0.4 * places + 0.6 * places**3)
        self.points = loft(heights, azimuths).astype(np.float32)
        row, azimuth = np.meshgrid(heights, azimuths, indexing="ij")
        self.row, self.azimuth = row.astype(np.float32), azimuth.astype(np.float32)
        self.x = self.points[..., 0].copy()
        self.across, self.side = np.abs(self.x), np.sign(self.x)
        self.front = smoothstep(np.cos(self.azimuth), -0.05, 0.25).astype(np.float32)
        self._bumps: dict[tuple[float, ...], np.ndarray] = {}

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.row.shape[0], self.row.shape[1]

    def bump(self, across: float, width: float, row: float, height: float) -> np.ndarray:
        """Pair of Gaussian hills at +-`across` mm from the midline; remembered, as the arguments are constants."""
        key = (across, width, row, height)
        if key not in self._bumps:
            hill = self.front * bell(self.across, across, width) * bell(self.row, row, height)
            self._bumps[key] = hill.astype(np.float32)
        return self._bumps[key]


SKIN = Grid(SKIN_ROWS, SKIN_COLUMNS)
SHELL = Grid(SKIN_ROWS, SKIN_COLUMNS, SHELL_STEP)
TEXTURE = Grid(TEXTURE_ROWS, TEXTURE_COLUMNS)
TEXTURE_PLACES = np.stack([TEXTURE.x, TEXTURE.row], -1).astype(np.float32)  # millimetres of every texel


def lip_profile(grid: Grid, upper: bool) -> np.ndarray:
    """Roundness of one lip, 1 at its fullest."""
    share = np.clip(grid.across / 25, 0, 1)
    envelope = np.sqrt(np.clip(1 - share**2.2, 0, 1))
    centre = -73 + (4.6 if upper else -5.0) * envelope
    return grid.front * envelope * bell(grid.row, centre, 3.0 if upper else 3.3)


def _landmark_vertices() -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the skin vertices at both eyes, the nose tip and both mouth corners, image left first."""
    places = ((-31.5, -0.5), (31.5, -0.5), (0, -37), (-25, -73), (25, -73))
    behind = 1e6 * (SKIN.front < 0.5)
    flat = [np.argmin((SKIN.x - x) ** 2 + (SKIN.row - row) ** 2 + behind) for x, row in places]
    rows, columns = np.unravel_index(flat, SKIN.shape)
    return rows, columns


LANDMARK_VERTICES = _landmark_vertices()


def _region_of_texels() -> np.ndarray:
    grid = TEXTURE
    labels = np.full(grid.shape, LABEL["cheeks"], np.uint8)
    turned, face = np.abs(grid.azimuth), grid.front > 0.5
    labels[grid.row > 12] = LABEL["forehead"]
    labels[(grid.row < -60) | ((grid.row < -48) & (grid.across > 45))] = LABEL["jaw"]
    nose_width = np.interp(grid.row, [-54, -46, -30, -5, 12, 14], [12, 19, 15, 9, 9, 0])
    labels[(grid.across < nose_width) & (grid.row < 14) & (grid.row > -54) & face] = LABEL["nose"]
    labels[((grid.across - 31.5) / 19) ** 2 + ((grid.row + 0.5) / 12) ** 2 < 1] = LABEL["eyes"]
    labels[((grid.across / 29) ** 2 + ((grid.row + 73.5) / 12.5) ** 2 < 1) & face] = LABEL["mouth"]
    labels[(turned > 1.45) & (grid.row < 40) & (grid.row > -60)] = LABEL["neck"]
    labels[grid.row < -122] = LABEL["neck"]
    labels[grid.row < -158] = LABEL["cloth"]
    return labels


REGION_OF_TEXEL = _region_of_texels()

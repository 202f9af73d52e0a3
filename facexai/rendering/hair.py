"""Hair styles and beards, both from the hair slice alone.

Hair is a shell that stands off the head and is cut out along a hairline; a beard is painted on the skin.
"""

from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace

import cv2
import numpy as np

from facexai.errors import InputError
from facexai.rendering.head import LABEL, SHELL, SHELL_STEP, TEXTURE, Grid, bell, sigmoid, smoothstep
from facexai.rendering.identity import COEFFICIENTS, SLICES, Identity
from facexai.rendering.layers import ALPHA_CHANNEL, GLOSS, HAIR_MATERIAL, LABEL_CHANNEL, STRAND_CHANNEL, Layer
from facexai.rendering.noise import CLOUDS, CURLS, FINE, LOCKS, STRANDS, WAVES
from facexai.rendering.rasterizer import vertex_normals
from facexai.rendering.shape import MEAN_HEAD

_HAIRLINE_AZIMUTHS = (0, 0.35, 0.75, 1.02, 1.2, 1.32, 1.5, 1.62, 1.9, 2.3, np.pi)
_SHORT = (66, 67, 56, 34, 12, -14, -20, 14, -16, -50, -60)


@dataclass(frozen=True)
class HairStyle:
    """How one style lies on the head; lengths in millimetres.

    Attributes:
        upto: the style is worn where the style coefficient is below this (and above that of the style before).
        hairline: lowest row of hair at each of the azimuths, from the forehead past the temple and ear to the nape.
        top, side: how far the shell stands off the crown and the sides.
        fringe: share of the hair over the forehead that hangs down.
        curtain: share of the hair that falls straight down beside the face instead of following the neck.
        hem: row at which hanging hair ends.
        sweep: how far the strands lean to the side of the parting.
        parting: depth of the parting.
        wave, curl: amplitude of waves along the strands; 1 where hair is in close curls.
        bulk: height of the bumps of the silhouette.
        shell: whether there is a shell at all; if not, hair is a tint of the scalp.
        bun: whether hair is tied in a bun at the back.
    """

    upto: float
    hairline: tuple[float, ...] = _SHORT
    top: float = 11.0
    side: float = 6.0
    fringe: float = 0.0
    curtain: float = 0.0
    hem: float = -400.0
    sweep: float = 0.0
    parting: float = 0.0
    wave: float = 0.0
    curl: float = 0.0
    bulk: float = 1.0
    shell: bool = True
    bun: bool = False


_STYLES = {
    "bald": HairStyle(-1.9, hairline=(300,) * 11, shell=False),
    "receding": HairStyle(-1.45, (80, 92, 88, 50, 16, -14, -20, 14, -16, -50, -60), top=5, side=4, bulk=0.6),
    "buzz": HairStyle(-1.05, (64, 65, 54, 34, 14, -12, -18, 14, -16, -50, -60), shell=False),
    "crop": HairStyle(-0.6, top=10, side=4),
    "side-part": HairStyle(
        *(0.0, (64, 66, 54, 32, 12, -14, -20, 14, -16, -52, -62)), top=16, side=5, sweep=1.2, parting=3.5
    ),
    "curls": HairStyle(*(0.18, (63, 63, 54, 36, 22, 12, 6, 2, -14, -44, -56)), top=21, side=15, curl=1.0, bulk=2.2),
    "fringe": HairStyle(
        *(0.65, (27, 26, 22, 8, -40, -74, -80, -74, -80, -84, -88)), top=14, side=11, fringe=1.0, curtain=0.7, hem=-86
    ),
    "tied-back": HairStyle(
        *(1.0, (66, 66, 55, 36, 18, 6, 2, 14, -8, -34, -44)), top=7, side=4, bulk=0.4, parting=1.5, bun=True
    ),
    "wavy": HairStyle(
        *(1.45, (70, 63, 42, 16, -46, -102, -150, -165, -170, -180, -185)),
        **{"top": 15, "side": 13, "curtain": 1.0, "hem": -150, "wave": 1.6, "bulk": 1.6, "parting": 3.5},
    ),
    "curtain": HairStyle(
        *(np.inf, (72, 64, 46, 20, -40, -102, -150, -165, -170, -180, -185)),
        **{"top": 10, "side": 8, "curtain": 1.0, "parting": 4.5},
    ),
}
HAIR_STYLES: tuple[str, ...] = tuple(_STYLES)

# The beard coefficient above which each style is worn.
_BEARDS = {"none": -np.inf, "stubble": 0.05, "moustache": 0.5, "goatee": 0.85, "full": 1.25}
BEARD_STYLES: tuple[str, ...] = tuple(_BEARDS)


def hair_style(identity: Identity) -> str:
    """Name of the hair style that the style coefficient selects."""
    coefficient = identity.named("hair").style
    return next(name for name, style in _STYLES.items() if coefficient < style.upto)


def beard_style(identity: Identity) -> str:
    """Name of the beard that the beard coefficient selects."""
    coefficient = identity.named("hair").beard
    return [name for name, above in _BEARDS.items() if coefficient > above][-1]


def wear(identity: Identity, hair: str | None = None, beard: str | None = None) -> Identity:
    """The same person with another hair style or beard; colour, volume and the rest of the hair slice stay.

    Args:
        identity: who.
        hair: one of `HAIR_STYLES`, or None to keep it.
        beard: one of `BEARD_STYLES`, or None to keep it.

    Raises:
        InputError: unknown style.
    """
    vector = identity.vector.copy()
    slots = {name: SLICES["hair"].start + COEFFICIENTS["hair"].index(name) for name in ("style", "beard")}
    if hair is not None:
        vector[slots["style"]] = _middle(hair, "hair style", [style.upto for style in _STYLES.values()], HAIR_STYLES)
    if beard is not None:
        bounds = [*list(_BEARDS.values())[1:], np.inf]
        vector[slots["beard"]] = _middle(beard, "beard style", bounds, BEARD_STYLES)
    return Identity(vector)


def _middle(name: str, kind: str, upper_bounds: list[float], names: tuple[str, ...]) -> float:
    """A coefficient well inside the interval that selects `name`."""
    if name not in names:
        raise InputError(f"unknown {kind} '{name}'; choose one of {', '.join(names)}")
    index = names.index(name)
    above = upper_bounds[index] if np.isfinite(upper_bounds[index]) else upper_bounds[index - 1] + 0.8
    below = upper_bounds[index - 1] if index else above - 0.8
    return (below + above) / 2


def hair_colour(darkness: float, redness: float) -> np.ndarray:
    """Linear RGB of hair: `darkness` runs from blond (-3) to black (3). Shape (3,)."""
    absorbed = float(sigmoid(darkness)) * np.array([3.5, 4.0, 4.5]) + redness * np.array([0.1, 1.0, 1.7])
    return np.array([0.78, 0.56, 0.31]) * np.exp(-absorbed)


def hairline(identity: Identity, grid: Grid) -> np.ndarray:
    """Row below which each place of the grid is free of hair. Shape of the grid."""
    hair, style = identity.named("hair"), _STYLES[hair_style(identity)]
    turned = np.abs(grid.azimuth)
    edge = np.interp(turned, _HAIRLINE_AZIMUTHS, style.hairline)
    lean = np.tanh(hair.parting)
    forehead = smoothstep(-turned, -1.2, -0.6)
    scallops = (2.4 + 1.8 * hair.scallop) * np.cos(4 * turned) + 4 * lean * np.sin(2 * (grid.azimuth - 0.35 * lean))
    locks = 3.0 * style.fringe * np.sin(9 * (grid.azimuth - 0.35 * lean))
    return (
        edge + 4.0 * hair.hairline * (1 - 0.5 * style.fringe) + forehead * ((1 - 0.4 * style.fringe) * scallops + locks)
    )


@lru_cache(maxsize=2)
def _texture_hairline(identity: Identity) -> np.ndarray:
    """Remembered, because the scalp and the shell both need it."""
    return hairline(identity, TEXTURE)


def scalp_tint(identity: Identity) -> np.ndarray:
    """How far hair darkens the skin below it; the whole of the hair where it is too short for a shell. (352, 352)."""
    above = TEXTURE.row - _texture_hairline(identity).astype(np.float32)
    if _STYLES[hair_style(identity)].shell:
        return np.clip((0.8 + 0.22 * STRANDS + 0.1 * FINE) * smoothstep(above + 1.5 * STRANDS, -7, 6), 0, 0.92)
    return np.clip(0.72 + 0.10 * FINE, 0, 0.95) * smoothstep(above + 2.5 * CLOUDS, -6, 9)


def beard_coverage(identity: Identity, lips: np.ndarray) -> np.ndarray:
    """Density of the beard, 0..1, kept off the lips. Shape (352, 352)."""
    style, hair = beard_style(identity), identity.named("hair")
    if style == "none":
        return np.zeros(TEXTURE.shape, np.float32)
    area = _BEARD_AREAS[style] * (1 - lips)
    if style == "stubble":
        return np.clip(area * (0.34 + 0.08 * hair.beard_density) * (1 + 0.30 * FINE), 0, 0.8)
    thickness = np.clip(0.92 + 0.07 * hair.beard_density, 0.6, 1.0)
    return np.clip(area * (thickness + 0.10 * STRANDS + 0.08 * FINE), 0, 0.97)


def covers_ears(identity: Identity) -> bool:
    """Whether the hair hangs over the ears."""
    return _STYLES[hair_style(identity)].curtain > 0


def hair_layers(identity: Identity, vertices: np.ndarray) -> list[Layer]:
    """Shell of the hair, and the bun where there is one. Empty for bald and shaven heads."""
    style = _STYLES[hair_style(identity)]
    if not style.shell:
        return []
    hair = identity.named("hair")
    points = _shell_points(identity, hair, style, np.ascontiguousarray(vertices[::SHELL_STEP, ::SHELL_STEP]))
    texture = _shell_texture(identity, hair, style)
    layers = [Layer(HAIR_MATERIAL, points, texture, _SHELL_OCCLUSION, _FOLLOWS_EXPRESSION)]
    return [*layers, _bun(texture)] if style.bun else layers


def _shell_points(identity: Identity, hair: SimpleNamespace, style: HairStyle, vertices: np.ndarray) -> np.ndarray:
    """Vertices of the shell; over thick hair the skull is the mean one, so that face regions do not move the hair."""
    above = SHELL.row - hairline(identity, SHELL)
    thickness = _thickness(hair, style, above)
    buried = (
        smoothstep(above, 4, 20)[..., None] * smoothstep(np.abs(SHELL.azimuth) + SHELL.row / 60, 0.7, 1.5)[..., None]
    )
    support = (vertices + (_MEAN_SHELL - vertices) * buried).astype(np.float32)
    normals = vertex_normals(support)
    stands_out = ((vertices - support) * normals).sum(-1) + 1.2
    points = support + normals * np.maximum(thickness, np.maximum(stands_out, 0.3))[..., None]
    if style.curtain:
        points = _hang_down(points, hair, style)
    return points.astype(np.float32)


def _thickness(hair: SimpleNamespace, style: HairStyle, above: np.ndarray) -> np.ndarray:
    volume = (1 + 0.30 * hair.volume) * (1 + 0.12 * hair.length)
    turned = np.abs(SHELL.azimuth)
    body = 2 + volume * (style.top * smoothstep(SHELL.row, 30, 105) + style.side * smoothstep(turned, 0.9, 1.6))
    body = body * smoothstep(above, -3, 18 + 14 * style.curl) + 4 * style.fringe * smoothstep(above, -2, 5)
    body += 8 * style.curtain * smoothstep(turned, 1.0, 1.5) * (1 - smoothstep(SHELL.row, 20, 60))
    lean = np.tanh(hair.parting)
    lift = style.sweep * 5 * lean * np.sin(SHELL.azimuth - 0.5 * lean) * smoothstep(SHELL.row, 50, 80)
    groove = style.parting * bell(SHELL.azimuth, _parting_azimuth(hair, style), 0.07) * smoothstep(SHELL.row, 60, 80)
    bumps = style.bulk * (1.5 * _SHELL_WAVES + (1.0 + 1.4 * style.curl) * _SHELL_LOCKS)
    return body - groove + (lift + bumps) * smoothstep(above, 0, 15)


def _parting_azimuth(hair: SimpleNamespace, style: HairStyle) -> float:
    return float(np.tanh(hair.parting) * 0.5 + (0.3 * np.sign(hair.parting) if style.sweep else 0))


def _hang_down(points: np.ndarray, hair: SimpleNamespace, style: HairStyle) -> np.ndarray:
    """Below the temples the shell falls straight down, wider with every row."""
    turned = np.abs(SHELL.azimuth)
    share = style.curtain * smoothstep(-SHELL.row, -25, 5) * smoothstep(turned, 0.85, 1.2)
    start = points[np.argmin(np.abs(SHELL.row[:, 0] - 12))][None]
    below = np.maximum(-SHELL.row, 0)
    swing = style.wave * (1 + 0.3 * hair.wave) * np.sin(SHELL.row / 9 + 3 * SHELL.azimuth) * smoothstep(below, 0, 40)
    width = 1.02 + 0.0006 * below + 0.02 * swing
    hanging = np.stack([start[..., 0] * width, 0.98 * SHELL.row, start[..., 2] + 1.5 * swing], -1)
    return points + (hanging - points) * share[..., None]


def _shell_texture(identity: Identity, hair: SimpleNamespace, style: HairStyle) -> np.ndarray:
    strands = _strands(hair, style)
    above = TEXTURE.row - _texture_hairline(identity)
    ragged = (0.13 + 0.25 * style.fringe) * strands + 0.12 * FINE
    alpha = (
        0.5 + 0.55 * np.tanh(above / (3.5 + 2 * style.fringe + 2 * style.curl)) + ragged * np.exp(-((above / 8) ** 2))
    )
    hem = TEXTURE.row - style.hem - 14 * hair.length - 5 * LOCKS
    alpha = np.minimum(alpha, 0.5 + 0.1 * hem)
    tone = hair_colour(1.7 * hair.tone + 0.9, 0.8 * max(hair.redness, 0))
    contrast = (0.26 + 0.04 * hair.grain) * (1 - 0.25 * style.curl)
    shade = 1 + contrast * strands + 0.18 * LOCKS + 0.06 * FINE
    scalp = 0.5 * (TEXTURE.row > 60) * bell(TEXTURE.azimuth, _parting_azimuth(hair, style), 0.03)
    shade = np.maximum(shade, 0.15) * (1 - scalp * (style.parting > 0)) * (1 - 0.3 * np.exp(-np.maximum(above, 0) / 5))
    texture = np.empty((*TEXTURE.shape, 8), np.float32)
    texture[..., :3] = np.maximum(tone * shade[..., None], 0.004)
    texture[..., GLOSS] = 0.6
    texture[..., STRAND_CHANNEL] = strands
    texture[..., STRAND_CHANNEL + 1] = 1 - style.curl
    texture[..., ALPHA_CHANNEL] = np.clip(alpha, 0, 1)
    texture[..., LABEL_CHANNEL] = LABEL["hair"]
    return texture


def _strands(hair: SimpleNamespace, style: HairStyle) -> np.ndarray:
    """Strand noise, bent by waves and swept to the side of the parting. Shape (352, 352)."""
    if style.curl:
        return CURLS
    amplitude = 4 * np.clip(0.6 * hair.wave + style.wave, 0, 3)
    lean = style.sweep * np.sign(hair.parting) * smoothstep(_TEXEL_ROW, 130, 0)
    if amplitude == 0 and not style.sweep:
        return STRANDS
    across = _TEXEL_COLUMN + amplitude * np.sin(_TEXEL_ROW / 6 + 2 * WAVES) + lean * _TEXEL_ROW
    return cv2.remap(STRANDS, across.astype(np.float32), _TEXEL_ROW, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def _bun(texture: np.ndarray) -> Layer:
    """A knot at the back of the head, in the colours of the crown."""
    polar, around = np.meshgrid(np.linspace(0, np.pi, 15), np.linspace(0, 2 * np.pi, 25), indexing="ij")
    wobble = 1 + 0.05 * np.sin(5 * around + 4 * polar)
    points = np.stack(
        [
            30 * wobble * np.sin(polar) * np.sin(around),
            42 + 28 * wobble * np.sin(polar) * np.cos(around),
            -112 - 26 * np.cos(polar),
        ],
        -1,
    )
    knot = texture[:96, 120:232].copy()
    knot[..., ALPHA_CHANNEL] = 1
    return Layer(
        HAIR_MATERIAL, points.astype(np.float32), knot, np.full(points.shape[:2], 0.8, np.float32), np.zeros(15)
    )


def _beard_areas() -> dict[str, np.ndarray]:
    """Where each beard grows. Shape (352, 352) each."""
    grid = TEXTURE
    top = np.interp(grid.across, [0, 14, 26, 40, 66, 80], [-57, -58, -62, -50, -28, -10])
    whole = smoothstep(top - grid.row + 2 * CLOUDS, 0, 8) * (1 - smoothstep(-grid.row, 114, 128))
    whole *= 1 - smoothstep(np.abs(grid.azimuth), 1.25, 1.4)
    whole *= 1 - 0.75 * grid.bump(0, 8, -86, 4)
    middle = -60.5 - 0.0105 * grid.across**2
    moustache = smoothstep(5.2 - np.abs(grid.row - middle) + 0.7 * CLOUDS, -1, 2.2) * (
        1 - smoothstep(grid.across, 26, 31)
    )
    chin = smoothstep(25 - grid.across + 2 * CLOUDS, -4, 4) * smoothstep(-grid.row, 85, 93)
    beside = bell(grid.across, 28, 3.6) * smoothstep(-grid.row, 64, 70) * (1 - smoothstep(-grid.row, 98, 108))
    round_mouth = np.maximum(np.maximum(moustache, np.clip(1.3 * beside, 0, 1)), chin)
    areas = {"stubble": whole, "moustache": moustache, "goatee": round_mouth, "full": whole}
    chin_only = 1 - smoothstep(-grid.row, 116, 130)
    return {name: (area * grid.front * chin_only).astype(np.float32) for name, area in areas.items()}


def _shell_noise(bank: np.ndarray) -> np.ndarray:
    return cv2.resize(bank, (SHELL.shape[1], SHELL.shape[0]), interpolation=cv2.INTER_AREA)


_BEARD_AREAS = _beard_areas()
_MEAN_SHELL = np.ascontiguousarray(MEAN_HEAD[::SHELL_STEP, ::SHELL_STEP])
_SHELL_WAVES, _SHELL_LOCKS = _shell_noise(WAVES), _shell_noise(CLOUDS)
_SHELL_OCCLUSION = np.clip(0.55 + 0.45 * smoothstep(SHELL.row, -60, 70), 0, 1).astype(np.float32)
_FOLLOWS_EXPRESSION = (SHELL.row[:, 0] > -60).astype(np.float32)
_TEXEL_COLUMN, _TEXEL_ROW = (
    axis.astype(np.float32) for axis in np.meshgrid(np.arange(TEXTURE.shape[1]), np.arange(TEXTURE.shape[0]))
)

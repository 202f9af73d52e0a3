"""How light comes in and how skin, hair and cloth throw it back."""

from typing import NamedTuple

import numpy as np
from numba import njit

from facexai.rendering.compiled import compiled
from facexai.rendering.rasterizer import JIT

OCCLUSION, SUN = 3, 4  # places in a vertex attribute after the normal; the tangent of a strand follows


class Light(NamedTuple):
    """Key light (direction towards it, half vector with the view, strength) and nine coefficients of ambient light."""

    x: float
    y: float
    z: float
    half_x: float
    half_y: float
    half_z: float
    strength: float
    harmonics: np.ndarray


class Skin(NamedTuple):
    """What one sample of skin, eye, ear or cloth is made of, before light."""

    red: float
    green: float
    blue: float
    shine: float
    occlusion: float
    sharp: bool
    label: int


def make_light(direction: tuple[float, float, float], strength: float, harmonics: np.ndarray) -> Light:
    """Light from `direction` (towards the light, camera coordinates; any length) and from all around."""
    x, y, z = (float(value) for value in np.asarray(direction, float) / np.linalg.norm(direction))
    length = float(np.sqrt(x * x + y * y + (z + 1) ** 2)) + 1e-9
    return Light(x, y, z, x / length, y / length, (z + 1) / length, float(strength), harmonics)


@njit(inline="always")
def square(x):
    """X times x."""
    return x * x


@compiled(**JIT)
def ambient_light(harmonics, x, y, z):
    """Ambient light from direction (x, y, z): nine coefficients, constant, linear, quadratic."""
    light = harmonics[0] + harmonics[1] * x + harmonics[2] * y + harmonics[3] * z
    light += harmonics[4] * x * y + harmonics[5] * y * z + harmonics[6] * (3 * z * z - 1)
    light += harmonics[7] * x * z + harmonics[8] * (x * x - y * y)
    return max(light, 0.03)


@compiled(**JIT)
def light_skin(skin, normal, light):
    """Reflected light of skin, eyes and cloth: wrapped diffuse light per channel (blood scatters red) and two lobes."""
    nx, ny, nz, sun = normal[0], normal[1], normal[2], normal[SUN]
    ambient = ambient_light(light.harmonics, nx, ny, nz) * skin.occlusion
    facing = nx * light.x + ny * light.y + nz * light.z
    half = max(nx * light.half_x + ny * light.half_y + nz * light.half_z, 0.0)
    edge = 1 - max(nz, 0.0)
    highlight = 0.0
    p4 = square(square(half))
    p16 = square(square(p4))
    if skin.sharp:
        p32 = p16 * p16
        highlight = square(square(p32)) * p32 * 1.2 * light.strength
    elif facing > 0 and half > 0.6:
        p64 = square(square(p16))
        fresnel = 0.4 + 0.6 * edge * edge * edge
        highlight = skin.shine * (p16 * p4 * 0.8 + 0.55 * p64) * fresnel * 2 * light.strength * sun
    soft = 0.12 + 0.88 * sun
    red = skin.red * (ambient + light.strength * max((facing + 0.30) / 1.30, 0.0) * soft)
    green = skin.green * (ambient + light.strength * max((facing + 0.14) / 1.14, 0.0) * sun)
    blue = skin.blue * (ambient + light.strength * max((facing + 0.09) / 1.09, 0.0) * sun)
    return red + highlight, green + highlight, blue + highlight


@compiled(**JIT)
def light_hair(red, green, blue, strand, sleek, surface, light):
    """Reflected light of hair: wrapped diffuse light and two highlights across the strands (Kajiya-Kay)."""
    nx, ny, nz, sun = surface[0], surface[1], surface[2], surface[SUN]
    tx, ty, tz = surface[5], surface[6], surface[7]
    scale = 1 / (np.sqrt(tx * tx + ty * ty + tz * tz) + 1e-6)
    along = (tx * light.half_x + ty * light.half_y + tz * light.half_z) * scale + 0.10 * strand
    across = max(1 - along * along, 0.0)
    facing = nx * light.x + ny * light.y + nz * light.z
    diffuse = max((facing + 0.35) / 1.35, 0.0) * light.strength * (0.35 + 0.65 * sun)
    p8 = square(square(square(across)))
    shine = sleek * (square(square(p8)) * p8 * 0.09 + p8 * across * across * 0.03)
    shine *= light.strength * max(facing + 0.3, 0.0) * sun
    total = ambient_light(light.harmonics, nx, ny, nz) * surface[OCCLUSION] + diffuse
    return red * total + shine * (0.5 + red), green * total + shine * (0.5 + green), blue * total + shine * (0.5 + blue)

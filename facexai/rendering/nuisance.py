"""Everything in an image that is not identity: pose, expression, age, light, occlusion, camera, background."""

from dataclasses import dataclass

import numpy as np

from facexai.errors import InputError
from facexai.pose import Pose
from facexai.rendering.occluders import OCCLUDERS, VARIANTS

Triple = tuple[float, float, float]

_STUDIO_AMBIENT = (1.0, 0.10, 0.12, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Nuisance:
    """Circumstances of one image; the defaults are a neutral face in a studio.

    Args:
        yaw, pitch, roll: head pose in degrees, as in `facexai.pose.Pose`.
        smile, brow_raise: strength of the expression, about -1..2; 0 is neutral.
        mouth_open: drop of the jaw in mm.
        eye_closure: 0 open, 1 closed, slightly negative wide open.
        age, grey: wrinkles and sagging, and share of grey hair, 0..1.
        gaze: shift of the irises in mm, right and up.
        occluder: None or one of `OCCLUDERS`.
        occluder_colour: linear RGB.
        occluder_variant: cut and pattern, 0..3.
        light_direction: towards the key light in camera coordinates (x right, y up, z to the camera); any length.
        light_strength, ambient: brightness of the key light and of the light from all around.
        ambient_shape: nine spherical harmonics of the ambient light, relative to `ambient`.
        tint, exposure: white balance per channel and gain of the camera.
        distance: from the camera to the head in mm.
        landmark_jitter: error of the landmarks that the alignment uses, five (x, y) in mm; None for none.
        blur: standard deviation in pixels of a 112-pixel image.
        noise: standard deviation of the sensor noise, of full scale 1.
        jpeg: quality 1..100, 0 for no compression.
        background, grain: seeds of the background and of the sensor noise.

    Raises:
        InputError: an unknown occluder, a number that is not finite, or a light without direction.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    smile: float = 0.0
    brow_raise: float = 0.0
    mouth_open: float = 0.0
    eye_closure: float = 0.0
    age: float = 0.0
    grey: float = 0.0
    gaze: tuple[float, float] = (0.0, 0.0)
    occluder: str | None = None
    occluder_colour: Triple = (0.3, 0.45, 0.6)
    occluder_variant: int = 0
    light_direction: Triple = (0.45, 0.55, 0.75)
    light_strength: float = 1.25
    ambient: float = 0.46
    ambient_shape: tuple[float, ...] = _STUDIO_AMBIENT
    tint: Triple = (1.0, 1.0, 1.0)
    exposure: float = 1.0
    distance: float = 850.0
    landmark_jitter: tuple[tuple[float, float], ...] | None = None
    blur: float = 0.0
    noise: float = 0.0
    jpeg: int = 0
    background: int = 0
    grain: int = 0

    def __post_init__(self) -> None:
        if self.occluder is not None and self.occluder not in OCCLUDERS:
            raise InputError(f"unknown occluder '{self.occluder}'; choose one of {', '.join(OCCLUDERS)} or None")
        numbers = [value for value in vars(self).values() if isinstance(value, (int, float))]
        vectors = (self.gaze, self.occluder_colour, self.light_direction, self.ambient_shape, self.tint)
        numbers += [number for vector in vectors for number in vector]
        if not np.isfinite(numbers).all():
            raise InputError("a nuisance must be finite; it holds NaN or infinite values. Use sample_nuisance(rng).")
        if not any(self.light_direction) or self.distance < 300:
            raise InputError("light_direction must not be zero and distance at least 300 mm; see help(Nuisance).")

    @property
    def pose(self) -> Pose:
        """Head pose."""
        return Pose(self.yaw, self.pitch, self.roll)


def sample_nuisance(
    rng: int | np.random.Generator, strength: float = 1.0, yaw: float | None = None, occlusion: float = 0.15
) -> Nuisance:
    """Draw the circumstances of one image.

    Args:
        rng: a generator, or an integer seed.
        strength: 0 differs in background and camera distance only, 0.5 is easy, 1 the benchmark, 1.5 a stress test.
        yaw: None for uniform in +-90 degrees; a number for that yaw with a spread of 4 * strength degrees.
        occlusion: probability of an occluder at strength 1.

    Raises:
        InputError: negative strength, or a probability outside 0..1.
    """
    if not (np.isfinite(strength) and strength >= 0 and 0 <= occlusion <= 1):
        raise InputError(f"strength must be >= 0 and occlusion in 0..1; got {strength} and {occlusion}.")
    generator = np.random.default_rng(rng)
    return Nuisance(
        **_sample_pose(generator, strength, yaw),
        **_sample_expression(generator, strength),
        **_sample_light(generator, strength),
        **_sample_camera(generator, strength),
        **_sample_occluder(generator, occlusion * min(strength, 1.3)),
    )


def _sample_pose(generator: np.random.Generator, strength: float, yaw: float | None) -> dict:
    turned = generator.uniform(-90, 90) if yaw is None else yaw + 4 * strength * generator.standard_normal()
    return {
        "yaw": float(turned),
        "pitch": float(np.clip(9 * strength * generator.standard_normal(), -30, 30)),
        "roll": float(np.clip(8 * strength * generator.standard_normal(), -25, 25)),
    }


def _sample_expression(generator: np.random.Generator, strength: float) -> dict:
    uniform, normal = generator.uniform, generator.standard_normal
    speaks, blinks = uniform() < 0.4, uniform() < 0.06 * strength
    age = float(np.clip(uniform(0, 0.9) * strength, 0, 1.2))
    turns_grey = uniform() < 0.5
    gaze = 1.6 * strength * normal(2)
    return {
        "smile": float(max(0, 0.75 * strength * normal())),
        "mouth_open": float(max(0, 9 * strength * normal())) if speaks else 0.0,
        "eye_closure": 1.0 if blinks else float(np.clip(uniform(-0.4, 0.25) * strength, -0.2, 1)),
        "brow_raise": float(0.5 * strength * normal()),
        "age": age,
        "grey": float(np.clip((age - 0.45) * 1.6 * turns_grey, 0, 0.85)),
        "gaze": (float(gaze[0]), float(gaze[1])),
    }


def _sample_light(generator: np.random.Generator, strength: float) -> dict:
    normal = generator.standard_normal
    sideways, upwards = strength * normal() * 0.75, strength * normal() * 0.35 + 0.4
    shape = np.asarray(_STUDIO_AMBIENT) + np.r_[0, 0.22 * strength * normal(8)]
    return {
        "light_direction": (
            float(np.sin(sideways) * np.cos(upwards)),
            float(np.sin(upwards)),
            float(np.cos(sideways) * np.cos(upwards)),
        ),
        "light_strength": float(1.25 * np.exp(0.3 * strength * normal())),
        "ambient": float(0.46 * np.exp(0.3 * strength * normal())),
        "ambient_shape": tuple(shape.tolist()),
    }


def _sample_camera(generator: np.random.Generator, strength: float) -> dict:
    uniform, normal = generator.uniform, generator.standard_normal
    jitter = 1.3 * strength * normal((5, 2))
    quality = int(np.clip(95 - uniform(0, 60) * strength, 20, 95))
    return {
        "tint": tuple(np.exp(0.07 * strength * normal(3)).tolist()),
        "exposure": float(np.exp(0.22 * strength * normal())),
        "background": int(generator.integers(1 << 30)),
        "grain": int(generator.integers(1 << 30)),
        "landmark_jitter": tuple((float(x), float(y)) for x, y in jitter),
        "distance": float(uniform(550, 1300)),
        "blur": float(max(0, uniform(-0.5, 1.0) * strength)),
        "noise": float(uniform(0, 0.035) * strength),
        "jpeg": quality if strength > 0 else 0,
    }


def _sample_occluder(generator: np.random.Generator, probability: float) -> dict:
    return {} if generator.uniform() >= probability else sample_occluder(generator)


def sample_occluder(generator: np.random.Generator, kind: str | None = None) -> dict:
    """Draw the look of an occluder of this kind, or of any: the fields `occluder...` of a `Nuisance`."""
    if kind is None:
        kind = OCCLUDERS[generator.integers(len(OCCLUDERS))]
    if kind in ("sunglasses", "glasses"):
        colour = generator.uniform(0.012, 0.05 if kind == "sunglasses" else 0.15, 3)
    elif kind == "mask" and generator.uniform() < 0.6:
        colour = np.array([0.35, 0.55, 0.72]) * generator.uniform(0.8, 1.2)
    else:
        colour = generator.uniform(0.03, 0.65, 3)
    return {
        "occluder": kind,
        "occluder_variant": int(generator.integers(VARIANTS)),
        "occluder_colour": tuple(colour.tolist()),
    }

"""Identity: one vector in region slices, and the sampler that draws plausible people."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from facexai.errors import InputError

# What each coefficient of a region does; `_0`, `_1`, ... are the weights of smooth random fields.
COEFFICIENTS: dict[str, tuple[str, ...]] = {
    "eyes": (
        *("spacing", "size", "height", "tilt", "protrusion", "fold", "opening", "melanin", "hue", "skew", "crease"),
    ),
    "brows": ("height", "ridge", "inner", "outer", "arch", "slant", "thickness", "density", "tone"),
    "nose": (
        *("width", "bridge", "tip_width", "length", "tip_lift", "wing_height", "projection", "hump", "root"),
        *("field_0", "field_1", "field_2"),
    ),
    "mouth": (
        *("width", "height", "corners", "upper", "lower", "protrusion", "bow", "redness"),
        *("field_0", "field_1", "field_2"),
    ),
    "jaw": (
        *("width", "chin_width", "length", "angle", "chin", "cleft", "crease", "taper"),
        *("field_0", "field_1", "field_2", "field_3"),
    ),
    "cheeks": ("width", "lower_width", "bone", "fullness", "fold", "field_0", "field_1", "field_2", "field_3"),
    "forehead": ("temples", "slope", "bulge", "glabella", "height", "field_0", "field_1", "field_2"),
    "hair": (
        *("tone", "redness", "style", "length", "volume", "parting", "hairline", "scallop", "wave", "grain"),
        *("beard", "beard_density"),
    ),
    "skin": (
        *("melanin", "blood", "flush", "circles", "freckles", "oil", "gloss", "warmth"),
        *(f"field_{index}" for index in range(16)),
    ),
    "ears": ("size", "flare", "height", "lobe"),
}
REGIONS: dict[str, int] = {name: len(names) for name, names in COEFFICIENTS.items()}
DIMENSION = sum(REGIONS.values())
_STARTS = dict(zip(REGIONS, np.cumsum([0, *REGIONS.values()])[:-1].tolist(), strict=True))
SLICES: dict[str, slice] = {name: slice(start, start + REGIONS[name]) for name, start in _STARTS.items()}


@dataclass(frozen=True, eq=False)
class Identity:
    """Who a face is: about a hundred standard-normal numbers, each of which belongs to exactly one region.

    Args:
        vector: all coefficients, regions one after another in the order of `REGIONS`. Shape (112,), float64.

    Raises:
        InputError: another length, or values that are not finite.
    """

    vector: np.ndarray

    def __post_init__(self) -> None:
        vector = np.array(self.vector, dtype=np.float64)
        if vector.shape != (DIMENSION,) or not np.isfinite(vector).all():
            raise InputError(
                f"an identity is {DIMENSION} finite numbers; got shape {vector.shape}. Use sample_identity(seed)."
            )
        vector.setflags(write=False)
        object.__setattr__(self, "vector", vector)

    def region(self, name: str) -> np.ndarray:
        """Coefficients of one region. Shape (REGIONS[name],).

        Raises:
            InputError: unknown region.
        """
        return self.vector[SLICES[check_region(name)]]

    def named(self, name: str) -> SimpleNamespace:
        """Coefficients of one region by name, as in `COEFFICIENTS`: `identity.named("nose").width`."""
        return SimpleNamespace(**dict(zip(COEFFICIENTS[name], self.region(name).tolist(), strict=True)))

    def fields(self, name: str) -> np.ndarray:
        """The weights of the random fields of one region, which are its last coefficients."""
        count = sum(item.startswith("field_") for item in COEFFICIENTS[name])
        return self.region(name)[-count:]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and self.vector.tobytes() == other.vector.tobytes()

    def __hash__(self) -> int:
        return hash(self.vector.tobytes())


def check_region(name: str) -> str:
    """Return `name`, or raise `InputError` where it is no region."""
    if name not in REGIONS:
        raise InputError(f"unknown region '{name}'; choose one of {', '.join(REGIONS)}")
    return name


def sample_identity(seed: int | np.random.Generator) -> Identity:
    """Draw a person.

    Each coefficient is standard normal, cut at 2.3. What goes together in people (dark skin and dark hair, a strong jaw
    and a beard) is put in here and nowhere else: the renderer reads every coefficient on its own, so that exchanging
    one region of two identities changes that region only.

    Args:
        seed: an integer, or a generator to go on drawing from.

    Returns:
        An identity; the same seed gives the same identity.
    """
    generator = np.random.default_rng(seed)
    vector = np.clip(generator.standard_normal(DIMENSION), -2.3, 2.3)
    masculine = float(np.sign(generator.standard_normal()) * (0.7 + 0.3 * generator.random()))
    face = {
        name: SimpleNamespace(**dict(zip(COEFFICIENTS[name], vector[SLICES[name]], strict=True))) for name in REGIONS
    }
    _correlate_colours(face)
    _correlate_features(face, masculine)
    _correlate_hair(face, masculine, generator)
    return Identity(np.concatenate([[getattr(face[name], item) for item in COEFFICIENTS[name]] for name in REGIONS]))


def _correlate_colours(face: dict[str, SimpleNamespace]) -> None:
    melanin = face["skin"].melanin
    face["hair"].tone = 0.75 * face["hair"].tone + 1.1 * max(melanin, -0.6)
    face["brows"].tone = 0.5 * face["brows"].tone + 0.8 * face["hair"].tone
    face["eyes"].melanin += 0.9 * max(melanin, -0.5)


def _correlate_features(face: dict[str, SimpleNamespace], masculine: float) -> None:
    melanin = face["skin"].melanin
    face["jaw"].width += 0.6 * masculine
    face["jaw"].chin_width += 0.5 * masculine
    face["jaw"].length += 0.3 * masculine
    face["brows"].thickness += 0.7 * masculine
    face["brows"].ridge += 0.6 * masculine
    face["brows"].arch -= 0.5 * masculine
    face["brows"].height -= 0.5 * masculine
    face["nose"].length += 0.3 * masculine
    face["nose"].width += 0.25 * masculine + 0.5 * melanin
    face["nose"].root -= 0.3 * melanin
    face["mouth"].upper += 0.5 * melanin - 0.4 * masculine
    face["mouth"].lower += 0.5 * melanin - 0.4 * masculine
    face["mouth"].redness -= 0.7 * masculine
    face["eyes"].opening -= 0.4 * masculine
    face["eyes"].skew -= 0.5 * masculine
    face["cheeks"].fullness -= 0.3 * masculine


def _correlate_hair(face: dict[str, SimpleNamespace], masculine: float, generator: np.random.Generator) -> None:
    """Style runs from bald to long and beard from none to full; see `HAIR_STYLES` and `BEARD_STYLES` in hair.py."""
    hair, melanin = face["hair"], face["skin"].melanin
    hair.style = 0.62 * hair.style - 0.85 * masculine
    curly = generator.random() < (0.22 if melanin > 0.4 else 0.04)
    if curly:
        hair.style = 0.09 + 0.08 * np.tanh(hair.style)
    hair.beard = 0.45 + 0.8 * hair.beard if masculine > 0 else -2.5 + 0.3 * hair.beard
    hair.hairline = 0.8 * hair.hairline + 0.35 * masculine
    hair.wave += 0.5 * max(melanin, 0.0)

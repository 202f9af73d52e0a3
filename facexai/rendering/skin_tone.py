"""Skin tone of a rendered person, from its colour and not from somebody's eye."""

import cv2
import numpy as np

from facexai.rendering.appearance import mean_skin_colour
from facexai.rendering.identity import Identity

SKIN_TONES = {"dark": -30.0, "brown": 10.0, "tan": 28.0, "intermediate": 41.0, "light": 90.0}
"""The names of Chardon et al., and the typology angle in degrees up to which each reaches."""


def typology_angle(identity: Identity) -> float:
    """Individual typology angle of the plain skin in degrees: arctan((L* - 50) / b*); high for light skin.

    Source: Chardon, Cretois, Hourseau, "Skin colour typology and suntanning pathways" (1991).
    """
    colour = mean_skin_colour(identity).astype(np.float32).clip(0, 1)
    lightness, _, yellow = cv2.cvtColor(colour[None, None], cv2.COLOR_LRGB2Lab)[0, 0]
    return float(np.degrees(np.arctan2(lightness - 50, yellow)))


def skin_tone(identity: Identity) -> int:
    """Position in `SKIN_TONES`, 0 for the darkest."""
    return int(np.searchsorted(list(SKIN_TONES.values()), typology_angle(identity)).clip(0, len(SKIN_TONES) - 1))

"""Draw the picture that opens the book and the README: `python book/opener.py` writes `book/opener.jpg`.

Two pairs of rendered faces: one person photographed twice, and a person with the nose and mouth of another one.
Over each pair lies what raises its score and what lowers it, for the shipped network.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from facexai import FacePair, Saliency, explain, load_model, region_pair, render, sample_identity, sample_nuisance
from facexai.rendering import Rendering
from facexai.views.overlays import overlay, scale_of

ENLARGE, SIDE, GAP, LINE = 2, 224, 6, 34
INK = (31, 41, 51)
MAPS = {"similarity": "raises the score", "dissimilarity": "lowers the score"}


def draw_pair(first: Rendering, second: Rendering, network: str) -> np.ndarray:
    """A row for each face: the face, what raises the score, what lowers it."""
    model = load_model(network)
    pair = FacePair(first.tensor(), second.tensor())
    saliency = explain(pair, model)
    rows = [draw_face(rendering.image, saliency, index) for index, rendering in enumerate((first, second))]
    score = f"score {saliency.score:.2f}".replace("-", "\N{MINUS SIGN}")
    headings = np.concatenate([heading(words, SIDE + GAP) for words in (score, *MAPS.values())], axis=1)
    return np.concatenate([headings, *rows])


def draw_face(image: np.ndarray, saliency: Saliency, index: int) -> np.ndarray:
    """The face, then its two maps on the common scale of the pair."""
    limit = scale_of(saliency)
    maps = [overlay(image, getattr(saliency, name)[index].numpy(), name, limit=limit, enlarge=ENLARGE) for name in MAPS]
    face = np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    return framed([face, *maps])


def framed(pictures: list[np.ndarray]) -> np.ndarray:
    """Pictures side by side, with a white margin to the right of each and below."""
    return np.concatenate([np.pad(p, ((0, GAP), (0, GAP), (0, 0)), constant_values=255) for p in pictures], axis=1)


def heading(words: str, width: int) -> np.ndarray:
    """A line of text on white, for the column below."""
    canvas = Image.new("RGB", (width, LINE), "white")
    ImageDraw.Draw(canvas).text((2, 4), words, fill=INK, font=ImageFont.load_default(size=20))
    return np.asarray(canvas)


def main(network: str = "tutorial") -> None:
    """Draw both pairs beside each other and save them."""
    first, second = (
        render(sample_identity(44), sample_nuisance(seed, strength=0.6, yaw=yaw, occlusion=0))
        for seed, yaw in ((31, -12), (33, 14))
    )
    mixed = region_pair(sample_identity(42), sample_identity(45), ["nose", "mouth"])
    pairs = [draw_pair(first, second, network), draw_pair(mixed.probe, mixed.gallery, network)]
    gutter = np.full((pairs[0].shape[0], 4 * GAP, 3), 255, np.uint8)
    picture = np.concatenate([pairs[0], gutter, pairs[1]], axis=1)
    Image.fromarray(picture).save(Path(__file__).parent / "opener.jpg", quality=88)


if __name__ == "__main__":
    main(*sys.argv[1:])

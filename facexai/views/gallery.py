"""GalleryExplorer: pair by method by map, to walk through in the page."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from facexai.errors import InputError
from facexai.pairs import FacePair, Saliency
from facexai.views.explorers import Explorer
from facexai.views.overlays import OPAQUE, POWER, TINTS, grey, pixels

LARGEST_PAYLOAD = 1_500_000
FULL_COLOUR = 0.995  # quantile of |H| over both faces; a single pixel does not set the scale of a map
QUALITY = 80  # of the lossy WebP: maps are for the eye here, and no number is taken from them
SHARES = (100, 60, 25, 5)  # positions of the slider whose sums the tests compare


class GalleryExplorer(Explorer):
    """What several methods say of the same pairs: choose a pair and a method, and which part of the map to see.

    A slider leaves the strongest pixels alone, so that methods of any scale can be compared on equal areas. All maps of
    a pair travel as one picture of grey levels; the page turns it into maps.

    Args:
        pairs: the pairs, with names for the menu.
        maps: for each method, in the order of the wall, the saliency of every pair.
        notes: a sentence about a method, shown beside its map.
        groups: heading -> methods, for the wall; methods that are not there are passed over, those in no group come
            last. One group without a heading where None.
        caption: shown below.
        alt: the explorer for readers who do not see it.

    A method none of whose maps is negative anywhere is shown as one without a sign.

    Raises:
        InputError: maps that do not fit the pairs, or so much that the page would be heavy.
    """

    def __init__(
        self,
        pairs: Sequence[FacePair],
        maps: Mapping[str, Sequence[Saliency]],
        *,
        notes: Mapping[str, str] | None = None,
        groups: Mapping[str, Sequence[str]] | None = None,
        caption: str = "",
        alt: str = "",
    ) -> None:
        check_gallery(pairs, maps)
        names = list(maps)
        height, width = pairs[0].probe.shape[1:]
        packed = [pack_pair(pair, [maps[name][k] for name in names]) for k, pair in enumerate(pairs)]
        payload = {
            "height": height,
            "width": width,
            "start": 0,
            "pairs": packed,
            "methods": [{"name": name, "note": (notes or {}).get(name, ""), **sign(maps[name])} for name in names],
            "groups": numbered(groups or {"": names}, names),
            "tints": {"power": POWER, "opaque": OPAQUE, **{name: tint.colour for name, tint in TINTS.items()}},
        }
        weight = sum(len(pair["sheet"]) for pair in packed)
        if weight > LARGEST_PAYLOAD:
            raise InputError(
                f"a gallery holds at most {LARGEST_PAYLOAD // 1000} kB of pictures; {len(pairs)} pairs x {len(names)} "
                f"methods need {weight // 1000}. Show fewer."
            )
        codes = read_sheet(packed[0]["sheet"])[height : 2 * height]
        payload["expected"] = [[share, shown_sum(codes, share)] for share in SHARES]
        caption = caption or (
            f"{len(names)} methods on {len(pairs)} pairs. Choose a method on the wall (arrow keys work too) and a pair "
            "from the menu; the wall shows the probe. Each method has its own scale: full colour is reached by the "
            "strongest 0.5 % of its pixels. Violet maps have no sign."
        )
        alt = alt or f"Two faces with the map of one of {len(names)} methods, and a wall of all methods to choose from."
        super().__init__("gallery.js", payload, 100.0, caption, alt)


def pack_pair(pair: FacePair, maps: Sequence[Saliency]) -> dict[str, Any]:
    """Faces and maps of a pair as one sheet: faces in the first row, then one row a method; probe left."""
    limits = [full_colour(saliency) for saliency in maps]
    faces = np.concatenate([np.rint(grey(pixels(image))) for image in (pair.probe, pair.gallery)], axis=1)
    rows = [np.concatenate(list(codes(saliency, limit)), axis=1) for saliency, limit in zip(maps, limits, strict=True)]
    sheet = np.concatenate([faces.astype(np.uint8), *rows])
    buffer = io.BytesIO()
    Image.fromarray(sheet).convert("RGB").save(buffer, format="WEBP", quality=QUALITY, method=6)
    return {
        "name": pair.name or "pair",
        "truth": {True: "one person", False: "two people", None: "not known"}[pair.genuine],
        "score": maps[0].score,
        "limits": limits,
        "sheet": "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode(),
    }


def full_colour(saliency: Saliency) -> float:
    """The value of full colour of a map."""
    magnitudes = saliency.signed.abs().flatten().double().cpu().numpy()
    return float(np.quantile(magnitudes, FULL_COLOUR)) or float(magnitudes.max()) or 1.0


def codes(saliency: Saliency, limit: float) -> np.ndarray:
    """Signed maps as grey levels, 128 for zero. Shape (2, H, W), uint8."""
    signed = saliency.signed.detach().cpu().numpy()
    return np.rint(128 + 127 * (signed / limit).clip(-1, 1)).astype(np.uint8)


def sign(maps: Sequence[Saliency]) -> dict[str, bool]:
    """Whether none of these maps is negative anywhere."""
    return {"unsigned": all(float(saliency.signed.min()) >= 0 for saliency in maps)}


def numbered(groups: Mapping[str, Sequence[str]], names: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Groups by the numbers of their methods, each in its first group; those of none come last, as `others`."""
    rows, left = [], list(names)
    for title, members in {**groups, "others": list(names)}.items():
        found = [name for name in members if name in left]
        left = [name for name in left if name not in found]
        rows.append((title, [names.index(name) for name in found]))
    return [(title, members) for title, members in rows if members]


def read_sheet(address: str) -> np.ndarray:
    """Grey levels of a sheet, as the page reads them. Shape (H (1 + M), 2 W), uint8."""
    content = base64.b64decode(address.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))[..., 0]


def shown_sum(maps: np.ndarray, share: float) -> float:
    """Sum of the values that the page shows of both maps of a method, in units of full colour.

    Args:
        maps: grey levels, probe left. Shape (H, 2 W).
        share: of the strongest pixels of each map, in per cent.
    """
    return sum(float(strongest(part, share).sum()) for part in np.split(maps, 2, axis=1))


def strongest(codes: np.ndarray, share: float) -> np.ndarray:
    """Values in [-1, 1] of the strongest pixels, with all that tie with the last one; 0 elsewhere."""
    values = codes.astype(int) - 128
    ordered = np.sort(np.abs(values), axis=None)[::-1]
    level = ordered[int(np.ceil(share * ordered.size / 100)) - 1]
    return np.where(np.abs(values) >= level, (values / 127).clip(min=-1), 0.0)


def check_gallery(pairs: Sequence[FacePair], maps: Mapping[str, Sequence[Saliency]]) -> None:
    """Raise `InputError` unless every method has one map for each pair, of its size."""
    if not pairs or not maps:
        raise InputError(f"a gallery needs pairs and methods; got {len(pairs)} pairs and {len(maps)} methods")
    for name, saliencies in maps.items():
        if len(saliencies) != len(pairs):
            raise InputError(f"a gallery needs one map of each pair; {name} has {len(saliencies)} of {len(pairs)}")
        for pair, saliency in zip(pairs, saliencies, strict=True):
            size = tuple(pairs[0].probe.shape[1:])
            if tuple(pair.probe.shape[1:]) != size or tuple(saliency.signed.shape[1:]) != size:
                raise InputError(f"all faces and maps of a gallery have one size; {name} on '{pair.name}' differs")

"""The report of one comparison: a page that opens anywhere, the overlays as PNG, and the raw maps.

`report.html` holds its pictures and its style; it loads nothing, so it can be mailed, archived and printed.
"""

import io
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import metadata
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import torch

from facexai.explainers import Decomposition
from facexai.pairs import FacePair, Saliency
from facexai.views.assets import read_asset
from facexai.views.overlays import TINTS, colour_bar, data_uri, method_name, overlay, png, resize, scale_of
from facexai.views.overlays import pixels as to_pixels
from facexai.views.verdict import Verdict
from facexai.weights import write_atomically

ROLES = ("probe", "gallery")
PNG_ENLARGE, PAGE_ENLARGE = 4, 2


@dataclass(frozen=True)
class Channel:
    """One channel of the network as evidence in a comparison.

    Args:
        number: of the channel in the network.
        weights: its weight on the probe and on the gallery face; > 0 raises the score.
        residuals: where it looks on either face, 0 to 1. Shape (2, H, W).
    """

    number: int
    weights: tuple[float, float]
    residuals: np.ndarray


def strongest_channels(decomposition: Decomposition, count: int = 8) -> list[Channel]:
    """The channels with the largest |weight - T| on either face, largest first.

    Args:
        decomposition: of the pair, by `facexai.explainers.decompose`.
        count: at most this many.
    """
    weights = decomposition.map_weights().cpu()  # (2, C)
    numbers = weights.abs().amax(0).topk(min(count, weights.shape[1])).indices.tolist()
    chosen = []
    for number in numbers:
        maps = [residuals.map(number).cpu() for residuals in decomposition.residuals]
        maps += [torch.zeros_like(maps[0])] * (2 - len(maps))
        probe, gallery = weights[:, number].tolist()
        chosen.append(Channel(number, (probe, gallery), torch.stack(maps).numpy()))
    return chosen


def write_report(
    directory: str | Path,
    pair: FacePair,
    saliency: Saliency,
    *,
    threshold: float | None = None,
    model_name: str = "",
    model_limits: str = "",
    channels: Sequence[Channel] = (),
    details: Mapping[str, Any] | None = None,
) -> Path:
    """Write `report.html`, a PNG of each face and of each map on it, and `saliency.npz`.

    Each file is written to a temporary name and renamed; the page comes last.

    Args:
        directory: made where missing.
        pair: the faces.
        saliency: their signed maps.
        threshold: decision threshold on the score; None: no decision.
        model_name: which network was explained.
        model_limits: what its card says it is not made for; stands first among the limits.
        channels: those that mattered most, strongest first; may be empty.
        details: further lines for the table at the end of the page, such as options and file names.

    Returns:
        The path of `report.html`.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures(pair, saliency, PNG_ENLARGE).items():
        write_atomically(directory / f"{name}.png", png(picture))
    write_atomically(directory / "saliency.npz", _archive(pair, saliency, threshold, model_name))
    page = render_page(
        pair,
        saliency,
        threshold=threshold,
        model_name=model_name,
        model_limits=model_limits,
        channels=channels,
        details=details or {},
    )
    write_atomically(directory / "report.html", page.encode())
    return directory / "report.html"


def pictures(pair: FacePair, saliency: Saliency, enlarge: int) -> dict[str, np.ndarray]:
    """Both faces and the three maps over each, by name: `probe`, `probe_similarity`, ..; uint8 RGB."""
    limit, shown = scale_of(saliency), {}
    for row, role in enumerate(ROLES):
        face = to_pixels(pair.images[row])
        shown[role] = resize(face, enlarge)
        for name in TINTS:
            values = getattr(saliency, name)[row].detach().cpu().numpy()
            shown[f"{role}_{name}"] = overlay(face, values, name, limit=limit, enlarge=enlarge)
    return shown


def render_page(
    pair: FacePair,
    saliency: Saliency,
    *,
    threshold: float | None,
    model_name: str,
    model_limits: str,
    channels: Sequence[Channel],
    details: Mapping[str, Any],
) -> str:
    """The page as text; arguments as in `write_report`. Every name that comes from outside is escaped."""
    verdict = Verdict(saliency.score, threshold)
    shown = {name: data_uri(picture) for name, picture in pictures(pair, saliency, PAGE_ENLARGE).items()}
    title = f"{verdict.headline}: {pair.name}" if pair.name else verdict.headline
    return Template(read_asset("report.html")).substitute(
        title=escape(title),
        style=read_asset("report.css"),
        outcome={True: "accepted", False: "refused", None: "open"}[verdict.accepted],
        headline=verdict.headline,
        sentence=escape(verdict.sentence),
        name=f'<p class="name">{escape(pair.name)}</p>' if pair.name else "",
        probe=shown["probe"],
        gallery=shown["gallery"],
        score=_number(saliency.score, 3),
        line=_score_line(verdict),
        maps=_maps(shown, scale_of(saliency)),
        method=escape(method_name(saliency)),
        limit=f"{scale_of(saliency):.3g}",
        balance=_balance(saliency),
        channels=_channels(pair, channels),
        model_limits=f"<li><b>{escape(model_limits)}</b></li>" if model_limits else "",
        threshold_limit=_threshold_limit(threshold),
        details=_details(pair, saliency, verdict, model_name, details),
    )


def _balance(saliency: Saliency) -> str:
    """What colours of different maps tell when they are compared."""
    if saliency.balanced:
        return "On each face the evidence for one person and for two weigh the same: compare places, not strengths."
    return "Colours can be compared between maps and between faces."


def _score_line(verdict: Verdict) -> str:
    """The score as a pointer on a line from low to 1 that the threshold cuts in two."""
    low = min(-0.2, np.floor(10 * min(verdict.score, verdict.threshold or 0.0)) / 10)

    def place(value: float) -> str:
        return f"{100 * (min(value, 1.0) - low) / (1 - low):.1f}%"

    parts = [f'<div class="pointer" style="left:{place(verdict.score)}"></div>']
    if verdict.threshold is not None:
        cut = place(verdict.threshold)
        parts += [
            f'<div class="below" style="width:{cut}"></div><div class="above" style="left:{cut}"></div>',
            f'<div class="cut" style="left:{cut}"></div>',
            f'<div class="label" style="left:{cut}">threshold {_number(verdict.threshold, 3)}</div>',
        ]
    label = escape(verdict.sentence, quote=True)
    return f'<div class="line" role="img" aria-label="{label}">{"".join(parts)}</div>'


def _maps(shown: Mapping[str, str], limit: float) -> str:
    """Headings, two rows of maps, colour bars."""
    cells = ["<div></div>"]
    for tint in TINTS.values():
        cells.append(f'<div class="head"><b class="{tint.name}">{tint.name}</b><span>{tint.meaning}</span></div>')
    for role in ROLES:
        cells.append(f'<div class="role">{role}</div>')
        cells += [f'<img src="{shown[f"{role}_{name}"]}" alt="{name} map on the {role} face">' for name in TINTS]
    cells.append("<div></div>")
    for name in TINTS:
        bar = f'<img src="{data_uri(colour_bar(name))}" alt="Colour scale of the {name} map">'
        cells.append(f'<div class="bar">{bar}<div><span>0</span><span>{limit:.3g}</span></div></div>')
    return "".join(cells)


def _channels(pair: FacePair, channels: Sequence[Channel]) -> str:
    """The section on single channels, or nothing."""
    if not channels:
        return ""
    figures = "".join(_channel(pair, channel) for channel in channels)
    return (
        "<section><h2>The channels that mattered most</h2>"
        f'<div class="channels">{figures}</div>'
        '<p class="note">Each pair of pictures is one feature channel of the network, on the probe and on the gallery '
        "face. It is coloured where the reconstructed face changes when the channel's strongest position is set to "
        "zero; a channel that a face lacks may be drawn where the other face has it. The number below is its weight in "
        "the map of that face.</p>"
        "</section>"
    )


def _channel(pair: FacePair, channel: Channel) -> str:
    sides = []
    for role, image, residual, weight in zip(ROLES, pair.images, channel.residuals, channel.weights, strict=True):
        tint = _tint_name(weight)
        picture = data_uri(overlay(to_pixels(image), residual, tint, limit=1.0))
        sides.append(
            f'<div><img src="{picture}" alt="Channel {channel.number} on the {role} face">'
            f'<b class="{tint}">{_number(weight, 4, signed=True)}</b></div>'
        )
    return f"<figure><figcaption>channel {channel.number}</figcaption><div>{''.join(sides)}</div></figure>"


def _tint_name(weight: float) -> str:
    return "similarity" if weight >= 0 else "dissimilarity"


def _threshold_limit(threshold: float | None) -> str:
    if threshold is None:
        return "This model has no calibrated threshold: the score ranks pairs, it does not decide them."
    return (
        "The threshold is the model's own, chosen on the data that its card names, or was given by hand. On other "
        "cameras, poses, ages or groups of people its error rates differ; near it the decision is close to a coin toss."
    )


def _details(pair: FacePair, saliency: Saliency, verdict: Verdict, model_name: str, further: Mapping[str, Any]) -> str:
    """Rows of the table at the end."""
    height, width = pair.probe.shape[1:]
    rows: dict[str, Any] = {
        "model": model_name or "not named",
        "method": saliency.method,
        "score": f"{saliency.score:.6f}",
        "threshold": "none" if verdict.threshold is None else f"{verdict.threshold:.6f}",
        "images": f"{width} x {height} pixels, RGB",
    }
    if pair.genuine is not None:
        rows["in truth"] = "one person" if pair.genuine else "two people"
    rows |= further
    rows["versions"] = _versions()
    return "".join(f'<tr><th scope="row">{escape(str(key))}</th><td>{escape(str(rows[key]))}</td></tr>' for key in rows)


def _versions() -> str:
    return (
        f"facexai {metadata.version('facexai')}, torch {torch.__version__}, numpy {np.__version__}, "
        f"Python {platform.python_version()}"
    )


def _archive(pair: FacePair, saliency: Saliency, threshold: float | None, model_name: str) -> bytes:
    """`saliency.npz` as bytes; plain arrays, so that it opens without unpickling."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        signed=saliency.signed.detach().cpu().numpy(),
        images=np.stack([to_pixels(image) for image in pair.images]),
        score=saliency.score,
        threshold=np.nan if threshold is None else threshold,
        method=saliency.method,
        model=model_name,
    )
    return buffer.getvalue()


def _number(value: float, digits: int, *, signed: bool = False) -> str:
    """With a true minus."""
    return f"{value:{'+' if signed else ''}.{digits}f}".replace("-", "\N{MINUS SIGN}")

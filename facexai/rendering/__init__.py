"""Rendered faces: people made of exchangeable regions, photographed under chosen circumstances."""

from facexai.rendering.hair import BEARD_STYLES, HAIR_STYLES, beard_style, hair_style, wear
from facexai.rendering.head import LABELS
from facexai.rendering.identity import REGIONS, Identity, sample_identity
from facexai.rendering.nuisance import Nuisance, sample_nuisance
from facexai.rendering.occluders import OCCLUDERS
from facexai.rendering.pairs import RegionPair, region_pair, swap_regions
from facexai.rendering.parallel import render_many
from facexai.rendering.scene import Rendering, render
from facexai.rendering.sheets import contact_sheet
from facexai.rendering.throughput import measure_throughput

__all__ = [
    "BEARD_STYLES",
    "HAIR_STYLES",
    "LABELS",
    "OCCLUDERS",
    "REGIONS",
    "Identity",
    "Nuisance",
    "RegionPair",
    "Rendering",
    "beard_style",
    "contact_sheet",
    "hair_style",
    "measure_throughput",
    "region_pair",
    "render",
    "render_many",
    "sample_identity",
    "sample_nuisance",
    "swap_regions",
    "wear",
]

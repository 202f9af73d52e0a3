r"""Errors by skin tone and by yaw of a network on rendered faces, at one threshold for all.

    python benchmarks/skin_tones.py --out DIR [--model M]

Every probe of `synthetic-lfw` against every gallery image of its fold; the tone of a person is known from the colour of
the skin that was rendered. Classes of tones differ in width, and strangers of nearly one tone are more alike: `near`
has the rates of those alone whose typology angles lie close together. Writes one JSON.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from facexai.benchmarks import BENCHMARKS, verify
from facexai.benchmarks.by_group import measure_by_group
from facexai.benchmarks.comparison import ScoredPairs
from facexai.rendering.skin_tone import SKIN_TONES, skin_tone, typology_angle
from facexai.results.__main__ import rounded
from facexai.weights import load_model, write_atomically

FMRS = 1e-2, 1e-3
NEAR = 5.0  # degrees


def main() -> None:
    """One report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="tutorial")
    arguments = parser.parse_args()
    protocol = BENCHMARKS["synthetic-lfw"]
    data = protocol.crossed()  # type: ignore[attr-defined]
    scores = verify(load_model(arguments.model), data).scores
    people = data.people
    identities = protocol.people()  # type: ignore[attr-defined]
    tone, angle = (np.array([measure(one) for one in identities]) for measure in (skin_tone, typology_angle))
    pairs, group = ScoredPairs(data.genuine, data.fold, people), tone[people]
    near = group.copy()
    near[np.abs(np.diff(angle[people], axis=1))[:, 0] > NEAR, 1] = len(SKIN_TONES)  # a class of its own: across
    report = {
        "benchmark": "skin-tones",
        "asked": {"model": arguments.model, "protocol": "synthetic-lfw, probes x gallery images of each fold"},
        "rendered": True,
        "labels": list(SKIN_TONES),
        "at": [measure_by_group(scores, pairs, group, fmr=fmr) for fmr in FMRS],
        "near": {
            "degrees": NEAR,
            "at": [measure_by_group(scores, pairs, near, fmr=fmr)["groups"][: len(SKIN_TONES)] for fmr in FMRS],
        },
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_atomically(arguments.out / "skin-tones.json", json.dumps(rounded(report), indent=1).encode())


if __name__ == "__main__":
    main()

r"""Table 1 of the FSPFM paper in small: recognizers trained from scratch, with and without profiles, module and stages.

    python benchmarks/frontalization_stages.py --out DIR [--set KEY=VALUE]...

Each arm sees the same people in equally many steps and starts from the same weights. The first one sees them about
the front only; the others see half of the images so, and half turned anywhere. An arm that lies in DIR is not trained
again; one that was interrupted goes on. About twenty minutes an arm of stage 1 on two cores with `--set compile=true`,
which needs a C++ compiler, for each seed. Rendered faces; the paper's are a ResNet-50 on five million photos.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from frontalization_tables import TWINS, module_scores, raw_scores, rendered_features

from facexai.benchmarks import BENCHMARKS
from facexai.benchmarks.comparison import ScoredPairs, compare
from facexai.frontalizations import load_pose_invariant
from facexai.results.__main__ import rounded
from facexai.training import (
    FinetuneConfig,
    PretrainConfig,
    override,
    preset,
    train_frontalizer,
    train_pose_invariant,
)
from facexai.weights import write_atomically

SMALL = ["start=", "margin=0.1", "augment=0.5"]  # from scratch, so a smaller margin and calmer images
SMALL += ["identities=1500", "images_per_identity=8", "epochs=16", "batch_size=64", "lr=0.001"]
STAGE_1 = {  # what each arm changes; no face reaches a limit of 180 degrees, so the recognizer learns alone
    "frontal faces": ["frontal=1", "limit=180"],
    "+ profiles": ["limit=180"],
    "+ FSPFM": [],
}
STAGE_2 = {  # go on from the last arm of stage 1
    "+ fine-tuning": ["adaptation=none", "target=random"],  # as eq. (2), but for its attention
    "+ attention": ["adaptation=proposed", "target=random"],
}


def main() -> None:
    """Train what is missing, measure all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--twins", default=",".join(TWINS))
    parser.add_argument("--seeds", default="42,43,44")
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE", help="of stage 1")
    parser.add_argument("--set-2", action="append", default=[], dest="settings_2", metavar="KEY=VALUE")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    sets = {name: BENCHMARKS[name].load() for name in arguments.twins.split(",")}
    scores: dict[str, dict[str, list[np.ndarray]]] = {name: {} for name in sets}
    for seed in seeds:
        folders = {name: stage_1(arguments, name, seed) for name in STAGE_1}
        base = folders["+ FSPFM"]
        folders |= {name: stage_2(arguments, name, seed, base) for name in STAGE_2}
        for arm, folder in folders.items():
            model = load_pose_invariant(folder)
            for name, data in sets.items():
                features = rendered_features(name, data, model.recognizer, model.estimator)  # type: ignore[arg-type]
                alone = arm in ("frontal faces", "+ profiles")
                run = raw_scores(features, data) if alone else module_scores(model.frontalization, features, data)
                scores[name].setdefault(arm, []).append(run)
    tables = {}
    for name, data in sets.items():
        assert data.people is not None
        tables[name] = compare(scores[name], ScoredPairs(data.genuine, data.fold, data.people), list(STAGE_1))
    report: dict[str, Any] = {
        "benchmark": "frontalization-stages",
        "asked": {"settings": arguments.settings, "settings_2": arguments.settings_2},
        "rendered": True,
        "data": json.loads((base / "card.json").read_text(encoding="utf-8"))["data"],
        "seeds": seeds,
        "rows": {arm: {name: tables[name][arm] for name in tables} for arm in (STAGE_1 | STAGE_2)},
    }
    write_atomically(arguments.out / "stages.json", json.dumps(rounded(report), indent=1).encode())


def stage_1(arguments: argparse.Namespace, arm: str, seed: int) -> Path:
    """The folder of an arm, trained where it is not there."""
    out = arguments.out / f"seed-{seed}" / arm.replace(" ", "-")
    if not (out / "card.json").is_file():
        config = override(
            preset("tutorial-fspfm-1", PretrainConfig), [*SMALL, f"seed={seed}", *arguments.settings, *STAGE_1[arm]]
        )
        train_pose_invariant(config, out, resume=(out / "last.ckpt").is_file())
    return out


def stage_2(arguments: argparse.Namespace, arm: str, seed: int, base: Path) -> Path:
    """The folder of an arm that goes on from the networks of stage 1."""
    out = arguments.out / f"seed-{seed}" / arm.replace(" ", "-")
    if not (out / "card.json").is_file():
        config = preset("tutorial-fspfm", FinetuneConfig)
        config = replace(config, model=str(base / "recognizer"), start=str(base), reduction="mean", seed=seed)
        config = replace(config, epochs=40, frontalizer="fspfm", centring="none", limit=0.0)  # as stage 1 left it
        train_frontalizer(override(config, [*arguments.settings_2, *STAGE_2[arm]]), out)
    return out


if __name__ == "__main__":
    main()

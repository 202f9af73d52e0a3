r"""The three tables of the FSPFM paper, run again: every module on one frozen recognizer, one protocol, three seeds.

    python benchmarks/frontalization_tables.py rendered --out DIR
    python benchmarks/frontalization_tables.py photographs --out DIR --model M --pose-network P \
        --cfp FOLDER --fp PAIRS_CSV --ff PAIRS_CSV [--lfw FOLDER --lfw-pairs PAIRS_CSV]

`rendered` trains on rendered people and measures on the rendered twins. `photographs` cross-validates over the folds of
CFP that you have: a module is measured on people whom neither its training nor its early stopping has seen; one that
keeps its last epoch (`--set keep_best=false`) learns from all other folds. Each writes
one JSON; features are kept in facexai's cache and scores in DIR/scores, so a second run takes minutes, and rows that
are asked for later (`--rows "fspfm, yaw;agpm-published"`) are trained alone. Name all rows that the JSON is to hold.
"""

import argparse
import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from facexai.benchmarks import BENCHMARKS, VerificationSet
from facexai.benchmarks.by_yaw import compare_by_yaw
from facexai.benchmarks.comparison import ScoredPairs, compare
from facexai.datasets import load_faces
from facexai.datasets.features import PoseFeatures
from facexai.datasets.rendered import versioned
from facexai.models import FaceRecognizer
from facexai.models.frontalizers import CONTROLS, Frontalization
from facexai.pose_networks import PoseNetwork, load_pose_network
from facexai.results.__main__ import rounded
from facexai.training import FinetuneConfig, override, preset
from facexai.training.cross_pose import CrossPoseFaces
from facexai.training.finetune import finetune
from facexai.training.frontalizer import cached_features, cross_pose_faces, fit_centring, prepare, split_people
from facexai.weights import load_model, write_atomically

TWINS = (
    "synthetic-cplfw",
    "synthetic-cfp-fp",
    "synthetic-lfw",
    "synthetic-calfw",
    "synthetic-agedb",
    "synthetic-cfp-ff",
)
BY_YAW = "synthetic-yaw"
YAW_ROWS = "wccn", "dream", "agpm", "fspfm", "fspfm, ADA"

# What each row changes in the preset. Names: MODULE, LOSS.
ROWS: dict[str, list[str]] = {
    # Table 2: modules, each with the loss of its own paper
    "dream": ["frontalizer=dream", "adaptation=none", "reduction=mean"],
    "agpm": ["frontalizer=agpm", "adaptation=huang", "reduction=mean"],
    "agpm-published": ["frontalizer=agpm:as_published=true", "adaptation=huang", "reduction=mean"],
    "pam-like": ["frontalizer=pam-like", "adaptation=none", "reduction=mean"],
    "pad-like": ["frontalizer=pad-like", "adaptation=angular"],
    # and with the loss that did best, so that the module alone is compared
    "dream, angular": ["frontalizer=dream"],
    "agpm, angular": ["frontalizer=agpm"],
    "pam-like, angular": ["frontalizer=pam-like"],
    # Table 1 and Table 3: FSPFM, loss by loss
    "fspfm": [],
    "fspfm, arcface": [
        "arcface_weight=1",
        "adaptation_weight=0",
        "scale=32",
        "margin=0.35",
        "train_classes=true",
        "epochs=3",
    ],
    "fspfm, no ADA": ["adaptation=none", "reduction=mean"],
    "fspfm, Huang": ["adaptation=huang", "reduction=mean"],
    "fspfm, ADA": ["adaptation=proposed", "reduction=mean"],
    "fspfm, no pose": ["frontalizer=fspfm:block=prelu:width=4:gate=none"],
    "fspfm, yaw": ["frontalizer=fspfm:block=prelu:width=4:yaw_only=true"],
    "fspfm, printed block": ["frontalizer=fspfm"],
    "fspfm-paper": ["preset=paper-fspfm-2"],  # all settings as printed
}
FEWER_SEEDS = {"fspfm-paper": 1}  # ten times the steps of the others
BASELINES = ("raw", "wccn", "dream", "fspfm")


def main() -> None:
    """One of the two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", choices=("rendered", "photographs"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", default=";".join(ROWS), help="names out of the list above, with ; between them")
    parser.add_argument("--twins", default=",".join((*TWINS, BY_YAW)), help="rendered benchmarks")
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    parser.add_argument("--model", default="tutorial")
    parser.add_argument("--pose-network", default="hopenet-tutorial")
    parser.add_argument("--cfp", type=Path)
    parser.add_argument("--fp", type=Path)
    parser.add_argument("--ff", type=Path)
    parser.add_argument("--lfw", type=Path, help="its pairs are scored by the modules of all folds of CFP")
    parser.add_argument("--lfw-pairs", type=Path)
    parser.add_argument("--folds", default="", help="folds to report, of photographs; all where empty")
    arguments = parser.parse_args()
    arguments.rows = arguments.rows.split(";")
    arguments.out.mkdir(parents=True, exist_ok=True)
    report = rendered(arguments) if arguments.faces == "rendered" else photographs(arguments)
    text = json.dumps(rounded(report), indent=1)
    write_atomically(arguments.out / f"frontalization-{arguments.faces}.json", text.encode())


def configured(arguments: argparse.Namespace, row: str, seed: int) -> FinetuneConfig:
    """The settings of one run of a row."""
    changes = dict(change.partition("=")[::2] for change in ROWS[row])
    start = preset(changes.pop("preset", "tutorial-fspfm"), FinetuneConfig)
    given = [f"model={arguments.model}", f"pose_network={arguments.pose_network}", *arguments.settings]
    return replace(override(start, [*given, *(f"{key}={value}" for key, value in changes.items())]), seed=seed)


def rendered(arguments: argparse.Namespace) -> dict[str, Any]:
    """Trained on rendered people, measured on the rendered twins."""
    recognizer, estimator = load_model(arguments.model), load_pose_network(arguments.pose_network)
    config = configured(arguments, "fspfm", 42)
    faces, words = cross_pose_faces(config, recognizer, estimator)
    learning, held_out = split_people(faces, config.held_out)
    sets = {name: BENCHMARKS[name].load() for name in arguments.twins.split(",")}
    features = {name: rendered_features(name, data, recognizer, estimator) for name, data in sets.items()}

    def scores_of(module: Frontalization) -> dict[str, np.ndarray]:
        return {name: module_scores(module, features[name], data) for name, data in sets.items()}

    runs: dict[str, list[dict[str, np.ndarray]]] = {
        "raw": [{name: raw_scores(features[name], data) for name, data in sets.items()}],
        **{name: [scores_of(Frontalization(fit_centring(name, learning), limit=None))] for name in CONTROLS},  # type: ignore[arg-type]
    }
    for row in tqdm(arguments.rows, desc="rows"):
        settings = [configured(arguments, row, 42 + k) for k in range(FEWER_SEEDS.get(row, arguments.seeds))]
        runs[row] = [
            kept(arguments.out / "scores", one, sets, lambda one=one: scores_of(trained(one, learning, held_out)))
            for one in settings
        ]
    tables: dict[str, Any] = {}
    for name, data in sets.items():
        pairs = ScoredPairs(data.genuine, data.fold, data.people)
        tables[name] = compared({row: [run[name] for run in of] for row, of in runs.items()}, pairs)
    report = {
        "benchmark": "frontalization",
        "asked": {"model": arguments.model, "pose_network": arguments.pose_network, "settings": arguments.settings},
        "rendered": True,
        "data": words,
        "seeds": [42 + k for k in range(arguments.seeds)],
        "rows": {row: {name: tables[name][row] for name in tables} for row in runs},
    }
    if BY_YAW in sets:
        data, shown = sets[BY_YAW], [row for row in ("raw", *YAW_ROWS) if row in runs]
        yaw = BENCHMARKS[BY_YAW].poses()[data.probe, 0]  # type: ignore[attr-defined]
        scores = {row: [run[BY_YAW] for run in runs[row]] for row in shown}
        binned = compare_by_yaw(scores, ScoredPairs(data.genuine, data.fold, data.people), yaw, "raw")
        report["by_yaw"] = {"protocol": BY_YAW, "yaw": "of the probe, exact", **binned}
    return report


def rendered_features(
    name: str, data: VerificationSet, recognizer: FaceRecognizer, estimator: PoseNetwork
) -> PoseFeatures:
    """Features of the images of a rendered benchmark."""
    recipe = versioned(BENCHMARKS[name].recipe)  # type: ignore[attr-defined]
    return cached_features(recipe, data.images, recognizer, estimator)  # type: ignore[arg-type]


def kept(
    folder: Path, config: FinetuneConfig, names: Iterable[str], make: Callable[[], dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Scores of one run by benchmark, from `folder`, or made and put there: a run that is added meets those before."""
    key = hashlib.sha256(json.dumps(config.to_json(), sort_keys=True).encode()).hexdigest()[:16]
    file = folder / f"{key}.npz"
    if file.is_file():
        with np.load(file) as stored:
            if set(names) <= set(stored.files):
                return {name: stored[name] for name in names}
    scores = make()
    folder.mkdir(exist_ok=True)
    with io.BytesIO() as buffer:
        np.savez(buffer, **scores)  # type: ignore[arg-type]
        write_atomically(file, buffer.getvalue())
    return scores


def trained(config: FinetuneConfig, learning: CrossPoseFaces, held_out: CrossPoseFaces) -> Frontalization:
    """One run of stage 2."""
    module = prepare(config, learning)
    finetune(module, learning, held_out, config, progress=False)
    return module.eval()


@torch.inference_mode()
def module_scores(module: Frontalization, features: PoseFeatures, data: VerificationSet) -> np.ndarray:
    """Cosines of the pairs after frontalization."""
    embedding = module.embed(features.embedding, features.pose, features.angles).numpy()
    return np.einsum("pd,pd->p", embedding[data.probe], embedding[data.gallery])


def raw_scores(features: PoseFeatures, data: VerificationSet) -> np.ndarray:
    """Cosines of the pairs as `facexai benchmark` has them: the head's output, image and mirror image summed."""
    embedding = torch.nn.functional.normalize(features.embedding.sum(1)).numpy()
    return np.einsum("pd,pd->p", embedding[data.probe], embedding[data.gallery])


def compared(scores: dict[str, list[np.ndarray]], pairs: ScoredPairs) -> dict[str, Any]:
    """The comparison with those baselines that are there."""
    return compare(scores, pairs, [name for name in BASELINES if name in scores])


def photographs(arguments: argparse.Namespace) -> dict[str, Any]:
    """Cross-validated over the folds of CFP: 10 frontal and 4 profile images of each person."""
    recognizer, estimator = load_model(arguments.model), load_pose_network(arguments.pose_network)
    names, features, sets = photo_sets(
        arguments.cfp, {"cfp-fp": arguments.fp, "cfp-ff": arguments.ff}, recognizer, estimator
    )
    person = sets["cfp-fp"].identity
    assert person is not None
    fold = np.empty(len(names), int)
    for data in sets.values():
        fold[data.probe], fold[data.gallery] = data.fold, data.fold
    profile = np.array(["profile" in name for name in names])
    angles = np.zeros((len(names), 3))
    angles[profile, 0] = 90.0  # told by the folder, not estimated
    folds = sorted(set(fold.tolist()))
    whole: dict[str, tuple[VerificationSet, PoseFeatures]] = {}  # scored by the modules of all folds
    if arguments.lfw:
        _, lfw_features, lfw = photo_sets(arguments.lfw, {"lfw": arguments.lfw_pairs}, recognizer, estimator)
        whole["lfw"] = lfw["lfw"], lfw_features
    scores = {name: {"raw": [raw_scores(features, data)]} for name, data in sets.items()}
    scores |= {name: {"raw": [raw_scores(of, data)]} for name, (data, of) in whole.items()}
    rows: list[str] = [*CONTROLS, *arguments.rows]
    for row in tqdm(rows, desc="rows"):
        for seed in range(1 if row in CONTROLS else arguments.seeds):
            runs = {name: np.zeros(len(data.probe)) for name, data in sets.items()}
            for k, test in enumerate(folds):
                stop = folds[(k + 1) % len(folds)]
                config = None if row in CONTROLS else configured(arguments, row, 42 + seed)
                stops_early = config is not None and config.keep_best
                parts = [
                    CrossPoseFaces.sort(
                        features[torch.from_numpy(np.flatnonzero(chosen))], person[chosen], angles[chosen]
                    )
                    for chosen in ((fold != test) & ~((fold == stop) & stops_early), fold == stop)
                ]
                if config is None:
                    module = Frontalization(fit_centring(row, parts[0]), limit=None)  # type: ignore[arg-type]
                else:
                    module = trained(config, *parts)
                for name, data in sets.items():
                    here = data.fold == test
                    runs[name][here] = module_scores(module, features, data)[here]
                for name, (data, of) in whole.items():
                    scores[name].setdefault(row, []).append(module_scores(module, of, data))
            for name in sets:
                scores[name].setdefault(row, []).append(runs[name])
    chosen = [int(x) for x in arguments.folds.split(",")] if arguments.folds else folds
    tables, by_yaw = {}, {}
    for name, data in [*sets.items(), *((name, data) for name, (data, _) in whole.items())]:
        reported = np.isin(data.fold, chosen) | (name in whole)
        pairs = ScoredPairs(data.genuine[reported], data.fold[reported], data.people[reported])
        cut = {row: [run[reported] for run in runs] for row, runs in scores[name].items()}
        tables[name] = compared(cut, pairs)
        if name == "cfp-fp":
            turned = features.angles[:, 0, 0].abs().numpy()
            yaw = np.maximum(turned[data.probe], turned[data.gallery])[reported]
            shown = {row: cut[row] for row in ("raw", *YAW_ROWS) if row in cut}
            binned = compare_by_yaw(shown, pairs, yaw, "raw")
            by_yaw = {"protocol": name, "yaw": "of the profile, estimated", **binned}
    return {
        "benchmark": "frontalization",
        "asked": {"model": recognizer.name, "pose_network": estimator.name, "settings": arguments.settings},
        "rendered": False,
        "data": f"CFP, cross-validated over {len(folds)} folds, reported on {chosen}",
        "seeds": [42 + k for k in range(arguments.seeds)],
        "rows": {row: {name: tables[name][row] for name in tables} for row in ("raw", *rows)},
        "by_yaw": by_yaw,
    }


def photo_sets(
    root: Path, lists: dict[str, Path], recognizer: FaceRecognizer, estimator: PoseNetwork
) -> tuple[list[str], PoseFeatures, dict[str, VerificationSet]]:
    """Names of the images below `root` that the lists have, `PERSON/...`; their features; the sets of pairs."""
    pairs = {name: read_pairs(file) for name, file in lists.items()}
    names = sorted({name for rows in pairs.values() for row in rows for name in row[:2]})
    index = {name: position for position, name in enumerate(names)}
    _, identity = np.unique([name.split("/")[0] for name in names], return_inverse=True)
    sets = {}
    for kind, rows in pairs.items():
        probe, gallery = (np.array([index[row[side]] for row in rows]) for side in (0, 1))
        genuine, fold = np.array([row[2] for row in rows], bool), np.array([row[3] for row in rows])
        sets[kind] = VerificationSet(kind, np.zeros(0), probe, gallery, genuine, fold, identity=identity)
    features = cached_features([*lists, len(names)], Photographs(root, names), recognizer, estimator)  # type: ignore[arg-type]
    return names, features, sets


class Photographs:
    """Aligned faces by their names."""

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        self.paths = [root / name for name in names]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        return load_faces([self.paths[index] for index in indices])


def read_pairs(file: Path) -> list[tuple[str, str, bool, int]]:
    """name1, name2, same, fold of each pair."""
    with open(file, newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    return [(row["name1"], row["name2"], row["same"] == "1", int(row["fold"])) for row in rows]


if __name__ == "__main__":
    main()

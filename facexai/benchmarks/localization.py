"""Does the dissimilarity map lie where the faces differ, and the similarity map elsewhere?

On pairs whose difference is known pixel by pixel: `regions` (two or three regions of the face are another person's),
`occluder` (one image wears a mask, sunglasses, a scarf or a hat) and `patch` (a square of the probe is a stranger's).

Source: `relevance` has the metrics; the three kinds of pairs name theirs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facexai.benchmarks.judges import Judge, JudgedPairs, Method, Metric, PairFacts
from facexai.benchmarks.occluder_pairs import OccluderPairs
from facexai.benchmarks.patch_pairs import PatchPairs
from facexai.benchmarks.region_pairs import RegionPairs
from facexai.benchmarks.relevance import area_under_curve, mass, pointing, rank
from facexai.benchmarks.true_pairs import TruePairs, TruthSource
from facexai.benchmarks.verification import VerificationSet
from facexai.errors import InputError
from facexai.models import FaceRecognizer

PRESETS = ("regions", "occluder", "patch")
DIFFERENT = 10 / 255  # a pixel belongs to the truth where the images differ by more: by what can be seen
LEAST_DROP = 0.02  # of the score; a change that the network hardly notices is no truth about its decision
LEAST_SHARE = 0.005  # of the pixels; a smaller truth (a hat beyond the crop) is not judged

_ON_THE_TRUTH = (
    Metric("mass", meaning="share of the dissimilarity map that lies on the truth"),
    Metric("mass_to_chance", meaning="that share over the truth's share of the image: 1 is chance", percent=False),
    Metric("auc", meaning="ROC AUC of the dissimilarity map as a detector of the truth"),
    Metric("signed_auc", meaning="the same of -H, for which similarity elsewhere counts as well"),
    Metric("weighted_auc", meaning="as auc, pixels of the truth drawn in proportion to their difference"),
    Metric("rank", meaning="share of the K most dissimilar pixels that lie on the truth of K pixels"),
    Metric("pointing", meaning="how often the most dissimilar pixel lies on the truth"),
    Metric("similarity_mass", "lower", meaning="share of the similarity map that lies on the truth"),
    Metric("similarity_to_chance", "lower", meaning="that share over the truth's share of the image", percent=False),
    Metric("empty", "lower", meaning="dissimilarity maps that are zero everywhere; they get what chance gets"),
)
_BEFORE_AND_AFTER = (
    Metric("mass_before", "lower", meaning="as mass, of the pair without the change, on the same pixels"),
    Metric("mass_gain", meaning="mass - mass_before: the dissimilarity map moves onto the change"),
    Metric("similarity_mass_before", meaning="as similarity_mass, of the pair without the change"),
    Metric("similarity_mass_loss", meaning="similarity_mass_before - similarity_mass: the similarity map leaves it"),
)


@dataclass(frozen=True, eq=False)
class Localization(Judge):
    """Where a map lies, on pairs whose truth is known; the value of a pair is the mean over its images with a truth.

    A pair does not count where the truth has less than `LEAST_SHARE` of the pixels, or where the change lowers the
    score by less than `LEAST_DROP`.

    Args:
        source: the pairs.
        name: `localize` and the preset.
        before_and_after: explain each pair without the change, too, which doubles the time.
    """

    source: TruthSource
    name: str = "localize"
    before_and_after: bool = False

    @property
    def metrics(self) -> tuple[Metric, ...]:  # type: ignore[override]
        """What is measured; mass first."""
        return _ON_THE_TRUTH + (_BEFORE_AND_AFTER if self.before_and_after else ())

    def chunks(
        self, model: FaceRecognizer, limit: int | None = None, *, progress: bool = True
    ) -> Iterator[JudgedPairs]:
        """Pairs with their truth; see `Judge`."""
        return self.source.chunks(model, limit, progress=progress)

    def measure(self, model: FaceRecognizer, pairs: JudgedPairs, maps: Tensor, method: Method) -> dict[str, np.ndarray]:
        """Every metric; besides, `chance` (the truth's share of the image) and `drop` (of the score by the change)."""
        assert isinstance(pairs, TruePairs) and pairs.truth is not None
        truth = pairs.truth.where(torch.from_numpy(pairs.drop >= LEAST_DROP)[:, None, None, None], torch.nan)
        truth = truth.to(maps.device)
        records = measure_maps(maps, truth, method.unsigned)
        if self.before_and_after and pairs.before is not None:
            before = measure_maps(maps_before(method, model, pairs), truth, method.unsigned)
            for name in ("mass", "similarity_mass"):
                records[f"{name}_before"] = before[name]
            records["mass_gain"] = records["mass"] - before["mass"]
            records["similarity_mass_loss"] = before["similarity_mass"] - records["similarity_mass"]
        return {**records, "drop": pairs.drop}

    def details(self, records: Mapping[str, np.ndarray], pairs: PairFacts) -> dict[str, Any]:
        """Means over the pairs: score and its drop, how many count, the truth's share of the image; pairs refused."""
        counted, decided = np.isfinite(records["chance"]), np.isfinite(pairs.threshold)
        return {
            "score": float(pairs.score.mean()),
            "drop": float(records["drop"].mean()),
            "counted": int(counted.sum()),
            **({"chance": float(records["chance"][counted].mean())} if counted.any() else {}),
            **({"refused": float((pairs.score < pairs.threshold)[decided].mean())} if decided.any() else {}),
        }


def localization(preset: str, data: VerificationSet | None = None) -> Localization:
    """The judge with one of `PRESETS`.

    Args:
        preset: `"regions"`, `"occluder"` or `"patch"`.
        data: for `"patch"`: pairs to take in place of rendered ones.

    Raises:
        InputError: an unknown preset, or data for one that renders its own pairs.
    """
    if preset not in PRESETS:
        raise InputError(f"unknown preset '{preset}'; choose one of {', '.join(PRESETS)}")
    if data is not None and preset != "patch":
        raise InputError(f"'{preset}' renders its own pairs; 'patch' takes a list of pairs")
    match preset:
        case "regions":
            return Localization(RegionPairs(), "localize regions")
        case "occluder":
            return Localization(OccluderPairs(), "localize occluder", before_and_after=True)
        case _:
            return Localization(PatchPairs(data), "localize patch")


def measure_maps(maps: Tensor, truth: Tensor, unsigned: bool) -> dict[str, np.ndarray]:
    """Metrics of signed maps against the truth, mean over the images whose truth is known; nan where none is.

    Args:
        maps: signed; magnitudes where `unsigned`, which serve for similarity and dissimilarity alike. (P, 2, H, W).
        truth: how much each pixel differs, 0..1; nan on images of which nothing is known. Shape (P, 2, H, W).
        unsigned: the maps have no sign.

    Returns:
        `mass`, ..., `empty` and `chance`, each of shape (P,).
    """
    known = judged_images(truth)  # (P, 2)
    values = {name: torch.full(known.shape, torch.nan, dtype=torch.float64) for name in (*_names(), "chance")}
    for name, measured in measure_images(maps[known], truth[known], unsigned).items():
        values[name][known.cpu()] = measured.double().cpu()
    return {name: value.nanmean(1).numpy() for name, value in values.items()}


def judged_images(truth: Tensor) -> Tensor:
    """Images whose truth is known and covers some pixels, but not all. (P, 2, H, W) -> (P, 2), bool."""
    share = (truth > DIFFERENT).double().mean((-2, -1))
    return truth.isfinite().all(-1).all(-1) & (share >= LEAST_SHARE) & (share < 1)


def measure_images(maps: Tensor, truth: Tensor, unsigned: bool) -> dict[str, Tensor]:
    """Metrics of single maps (M, H, W) against finite truths (M, H, W); each of shape (M,)."""
    different, weights = truth > DIFFERENT, truth
    signed = maps if unsigned else -maps
    dissimilarity, similarity = signed.clamp(min=0), maps.clamp(min=0)
    chance = different.double().mean((-2, -1))
    on_truth, similarity_on_truth = mass(dissimilarity, different), mass(similarity, different)
    return {
        "mass": on_truth,
        "mass_to_chance": on_truth / chance,
        "auc": area_under_curve(dissimilarity, different),
        "signed_auc": area_under_curve(signed, different),
        "weighted_auc": area_under_curve(dissimilarity, different, weights),
        "rank": rank(dissimilarity, different),
        "pointing": pointing(dissimilarity, different),
        "similarity_mass": similarity_on_truth,
        "similarity_to_chance": similarity_on_truth / chance,
        "empty": (dissimilarity.amax((-2, -1)) == 0).double(),
        "chance": chance,
    }


def maps_before(method: Method, model: FaceRecognizer, pairs: TruePairs) -> Tensor:
    """Maps of the same pairs without the change. Shape (P, 2, H, W)."""
    assert pairs.before is not None
    probe, gallery = pairs.before.unbind(1)
    bare = replace(pairs, probe=probe, gallery=gallery)
    return torch.stack([method.explain(pair, model) for pair in bare.face_pairs()])


def _names() -> list[str]:
    return [metric.name for metric in _ON_THE_TRUTH]

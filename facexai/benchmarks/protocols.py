"""The benchmarks by name: rendered twins, and the real ones where a user has them.

Rendered faces are no photos: their figures say how hard *this* set is, and are never to be set beside a paper's.
"""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from facexai.benchmarks.templates import IJB, RenderedTemplates
from facexai.benchmarks.verification import VerificationSet
from facexai.datasets import BinPack, PairList
from facexai.datasets.folders import ten_folds
from facexai.datasets.official import OFFICIAL
from facexai.datasets.rendered import poses_in_crops, rendered_once, two_looks
from facexai.errors import InputError
from facexai.registry import Registry
from facexai.rendering import Identity, Nuisance, sample_nuisance, swap_regions
from facexai.rendering.scene import framing
from facexai.weights import file_digest


class Benchmark(Protocol):
    """Anything that gives a `VerificationSet`."""

    def load(self, *, progress: bool = True) -> VerificationSet: ...  # noqa: D102


BENCHMARKS: Registry[Benchmark | IJB | RenderedTemplates] = Registry("benchmark")


def pair_benchmark(name: str) -> Benchmark:
    """The benchmark of this name, which must be one of pairs of images."""
    benchmark = BENCHMARKS[name]
    if isinstance(benchmark, IJB | RenderedTemplates):
        raise InputError(f"{name} has pairs of templates; choose a benchmark whose pairs are of images")
    return benchmark


@dataclass(frozen=True)
class RenderedProtocol:
    """Pairs of rendered faces: in each one image has the person's own hair, the other somebody else's.

    Args:
        name: of the protocol.
        probe_yaw, gallery_yaw: smallest and largest |yaw| in degrees; the side is drawn by a coin.
        identities: people in each fold; no person is in two folds, and none is in a training set.
        images: images a person on each side.
        pairs: genuine pairs a fold, and as many impostor pairs.
        folds: as many as the real protocol has.
        strength: nuisance strength k.
        occlusion: probability of an occluder.
        seed: of the people. Seeds below 1000 are left to training sets.
        probe_age, gallery_age: smallest and largest age of the face, from 0, smooth, to 1, wrinkled and sagging; any
            where None.
        alike: so many people in a row share skin and hair, on all images, and each impostor pair shows two of them;
            with None any two people of a fold make an impostor pair, and hair tells nothing.
    """

    name: str
    probe_yaw: tuple[float, float]
    gallery_yaw: tuple[float, float]
    identities: int = 40
    images: int = 3
    pairs: int = 150
    folds: int = 10
    strength: float = 1.0
    occlusion: float = 0.15
    seed: int = 1000
    probe_age: tuple[float, float] | None = None
    gallery_age: tuple[float, float] | None = None
    alike: int | None = None

    def load(self, *, progress: bool = True) -> VerificationSet:
        """Render on first use, then from the cache."""
        images = rendered_once(self.recipe, self._jobs, progress=progress)
        folds = [self._pairs(fold) for fold in range(self.folds)]
        probe, gallery, genuine = (np.concatenate(parts) for parts in zip(*folds, strict=True))
        fold = np.repeat(np.arange(self.folds), 2 * self.pairs)
        identity = np.repeat(np.arange(self.folds * self.identities), 2 * self.images)
        return VerificationSet(self.name, images, probe, gallery, genuine, fold, rendered=True, identity=identity)

    def crossed(self, *, progress: bool = True) -> VerificationSet:
        """Every probe with every gallery image of its fold: few genuine pairs among many, as at a gate."""
        data, side = self.load(progress=progress), self.identities * self.images
        probe, gallery = (part.ravel() for part in np.divmod(np.arange(side**2), side))
        probes, galleries = (
            np.concatenate([self._row(fold, numbers, k) for fold in range(self.folds)])
            for k, numbers in enumerate((probe, gallery))
        )
        assert data.identity is not None
        genuine = data.identity[probes] == data.identity[galleries]
        return replace(
            data, probe=probes, gallery=galleries, genuine=genuine, fold=np.arange(self.folds).repeat(side**2)
        )

    def people(self) -> list[Identity]:
        """Who is on the images, by label, as the probes show them."""
        return [look for look, _ in itertools.islice(self._jobs(), 0, None, 2 * self.images)]

    @property
    def recipe(self) -> dict[str, Any]:
        """What the images depend on."""
        used = {key: value for key, value in asdict(self).items() if value is not None}
        return {**used, "name": "", "pairs": 0, "kind": "protocol"}

    def poses(self) -> np.ndarray:
        """Yaw, pitch, roll of each image in degrees, as one sees them in the crop: see `pose_in_crop`. Shape (M, 3)."""
        return poses_in_crops((nuisance, framing(look, nuisance)) for look, nuisance in self._jobs())

    def _jobs(self) -> Iterator[tuple[Identity, Nuisance]]:
        """Person by person: `images` probes in their own hair, then `images` gallery images in another."""
        for person in range(self.folds * self.identities):
            rng = np.random.default_rng([self.seed, person])
            sides = (self.probe_yaw, self.probe_age), (self.gallery_yaw, self.gallery_age)
            looks = two_looks(rng)
            if self.alike is not None:
                first, _ = two_looks(np.random.default_rng([self.seed, person - person % self.alike]))
                looks = (swap_regions(looks[0], first, ["skin", "hair"]),) * 2
            for look, (yaw, age) in zip(looks, sides, strict=True):
                for _ in range(self.images):
                    yield look, self._nuisance(rng, yaw, age)

    def _nuisance(
        self, rng: np.random.Generator, yaw: tuple[float, float], age: tuple[float, float] | None
    ) -> Nuisance:
        nuisance = sample_nuisance(rng, strength=self.strength, occlusion=self.occlusion)
        nuisance = replace(nuisance, yaw=float(rng.uniform(*yaw) * rng.choice([-1, 1])))
        return nuisance if age is None else replace(nuisance, age=float(rng.uniform(*age)))

    def _pairs(self, fold: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Probe, gallery, genuine of one fold: all different, drawn with the fold's own seed."""
        rng = np.random.default_rng([self.seed, fold, 0])
        people, images = self.identities, self.images
        probe, gallery = np.divmod(np.arange((people * images) ** 2), people * images)
        same = probe // images == gallery // images
        if self.alike is not None:
            near = probe // images // self.alike == gallery // images // self.alike
            probe, gallery, same = probe[near], gallery[near], same[near]
        chosen = np.concatenate(
            [rng.choice(np.flatnonzero(same == kind), self.pairs, replace=False) for kind in (True, False)]
        )
        return self._row(fold, probe[chosen], 0), self._row(fold, gallery[chosen], 1), same[chosen]

    def _row(self, fold: int, number: np.ndarray, side: int) -> np.ndarray:
        """Row in the image array of a fold's `number`-th image of one side."""
        person, image = np.divmod(number, self.images)
        return ((fold * self.identities + person) * 2 + side) * self.images + image


@dataclass(frozen=True)
class PairListBenchmark:
    """The user's own pairs: a CSV with `name1,name2,same[,fold]` and a folder, or a `.bin` pack.

    Args:
        name: of the benchmark; the name of the file where it is `"pairs"`.
        pairs, images: a CSV of pairs, and the folder that its names are relative to.
        bin: a pack as insightface has them.
    """

    name: str = "pairs"
    pairs: Path | None = None
    images: Path | None = None
    bin: Path | None = None

    def load(self, *, progress: bool = True) -> VerificationSet:
        """Read the list; the images are read while they are embedded."""
        if self.bin is not None and (self.pairs or self.images):
            raise InputError("a pack brings its own images and pairs; give --bin or --pairs and --images")
        if self.bin is not None:
            pack = BinPack(self.bin)
            fold = ten_folds(len(pack.genuine))
            return VerificationSet(
                self._name(self.bin), pack, pack.probe, pack.gallery, pack.genuine, fold, source=_source([self.bin])
            )
        if self.pairs is None or self.images is None:
            raise InputError(
                f"benchmark '{self.name}' needs a pair list and a folder of images, --pairs CSV --images DIR, or a "
                "pack, --bin FILE"
            )
        return self._of_list(PairList.read(self.pairs, self.images))

    def _of_list(self, pairs: PairList) -> VerificationSet:
        return VerificationSet(
            self._name(pairs.files[0]),
            pairs.paths,
            pairs.probe,
            pairs.gallery,
            pairs.genuine,
            pairs.fold,
            identity=pairs.identity,
            source=_source(pairs.files),
        )

    def _name(self, file: Path) -> str:
        return file.stem if self.name == "pairs" else self.name


@dataclass(frozen=True)
class OfficialBenchmark(PairListBenchmark):
    """Aligned photos in the official folders (--root DIR), in a pack (--bin FILE) or in a list of pairs.

    Args:
        root: the folder as it is published; see `facexai.datasets.official`.
    """

    root: Path | None = None

    def load(self, *, progress: bool = True) -> VerificationSet:
        """Read the pair files; the images are read while they are embedded."""
        if self.root is None:
            if self.bin or self.pairs or self.images:
                return super().load(progress=progress)
            raise InputError(
                f"facexai brings no photos: give the folder of {self.name} with --root DIR, or a pack with --bin FILE"
            )
        if self.bin or self.pairs or self.images:
            raise InputError("--root brings images and pairs; leave the other files out")
        return self._of_list(OFFICIAL[self.name](self.root))


def _source(files: Sequence[Path]) -> dict[str, str]:
    """sha256 by name; many files have one in common, of their names and digests."""
    digests = {file.name: file_digest(file) for file in files}
    if len(files) == 1:
        return digests
    lines = "".join(f"{file_digest(file)}  {file.parent.name}/{file.name}\n" for file in files)
    return {f"{len(files)} files": hashlib.sha256(lines.encode()).hexdigest()}


FRONTAL, PROFILE = (0.0, 8.0), (70.0, 90.0)  # degrees of yaw
YOUNG, OLD = (0.0, 0.15), (0.7, 1.0)

for _protocol in (
    RenderedProtocol("synthetic-lfw", (0.0, 20.0), (0.0, 20.0)),
    RenderedProtocol("synthetic-cfp-ff", FRONTAL, FRONTAL, seed=1001),
    RenderedProtocol("synthetic-cfp-fp", FRONTAL, PROFILE, seed=1001),
    RenderedProtocol("synthetic-cplfw", (0.0, 45.0), (30.0, 75.0), seed=1003),
    RenderedProtocol("synthetic-calfw", (0.0, 20.0), (0.0, 20.0), seed=1004, probe_age=YOUNG, gallery_age=OLD),
    RenderedProtocol("synthetic-agedb", (0.0, 45.0), (0.0, 45.0), seed=1005, probe_age=YOUNG, gallery_age=OLD),
    RenderedProtocol("synthetic-yaw", (0.0, 90.0), FRONTAL, seed=1006),  # no twin: probes in all poses, for bins of yaw
    RenderedProtocol("synthetic-occluded", (0.0, 20.0), (0.0, 20.0), seed=1007, occlusion=1.0),
    RenderedProtocol("synthetic-hard", (0.0, 20.0), (0.0, 20.0), seed=1009, alike=4),
):
    BENCHMARKS[_protocol.name] = _protocol
BENCHMARKS["pairs"] = PairListBenchmark()
for _name in OFFICIAL:
    BENCHMARKS[_name] = OfficialBenchmark(_name)
for _benchmark in (IJB("ijbb"), IJB("ijbc"), RenderedTemplates()):
    BENCHMARKS[_benchmark.name] = _benchmark

"""Do maps of a turned face speak of what the turn hides? Rank correlation with the truth, on rendered faces.

A renderer knows how much of each region, on each side of the face, a turn hides (`hidden_shares`). A map that claims to
show where a module compensates for the turn should be strong there. What a face hides cannot be painted on it, though:
so each map is judged twice, where it lies on the turned face and where it lies on the frontal face of the same person.

Ours; no published protocol measures it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import Tensor
from tqdm import tqdm

from facexai.benchmarks.statistics import Interval, bootstrap_statistic, cluster_interval
from facexai.benchmarks.tables import aligned
from facexai.errors import InputError
from facexai.pairs import FacePair
from facexai.rendering import Nuisance, render, sample_identity
from facexai.rendering.visibility import FACE_REGIONS, PARTS, face_regions, hidden_shares

FACES = ("turned", "frontal")
_REPEATS = 500  # each resample sorts all regions anew


@dataclass(frozen=True)
class TurnedPair:
    """A turned face and a frontal one of the same person, with what the turn hides.

    Args:
        pair: the turned face is the probe.
        regions: which pixels of either face show which of `FACE_REGIONS`. Shape (2, 14, H, W), bool.
        hidden: share of each region that the turn hides, 0 to 1; nan where that cannot be said. Shape (14,).
        person: label.
        yaw: in degrees.
    """

    pair: FacePair
    regions: np.ndarray
    hidden: np.ndarray
    person: int
    yaw: float

    @property
    def far(self) -> np.ndarray:
        """Indices of the regions on the side that turns away, in the order of `PARTS`. Shape (7,)."""
        left = np.arange(len(PARTS), 2 * len(PARTS))
        return left if self.yaw > 0 else left - len(PARTS)

    @property
    def near(self) -> np.ndarray:
        """The same regions on the other side. Shape (7,)."""
        return (self.far + len(PARTS)) % len(FACE_REGIONS)


def turned_pairs(
    people: int = 40, yaws: Sequence[float] = (-75, -45, 45, 75), *, seed: int = 1600, progress: bool = True
) -> list[TurnedPair]:
    """Rendered people, neutral faces in a studio, each at every yaw against the frontal one.

    Args:
        people: whom no training set holds.
        yaws: in degrees, none of them 0.
        seed: of the people; seeds below 1100 belong to training sets and to the verification protocols.
        progress: show a bar.

    Raises:
        InputError: nobody, or a yaw that hides nothing.
    """
    if people < 1 or not yaws or not all(0 < abs(yaw) <= 90 for yaw in yaws):
        raise InputError(f"turned pairs need people and yaws in 0 < |yaw| <= 90; got {people} people, yaws {[*yaws]}")
    pairs, straight = [], Nuisance()
    for person in tqdm(range(people), desc="turned faces", disable=None if progress else True):
        who = sample_identity(np.random.default_rng([seed, person]))
        frontal = render(who)
        for yaw in yaws:
            aside = Nuisance(yaw=float(yaw))
            turned = render(who, aside)
            pair = FacePair(turned.tensor(), frontal.tensor(), genuine=True, name=f"person {person}, {yaw:g} degrees")
            regions = np.stack([face_regions(turned, aside), face_regions(frontal, straight)])
            hidden = np.clip(hidden_shares(turned, aside, frontal, straight), 0, 1)
            pairs.append(TurnedPair(pair, regions, hidden, person, float(yaw)))
    return pairs


@dataclass(frozen=True)
class HiddenRegionRow:
    """One kind of map on one of the two faces.

    Args:
        name: of the map.
        face: `"turned"` or `"frontal"`: where it lies.
        correlation: Spearman's, of the map's mean in a region with the hidden share, over all regions of all faces.
        within: the same within each face, as a mean over faces: which regions, and not which faces.
        sides: (far - near) / (far + near) of the map's means in a region on the side that turns away and on the other,
            as a mean over regions and faces. 0 for a map that knows nothing of the turn.
        beyond: `within` less that of the control on the same face, pair by pair; None without one, and for itself.
    """

    name: str
    face: str
    correlation: Interval
    within: Interval
    sides: Interval
    beyond: Interval | None = None


@dataclass(frozen=True)
class HiddenRegionReport:
    """What `measure_hidden_regions` found. `rows` come by map, then by face; intervals are 95 %, over people."""

    rows: list[HiddenRegionRow]
    pairs: int
    people: int

    def to_json(self) -> dict[str, Any]:
        """The figures, JSON-able."""
        return asdict(self)

    def table(self) -> str:
        """The figures for people."""
        columns = [["map", *(row.name for row in self.rows)], ["lies on", *(row.face for row in self.rows)]]
        for title, field in (("correlation", "correlation"), ("within a face", "within"), ("far - near", "sides")):
            values = [getattr(row, field) for row in self.rows]
            columns += [[title, *(f"{value.mean:+.2f}" for value in values)]]
            columns += [["95 % interval", *(_ends(value) for value in values)]]
        if any(row.beyond for row in self.rows):
            columns += [["beyond control", *("" if row.beyond is None else _ends(row.beyond) for row in self.rows)]]
        note = f"{self.pairs} pairs of {self.people} people (rendered faces; not to be compared with photos)"
        return "\n".join([*aligned(columns), note])


def _ends(interval: Interval) -> str:
    return f"[{interval.low:+.2f}, {interval.high:+.2f}]"


def measure_hidden_regions(
    maps: Mapping[str, Sequence[Tensor]],
    pairs: Sequence[TurnedPair],
    *,
    control: str | None = None,
    repeats: int = _REPEATS,
) -> HiddenRegionReport:
    """How well maps agree with what turns hide.

    Args:
        maps: by name, for each pair one map >= 0 on the turned face and one on the frontal face. Shape (2, H, W).
        pairs: from `turned_pairs`.
        control: name of the map with which the others are compared, such as what was done to another person.
        repeats: resamples of the people.

    Raises:
        InputError: no pairs, maps that are not one (2, H, W) for each pair, or a control that is not among them.
    """
    if not pairs:
        raise InputError("there are no pairs to judge maps on; make some with turned_pairs")
    if control is not None and control not in maps:
        raise InputError(f"the control '{control}' is none of the maps; they are {', '.join(maps)}")
    for name, given in maps.items():
        if len(given) != len(pairs) or any(one.shape != (2, *pairs[0].regions.shape[2:]) for one in given):
            height, width = pairs[0].regions.shape[2:]
            raise InputError(f"'{name}' must have one map (2, {height}, {width}) for each of {len(pairs)} pairs")
    hidden = np.stack([pair.hidden for pair in pairs])  # (P, 14)
    means = {  # (P, 2, 14)
        name: np.stack([region_means(one, pair) for one, pair in zip(given, pairs, strict=True)])
        for name, given in maps.items()
    }
    rows = []
    for name in maps:
        for side, face in enumerate(FACES):
            compared = None if control in (None, name) else means[control][:, side]
            rows.append(_row(name, face, means[name][:, side], compared, hidden, pairs, repeats))
    return HiddenRegionReport(rows, len(pairs), len({pair.person for pair in pairs}))


def region_means(maps: Tensor, pair: TurnedPair) -> np.ndarray:
    """Mean of the maps of a pair in each region; nan where a face shows nothing of it. (2, H, W) -> (2, 14)."""
    values = maps.detach().double().cpu().numpy()[:, None]  # (2, 1, H, W)
    counts = pair.regions.sum((2, 3))
    with np.errstate(invalid="ignore"):
        return np.where(counts > 0, (values * pair.regions).sum((2, 3)) / counts, np.nan)


def rank_correlation(values: np.ndarray, others: np.ndarray) -> float:
    """Spearman's, of the entries where both are known; nan where either is constant there. Same shapes."""
    from scipy.stats import rankdata

    known = ~(np.isnan(values) | np.isnan(others))
    if known.sum() < 2:
        return np.nan
    first, second = (rankdata(part[known]) for part in (values, others))
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return np.nan
    return float(np.corrcoef(first, second)[0, 1])


def _row(
    name: str,
    face: str,
    means: np.ndarray,
    control: np.ndarray | None,
    hidden: np.ndarray,
    pairs: Sequence[TurnedPair],
    repeats: int,
) -> HiddenRegionRow:
    """Means, those of the control and hidden shares are (P, 14)."""
    person = np.array([pair.person for pair in pairs])
    of_person = [np.flatnonzero(person == label) for label in np.unique(person)]

    def over_people(drawn: np.ndarray) -> float:
        chosen = np.concatenate([of_person[k] for k in drawn])
        return rank_correlation(means[chosen], hidden[chosen])

    def mean_over_people(values: np.ndarray) -> Interval:
        known = ~np.isnan(values)
        return cluster_interval(values[known], person[known])

    everybody = over_people(np.arange(len(of_person)))
    correlation = Interval(everybody, np.nan, np.nan)
    if not np.isnan(everybody):
        correlation = bootstrap_statistic(over_people, len(of_person), repeats=repeats)
    within = _within(means, hidden)
    sides = np.array([_far_less_near(row, pair) for row, pair in zip(means, pairs, strict=True)])
    beyond = None if control is None else mean_over_people(within - _within(control, hidden))
    return HiddenRegionRow(name, face, correlation, mean_over_people(within), mean_over_people(sides), beyond)


def _within(means: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Correlation of each face. (P, 14), twice -> (P,)."""
    return np.array([rank_correlation(*both) for both in zip(means, hidden, strict=True)])


def _far_less_near(means: np.ndarray, pair: TurnedPair) -> float:
    """(far - near) / (far + near), the mean over the regions of which both are known and not both 0. (14,)."""
    far, near = means[pair.far], means[pair.near]
    known = far + near > 0  # False where one is nan
    return float(((far - near)[known] / (far + near)[known]).mean()) if known.any() else np.nan

"""Methods against judges: explain every pair by every method, have the maps judged, set the methods side by side.

Explainers and judges meet here alone; neither knows of the other.
"""

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Self

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from facexai.benchmarks.judges import Judge, JudgedPairs, Method, PairFacts
from facexai.benchmarks.standings import REFERENCE, Results, Score, Standing, compared, ranked
from facexai.errors import InputError
from facexai.explainers import EXPLAINERS, Centre, Detail, Edges, Explainer, MeanMap, Random, make_explainer
from facexai.explainers.interface import checked, evaluation
from facexai.models import FaceRecognizer
from facexai.pairs import FacePair

BASELINES = (Random, Centre, MeanMap, Edges, Detail)
DRAW = 42  # seed of the pairs of a method that is judged on some of them
WARM_UP = 2.0  # seconds; a first run below that may be imports for the most part, and is made again


@dataclass
class Contender:
    """A method on its way through the pairs."""

    explainer: Explainer
    limit: float = math.inf  # of its pairs
    cost: float = 0.0  # seconds a pair of explaining and judging, as first tried
    seconds: float = 0.0  # of explaining, so far
    records: dict[int, list[dict[str, np.ndarray]]] = field(default_factory=dict)  # judge by judge, chunk by chunk

    @property
    def method(self) -> Method:
        """What the judges see of it."""
        return Method(self.signed_maps, unsigned=getattr(self.explainer, "unsigned", False))

    def takes(self, turns: np.ndarray) -> np.ndarray:
        """On which of the pairs with these turns (see `with_turns`) it is judged. (P,) -> (P,), bool."""
        return turns < self.limit

    def signed_maps(self, pair: FacePair, model: FaceRecognizer) -> Tensor:
        """As `explain` gives them. Shape (2, H, W)."""
        with evaluation(pair, model):
            return checked(self.explainer(pair, model), pair).signed


def judge_methods(
    judges: Sequence[Judge],
    model: FaceRecognizer,
    methods: Mapping[str, Explainer] | None = None,
    *,
    limit: int | None = None,
    limits: Mapping[str, int] | None = None,
    every: bool = False,
    progress: bool = True,
) -> list[Results]:
    """Explain each pair once by each method and let every judge measure the maps.

    Args:
        judges: they judge the pairs of the first one.
        model: the network that is explained.
        methods: explainers by what tables call them; None for all that are registered and fit the model. `ddfv` is
            added as the reference where it is missing and fits.
        limit: about so many pairs; all where None.
        limits: pairs for single methods, by what tables call them: so many of the pairs, drawn at random. Of two
            limits the smaller one's pairs are among the larger one's. Where a judge does not know how many pairs it
            has, all of them.
        every: besides `methods`, all that are registered and fit the model.
        progress: show a bar, with the time that a first pair lets expect.

    Returns:
        Results of each judge.

    Raises:
        InputError: a method that was asked for does not fit the model, or a limit below 1 or of an unknown method.
    """
    entrants = entered(methods, every)
    check_limits(limits or {}, entrants)
    chunks = judges[0].chunks(model, limit, progress=progress)
    first = next(chunks)
    facts: list[PairFacts] = []
    drawn: list[np.ndarray] = []
    with evaluation(next(first.face_pairs()), model):
        contenders, skipped = tried(judges, model, entrants, methods or {}, first)
        for label, most in (limits or {}).items():
            if label in contenders:
                contenders[label].limit = most
        with time_bar(contenders, first.total, judges[0].name, progress) as bar:
            for pairs, turns in with_turns(chain([first], chunks), first.total):
                facts.append(PairFacts.of(pairs))
                drawn.append(turns)
                for contender in contenders.values():
                    rows = np.flatnonzero(contender.takes(turns))
                    if len(rows):
                        compete(contender, judges, model, pairs if len(rows) == len(pairs) else pairs.part(rows))
                    bar.update(contender.cost * len(rows))
    everyone, turns = PairFacts.joined(facts), np.concatenate(drawn)
    results = []
    for number, judge in enumerate(judges):
        sheets, too_few = handed_in(judge, contenders, number, everyone, turns)
        results.append(
            Results(
                judge=judge.name,
                settings=repr(judge),
                metrics=judge.metrics,
                model=model.name,
                rendered=first.rendered,
                pairs=max((sheet.pairs for sheet in sheets.values()), default=0),
                standings=standings(judge, contenders, sheets),
                skipped=skipped | too_few,
            )
        )
    return results


def entered(methods: Mapping[str, Explainer] | None, every: bool) -> dict[str, Explainer]:
    """What is to be tried, by label: the methods, besides them all that are registered, or the reference alone."""
    names = EXPLAINERS if methods is None or every else [REFERENCE]
    return {name: make_explainer(name) for name in names} | dict(methods or {})


def check_limits(limits: Mapping[str, int], known: Mapping[str, Explainer]) -> None:
    """Raise `InputError` unless the limits are at least 1 and those of methods that take part."""
    for label, limit in limits.items():
        if label not in known:
            raise InputError(f"limit of pairs for '{label}', which takes no part; choose from {', '.join(known)}")
        if limit < 1:
            raise InputError(f"a method is judged on at least 1 pair; got a limit of {limit} for '{label}'")


def with_turns(chunks: Iterable[JudgedPairs], total: int) -> Iterator[tuple[JudgedPairs, np.ndarray]]:
    """The pairs, each with its turn in a random order of all `total`, from 0; with 0 where their number is not known.

    A method that is judged on n of the pairs takes those whose turn is below n. Turns of a chunk have shape (P,).
    """
    order = np.random.default_rng(DRAW).permutation(total)
    turn = np.argsort(order)
    seen = 0
    for pairs in chunks:
        yield pairs, turn[seen : seen + len(pairs)] if total else np.zeros(len(pairs), int)
        seen += len(pairs)


def compete(contender: Contender, judges: Sequence[Judge], model: FaceRecognizer, pairs: JudgedPairs) -> None:
    """Explain some pairs, have the maps measured, and keep the records and the time of explaining."""
    start = seconds_on(model)
    maps = torch.stack([contender.signed_maps(pair, model) for pair in pairs.face_pairs()])
    contender.seconds += seconds_on(model) - start
    for number, judge in enumerate(judges):
        records = judge.measure(model, pairs, maps, contender.method)
        contender.records.setdefault(number, []).append(records)


def tried(
    judges: Sequence[Judge],
    model: FaceRecognizer,
    entrants: Mapping[str, Explainer],
    asked: Mapping[str, Explainer],
    pairs: JudgedPairs,
) -> tuple[dict[str, Contender], dict[str, str]]:
    """Contenders with their cost, found on one pair, and the methods that do not fit the model, with the reason."""
    one_pair = pairs.part(slice(0, 1))
    contenders, skipped = {}, {}
    for label, explainer in entrants.items():
        try:
            contenders[label] = Contender(explainer, cost=trial_seconds(explainer, judges, model, one_pair))
        except InputError as error:
            if label in asked:
                raise
            skipped[label] = str(error)
    return contenders, skipped


def trial_seconds(explainer: Explainer, judges: Sequence[Judge], model: FaceRecognizer, pairs: JudgedPairs) -> float:
    """Seconds a pair of explaining and judging, once whatever is loaded on first use is there."""

    def run() -> float:
        start = seconds_on(model)
        compete(Contender(explainer), judges, model, pairs)
        return (seconds_on(model) - start) / len(pairs)

    first = run()
    return min(first, run()) if first < WARM_UP else first


def time_bar(contenders: Mapping[str, Contender], pairs: int, title: str, progress: bool) -> tqdm:
    """A bar over the seconds that the run is expected to take; without an end where their number is not known."""
    seconds = sum(contender.cost * min(contender.limit, pairs) for contender in contenders.values())
    return tqdm(
        total=seconds or None,
        desc=f"{title}: {len(contenders)} methods, {pairs or '?'} pairs, about {tqdm.format_interval(seconds)}",
        bar_format="{desc} |{bar}| {percentage:3.0f}% {elapsed}<{remaining}" if seconds else None,
        disable=None if progress else True,
    )


def seconds_on(model: FaceRecognizer) -> float:
    """The clock, once the device of the model has done what it was told to."""
    device = next(model.parameters()).device
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@dataclass(frozen=True)
class Sheet:
    """What a judge recorded of one method.

    Args:
        judge: that recorded it.
        records: of the method's pairs; see `Judge.measure`.
        facts: of all pairs.
        taken: which of all pairs are the method's. Shape (P,), bool.
    """

    judge: Judge
    records: Mapping[str, np.ndarray]
    facts: PairFacts
    taken: np.ndarray

    @property
    def pairs(self) -> int:
        """How many pairs are the method's."""
        return int(self.taken.sum())

    def scores(self, reference: Self | None) -> dict[str, Score]:
        """On the method's own pairs, with the difference to the reference on those of both."""
        own = self.values(self.taken)
        if reference is None:
            return compared(own, None)
        both = self.taken & reference.taken
        return compared(own, reference.values(both), self.values(both))

    def values(self, chosen: np.ndarray) -> dict[str, np.ndarray]:
        """Values of every metric as if these pairs of the method, (P,) bool, were all: thresholds, ROC, everything."""
        rows = chosen[self.taken]
        return self.judge.finish({name: of[rows] for name, of in self.records.items()}, self.facts.part(chosen))


def handed_in(
    judge: Judge, contenders: Mapping[str, Contender], number: int, facts: PairFacts, turns: np.ndarray
) -> tuple[dict[str, Sheet], dict[str, str]]:
    """What the judge with this number recorded, and the methods whose pairs are too few for it, with the reason."""
    sheets, too_few = {}, {}
    for label, contender in contenders.items():
        sheet = Sheet(judge, joined(contender.records[number]), facts, contender.takes(turns))
        try:
            sheet.values(sheet.taken)
            sheets[label] = sheet
        except InputError as error:
            if sheet.taken.all():
                raise
            too_few[label] = f"judged on {sheet.pairs} pairs, which are too few: {error}"
    return sheets, too_few


def standings(judge: Judge, contenders: Mapping[str, Contender], sheets: Mapping[str, Sheet]) -> list[Standing]:
    """The table of a judge, best first."""
    lines = [
        Standing(
            method=label,
            explainer=repr(contenders[label].explainer),
            baseline=isinstance(contenders[label].explainer, BASELINES),
            pairs=sheet.pairs,
            seconds_per_pair=contenders[label].seconds / sheet.pairs,
            scores=sheet.scores(sheets.get(REFERENCE)),
            details=judge.details(sheet.records, sheet.facts.part(sheet.taken)),
        )
        for label, sheet in sheets.items()
    ]
    return ranked(lines, judge.metrics[0])


def joined(records: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Records of all chunks as one."""
    return {name: np.concatenate([record[name] for record in records]) for name in records[0]}

"""Methods against judges: explain every pair by every method, have the maps judged, set the methods side by side.

Explainers and judges meet here alone; neither knows of the other.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from facexai.benchmarks.judges import Judge, JudgedPairs, Method, PairFacts
from facexai.benchmarks.standings import REFERENCE, Results, Standing, compared, ranked
from facexai.errors import InputError
from facexai.explainers import EXPLAINERS, Centre, Detail, Edges, Explainer, MeanMap, Random, make_explainer
from facexai.explainers.interface import checked, evaluation
from facexai.models import FaceRecognizer
from facexai.pairs import FacePair

BASELINES = (Random, Centre, MeanMap, Edges, Detail)
WARM_UP = 2.0  # seconds; a first run below that may be imports for the most part, and is made again


@dataclass
class Contender:
    """A method on its way through the pairs."""

    explainer: Explainer
    cost: float = 0.0  # seconds a pair of explaining and judging, as first tried
    seconds: float = 0.0  # of explaining, so far
    records: dict[int, list[dict[str, np.ndarray]]] = field(default_factory=dict)  # judge by judge, chunk by chunk

    @property
    def method(self) -> Method:
        """What the judges see of it."""
        return Method(self.signed_maps, unsigned=getattr(self.explainer, "unsigned", False))

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
    progress: bool = True,
) -> list[Results]:
    """Explain each pair once by each method and let every judge measure the maps.

    Args:
        judges: they judge the pairs of the first one.
        model: the network that is explained.
        methods: explainers by what tables call them; None for all that are registered and fit the model. `ddfv` is
            added as the reference where it is missing and fits.
        limit: about so many pairs; all where None.
        progress: show a bar, with the time that a first pair lets expect.

    Returns:
        Results of each judge.

    Raises:
        InputError: a method that was asked for does not fit the model.
    """
    chunks = judges[0].chunks(model, limit, progress=progress)
    first = next(chunks)
    facts: list[PairFacts] = []
    with evaluation(next(first.face_pairs()), model):
        contenders, skipped = tried(judges, model, methods, first)
        with time_bar(contenders, first.total, judges[0].name, progress) as bar:
            for pairs in chain([first], chunks):
                facts.append(PairFacts.of(pairs))
                for contender in contenders.values():
                    compete(contender, judges, model, pairs)
                    bar.update(contender.cost * len(pairs))
    everyone = PairFacts.joined(facts)
    return [
        Results(
            judge=judge.name,
            settings=repr(judge),
            metrics=judge.metrics,
            model=model.name,
            rendered=first.rendered,
            pairs=len(everyone.genuine),
            standings=standings(judge, contenders, number, everyone),
            skipped=skipped,
        )
        for number, judge in enumerate(judges)
    ]


def compete(contender: Contender, judges: Sequence[Judge], model: FaceRecognizer, pairs: JudgedPairs) -> None:
    """Explain some pairs, have the maps measured, and keep the records and the time of explaining."""
    start = seconds_on(model)
    maps = torch.stack([contender.signed_maps(pair, model) for pair in pairs.face_pairs()])
    contender.seconds += seconds_on(model) - start
    for number, judge in enumerate(judges):
        records = judge.measure(model, pairs, maps, contender.method)
        contender.records.setdefault(number, []).append(records)


def tried(
    judges: Sequence[Judge], model: FaceRecognizer, methods: Mapping[str, Explainer] | None, pairs: JudgedPairs
) -> tuple[dict[str, Contender], dict[str, str]]:
    """Contenders with their cost, found on one pair, and the methods that do not fit the model, with the reason."""
    explainers = {name: make_explainer(name) for name in (EXPLAINERS if methods is None else [REFERENCE])}
    one_pair = pairs.part(slice(0, 1))
    contenders, skipped = {}, {}
    for label, explainer in (explainers | dict(methods or {})).items():
        try:
            contenders[label] = Contender(explainer, cost=trial_seconds(explainer, judges, model, one_pair))
        except InputError as error:
            if label in (methods or {}):
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
    seconds = pairs * sum(contender.cost for contender in contenders.values())
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


def standings(judge: Judge, contenders: Mapping[str, Contender], number: int, facts: PairFacts) -> list[Standing]:
    """The table of the judge with this number, best first."""
    records = {label: joined(contender.records[number]) for label, contender in contenders.items()}
    values = {label: judge.finish(recorded, facts) for label, recorded in records.items()}
    lines = [
        Standing(
            method=label,
            explainer=repr(contender.explainer),
            baseline=isinstance(contender.explainer, BASELINES),
            seconds_per_pair=contender.seconds / len(facts.genuine),
            scores=compared(values[label], values.get(REFERENCE)),
            details=judge.details(records[label], facts),
        )
        for label, contender in contenders.items()
    ]
    return ranked(lines, judge.metrics[0])


def joined(records: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Records of all chunks as one."""
    return {name: np.concatenate([record[name] for record in records]) for name in records[0]}

"""`facexai bench explain`: Algorithm 1 in its three forms, and methods of every family end to end."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from facexai.bench.networks import calibrated_recognizer, random_faces
from facexai.bench.timing import (
    Seconds,
    count_flops,
    interleaved,
    ratios,
    relative_difference,
    summary,
    torch_threads,
)
from facexai.explainers import decompose, explain, prepare_partners, prepare_probe
from facexai.explainers.local_residuals import Cell
from facexai.explainers.residuals import Algorithm, channel_residuals
from facexai.models import FaceRecognizer, ReconstructionDecoder
from facexai.pairs import FacePair

ALGORITHMS: tuple[Algorithm, ...] = ("literal", "batched", "local")
GEMM_SIZE = 2048
REPEATS = {"batched": 2, "local": 10, "gemm": 10, "embedding": 5, "gradient": 3, "grad-cam": 5, "ddfv": 2}
REPEATS |= {"ddfv-bf16": 2, "ddfv-tolerance": 2, "further-partner": 200, "further-threshold": 200}


@dataclass(frozen=True)
class Contender:
    """A method, measured from two images to two maps.

    Args:
        method: its name.
        options: its options.
        counted: for a long method, the option that says how many samples it takes.
        measured: so many are taken here.
        count: so many it takes; what grows with their number is multiplied.
    """

    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    counted: str = ""
    measured: int = 1
    count: int = 1

    def step(self, pair: FacePair, model: FaceRecognizer) -> Callable[[], Tensor]:
        """What is run: `explain`, with the samples of the measurement."""
        samples = {self.counted: self.measured} if self.counted else {}
        return lambda: explain(pair, model, self.method, **self.options, **samples).signed

    def in_full(self, seconds: list[Seconds], embedding: list[Seconds]) -> list[Seconds]:
        """Seconds with all samples: embedding the two images happens once, the rest for each sample."""
        factor = self.count / self.measured
        return [
            (once[0] + (part[0] - once[0]) * factor, once[1] + (part[1] - once[1]) * factor) if self.counted else part
            for part, once in zip(seconds, embedding, strict=True)
        ]


CONTENDERS = {
    "ddfv": Contender("ddfv"),
    "ddfv-bf16": Contender("ddfv", {"precision": "bf16"}),
    "ddfv-tolerance": Contender("ddfv", {"tolerance": 0.05}),
    "gradient": Contender("gradient"),
    "grad-cam": Contender("grad-cam"),
    "smoothgrad": Contender("smoothgrad", counted="samples", measured=10, count=50),
    "integrated-gradients": Contender("integrated-gradients", counted="steps", measured=10, count=50),
    "rise": Contender("rise", counted="masks", measured=32, count=500),
}
RATIOS = (
    ("literal", "local"),
    ("batched", "local"),
    ("ddfv", "gradient"),
    ("ddfv-bf16", "gradient"),
    ("ddfv-tolerance", "gradient"),
    ("ddfv", "grad-cam"),
    ("smoothgrad", "ddfv"),
    ("integrated-gradients", "ddfv"),
    ("rise", "ddfv"),
)


def bench_explain(rounds: int = 3, threads: int = 2) -> dict[str, Any]:
    """Explanations on IResNet-50 with random weights, all measured in one run.

    `literal`, `batched` and `local` are the explanation step of Algorithm 1: from the features of one image to its map.
    The methods go from two images to two maps. A further partner costs one map, a further threshold two.

    Args:
        rounds: how often each takes its turn.
        threads: of torch, for the time of the measurement.

    Returns:
        Median, least and largest seconds of each; ratios; how far residuals (before normalization) and maps lie apart
        in units of their maximum; and the floor: the time that the arithmetic of `local` and of `ddfv` would take at
        the rate of a matrix product.
    """
    model = calibrated_recognizer("ddfv-iresnet50")
    probe, gallery = random_faces(2, seed=1, size=model.input_size)
    pair = FacePair(probe, gallery)
    with torch.no_grad():
        features = model.features(pair.images)  # (2, C, h, w)
    with torch_threads(threads):
        steps = {**form_steps(features[0], model), **method_steps(pair, model)}
        for step in steps.values():
            step()  # warms up
        seconds = interleaved(steps, rounds, REPEATS)
    for name, contender in CONTENDERS.items():
        seconds[name] = contender.in_full(seconds[name], seconds["embedding"])
    return {
        "network": f"ddfv-iresnet50, random weights, {features.shape[1]} channels",
        "threads": threads,
        "rounds": rounds,
        "measured_in_part": ", ".join(
            f"{name}: {contender.measured} of {contender.count} {contender.counted}"
            for name, contender in CONTENDERS.items()
            if contender.counted
        ),
        **{f"{name}_{key}": value for name, times in seconds.items() for key, value in summary(times).items()},
        **{key: value for slow, fast in RATIOS for key, value in ratios(seconds, slow, fast).items()},
        **differences(features[0], pair, model),
        **floor(features, pair, model, seconds),
    }


def form_steps(features: Tensor, model: FaceRecognizer) -> dict[str, Callable[[], Tensor]]:
    """From the features of one image to its map, in three forms; and a matrix product."""
    assert model.decoder is not None
    weights = random_weights(len(features))
    square = torch.ones(GEMM_SIZE, GEMM_SIZE)
    forms = {name: explanation_step(features, model.decoder, weights, name) for name in ALGORITHMS}
    return {**forms, "gemm": lambda: square @ square}


def method_steps(pair: FacePair, model: FaceRecognizer) -> dict[str, Callable[[], Tensor]]:
    """From two images to two maps; and what a further partner or threshold costs."""
    prepared, parts = prepare_probe(pair.probe, model), decompose(pair, model)
    partner = prepare_partners(pair.gallery[None], model)
    return {
        **{name: contender.step(pair, model) for name, contender in CONTENDERS.items()},
        "embedding": torch.no_grad()(lambda: model.embed(pair.images)),
        "further-partner": lambda: prepared.maps(partner),
        "further-threshold": lambda: parts.saliency(0.01).signed,
    }


def explanation_step(
    features: Tensor, decoder: nn.Module, weights: Tensor, algorithm: Algorithm
) -> Callable[[], Tensor]:
    """From the features of one image to its map."""
    return lambda: channel_residuals(features, decoder, algorithm).weighted_sum(weights)


def random_weights(channels: int) -> Tensor:
    """One weight a channel."""
    return torch.randn(channels, generator=torch.Generator().manual_seed(2)) / channels


def differences(features: Tensor, pair: FacePair, model: FaceRecognizer) -> dict[str, float]:
    """How far the forms and the faster variants lie apart, in units of the largest value."""
    assert model.decoder is not None
    weights, raw, maps = random_weights(len(features)), {}, {}
    for name in ("literal", "local"):
        raw[name] = channel_residuals(features, model.decoder, name, normalization="none").stack()
        maps[name] = explanation_step(features, model.decoder, weights, name)()
    exact = explain(pair, model).signed
    tolerant = decompose(pair, model, **CONTENDERS["ddfv-tolerance"].options)
    return {
        "largest_residual_difference": relative_difference(raw["local"], raw["literal"]),
        "largest_map_difference": relative_difference(maps["local"], maps["literal"]),
        "bf16_map_difference": relative_difference(explain(pair, model, precision="bf16").signed, exact),
        "tolerance_map_difference": relative_difference(tolerant.saliency().signed, exact),
        "tolerance_map_bound": max(tolerant.error_bound()) / float(exact.abs().max()),
    }


def floor(
    features: Tensor, pair: FacePair, model: FaceRecognizer, seconds: Mapping[str, list[Seconds]]
) -> dict[str, float]:
    """The arithmetic that is needed, its time at the rate of a matrix product, and the share of that rate reached."""
    decoder = model.decoder
    assert isinstance(decoder, ReconstructionDecoder)
    rate = 2 * GEMM_SIZE**3 / median(cpu for cpu, _ in seconds["gemm"])
    with torch.no_grad():
        trunk = count_flops(lambda: model.features(pair.images))
        base = count_flops(lambda: decoder(features[:1]))
    local = base + window_flops(features[:1], decoder)
    pair_of_maps = trunk + 2 * base + window_flops(features, decoder)
    figures = {"gemm_gflop_per_process_s": rate / 1e9}
    for name, flops in (("local", local), ("ddfv", pair_of_maps)):
        measured = median(cpu for cpu, _ in seconds[name])
        figures |= {
            f"{name}_gflop": flops / 1e9,
            f"{name}_floor_process_s": flops / rate,
            f"{name}_share_of_gemm_rate": flops / rate / measured,
        }
    return figures


def window_flops(features: Tensor, decoder: ReconstructionDecoder) -> int:
    """What the channels of N images take on their way through windows of 4 x 4, 10 x 10 and 22 x 22 cells.

    A transposed convolution multiplies each cell with every weight once, but for the row and the column of weights that
    would paint outside the map; the first layer needs none. A window is cut to the map.
    """
    weights = [layer.weight for layer in decoder.layers if isinstance(layer, nn.ConvTranspose2d)][1:]
    height, width = features.shape[2:]
    places = Counter(divmod(cell, width) for cell in features.flatten(2).argmax(2).flatten().tolist())
    flops = 0
    for place, channels in places.items():
        cell = Cell(0, place, (height, width))
        for level, weight in enumerate(weights, 1):
            taps = [
                4 * (reach.stop - reach.start) - (at == 0) - (at == end - 1)
                for reach, at, end in zip(cell.reach(level), cell.position, cell.size, strict=True)
            ]
            flops += channels * 2 * taps[0] * taps[1] * weight.shape[0] * weight.shape[1]
    return flops

"""Networks that forget layer by layer, from the head down.

Source: Adebayo et al., "Sanity Checks for Saliency Maps" (2018), cascading randomisation.
Deviations: a few steps of many layers each, in place of one layer at a time; the BatchNorm statistics of forgotten
layers are measured anew on some faces, without which the activations of a deep network leave all bounds. The decoder
stays: it explains, and has no part in the score.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from facexai.errors import InputError
from facexai.models import FaceRecognizer


@dataclass(frozen=True)
class Cascade:
    """Ever more random copies of a network.

    Args:
        images: faces on which BatchNorm statistics are measured. Shape (N, 3, H, W), N at least 2.
        steps: how many copies; each forgets an equal share of the layers more, the last one all.
        seed: of the new weights.
    """

    images: Tensor
    steps: int = 5
    seed: int = 42

    def networks(self, model: FaceRecognizer) -> Iterator[FaceRecognizer]:
        """Copies in eval mode, from the one that forgot the head to the one that forgot everything."""
        network = copy.deepcopy(model).eval()
        layers = scoring_layers(network)[::-1]
        ends = np.linspace(0, len(layers), self.steps + 1).round().astype(int)
        for first, end in pairwise(ends):
            randomize(layers[first:end], seed=self.seed + first)
            measure_statistics(network, layers[:end], self.images)
            yield copy.deepcopy(network)


def scoring_layers(model: FaceRecognizer) -> list[nn.Module]:
    """Layers of trunk and head that have weights or statistics of their own, in order."""
    modules = [*model.trunk.modules(), *(model.head.modules() if model.head else ())]
    layers = [module for module in modules if isinstance(module, _BatchNorm) or [*module.parameters(recurse=False)]]
    if not model.differentiable:
        raise InputError(f"{model.name} is a black box whose weights cannot be randomized; choose another judge")
    return layers


def randomize(layers: list[nn.Module], seed: int) -> None:
    """Initialise these layers anew; one that does not say how has its weights shuffled."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for layer in layers:
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()  # type: ignore[operator]
                continue
            for weight in layer.parameters(recurse=False):
                order = torch.randperm(weight.numel()).to(weight.device)
                weight.copy_(weight.flatten()[order].view_as(weight))


@torch.no_grad()
def measure_statistics(model: FaceRecognizer, layers: list[nn.Module], images: Tensor) -> None:
    """Set the means and variances of the BatchNorms among these layers to what they see on the images."""
    norms = [layer for layer in layers if isinstance(layer, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    model.embed(images.to(next(model.parameters())))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()

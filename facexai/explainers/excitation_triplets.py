"""Excitation backprop of triplets: why a probe is closer to its mate than to a nonmate.

Source: Williford, May, Byrne, "Explainable Face Recognition" (ECCV 2020), section 3, and the authors' `xfr`.

Deviations:
    `subtree_excitation` weighs subtrees in proportion to their gradients, as the paper says; `xfr` brings the weights
    of the chosen ones to [0, 1], so that the weakest of them does not count. Nodes are the outputs of activations and
    of sums of branches; `xfr` takes the inputs of all modules. A node is chosen among those which the mate's score
    excites; `xfr` chooses among all and drops a layer whose node is not excited, which in networks with negative
    activations leaves hardly a layer. For the rest see `excitation`.
"""

import torch
from torch import Tensor

from facexai.errors import InputError
from facexai.explainers.cells import cells_to_pixels
from facexai.explainers.excitation import ExcitedImages, check_truncation, contrasted, of_sum_one
from facexai.explainers.excitation_rules import Layers
from facexai.explainers.interface import evaluation, images_for
from facexai.explainers.scores import frozen
from facexai.models import FaceRecognizer
from facexai.pairs import FacePair
from facexai.smoothing import gaussian_blur


def triplet_excitation(
    probe: Tensor,
    mate: Tensor,
    nonmate: Tensor,
    model: FaceRecognizer,
    *,
    truncate: float = 0.0,
    layer: int = 0,
    blur: float = 2.0,
) -> Tensor:
    """Contrastive excitation backprop: what excites the mate's score more than the nonmate's.

    Args:
        probe: an aligned face in [-1, 1]. Shape (3, H, W).
        mate: another image of that person, same shape.
        nonmate: an image of another person, same shape.
        model: the network.
        truncate: as for `ExcitationBackprop`, and so are the others.
        layer: see there.
        blur: see there.

    Returns:
        Map on the probe, >= 0, of sum 1. Shape (H, W).
    """
    check_truncation(truncate)
    with evaluation(FacePair(probe, mate), model), frozen(model):
        image, directions = _triplet(probe, mate, nonmate, model)
        excited = ExcitedImages(model, image)
        winning = [excited.winning(direction[None], layer) for direction in directions]
    return _on_image(contrasted(winning[0], winning[1], truncate), model, blur).to(probe.device)


def subtree_excitation(
    probe: Tensor, mate: Tensor, nonmate: Tensor, model: FaceRecognizer, *, top: int = 32, blur: float = 2.0
) -> Tensor:
    """Weighted subtree excitation backprop: excitation of the nodes that tell the mate from the nonmate.

    Of each layer one node is taken: of those that the mate's score excites and whose growth does not lower it, the one
    whose growth lowers the nonmate's score the most. Its winning probability goes down to the first layer. The map is
    the sum over the `top` layers with the steepest nodes, each map brought to maximum 1, weighted by that gradient.

    Args:
        probe: an aligned face in [-1, 1]. Shape (3, H, W).
        mate: another image of that person, same shape.
        nonmate: an image of another person, same shape.
        model: the network.
        top: how many layers take part.
        blur: as for `ExcitationBackprop`.

    Returns:
        Map on the probe, >= 0, of sum 1. Shape (H, W).
    """
    if top < 1:
        raise InputError(f"top must be at least 1 layer; got {top}")
    with evaluation(FacePair(probe, mate), model), frozen(model):
        image, directions = _triplet(probe, mate, nonmate, model)
        excited = ExcitedImages(model, image)
        winning = excited.handed_down(excited.top(directions[:1]), excited.features, excited.layers)
        nodes = discriminative_nodes(model, image, directions, [layer > 0 for layer in winning])
        subtrees = [
            (weight, map_of_node(excited, layer, node)) for layer, (node, weight) in enumerate(nodes) if weight > 0
        ]
    subtrees.sort(key=lambda subtree: subtree[0], reverse=True)
    strongest = [weight * of_node for weight, of_node in subtrees[:top]]
    cells = torch.stack(strongest).sum(0) if strongest else torch.zeros_like(image[:, 0])
    return _on_image(cells, model, blur).to(probe.device)


def discriminative_nodes(
    model: FaceRecognizer, image: Tensor, directions: Tensor, excited: list[Tensor]
) -> list[tuple[int, float]]:
    """Of each layer the node that tells mate from nonmate best: its place in the flat layer, and -dy'/da there.

    Args:
        model: in eval mode, `frozen`.
        image: shape (1, 3, H, W).
        directions: embeddings of mate and nonmate. Shape (2, D).
        excited: which nodes of each layer the mate's score excites.
    """
    with Layers() as recorded:
        features = model.features(image.detach().clone().requires_grad_())
    layers = recorded.outputs if features is recorded.outputs[-1] else [*recorded.outputs, features]
    scores = (model.pool(features) @ directions.T)[0]
    of_mate = torch.autograd.grad(scores[0], layers, retain_graph=True)
    of_nonmate = torch.autograd.grad(scores[1], layers)
    found = []
    for mate, nonmate, is_excited in zip(of_mate, of_nonmate, excited, strict=True):
        weight, node = torch.where(is_excited & (mate >= 0), -nonmate, 0).flatten().max(0)
        found.append((int(node), float(weight)))
    return found


def map_of_node(excited: ExcitedImages, layer: int, node: int) -> Tensor:
    """P of the first layer for one node of a layer, summed over the channels and brought to maximum 1. (1, h, w)."""
    start = torch.zeros_like(excited.layers[layer])
    start.view(-1)[node] = 1
    below = excited.handed_down(start, excited.layers[layer], excited.layers[:1])[0].sum(1)
    return below / below.max().clamp_min(torch.finfo(below.dtype).tiny)


def _triplet(probe: Tensor, mate: Tensor, nonmate: Tensor, model: FaceRecognizer) -> tuple[Tensor, Tensor]:
    """The probe (1, 3, H, W) for the model, and the embeddings of mate and nonmate (2, D)."""
    image = images_for(model, FacePair(probe, nonmate))[:1]
    with torch.no_grad():
        return image, model.embed(torch.stack([mate, nonmate]).to(image))


def _on_image(cells: Tensor, model: FaceRecognizer, blur: float) -> Tensor:
    """One map of cells (1, h, w) on the image, blurred, of sum 1. Shape (H, W)."""
    return of_sum_one(gaussian_blur(cells_to_pixels(cells, model.input_size), blur))[0]

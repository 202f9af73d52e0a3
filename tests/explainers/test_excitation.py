"""Excitation backprop: against the sum over pairs of neurons that the paper prints, and what it must conserve."""

import pytest
import torch
from explainer_toys import smooth_images, smooth_pair, tiny_recognizer
from torch import Tensor, nn

from facexai.errors import InputError
from facexai.explainers import explain, make_explainer, subtree_excitation, triplet_excitation
from facexai.explainers.cells import cells_to_pixels
from facexai.explainers.excitation import ExcitedImages, contrasted, largest_values
from facexai.explainers.excitation_rules import Excitation
from facexai.explainers.excitation_triplets import discriminative_nodes
from facexai.models import FaceRecognizer, FullyConnectedHead, MobileFaceNet
from facexai.pairs import FacePair

SIZE = (16, 16)


class Residual(nn.Module):
    """x + ReLU(BN(conv(x))): every rule but pooling."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.relu(self.bn(self.conv(x)))


def tiny_network(shifts: bool = True) -> FaceRecognizer:
    """Behind ReLUs throughout; BatchNorm scales of either sign. Without shifts the active neurons are the excited."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        trunk = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.ReLU(), Residual(4), nn.MaxPool2d(2), nn.Conv2d(4, 5, 1))
        trunk.append(nn.ReLU())
        norm = trunk[2].bn
        nn.init.uniform_(norm.weight, -2, 2)
        for layer in (trunk[2].conv, norm, trunk[4]):
            nn.init.normal_(layer.bias, std=0.5 * shifts)
        norm.running_var.uniform_(0.5, 2)
        model = FaceRecognizer(trunk, FullyConnectedHead(5, 2, 6), input_size=SIZE).double()
    return model.eval().requires_grad_(False)


def as_matrix(layer, example: Tensor) -> Tensor:
    """Weights w[i, j] between the inputs j and the outputs i of an affine layer."""
    basis = torch.eye(example.numel(), dtype=example.dtype).view(-1, *example.shape)
    return torch.stack([(layer(one[None]) - layer(torch.zeros_like(one[None])))[0].flatten() for one in basis], 1)


def handed_down(activations: Tensor, weights: Tensor, winning: Tensor) -> Tensor:
    """P(j) = sum over i of P(j | i) P(i), with P(j | i) = a_j w_ij / sum over k of a_k w_ik for w_ij > 0."""
    below = [0.0] * len(activations)
    for i, probability in enumerate(winning.tolist()):
        excited = [a * max(w, 0.0) for a, w in zip(activations.tolist(), weights[i].tolist(), strict=True)]
        total = sum(excited)
        for j, excitation in enumerate(excited):
            if excitation > 0:
                below[j] += excitation / total * probability
    return activations.new_tensor(below)


def literal(model: FaceRecognizer, image: Tensor, direction: Tensor) -> Tensor:
    """P of the first ReLU, neuron by neuron."""
    first, _, block, _, last, _ = model.trunk
    a1 = torch.relu(first(image[None]))[0]  # (4, 4, 4)
    branch = torch.relu(block.bn(block.conv(a1[None])))[0]
    total = a1 + branch
    pooled, places = nn.functional.max_pool2d(total, 2, return_indices=True)
    a2 = torch.relu(last(pooled[None]))[0]  # (5, 2, 2)

    score = as_matrix(lambda x: model.head(x) @ direction[:, None], a2)  # head and partner as one neuron
    p = handed_down(a2.flatten(), score, torch.ones(1))
    p = handed_down(pooled.flatten(), as_matrix(last, pooled), p)
    p_total = torch.zeros_like(total).flatten(1).scatter_add(1, places.flatten(1), p.view(4, -1)).view_as(total)
    share = torch.where(total > 0, p_total / total, 0)
    p_skip, p_branch = share * a1, share * branch
    folded = as_matrix(lambda x: block.bn(block.conv(x)), a1)
    return p_skip + handed_down(a1.flatten(), folded, p_branch.flatten()).view_as(a1)


def test_it_is_the_papers_sum_over_pairs_of_neurons():
    model = tiny_network()
    image = smooth_images(1, size=16)[0].double()
    direction = torch.linspace(-1, 1, 6).double()
    excited = ExcitedImages(model, image[None])
    below = excited.handed_down(excited.top(direction[None]), excited.features, excited.layers[:1])[0][0]
    assert torch.allclose(below, literal(model, image, direction), atol=1e-12)
    assert torch.equal(excited.features.detach(), model.features(image[None]))


def test_behind_relus_no_probability_is_lost_or_won():
    excited = ExcitedImages(tiny_network(shifts=False), smooth_images(3, size=16).double())
    directions = torch.randn(3, 6, generator=torch.Generator().manual_seed(1)).double()
    top = excited.top(directions)
    first, _inside_the_branch, summed, last = excited.layers
    for layer in excited.handed_down(top, excited.features, [first, summed, last]):
        assert layer.min() >= 0
        assert layer.flatten(1).sum(1).tolist() == pytest.approx([1, 1, 1], abs=1e-10)


def test_signed_maps_are_the_score_less_its_dual():
    model, pair = tiny_network(), FacePair(*smooth_images(2, size=16))
    signed = explain(pair, model, "excitation-backprop", blur=0.0).signed
    embeddings = model.embed(pair.images.double())
    for own in range(2):
        winning = [literal(model, pair.images[own].double(), way * embeddings[1 - own]) for way in (1, -1)]
        mate, dual = (p / p.sum() for p in winning)
        expected = cells_to_pixels((mate - dual).sum(0)[None], SIZE)[0]
        assert torch.allclose(signed[own], expected, atol=1e-10)
        assert float(expected.abs().max()) > 1e-3


def test_only_the_positive_part_of_a_max_pool_head_is_excited():
    model = tiny_recognizer()
    images = smooth_pair().images
    with torch.no_grad():
        pooled = model.pool(model.features(images))
    excited = ExcitedImages(model.requires_grad_(False), images)
    top = excited.top(-pooled.flip(0))
    shared = pooled.clamp(min=0) * (-pooled.flip(0)).clamp(min=0)
    assert torch.allclose(top.sum((2, 3)), shared / shared.sum(1, keepdim=True), atol=1e-6)
    assert torch.equal(
        top.flatten(2).max(2).indices[shared > 0], excited.features.flatten(2).max(2).indices[shared > 0]
    )


def test_a_batchnorm_that_turns_a_convolution_over_excites_through_the_negative_weights():
    network = nn.Sequential(nn.Conv2d(1, 1, (1, 2), bias=False), nn.BatchNorm2d(1), nn.ReLU()).eval()
    network[0].weight.data = torch.tensor([[[[3.0, -1.0]]]])
    network[1].weight.data.fill_(-1)
    network[1].bias.data.fill_(10)
    image = torch.tensor([[[[1.0, 2.0]]]], requires_grad=True)
    with Excitation():
        output = network(image)
    assert torch.autograd.grad(output, image, torch.ones_like(output))[0].tolist() == [[[[0, 1]]]]


def test_truncation_keeps_the_largest_values():
    winning = torch.tensor([[[0.1, 0.4], [0.2, 0.3]]])
    assert largest_values(winning, 0.0).all()
    assert largest_values(winning, 0.25).tolist() == [[[False, True], [True, True]]]
    assert largest_values(winning, 0.35).tolist() == [[[False, True], [False, True]]]
    nonmate = torch.tensor([[[0.0, 0.0], [0.5, 0.1]]])
    assert contrasted(winning[None], nonmate[None], 0.35)[0].flatten().tolist() == pytest.approx([0, 0.4, 0, 0.2])


@pytest.mark.parametrize("truncate", [0.0, 0.2])
def test_a_triplet_shows_the_mate_less_the_nonmate(truncate):
    model = tiny_network()
    probe, *others = smooth_images(3, size=16).double()
    shown = triplet_excitation(probe, *others, model, truncate=truncate, blur=0.0)
    directions = model.embed(torch.stack(others))
    winning = [literal(model, probe, direction)[None] for direction in directions]
    mate, nonmate = (p / p.sum() for p in winning)
    expected = cells_to_pixels(contrasted(mate, nonmate, truncate), SIZE)[0]
    assert torch.allclose(shown, expected / expected.sum(), atol=1e-10)


def test_a_node_is_excited_and_its_growth_takes_the_nonmate_away():
    model = tiny_network()
    images = smooth_images(3, size=16).double()
    directions = torch.randn(2, 6, generator=torch.Generator().manual_seed(0)).double()
    generator = torch.Generator().manual_seed(1)
    excited = [torch.rand(layer.shape, generator=generator) > 0.3 for layer in ExcitedImages(model, images[:1]).layers]
    node, weight = discriminative_nodes(model, images[:1], directions, excited)[-1]
    features = model.features(images[:1]).requires_grad_()
    scores = (model.pool(features) @ directions.T)[0]
    mate, nonmate = (torch.autograd.grad(score, features, retain_graph=True)[0].flatten() for score in scores)
    falls = [-float(n) if m >= 0 and e else 0.0 for m, n, e in zip(mate, nonmate, excited[-1].flatten(), strict=True)]
    assert node == max(range(len(falls)), key=falls.__getitem__)
    assert weight == pytest.approx(max(falls)) and weight > 0


def test_subtrees_add_up_by_their_gradients():
    model = tiny_recognizer().double().requires_grad_(False)
    probe, mate, nonmate = smooth_images(3).double()
    directions = model.embed(torch.stack([mate, nonmate]))
    excited = ExcitedImages(model, probe[None])
    reached = [excited.handed_down(excited.top(directions[:1]), excited.features, [x])[0] > 0 for x in excited.layers]
    subtrees = []
    for index, (node, weight) in enumerate(discriminative_nodes(model, probe[None], directions, reached)):
        layer = excited.layers[index]
        start = torch.zeros_like(layer).flatten()
        start[node] = 1
        below = excited.handed_down(start.view_as(layer), layer, excited.layers[:1])[0].sum(1)
        subtrees += [(weight, below / below.max())] if weight > 0 else []
    subtrees.sort(key=lambda subtree: -subtree[0])
    assert len(subtrees) > 3
    for top in (2, 32):
        expected = cells_to_pixels(sum(weight * below for weight, below in subtrees[:top]), (112, 112))[0]
        shown = subtree_excitation(probe, mate, nonmate, model, top=top, blur=0.0)
        assert torch.allclose(shown, expected / expected.sum(), atol=1e-10)


def test_the_trunks_of_the_package_are_known_and_their_answers_unchanged():
    images = smooth_images(1)
    for trunk in (tiny_recognizer().trunk, MobileFaceNet().eval()):
        with torch.no_grad():
            plain = trunk(images)
        with Excitation() as recorded:
            excited = trunk(images)
        assert torch.equal(plain, excited)
        assert len(recorded.outputs) > 4


def test_a_network_without_rules_is_refused():
    model = FaceRecognizer(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sigmoid()), FullyConnectedHead(4, 14, 5))
    model.input_size = SIZE
    image = smooth_images(1, size=16)[0]
    with pytest.raises(InputError, match="no rule for Sigmoid; it knows Conv2d"):
        triplet_excitation(image, image, image, model)


def test_senseless_options_are_refused():
    with pytest.raises(InputError, match=r"truncate must be a share in \[0, 1\)"):
        make_explainer("excitation-backprop", truncate=1.0)
    with pytest.raises(InputError, match="layer must lie between 0 and"):
        explain(smooth_pair(), tiny_recognizer(), "excitation-backprop", layer=99)
    image = smooth_pair().probe
    with pytest.raises(InputError, match="top must be at least 1"):
        subtree_excitation(image, image, image, tiny_recognizer(), top=0)

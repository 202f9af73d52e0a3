"""Sanity checks: methods whose answers are known, and networks that really forget."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from torch import nn

from facexai.benchmarks.correlation import pearson, relative_change, spearman
from facexai.benchmarks.judges import Method
from facexai.benchmarks.randomization import Cascade, randomize, scoring_layers
from facexai.benchmarks.sanity import Sanity, SanityPairs, sum_error
from facexai.benchmarks.verification import VerificationSet

sys.path.append(str(Path(__file__).parents[1] / "explainers"))
from explainer_toys import smooth_images, tiny_recognizer

PAIRS = 6


@pytest.fixture(scope="module")
def model():
    return tiny_recognizer()


@pytest.fixture(scope="module")
def judge() -> Sanity:
    images = smooth_images(2 * PAIRS, seed=3)
    pixels = ((images + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    rows = np.arange(2 * PAIRS)
    genuine = np.array([True, False] * (PAIRS // 2))
    return Sanity(VerificationSet("toy", pixels, rows[::2], rows[1::2], genuine, np.arange(PAIRS) // 2), steps=3)


def judged(judge: Sanity, model, explain, unsigned: bool = False) -> dict[str, np.ndarray]:
    pairs = next(judge.chunks(model, progress=False))
    maps = torch.stack([explain(pair, model) for pair in pairs.face_pairs()])
    return judge.measure(model, pairs, maps, Method(explain, unsigned))


def face_only(pair, model):
    """Brightness of each image: knows neither the partner nor the network."""
    return pair.images.mean(1)


def gradient(pair, model):
    """Of the score, summed over the colours."""
    images = pair.images.clone().requires_grad_()
    probe, gallery = model.embed(images)
    return torch.autograd.grad(probe @ gallery, images)[0].sum(1)


# The checks


def test_a_map_of_the_face_alone_does_not_change(judge, model):
    values = judged(judge, model, face_only)
    np.testing.assert_allclose(values["partner"][::2], 1)
    np.testing.assert_allclose(values["partner_ranks"][::2], 1)
    np.testing.assert_allclose(values["steps"], 1)
    assert values["layers"].shape == values["layers_final"].shape == (PAIRS,)


def test_a_map_that_turns_with_the_partner_is_seen(judge, model):
    first = next(judge.chunks(model, progress=False))

    def turning(pair, network):
        mate = any((pair.gallery == image).all() for image in first.gallery)
        return face_only(pair, network) * (1 if mate else -1)

    pairs = replace(first, stranger=first.probe.flip(0))  # no gallery image of the set
    values = judge.measure(
        model, pairs, torch.stack([turning(pair, model) for pair in pairs.face_pairs()]), Method(turning)
    )
    np.testing.assert_allclose(values["partner"][::2], -1)


def test_partners_are_exchanged_in_genuine_pairs_alone(judge, model):
    values = judged(judge, model, face_only)
    for name in ("partner", "partner_ranks"):
        np.testing.assert_array_equal(np.isnan(values[name]), [False, True] * (PAIRS // 2))


def test_a_gradient_is_one_of_this_network_and_this_comparison(judge, model):
    values = judged(judge, model, gradient)
    assert values["layers_final"].mean() < 0.5 and np.nanmean(values["partner"]) < 0.9
    assert 0 < values["stability"].mean() <= 1 and values["noise_change"].mean() > 0


def test_noise_by_hand(judge, model):
    """The brightness of the noisy image is that of the image plus the mean noise of three colours."""
    values = judged(judge, model, face_only)
    images = smooth_images(2 * PAIRS, seed=3).mean(1)
    expected = judge.noise / np.sqrt(3) / images.square().mean().sqrt().item()
    assert values["noise_change"].mean() == pytest.approx(expected, rel=0.1)
    assert (values["stability"] > 0.95).all()
    silent = judged(replace(judge, noise=0.0), model, face_only)
    np.testing.assert_allclose(silent["stability"], 1)
    np.testing.assert_array_equal(silent["noise_change"], 0)


def test_sum_error_by_hand():
    maps = torch.zeros(3, 2, 4, 4)
    maps[0] = 0.5 / 16  # sums to the score
    maps[1] = 0.2 / 16  # sums to the margin
    maps[2] = 1.5 / 16
    score = np.full(3, 0.5)
    np.testing.assert_allclose(sum_error(maps, score, 0.3), [0, 0, (1.5 - 0.5) / 2], atol=1e-7)
    np.testing.assert_allclose(sum_error(maps, score, None), [0, 0.3 / 0.7, 0.5], atol=1e-7)


def test_magnitudes_sum_to_nothing_in_particular(judge, model):
    assert np.isnan(judged(judge, model, lambda pair, network: pair.images.mean(1).abs(), True)["sum_error"]).all()


def test_every_metric_is_recorded(judge, model):
    values = judged(judge, model, face_only)
    for metric in judge.metrics:
        assert values[metric.name].shape == (PAIRS,)
    assert judge.details(values, None) == {"steps": pytest.approx([1, 1, 1])}  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_values(judge, model):
    first, again = judged(judge, model, gradient), judged(judge, model, gradient)
    for name, values in first.items():
        np.testing.assert_array_equal(values, again[name])
    other = judged(replace(judge, seed=7), model, gradient)
    assert (first["layers_final"] != other["layers_final"]).all()


def test_strangers_are_faces_of_another_fold(judge, model):
    pairs = next(judge.chunks(model, progress=False))
    assert isinstance(pairs, SanityPairs) and pairs.stranger.shape == pairs.gallery.shape
    for row, stranger in enumerate(pairs.stranger):
        source = [number for number in range(PAIRS) if (pairs.gallery[number] == stranger).all()]
        assert pairs.fold[source[0]] != pairs.fold[row]


# Networks that forget


def test_weights_are_forgotten_from_the_head_down_and_the_original_is_left_alone(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    state = torch.random.get_rng_state()
    networks = list(Cascade(smooth_images(4), steps=3).networks(model))
    assert all((before[name] == value).all() for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert (torch.random.get_rng_state() == state).all()
    changed = [changed_layers(model, network) for network in networks]
    layers = list(range(len(trained_layers(model))))
    assert changed[0] == layers[-len(changed[0]) :] and len(changed[0]) == pytest.approx(len(layers) / 3, abs=2)
    assert set(changed[0]) < set(changed[1]) < set(changed[2]) and changed[2] == layers
    assert not any(module.training for network in networks for module in network.modules())


def trained_layers(model) -> list[nn.Module]:
    """Without the PReLUs, whose slope all start with and the toy network has never left."""
    return [layer for layer in scoring_layers(model) if not isinstance(layer, nn.PReLU)]


def changed_layers(model, network) -> list[int]:
    """Layers of which a weight or a statistic is another one."""
    pairs = zip(trained_layers(model), trained_layers(network), strict=True)
    return [
        index
        for index, (old, new) in enumerate(pairs)
        if any((old.state_dict()[name] != value).any() for name, value in new.state_dict().items())
    ]


def test_each_network_keeps_what_an_earlier_one_forgot(model):
    first, second = list(Cascade(smooth_images(4), steps=2).networks(model))
    last = scoring_layers(first)[-2], scoring_layers(second)[-2]
    for one, other in zip(last[0].parameters(), last[1].parameters(), strict=True):
        assert (one == other).all()


def test_random_networks_have_activations_of_order_one(model):
    images = smooth_images(8)
    for network in Cascade(images, steps=3).networks(model):
        with torch.no_grad():
            embedding, pooled = network.embed(images), network.pool(network.features(images))
        assert 0.1 < pooled.std() < 10
        assert (embedding @ embedding.T).min() < 0.9  # not all faces alike


def test_the_decoder_is_left_alone(model):
    network = list(Cascade(smooth_images(4), steps=1).networks(model))[-1]
    pairs = zip(model.decoder.state_dict().values(), network.decoder.state_dict().values(), strict=True)
    assert all((old == new).all() for old, new in pairs)


def test_a_layer_that_does_not_say_how_it_starts_is_shuffled():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.arange(20.0))

    layer = Scale()
    randomize([layer], seed=0)
    assert layer.weight.sort().values.tolist() == list(range(20)) and layer.weight.tolist() != list(range(20))


# Correlations


def test_correlations_agree_with_scipy():
    generator = torch.Generator().manual_seed(0)
    maps, others = torch.randint(0, 5, (2, 4, 6, 7), generator=generator).double()
    for row in range(4):
        one, other = maps[row].flatten().numpy(), others[row].flatten().numpy()
        assert pearson(maps, others)[row].item() == pytest.approx(pearsonr(one, other).statistic)
        assert spearman(maps, others)[row].item() == pytest.approx(spearmanr(one, other).statistic)


def test_a_flat_map_has_no_correlation_and_an_empty_one_no_change():
    maps, flat = torch.rand(1, 4, 4), torch.full((1, 4, 4), 0.1)
    assert pearson(maps, flat).isnan() and spearman(flat, maps).isnan()
    assert relative_change(torch.zeros(1, 4, 4), maps).isnan()
    assert relative_change(maps, 3 * maps).item() == pytest.approx(2)

"""The three forms of Algorithm 1's loop agree, wherever the maxima lie."""

import copy

import pytest
import torch
from explainer_toys import PatchDecoder, awkward_features, random_decoder, smooth_images, tiny_recognizer
from torch import Tensor, nn
from torch.nn import functional as F

from facexai.errors import InputError
from facexai.explainers.local_residuals import batches, is_local
from facexai.explainers.residuals import (
    batched_residuals,
    channel_residuals,
    literal_residuals,
    local_residuals,
    mask_channel,
    normalize,
)
from facexai.models import FaceRecognizer, ReconstructionDecoder

# Of residuals before normalization, and of maps, in units of their maximum. Normalization divides a weak channel by its
# small maximum and so magnifies the rounding of the decoder, by more than a digit, in each of the three alike.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
MAP_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10}


@pytest.fixture(scope="module")
def trained() -> FaceRecognizer:
    """A recognizer whose decoder and trunk have learnt for a moment."""
    model = tiny_recognizer().train()
    images = smooth_images(8, seed=3)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(10):
        features = model.features(images)
        loss = (model.reconstruct(features) - images).square().mean() + model.pool(features).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval().requires_grad_(False)


def distance(values: Tensor, reference: Tensor) -> float:
    return float((values - reference).abs().max() / reference.abs().max())


def agree(features: Tensor, decoder: nn.Module) -> None:
    """Residuals and a map of `local` and `batched` equal the literal ones, to the tolerance of their type."""
    weights = torch.linspace(-1, 1.5, len(features), dtype=features.dtype)
    literal = literal_residuals(features, decoder, normalization="none")
    literal_map = torch.einsum("c,chw->hw", weights, normalize(literal))
    for algorithm in ("local", "batched"):
        residuals = channel_residuals(features, decoder, algorithm, normalization="none")
        assert distance(residuals.stack(), literal) < TOLERANCE[features.dtype], algorithm
        signed = channel_residuals(features, decoder, algorithm).weighted_sum(weights)
        assert distance(signed, literal_map) < MAP_TOLERANCE[features.dtype], algorithm


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("activation", ["tanh", "none"])
def test_local_and_batched_equal_the_printed_loop(activation, dtype):
    agree(awkward_features().to(dtype), random_decoder(activation=activation).to(dtype))


@pytest.mark.parametrize("size", [(5, 3), (1, 4), (1, 1), (2, 9)], ids=str)
def test_they_agree_at_any_size_of_the_feature_map(size):
    agree(awkward_features(16, *size), random_decoder(16, "none"))


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_they_agree_on_a_trained_network(trained, dtype):
    model = copy.deepcopy(trained).to(dtype)
    agree(model.features(smooth_images(1, seed=5).to(dtype))[0], model.decoder)


def test_they_agree_with_a_maximum_in_every_cell():
    features = torch.rand(20, 4, 5).double() + 3 * torch.eye(20).double().view(20, 4, 5)
    assert features.flatten(1).argmax(1).tolist() == list(range(20))
    agree(features, random_decoder(20))


def test_a_window_holds_nothing_outside_the_image():
    """Else a channel at the border could be divided by a maximum that nobody sees."""
    for activation in ("tanh", "none"):
        residuals = channel_residuals(awkward_features(), random_decoder(activation=activation), normalization="none")
        assert int((residuals.corners < 0).sum()) >= 4
        assert residuals.windows.sum() == pytest.approx(residuals.stack().sum().item(), rel=1e-12)


@pytest.mark.parametrize("chunk", [1, 5, 1000])
@pytest.mark.parametrize("algorithm", ["local", "batched"])
def test_the_chunk_does_not_change_the_residuals(algorithm, chunk):
    features, decoder = awkward_features(), random_decoder()
    expected = channel_residuals(features, decoder, algorithm).stack()
    assert distance(channel_residuals(features, decoder, algorithm, chunk=chunk).stack(), expected) < 1e-12


@pytest.mark.parametrize("algorithm", ["local", "batched", "literal"])
def test_a_dead_channel_has_no_residual(algorithm):
    residuals = channel_residuals(awkward_features().float(), random_decoder().float(), algorithm)
    assert residuals.map(4).abs().max() == 0
    assert residuals.map(5).abs().max() == 0
    assert residuals.map(6).max() == 1


@pytest.mark.parametrize("algorithm", ["local", "batched", "literal"])
def test_a_channel_that_the_decoder_ignores_has_no_residual(algorithm):
    decoder = random_decoder().float()
    with torch.no_grad():
        decoder.layers[0].weight[3] = 0
    assert channel_residuals(awkward_features().float(), decoder, algorithm).map(3).abs().max() == 0


def test_of_equal_maxima_the_first_is_masked():
    features = torch.zeros(1, 2, 2)
    features[0, 0, 1] = features[0, 1, 0] = 3
    assert mask_channel(features, 0).tolist() == [[[0, 0], [3, 0]]]


def test_masking_copies():
    features = awkward_features()
    before = features.clone()
    for mask in ("max", "channel"):
        mask_channel(features, 0, mask)
    for algorithm in ("local", "batched", "literal"):
        channel_residuals(features, random_decoder(), algorithm)
    assert torch.equal(features, before)


def test_the_window_is_46_pixels_wide_and_the_rest_is_zero():
    features = torch.rand(1, 7, 7).double()
    features[0, 3, 4] = 9
    decoder = ReconstructionDecoder(1, widths=(8, 8, 8)).double().eval().requires_grad_(False)
    residual = literal_residuals(features, decoder)[0]
    rows, columns = residual.nonzero().unbind(1)
    top, left = 16 * 3 - 15, 16 * 4 - 15
    assert top <= int(rows.min()) and int(rows.max()) < top + 46
    assert left <= int(columns.min()) and int(columns.max()) < left + 46
    local = channel_residuals(features, decoder)
    assert local.windows.shape == (1, 46, 46) and local.corners.tolist() == [[top, left]]


def test_division_by_the_maximum_is_min_max_normalization():
    residuals = literal_residuals(awkward_features(), random_decoder(), normalization="none")
    low, high = residuals.amin((1, 2), keepdim=True), residuals.amax((1, 2), keepdim=True)
    alive = high[:, 0, 0] > 0
    min_max = ((residuals - low) / (high - low))[alive]
    assert torch.equal(min_max, literal_residuals(awkward_features(), random_decoder())[alive])


def test_rounding_is_not_magnified_to_a_map():
    faint = torch.full((1, 4, 4), 1e-7)
    assert normalize(faint).abs().max() == 0
    assert normalize(faint.double()).min() == 1


@pytest.mark.parametrize("algorithm", ["local", "batched", "literal"])
def test_l1_normalization_gives_every_living_channel_the_sum_one(algorithm):
    residuals = channel_residuals(awkward_features(), random_decoder(), algorithm, normalization="l1").stack()
    sums = residuals.sum((1, 2))
    dead = [4, 5]
    assert sums[dead].tolist() == [0, 0]
    assert torch.allclose(sums[[0, 1, 2, 3, 6, 7, 8]], torch.ones(7).double())


def test_a_whole_channel_is_masked_alike_by_all_three():
    features, decoder = awkward_features(), random_decoder()
    literal = channel_residuals(features, decoder, "literal", mask="channel")
    for algorithm in ("batched", "local"):
        masked = channel_residuals(features, decoder, algorithm, mask="channel")
        assert distance(masked.stack(), literal.stack()) < 1e-10
    assert distance(literal.stack(), channel_residuals(features, decoder, "literal").stack()) > 0.1
    assert literal.map(5).max() == 1  # its maximum is 0, and what lies below is masked too


def test_many_partners_cost_one_weighted_sum_each():
    residuals = channel_residuals(awkward_features(), random_decoder())
    weights = torch.randn(5, 16).double()
    expected = torch.einsum("nc,chw->nhw", weights, residuals.stack())
    assert torch.allclose(residuals.weighted_sum(weights), expected)
    assert torch.allclose(residuals.weighted_sum(weights[2]), expected[2])
    assert torch.equal(residuals.map(7), residuals.stack()[7])
    assert len(residuals) == 16


@pytest.mark.parametrize("algorithm", ["local", "batched", "literal"])
def test_a_moved_residual_is_the_same_picture_elsewhere_cut_to_the_image(algorithm):
    features = awkward_features()
    residuals = channel_residuals(features, random_decoder(), algorithm)
    cells = torch.randint(49, (16,), generator=torch.Generator().manual_seed(0))
    cells[:4] = torch.tensor([48, 42, 6, 0])  # from each corner to the opposite one
    own = features.flatten(1).argmax(1)
    shifts = 16 * torch.stack([cells // 7 - own // 7, cells % 7 - own % 7], dim=1)
    moved = residuals.moved(shifts)
    expected = torch.zeros(16, 112, 112).double()
    for channel, (down, right) in enumerate(shifts.tolist()):
        source = F.pad(residuals.map(channel), (112, 112, 112, 112))  # pads with zeros
        expected[channel] = source[112 - down : 224 - down, 112 - right : 224 - right]
    assert torch.equal(moved.stack(), expected)
    weights = torch.linspace(-1, 1.5, 16).double()
    assert torch.allclose(moved.weighted_sum(weights), torch.einsum("c,chw->hw", weights, expected), atol=1e-12)
    assert float(moved.stack()[:4].amax((1, 2)).min()) > 0
    assert torch.equal(residuals.moved(torch.zeros_like(shifts)).stack(), residuals.stack())


@pytest.mark.parametrize("algorithm", ["local", "literal"])
def test_a_part_is_some_of_the_channels_in_their_order(algorithm):
    residuals = channel_residuals(awkward_features(), random_decoder(), algorithm)
    mask = torch.arange(16) % 3 == 1
    assert torch.equal(residuals.part(mask).stack(), residuals.stack()[1::3])
    assert torch.equal(residuals.part(torch.tensor([9, 2])).stack(), residuals.stack()[[9, 2]])
    nothing = residuals.part(torch.zeros_like(mask))
    assert len(nothing) == 0 and nothing.weighted_sum(torch.zeros(0).double()).abs().max() == 0
    wanted = torch.arange(16)[None] < 8
    left_out = local_residuals(awkward_features()[None], random_decoder(), wanted=wanted)[0]
    assert torch.equal(left_out.part(mask).left_out, ~wanted[0, 1::3])


def test_two_images_in_one_pass_are_two_images():
    features = torch.stack([awkward_features(seed=0), awkward_features(seed=1)])
    for chunk in (5, 64):
        for one, residuals in zip(features, local_residuals(features, random_decoder(), chunk=chunk), strict=True):
            assert distance(residuals.stack(), channel_residuals(one, random_decoder()).stack()) < 1e-12


def test_bfloat16_rounds_the_change_and_nothing_else(trained):
    features = trained.features(smooth_images(2, seed=5))
    weights = torch.linspace(-1, 1.5, features.shape[1])
    full, rounded = (local_residuals(features, trained.decoder, bf16=bf16) for bf16 in (False, True))
    for one, other in zip(full, rounded, strict=True):
        assert other.windows.dtype == torch.float32
        assert 1e-5 < distance(other.weighted_sum(weights), one.weighted_sum(weights)) < 1e-2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("bf16", [False, True])
def test_residuals_are_made_where_the_features_are(bf16):
    features, decoder = awkward_features()[None].cuda(), random_decoder().cuda()
    wanted = torch.arange(16, device="cuda")[None] % 2 == 0
    residuals = local_residuals(features, decoder, wanted=wanted, bf16=bf16)[0]
    assert residuals.windows.is_cuda and residuals.weighted_sum(torch.ones(16)).is_cuda
    expected = local_residuals(features.cpu(), decoder.cpu(), wanted=wanted.cpu())[0]
    assert distance(residuals.stack().cpu(), expected.stack()) < (0.05 if bf16 else 1e-6)


class Subclass(ReconstructionDecoder):
    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features) + features.mean((1, 2, 3), keepdim=True)


def other_kernel() -> nn.Module:
    decoder = random_decoder(8)
    decoder.layers[1] = nn.ConvTranspose2d(4, 2, 2, 2).double()
    return decoder


def other_norm() -> nn.Module:
    decoder = random_decoder(8)
    decoder.norms[0] = nn.InstanceNorm2d(4).double()
    return decoder


@pytest.mark.parametrize("make", [other_kernel, other_norm, lambda: Subclass(8).double().eval(), PatchDecoder])
def test_an_unknown_decoder_is_not_local_and_falls_back(make):
    decoder = make().requires_grad_(False)
    assert not is_local(decoder)
    channels, size = (4, 2) if isinstance(decoder, PatchDecoder) else (8, 7)
    features = awkward_features(16, size, size)[:channels]
    expected = literal_residuals(features, decoder)
    assert distance(channel_residuals(features, decoder).stack(), expected) < 1e-10


def test_a_decoder_in_training_mode_is_not_local():
    decoder = random_decoder()
    assert is_local(decoder)
    decoder.norms[2].train()
    assert not is_local(decoder)


def test_batched_decodes_chunk_by_chunk():
    sizes = []
    decoder = random_decoder()
    decoder.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    batched_residuals(awkward_features(), decoder, chunk=6)
    assert sizes == [7, 7, 5]


def test_an_unknown_algorithm_lists_the_known_ones():
    with pytest.raises(InputError, match="unknown algorithm 'fast'; choose one of local, batched, literal"):
        channel_residuals(awkward_features(), random_decoder(), "fast")  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(5, 3), (1, 4), (1, 1)], ids=str)
def test_a_batch_holds_channels_whose_windows_the_image_cuts_alike(size):
    features = torch.rand(2, 40, *size, generator=torch.Generator().manual_seed(0))
    cells, wanted = features.flatten(2).argmax(2), features.amax((2, 3)) > features.amax((2, 3)).median()
    found = list(batches(cells, wanted, size, chunk=4))
    assert sorted(
        pair for batch in found for pair in zip(batch.image.tolist(), batch.channel.tolist(), strict=True)
    ) == [tuple(pair) for pair in wanted.nonzero().tolist()]
    for batch in found:
        assert len(batch.channel) <= 4
        assert len({str(cell.inside(4)) for cell in batch.cells}) == 1
        places = [cell for cell, count in zip(batch.cells, batch.counts, strict=True) for _ in range(count)]
        assert [(cell.image, cell.position[0] * size[1] + cell.position[1]) for cell in places] == list(
            zip(batch.image.tolist(), cells[batch.image, batch.channel].tolist(), strict=True)
        )

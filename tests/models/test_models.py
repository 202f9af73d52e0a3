"""Shapes, parameter counts and names of the networks."""

import pytest
import torch

from facexai.errors import InputError
from facexai.models import ARCHITECTURES, FaceRecognizer, MaxPoolHead, ReconstructionDecoder, build


@pytest.fixture(scope="module")
def tiny() -> FaceRecognizer:
    torch.manual_seed(0)
    return build("ddfv-iresnet", blocks=(1, 1, 1, 1), widths=(4, 4, 8, 16)).eval()


def test_shapes_along_the_two_flows(tiny):
    images = torch.rand(2, 3, 112, 112) * 2 - 1
    features = tiny.features(images)
    assert features.shape == (2, 16, 7, 7)
    assert tiny.pool(features).shape == (2, 16)
    assert tiny.reconstruct(features).shape == images.shape
    assert torch.allclose(tiny.embed(images).norm(dim=1), torch.ones(2))


def test_flip_averaging_makes_mirrored_faces_equal(tiny):
    images = torch.rand(2, 3, 112, 112) * 2 - 1
    assert torch.allclose(tiny.embed(images, flip=True), tiny.embed(images.flip(3), flip=True), atol=1e-6)
    assert not torch.allclose(tiny.embed(images), tiny.embed(images.flip(3)), atol=1e-3)


@pytest.mark.parametrize(("depth", "millions"), [(18, 24.0), (34, 34.1), (50, 43.6), (100, 65.2)])
def test_iresnet_has_insightfaces_number_of_parameters(depth, millions):
    with torch.device("meta"):
        model = build(f"iresnet{depth}")
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.06)


def test_iresnet_has_insightfaces_parameter_names():
    with torch.device("meta"):
        names = set(build("iresnet18").state_dict())
    for name in ("trunk.conv1.weight", "trunk.layer1.0.downsample.1.running_mean", "trunk.layer3.1.prelu.weight"):
        assert name in names
    assert {"trunk.bn2.weight", "head.fc.weight", "head.features.running_var"} <= names


def test_small_stem_keeps_the_map_and_saves_work():
    images = torch.zeros(1, 3, 112, 112)
    full, small = (
        build("ddfv-iresnet", blocks=(1, 1, 1, 1), widths=(4, 4, 4, 8), stem_stride=s).eval() for s in (1, 2)
    )
    assert full.features(images).shape == small.features(images).shape == (1, 8, 7, 7)
    assert full.trunk.conv1(images).shape[-1] == 112
    assert small.trunk.conv1(images).shape[-1] == 56


def test_max_pool_head_takes_the_training_mean_away():
    torch.manual_seed(0)
    head = MaxPoolHead(8)
    features = torch.randn(64, 8, 7, 7) + 3
    for _ in range(200):
        head(features)
    head.eval()
    assert head(features).mean(0).abs().max() < 0.05
    assert torch.equal(MaxPoolHead(8, normalize=False)(features), features.amax((2, 3)))


def test_one_feature_cell_reaches_a_window_of_46_pixels():
    torch.manual_seed(0)
    decoder = ReconstructionDecoder(8).eval()
    features = torch.randn(1, 8, 7, 7)
    changed = features.clone()
    changed[0, :, 3, 3] += 1
    rows = (decoder(changed) - decoder(features)).abs().amax((0, 1, 3)).nonzero().flatten()
    assert (rows.min().item(), rows.max().item()) == (33, 33 + 45)


def test_linear_output_is_not_squashed():
    torch.manual_seed(0)
    decoder = ReconstructionDecoder(8, activation="none").eval()
    squashed = ReconstructionDecoder(8).eval()
    squashed.load_state_dict(decoder.state_dict())
    features = torch.randn(1, 8, 7, 7)
    assert torch.allclose(decoder(features).tanh(), squashed(features))


def test_images_of_another_size_are_refused(tiny):
    with pytest.raises(InputError, match=r"\(N, 3, 112, 112\); got \(1, 3, 64, 64\)"):
        tiny.embed(torch.zeros(1, 3, 64, 64))


def test_no_decoder_is_said():
    with torch.device("meta"):
        model = build("mobilefacenet")
    with pytest.raises(InputError, match="has no decoder"):
        model.reconstruct(torch.zeros(1, 512, 7, 7, device="meta"))


def test_unknown_architecture_and_option_are_named():
    with pytest.raises(InputError, match="did you mean 'iresnet50'"):
        build("iresnet55")
    with pytest.raises(InputError, match="does not take these options"):
        build("tutorial", depth=3)
    assert "ddfv-iresnet50" in ARCHITECTURES

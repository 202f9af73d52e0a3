"""HopeNet: bins by hand, signs as drawn by the published code, published names, and its loss."""

import math

import pytest
import torch
from torch.nn import functional as F

from facexai.compat import import_torchvision
from facexai.errors import InputError
from facexai.losses import head_pose_loss
from facexai.models.hopenet import HopeNet, angle_bins, expected_angles
from facexai.pose import Pose


@pytest.fixture(scope="module")
def small() -> HopeNet:
    torch.manual_seed(0)
    return HopeNet(18, size=112, stages=3).eval()


def one_hot(*bins: int) -> torch.Tensor:
    return 1000.0 * F.one_hot(torch.tensor(bins), 66)


def test_expectation_of_one_bin_by_hand():
    # published: bin b stands for 3 b - 99 degrees, so these are -99, -60, 0, 3 and 96 there
    assert expected_angles(one_hot(0, 13, 33, 34, 65)).tolist() == [99.0, 60.0, 0.0, -3.0, -96.0]


def test_expectation_lies_between_two_equal_bins():
    logits = torch.full((66,), -1000.0)
    logits[[33, 53]] = 0.0
    assert expected_angles(logits).item() == pytest.approx(-30.0)


def drawn_axes(yaw: float, pitch: float, roll: float) -> dict[str, tuple[float, float]]:
    """Ends of the head's axes in the image (x right, y down), by `plot_pose_cube` of deep-head-pose."""
    p, y, r = math.radians(pitch), -math.radians(yaw), math.radians(roll)
    return {
        "right": (math.cos(y) * math.cos(r), math.cos(p) * math.sin(r) + math.cos(r) * math.sin(p) * math.sin(y)),
        "nose": (math.sin(y), -math.cos(y) * math.sin(p)),
    }


@pytest.mark.parametrize("published", [(40.0, 0.0, 0.0), (-70.0, 20.0, 0.0), (0.0, -25.0, 0.0), (0.0, 0.0, 30.0)])
def test_signs_are_converted_to_ours(published):
    """The same head, drawn by the published code from its angles and by our rotation from ours."""
    logits = torch.stack([_logits_of(angle) for angle in published])
    yaw, pitch, roll = expected_angles(logits).tolist()
    matrix = Pose(yaw, pitch, roll).matrix()
    for name, axis in (("right", 0), ("nose", 2)):
        x, y, _ = matrix[:, axis]  # ours has y up
        assert (x, -y) == pytest.approx(drawn_axes(*published)[name], abs=1e-6)


def _logits_of(published: float) -> torch.Tensor:
    """Logits whose published expectation is that angle: two neighbouring bins share the weight."""
    place = (published + 99) / 3
    low, share = int(place), place - int(place)
    probability = torch.zeros(66, dtype=torch.float64)
    probability[low], probability[low + 1] = 1 - share, share
    return probability.log()


def test_positive_yaw_turns_the_face_to_its_own_left():
    assert drawn_axes(-60, 0, 0)["nose"][0] > 0.8  # published -60: the nose points to the image's right
    assert expected_angles(one_hot(13)).item() == 60.0


def test_bins_hold_the_angles_that_they_should():
    angles = torch.tensor([99.0, 98.9, 0.0, -0.1, -2.9, -3.0, -99.0])
    assert angle_bins(angles).tolist() == [0, 0, 33, 33, 33, 34, 65]
    for angle in (99.5, math.nan):
        with pytest.raises(InputError, match=f"within 99 degrees; got {angle:g}"):
            angle_bins(torch.tensor([[0.0, angle, 0.0]]))


def test_feature_is_the_pooled_vector_and_angles_come_from_it(small):
    images = torch.rand(2, 3, 112, 112) * 2 - 1
    feature, angles = small(images)
    assert feature.shape == (2, small.pose_size) == (2, 256)
    heads = torch.stack([small.fc_yaw(feature), small.fc_pitch(feature), small.fc_roll(feature)], dim=1)
    assert torch.equal(small.logits(feature), heads)
    assert torch.equal(angles, expected_angles(heads))
    assert small(images[:, :, ::2, ::2])[1].shape == (2, 3)  # another size is resized


def test_trunk_is_torchvisions_on_imagenet_normalised_images():
    import_torchvision()
    from torchvision.models import resnet18

    torch.manual_seed(0)
    network = HopeNet(18).eval()
    oracle = resnet18(weights=None).eval()
    oracle.fc = torch.nn.Identity()  # type: ignore[assignment]
    state = {name: value for name, value in network.state_dict().items() if not name.startswith("fc_")}
    oracle.load_state_dict(state)
    images = torch.rand(1, 3, 224, 224)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = oracle((images - mean[:, None, None]) / std[:, None, None])
    assert torch.allclose(network.feature(images * 2 - 1), expected, atol=1e-5)


def published_state() -> dict[str, torch.Tensor]:
    """Names and shapes of a released HopeNet: torchvision's ResNet-50 of 2017 with four other heads."""
    import_torchvision()
    from torchvision.models import resnet50

    with torch.device("meta"):
        trunk = resnet50(weights=None).state_dict()
    state = {name: torch.full(value.shape, 0.5) for name, value in trunk.items() if not name.startswith("fc.")}
    state = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    for head in ("fc_yaw", "fc_pitch", "fc_roll"):
        state |= {f"{head}.weight": torch.full((66, 2048), 0.5), f"{head}.bias": torch.full((66,), 0.5)}
    return state | {"fc_finetune.weight": torch.zeros(3, 2051), "fc_finetune.bias": torch.zeros(3)}


def test_names_are_the_published_ones():
    with torch.device("meta"):
        names = {name for name in HopeNet().state_dict() if not name.endswith("num_batches_tracked")}
    published = set(published_state())
    assert published - names == {"fc_finetune.weight", "fc_finetune.bias"}
    assert not names - published
    assert {"conv1.weight", "layer4.2.bn3.running_var", "layer1.0.downsample.0.weight", "fc_yaw.weight"} <= names


def test_published_state_dicts_load():
    network = HopeNet()
    network.load_published({f"module.{name}": value for name, value in published_state().items()})
    values = {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    assert all((value == 0.5).all() for value in values.values())


def test_weights_of_another_network_are_refused(small):
    state = dict(small.state_dict())
    state.pop("fc_roll.bias")
    with pytest.raises(InputError, match=r"1 tensors missing, 0 unknown, 0 of another shape \(first: fc_roll.bias\)"):
        small.load_published(state)
    with pytest.raises(InputError, match="check depth and stages"):
        small.load_published(published_state())


def test_loss_by_hand():
    angles = torch.tensor([[59.0, 0.0, -4.0]])  # published -59, 0, 4: bins 13, 33, 34
    logits = one_hot(13, 33, 34)[None]  # 60, 0, -3
    assert head_pose_loss(logits, angles).item() == pytest.approx(1.0 + 0.0 + 1.0, abs=1e-4)
    assert head_pose_loss(logits, angles, alpha=0.5).item() == pytest.approx(1.0, abs=1e-4)
    flat = head_pose_loss(torch.zeros(1, 3, 66), angles, alpha=0.0)
    assert flat.item() == pytest.approx(3 * math.log(66), rel=1e-6)


def test_loss_is_the_sum_over_the_three_angles_of_the_published_code():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 3, 66, generator=generator, dtype=torch.float64)
    angles = torch.rand(4, 3, generator=generator, dtype=torch.float64) * 150 - 75
    total = 0.0
    for angle in range(3):
        theirs = -angles[:, angle]
        label = torch.bucketize(theirs, torch.arange(-99, 102, 3, dtype=torch.float64), right=True) - 1
        predicted = (logits[:, angle].softmax(1) * torch.arange(66)).sum(1) * 3 - 99
        total += F.cross_entropy(logits[:, angle], label) + 2.0 * (predicted - theirs).square().mean()
    assert head_pose_loss(logits, angles, alpha=2.0).item() == pytest.approx(float(total), rel=1e-10)


def test_loss_gradient_equals_finite_differences():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 3, 66, generator=generator, dtype=torch.float64, requires_grad=True)
    angles = torch.tensor([[40.0, -10.0, 5.0]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: head_pose_loss(x, angles, alpha=0.01), (logits,))


def test_what_cannot_be_used_is_one_clear_line(small):
    with pytest.raises(InputError, match=r"shape \(N, 3, H, W\) in \[-1, 1\]; got \(1, 1, 112, 112\)"):
        small(torch.zeros(1, 1, 112, 112))
    with pytest.raises(InputError, match="depth 10, 18 or 50 and 3 or 4 stages; got 34 and 4"):
        HopeNet(34)
    with pytest.raises(
        InputError, match=r"logits must be \(N, 3, 66\) and angles \(N, 3\); got \(2, 3, 66\) and \(2, 1\)"
    ):
        head_pose_loss(torch.zeros(2, 3, 66), torch.zeros(2, 1))

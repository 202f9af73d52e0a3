"""Each frontalizer against its formula, written down from the paper; how they start; what they refuse."""

import math

import pytest
import torch
from torch import Tensor

from facexai.errors import InputError
from facexai.models.frontalizers import (
    AGPM,
    DREAM,
    FRONTALIZERS,
    FSPFM,
    AttentionModule,
    Frontalizer,
    PADLike,
    PAMLike,
    build_frontalizer,
    progressive_gates,
    yaw_gate,
)

N, D, P = 6, 8, 5


def data(seed: int = 0, poses: int = P) -> tuple[Tensor, Tensor]:
    """Embeddings (N, D) and pose features (N, poses), in float64."""
    generator = torch.Generator().manual_seed(seed)
    embedding = torch.randn(N, D, generator=generator, dtype=torch.float64)
    return embedding, torch.randn(N, poses, generator=generator, dtype=torch.float64)


YAW = torch.tensor([[0.0], [-20.0], [45.0], [-60.0], [75.0], [90.0]], dtype=torch.float64)


def scrambled(module: torch.nn.Module, seed: int = 1):
    """The module in float64 and eval mode, with every number in it random and no two alike."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double().eval()
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            noise = torch.randn(value.shape, generator=generator, dtype=torch.float64)
            value.copy_(noise.abs() + 0.5 if name.endswith(("running_var", "pose_scale")) else 0.5 * noise)
    return module


def sigmoid(x):
    return 1 / (1 + torch.exp(-x))


def linear(state, name, x):
    weight, bias = state[f"{name}.weight"], state.get(f"{name}.bias", 0.0)
    return (weight[None] * x[:, None]).sum(2) + bias


def batch_norm(state, name, x):
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    return (x - mean) / torch.sqrt(variance + 1e-5) * state[f"{name}.weight"] + state[f"{name}.bias"]


def prelu(state, name, x):
    return torch.where(x > 0, x, state[f"{name}.weight"] * x)


def residual(state, name, x):
    """Linear, BN, ReLU, Linear, BN."""
    hidden = batch_norm(state, f"{name}.bn1", linear(state, f"{name}.fc1", x)).clamp(min=0)
    return batch_norm(state, f"{name}.bn2", linear(state, f"{name}.fc2", hidden))


def gates(state, theta, count):
    """P1 and P2 of eq. (1), with `count` linear layers each."""
    for name in ("P1", "P2"):
        x = linear(state, f"{name}.0", theta)
        if count == 2:
            x = linear(state, f"{name}.2", x.clamp(min=0))
        yield sigmoid(x)


@pytest.mark.parametrize(("gate", "layers"), [("linear", 1), ("two-layer", 2)])
def test_fspfm_is_equation_1(gate, layers):
    phi, pose = data()
    module = scrambled(FSPFM(D, P, gate=gate))
    state = module.state_dict()
    theta = (pose - state["pose_mean"]) / state["pose_scale"]
    p1, p2 = gates(state, theta, layers)
    expected = phi + residual(state, "T1", phi) * p1 + residual(state, "T2", phi) * p2
    assert torch.allclose(module(phi, pose), expected, atol=1e-12)


def test_stacked_fspfm_gives_the_second_block_the_output_of_the_first():
    phi, pose = data()
    module = scrambled(FSPFM(D, P, stacked=True))
    state = module.state_dict()
    p1, p2 = gates(state, (pose - state["pose_mean"]) / state["pose_scale"], 1)
    after_one = phi + residual(state, "T1", phi) * p1
    assert torch.allclose(module(phi, pose), after_one + residual(state, "T2", after_one) * p2, atol=1e-12)


def test_fspfm_without_a_gate_does_not_look_at_the_pose():
    phi, pose = data()
    module = scrambled(FSPFM(D, P, gate="none"))
    state = module.state_dict()
    assert torch.allclose(module(phi, pose), phi + residual(state, "T1", phi) + residual(state, "T2", phi), atol=1e-12)
    assert torch.equal(module(phi, pose), module(phi, -pose))


def test_fspfm_on_the_yaw_alone_sees_its_magnitude():
    phi, _ = data()
    module = scrambled(FSPFM(D, 1, yaw_only=True))
    state = module.state_dict()
    p1, p2 = gates(state, (YAW.abs() / 45 - state["pose_mean"]) / state["pose_scale"], 1)
    expected = phi + residual(state, "T1", phi) * p1 + residual(state, "T2", phi) * p2
    assert module.takes == "yaw"
    assert torch.allclose(module(phi, YAW), expected, atol=1e-12)


def test_fspfm_gates_see_standardised_poses():
    _, pose = data()
    pose = torch.cat([7 + 3 * pose[:, :-1], torch.full((N, 1), 2.0)], dim=1)  # the last never moves
    module = FSPFM(D, P).double()
    module.standardise_pose(pose)
    theta = (pose - module.pose_mean) / module.pose_scale
    assert torch.allclose(theta.mean(0), torch.zeros(P, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(theta.std(0), torch.tensor([1.0] * (P - 1) + [0.0], dtype=torch.float64))


def test_fspfm_of_the_papers_size_has_3_million_parameters():
    with torch.device("meta"):
        module = FSPFM(512, 2048)
    blocks, mappings = 2 * (2 * 512 * 512 + 4 * 512), 2 * (2048 * 512 + 512)
    assert sum(parameter.numel() for parameter in module.parameters()) == blocks + mappings == 3_150_848


def test_dream_is_a_residual_behind_the_gate_of_the_code():
    x, _ = data()
    module = scrambled(DREAM(D))
    state = module.state_dict()
    r = linear(state, "block.fc2", prelu(state, "block.prelu", linear(state, "block.fc1", x)))
    assert torch.allclose(module(x, YAW), x + sigmoid(10 * (YAW.abs() / 45 - 1)) * r, atol=1e-12)


def test_dream_as_coded_and_printed():
    x, _ = data()
    module = scrambled(DREAM(D, slope="paper", final_relu=True, residual_start="default"))
    state = module.state_dict()
    r = linear(state, "block.fc2", prelu(state, "block.prelu", linear(state, "block.fc1", x))).clamp(min=0)
    gate = sigmoid(4 / math.pi * (YAW.abs() * math.pi / 180) - 1)
    assert torch.allclose(module(x, YAW), x + gate * r, atol=1e-12)


def test_dream_gate_has_the_known_values():
    yaw = torch.tensor([0.0, 45.0, -45.0, 90.0])
    assert yaw_gate(yaw).tolist() == pytest.approx([4.54e-5, 0.5, 0.5, 0.99995], abs=1e-5)
    assert yaw_gate(yaw, "paper").tolist() == pytest.approx([0.269, 0.5, 0.5, 0.731], abs=1e-3)


# Of the published code, by its own function: yaw -> gates of profile, half profile, half frontal.
PUBLISHED = {
    0.0: (0.982, 0.018, 0.000),
    10.0: (0.500, 0.000, 0.018),
    20.0: (0.018, 0.000, 0.500),
    40.0: (0.000, 0.500, 1.000),
    50.0: (0.018, 0.982, 1.000),
    60.0: (0.500, 1.000, 1.000),
    -75.0: (0.998, 1.000, 1.000),
}


@pytest.mark.parametrize("yaw", PUBLISHED)
def test_agpm_gates_as_published_open_for_a_frontal_face(yaw):
    gate = progressive_gates(torch.tensor([[yaw]]), as_published=True)[0]
    assert gate.tolist() == pytest.approx(PUBLISHED[yaw], abs=6e-4)


def test_agpm_gates_open_one_after_the_other():
    gate = progressive_gates(torch.arange(0.0, 91)[:, None])
    assert (gate.diff(dim=0) >= 0).all()
    assert [gate[angle, step].item() for step, angle in enumerate((60, 40, 20))] == pytest.approx([0.5] * 3)
    assert gate[0].max() < 4e-4


@pytest.mark.parametrize("as_published", [False, True])
def test_agpm_takes_three_gated_steps(as_published):
    x, _ = data()
    module = scrambled(AGPM(D, as_published=as_published))
    expected = x
    for step, offset in enumerate((-35, -15, 5)):  # P2HP, HP2HF, HF2F
        angle = YAW.abs() + offset
        gate = sigmoid(10 * ((angle.abs() if as_published else angle) / 25 - 1))
        expected = gate * residual(module.state_dict(), f"steps.{step}", expected) + expected
        expected = expected.clamp(min=0) if as_published else expected
    assert torch.allclose(module(x, YAW), expected, atol=1e-12)


def test_pam_like_is_a_narrow_residual_behind_dreams_gate():
    x, _ = data()
    module = scrambled(PAMLike(D, reduction=4))
    state = module.state_dict()
    hidden = prelu(state, "prelu", batch_norm(state, "bn1", linear(state, "fc1", x)))
    r = batch_norm(state, "bn2", linear(state, "fc2", hidden))
    assert hidden.shape == (N, 2)
    assert torch.allclose(module(x, YAW), x + sigmoid(10 * (YAW.abs() / 45 - 1)) * r, atol=1e-12)


def test_pad_like_has_no_gate():
    x, _ = data()
    module = scrambled(PADLike(D))
    assert torch.allclose(module(x, YAW), x + residual(module.state_dict(), "block", x), atol=1e-12)


def test_attention_is_linear_and_sigmoid():
    x, _ = data()
    module = scrambled(AttentionModule(D))
    assert torch.allclose(module(x), sigmoid(linear(module.state_dict(), "layers.0", x)), atol=1e-12)
    squeezed = scrambled(AttentionModule(D, squeeze=4))
    state = squeezed.state_dict()
    hidden = linear(state, "layers.0", x).clamp(min=0)
    assert hidden.shape == (N, 2)
    assert torch.allclose(squeezed(x), sigmoid(linear(state, "layers.2", hidden)), atol=1e-12)


@pytest.mark.parametrize("squeeze", [None, 16])
def test_attention_starts_nearly_open(squeeze):
    torch.manual_seed(0)
    weights = AttentionModule(128, squeeze=squeeze)(torch.nn.functional.normalize(torch.randn(64, 128)) * 128**0.5)
    assert 0.96 < weights.mean() < 0.99


def pose_of(name: str) -> tuple[int, Tensor]:
    return (1, YAW) if FRONTALIZERS[name].takes == "yaw" else (P, data()[1])


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", FRONTALIZERS)
def test_the_start_is_the_identity_and_can_be_left(name, mode):
    x, _ = data()
    size, pose = pose_of(name)
    module = build_frontalizer(name, D, size).double().train(mode == "train")
    assert torch.equal(module(x, pose), x)
    target = torch.randn(N, D, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    (module(x, pose) - target).square().sum().backward()
    optimizer.step()
    assert not torch.allclose(module(x, pose), x)


@pytest.mark.parametrize("name", FRONTALIZERS)
def test_the_default_start_is_not_the_identity(name):
    torch.manual_seed(0)
    x, _ = data()
    size, pose = pose_of(name)
    module = build_frontalizer(name, D, size, residual_start="default").double()
    assert not torch.allclose(module(x, pose), x, atol=1e-2)
    with pytest.raises(InputError, match="residual_start must be 'zero' or 'default'; got 'one'"):
        build_frontalizer(name, D, size, residual_start="one")


@pytest.mark.parametrize("name", FRONTALIZERS)
def test_other_shapes_are_one_clear_line(name):
    x, _ = data()
    size, pose = pose_of(name)
    module = build_frontalizer(name, D, size).double()
    for embedding, poses, message in [
        (x[:, 1:], pose, rf"takes embeddings \(N, {D}\); got \({N}, {D - 1}\)"),
        (x[0], pose, rf"takes embeddings \(N, {D}\)"),
        (x, pose[1:], rf"\({N}, {size}\), one row an embedding; got \({N - 1}, {size}\)"),
        (x, torch.cat([pose, pose], dim=1), rf"got \({N}, {2 * size}\)"),
    ]:
        with pytest.raises(InputError, match=message) as caught:
            module(embedding, poses)
        assert "\n" not in str(caught.value)


def test_yaw_methods_refuse_a_pose_feature():
    for name in FRONTALIZERS:
        if FRONTALIZERS[name].takes == "yaw":
            with pytest.raises(InputError, match="takes the yaw alone, so pose_size must be 1; got 5"):
                build_frontalizer(name, D, P)
    with pytest.raises(InputError, match="pose_size must be 1"):
        FSPFM(D, P, yaw_only=True)


def test_options_that_do_not_exist_are_named():
    with pytest.raises(InputError, match="unknown frontalizer 'fspm'; did you mean 'fspfm'"):
        build_frontalizer("fspm", D, P)
    with pytest.raises(InputError, match="frontalizer 'dream' does not take these options"):
        build_frontalizer("dream", D, 1, stacked=True)
    with pytest.raises(InputError, match="gate must be one of linear, two-layer, none; got 'open'"):
        FSPFM(D, P, gate="open")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="slope of DREAM's gate"):
        yaw_gate(YAW, "steep")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="cannot start at zero"):
        DREAM(D, final_relu=True)
    with pytest.raises(InputError, match=r"pose features must be \(M, 5\) with M >= 2; got \(1, 5\)"):
        FSPFM(D, P).standardise_pose(torch.zeros(1, P))


def test_a_frontalizer_can_be_made_again_from_its_architecture():
    x, pose = data()
    first = scrambled(build_frontalizer("fspfm", D, P, stacked=True))
    kind = dict(first.architecture)
    second = build_frontalizer(kind["name"], kind["dimension"], kind["pose_size"], **kind["options"]).double().eval()
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(x, pose), second(x, pose))


def test_a_frontalizer_without_a_formula_cannot_be_made():
    class Unfinished(Frontalizer):
        pass

    with pytest.raises(TypeError, match="frontalize"):
        Unfinished(4, 1)

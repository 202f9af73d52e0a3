"""Published networks load by their published names, and compute what is published.

The names and the forward passes below are written down from arcface_torch's `backbones/iresnet.py`, AdaFace's `net.py`
and facenet-pytorch's `models/inception_resnet_v1.py`, with functions of torch alone.
"""

from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from facexai.compat import import_torchvision
from facexai.errors import InputError
from facexai.models import ARCHITECTURES, FullyConnectedHead, Preprocessing, build
from facexai.weights import load_model, save_model

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3), 200: (6, 26, 60, 6)}
WIDTHS = (64, 64, 128, 256, 512)


class Maker:
    """A state dict of random numbers, or of mere shapes, filled name by name."""

    def __init__(self, shapes: bool = False) -> None:
        self.state: dict[str, Tensor] = {}
        self.generator = None if shapes else torch.Generator().manual_seed(0)

    def random(self, name: str, *shape: int, low: float = -1.0) -> None:
        if self.generator is None:
            self.state[name] = torch.empty(shape, device="meta")
        else:
            self.state[name] = torch.rand(shape, generator=self.generator) * (1 - low) + low

    def conv(self, name: str, out: int, into: int, *kernel: int, bias: bool = False) -> None:
        self.random(f"{name}.weight", out, into, *kernel)
        self.state[f"{name}.weight"] *= (3 / self.state[f"{name}.weight"][0].numel()) ** 0.5
        if bias:
            self.random(f"{name}.bias", out)

    def norm(self, name: str, width: int, affine: bool = True) -> None:
        if affine:
            self.random(f"{name}.weight", width, low=0.5)
            self.random(f"{name}.bias", width, low=-0.2)
        self.random(f"{name}.running_mean", width, low=-0.2)
        self.random(f"{name}.running_var", width, low=0.5)
        self.state[f"{name}.num_batches_tracked"] = torch.tensor(7)


def conv(state: dict[str, Tensor], name: str, x: Tensor, stride: int = 1, padding=0) -> Tensor:
    return F.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), stride, padding)


def norm(state: dict[str, Tensor], name: str, x: Tensor, eps: float = 1e-5) -> Tensor:
    weight, bias = state.get(f"{name}.weight"), state.get(f"{name}.bias")
    return F.batch_norm(x, state[f"{name}.running_mean"], state[f"{name}.running_var"], weight, bias, eps=eps)


def faces(size: int = 112) -> Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


# arcface_torch


def arcface_state(depth: int, shapes: bool = False) -> dict[str, Tensor]:
    make = Maker(shapes)
    make.conv("conv1", 64, 3, 3, 3)
    make.norm("bn1", 64)
    make.random("prelu.weight", 64)
    for stage, (into, out) in enumerate(pairwise(WIDTHS)):
        for block in range(BLOCKS[depth][stage]):
            name, width = f"layer{stage + 1}.{block}", into if block == 0 else out
            make.norm(f"{name}.bn1", width)
            make.conv(f"{name}.conv1", out, width, 3, 3)
            make.norm(f"{name}.bn2", out)
            make.random(f"{name}.prelu.weight", out)
            make.conv(f"{name}.conv2", out, out, 3, 3)
            make.norm(f"{name}.bn3", out)
            if block == 0:
                make.conv(f"{name}.downsample.0", out, into, 1, 1)
                make.norm(f"{name}.downsample.1", out)
    make.norm("bn2", 512)
    make.conv("fc", 512, 25088, bias=True)
    make.norm("features", 512)
    return make.state


def arcface_forward(state: dict[str, Tensor], depth: int, x: Tensor) -> Tensor:
    x = F.prelu(norm(state, "bn1", conv(state, "conv1", x, 1, 1)), state["prelu.weight"])
    for stage in range(4):
        for block in range(BLOCKS[depth][stage]):
            name, stride = f"layer{stage + 1}.{block}", 2 if block == 0 else 1
            y = norm(state, f"{name}.bn2", conv(state, f"{name}.conv1", norm(state, f"{name}.bn1", x), 1, 1))
            y = F.prelu(y, state[f"{name}.prelu.weight"])
            y = norm(state, f"{name}.bn3", conv(state, f"{name}.conv2", y, stride, 1))
            if block == 0:
                x = norm(state, f"{name}.downsample.1", conv(state, f"{name}.downsample.0", x, stride))
            x = x + y
    x = norm(state, "bn2", x)
    return norm(state, "features", F.linear(x.flatten(1), state["fc.weight"], state["fc.bias"]))


@pytest.mark.parametrize(("depth", "millions"), [(18, 24.03), (34, None), (50, 43.59), (100, 65.16), (200, None)])
def test_iresnet_has_the_published_names_shapes_and_number_of_weights(depth, millions):
    with torch.device("meta"):
        model = build(f"iresnet{depth}")
    ours = {name.partition(".")[2]: tuple(value.shape) for name, value in model.state_dict().items()}
    assert ours == {name: tuple(value.shape) for name, value in arcface_state(depth, shapes=True).items()}
    if millions:
        assert round(sum(weight.numel() for weight in model.parameters()) / 1e6, 2) == millions


@pytest.mark.parametrize("form", ["plain", "half in parallel", "checkpoint"])
def test_an_arcface_network_loads_in_all_its_forms(tmp_path, form):
    state = arcface_state(18)
    if form == "half in parallel":
        state = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
        torch.save({f"module.{name}": value for name, value in state.items()}, tmp_path / "net.pth")
    elif form == "checkpoint":
        others = {"epoch": 3, "state_dict_softmax_fc": {"weight": torch.zeros(2, 512)}}
        torch.save({"state_dict_backbone": state, **others}, tmp_path / "net.pth")
    else:
        torch.save(state, tmp_path / "net.pth")
    model = load_model(f"iresnet18@{tmp_path / 'net.pth'}")
    state = {name: value.float() for name, value in state.items()}
    with torch.no_grad():
        expected = arcface_forward(state, 18, faces())
        assert torch.allclose(model.pooled(faces()), expected, atol=1e-3 * float(expected.abs().max()))
    assert model.preprocessing == Preprocessing()


# AdaFace


def adaface_state(depth: int, shapes: bool = False) -> dict[str, Tensor]:
    make = Maker(shapes)
    make.conv("input_layer.0", 64, 3, 3, 3)
    make.norm("input_layer.1", 64)
    make.random("input_layer.2.weight", 64)
    number = 0
    for stage, (into, out) in enumerate(pairwise(WIDTHS)):
        for block in range(BLOCKS[depth][stage]):
            name, width = f"body.{number}", into if block == 0 else out
            if width != out:
                make.conv(f"{name}.shortcut_layer.0", out, width, 1, 1)
                make.norm(f"{name}.shortcut_layer.1", out)
            make.norm(f"{name}.res_layer.0", width)
            make.conv(f"{name}.res_layer.1", out, width, 3, 3)
            make.norm(f"{name}.res_layer.2", out)
            make.random(f"{name}.res_layer.3.weight", out)
            make.conv(f"{name}.res_layer.4", out, out, 3, 3)
            make.norm(f"{name}.res_layer.5", out)
            number += 1
    make.norm("output_layer.0", 512)
    make.conv("output_layer.3", 512, 25088, bias=True)
    make.norm("output_layer.4", 512, affine=False)
    return make.state


def adaface_forward(state: dict[str, Tensor], depth: int, x: Tensor) -> Tensor:
    x = norm(state, "input_layer.1", conv(state, "input_layer.0", x, 1, 1))
    x = F.prelu(x, state["input_layer.2.weight"])
    first_blocks = {sum(BLOCKS[depth][:stage]) for stage in range(4)}
    for number in range(sum(BLOCKS[depth])):
        name, stride = f"body.{number}", 2 if number in first_blocks else 1
        y = conv(state, f"{name}.res_layer.1", norm(state, f"{name}.res_layer.0", x), 1, 1)
        y = F.prelu(norm(state, f"{name}.res_layer.2", y), state[f"{name}.res_layer.3.weight"])
        y = norm(state, f"{name}.res_layer.5", conv(state, f"{name}.res_layer.4", y, stride, 1))
        if f"{name}.shortcut_layer.0.weight" in state:
            x = norm(state, f"{name}.shortcut_layer.1", conv(state, f"{name}.shortcut_layer.0", x, stride))
        else:
            x = x[:, :, ::stride, ::stride]
        x = x + y
    x = norm(state, "output_layer.0", x).flatten(1)
    x = norm(state, "output_layer.4", F.linear(x, state["output_layer.3.weight"], state["output_layer.3.bias"]))
    return x / x.norm(dim=1, keepdim=True)


@pytest.mark.parametrize(("name", "depth"), [("adaface-ir18", 18), ("adaface-ir50", 50), ("adaface-ir101", 100)])
def test_adaface_has_the_published_shapes(name, depth):
    with torch.device("meta"):
        model = build(name)
    shapes = sorted(tuple(value.shape) for value in model.state_dict().values())
    assert shapes == sorted(tuple(value.shape) for value in adaface_state(depth, shapes=True).values())


def test_an_adaface_checkpoint_loads_and_sees_bgr(tmp_path):
    state = adaface_state(18)
    lightning = {f"model.{name}": value for name, value in state.items()}
    lightning |= {"head.kernel": torch.zeros(512, 9), "head.t": torch.zeros(1), "head.batch_mean": torch.zeros(1)}
    torch.save({"epoch": 26, "state_dict": lightning, "hyper_parameters": {"arch": "ir_18"}}, tmp_path / "ada.ckpt")
    model = load_model(f"adaface-ir18@{tmp_path / 'ada.ckpt'}")
    with torch.no_grad():
        assert torch.allclose(model.embed(faces()), adaface_forward(state, 18, faces().flip(1)), atol=1e-5)
        assert not torch.allclose(model.embed(faces()), adaface_forward(state, 18, faces()), atol=1e-2)
    assert isinstance(model.head, FullyConnectedHead)


# facenet-pytorch


class FaceNet:
    """Inception-ResNet-v1, made (`state`) or run, by one description of it."""

    def __init__(self, state: dict[str, Tensor] | None = None) -> None:
        self.make = Maker() if state is None else None
        self.state = self.make.state if self.make else state

    def basic(self, name: str, x: Tensor, out: int, kernel=(1, 1), stride: int = 1, padding=0) -> Tensor:
        if self.make:
            self.make.conv(f"{name}.conv", out, x.shape[1], *kernel)
            self.make.norm(f"{name}.bn", out)
        return norm(self.state, f"{name}.bn", conv(self.state, f"{name}.conv", x, stride, padding), 1e-3).relu()

    def residual(self, name: str, x: Tensor, branches: list[Tensor], scale: float, relu: bool = True) -> Tensor:
        y = torch.cat(branches, 1)
        if self.make:
            self.make.conv(f"{name}.conv2d", x.shape[1], y.shape[1], 1, 1, bias=True)
        y = conv(self.state, f"{name}.conv2d", y) * scale + x
        return y.relu() if relu else y

    def block35(self, n: str, x: Tensor) -> Tensor:
        a = self.basic(f"{n}.branch0", x, 32)
        b = self.basic(f"{n}.branch1.1", self.basic(f"{n}.branch1.0", x, 32), 32, (3, 3), 1, 1)
        c = self.basic(f"{n}.branch2.1", self.basic(f"{n}.branch2.0", x, 32), 32, (3, 3), 1, 1)
        c = self.basic(f"{n}.branch2.2", c, 32, (3, 3), 1, 1)
        return self.residual(n, x, [a, b, c], 0.17)

    def long_branch(self, n: str, x: Tensor, width: int, reach: int, scale: float, relu: bool = True) -> Tensor:
        half = reach // 2
        a = self.basic(f"{n}.branch0", x, width)
        b = self.basic(f"{n}.branch1.0", x, width)
        b = self.basic(f"{n}.branch1.1", b, width, (1, reach), 1, (0, half))
        b = self.basic(f"{n}.branch1.2", b, width, (reach, 1), 1, (half, 0))
        return self.residual(n, x, [a, b], scale, relu)

    def __call__(self, x: Tensor) -> Tensor:
        x = self.basic("conv2d_1a", x, 32, (3, 3), 2)
        x = self.basic("conv2d_2a", x, 32, (3, 3))
        x = F.max_pool2d(self.basic("conv2d_2b", x, 64, (3, 3), 1, 1), 3, 2)
        x = self.basic("conv2d_3b", x, 80)
        x = self.basic("conv2d_4b", self.basic("conv2d_4a", x, 192, (3, 3)), 256, (3, 3), 2)
        for number in range(5):
            x = self.block35(f"repeat_1.{number}", x)
        b = self.basic("mixed_6a.branch1.1", self.basic("mixed_6a.branch1.0", x, 192), 192, (3, 3), 1, 1)
        b = self.basic("mixed_6a.branch1.2", b, 256, (3, 3), 2)
        x = torch.cat([self.basic("mixed_6a.branch0", x, 384, (3, 3), 2), b, F.max_pool2d(x, 3, 2)], 1)
        for number in range(10):
            x = self.long_branch(f"repeat_2.{number}", x, 128, 7, 0.10)
        n = "mixed_7a"
        a = self.basic(f"{n}.branch0.1", self.basic(f"{n}.branch0.0", x, 256), 384, (3, 3), 2)
        b = self.basic(f"{n}.branch1.1", self.basic(f"{n}.branch1.0", x, 256), 256, (3, 3), 2)
        c = self.basic(f"{n}.branch2.1", self.basic(f"{n}.branch2.0", x, 256), 256, (3, 3), 1, 1)
        c = self.basic(f"{n}.branch2.2", c, 256, (3, 3), 2)
        x = torch.cat([a, b, c, F.max_pool2d(x, 3, 2)], 1)
        for number in range(5):
            x = self.long_branch(f"repeat_3.{number}", x, 192, 3, 0.20)
        x = self.long_branch("block8", x, 192, 3, 1.0, relu=False)
        if self.make:
            self.make.conv("last_linear", 512, 1792)
            self.make.norm("last_bn", 512)
        x = F.linear(F.adaptive_avg_pool2d(x, 1).flatten(1), self.state["last_linear.weight"])
        return F.normalize(norm(self.state, "last_bn", x, 1e-3))


def test_a_facenet_loads_with_its_own_size_and_normalisation(tmp_path):
    with torch.no_grad():
        made = FaceNet()
        made(faces(160))
        torch.save(
            {**made.state, "logits.weight": torch.zeros(9, 512), "logits.bias": torch.zeros(9)}, tmp_path / "f.pt"
        )
        model = load_model(f"inception-resnet-v1@{tmp_path / 'f.pt'}")
        pixels = (faces(160) + 1) * 127.5
        assert torch.allclose(model.embed(faces(160)), FaceNet(made.state)((pixels - 127.5) / 128), atol=1e-5)
    assert model.features(faces(160)).shape == (2, 1792, 3, 3)


# torchvision, timm


def test_a_torchvision_network_brings_its_embedding_layer(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = import_torchvision().models.resnet18(num_classes=64).eval()
    torch.save({"model": {f"module.{name}": value for name, value in net.state_dict().items()}}, tmp_path / "r.pth")
    model = load_model(f"torchvision:resnet18@{tmp_path / 'r.pth'}")
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        expected = net(((faces() + 1) / 2 - mean) / std)
        assert torch.allclose(model.pooled(faces()), expected, atol=1e-5)
        assert model.features(faces()).shape == (2, 512, 4, 4)
        again = load_model(save_model(model, tmp_path / "saved", {}))
        assert torch.equal(again.embed(faces()), model.embed(faces()))
    assert (again.preprocessing, again.name) == (model.preprocessing, "saved")


def test_a_timm_network_loads(tmp_path):
    import_torchvision()  # which timm imports
    timm = pytest.importorskip("timm")
    net = timm.create_model("resnet18", num_classes=64).eval()
    torch.save(net.state_dict(), tmp_path / "r.pth")
    model = load_model(f"timm:resnet18@{tmp_path / 'r.pth'}", preprocessing=Preprocessing())
    with torch.no_grad():
        assert torch.allclose(model.pooled(faces()), net(faces()), atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("torchvision@net.pth", "is many networks; say which"),
        ("torchvision:resnet19@{}", "torchvision has no network 'resnet19'"),
        ("torchvision:resnet18@{}", "weights of another architecture"),
        ("iresnet50:large@{}", "does not take these options"),
    ],
)
def test_specs_that_fit_no_network_are_refused_in_one_line(tmp_path, spec, message):
    torch.save({"linear.weight": torch.zeros(4, 4)}, tmp_path / "net.pth")
    with pytest.raises(InputError, match=message) as caught:
        load_model(spec.format(tmp_path / "net.pth"))
    assert "\n" not in str(caught.value)


def test_a_pickled_module_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "net.pth")
    with pytest.raises(InputError, match="not a PyTorch file of plain tensors") as caught:
        load_model(f"iresnet18@{tmp_path / 'net.pth'}")
    assert "\n" not in str(caught.value)


def test_networks_of_the_user_are_registered_by_an_environment_variable(tmp_path, monkeypatch):
    (tmp_path / "my_test_networks.py").write_text(
        "from torch import nn\n"
        "from facexai.models import ARCHITECTURES, wrap_model\n"
        "@ARCHITECTURES.register('my-test-net')\n"
        "def my_net():\n"
        "    net = nn.Sequential(nn.Conv2d(3, 4, 3, 8), nn.Flatten(), nn.LazyLinear(8))\n"
        "    return wrap_model(net, features='0', input_size=32, channel_order='BGR', name='my-test-net')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("FACEXAI_NETWORKS", "my_test_networks")
    try:
        from facexai.weights import register_networks

        register_networks()
        model = build("my-test-net").eval()
        again = load_model(save_model(model, tmp_path / "saved", {}))
        assert torch.equal(again.embed(faces(32)), model.embed(faces(32)))
    finally:
        ARCHITECTURES._items.pop("my-test-net", None)
    with pytest.raises(InputError, match="register the function that builds it"):
        load_model(tmp_path / "saved")
    monkeypatch.setenv("FACEXAI_NETWORKS", "no_such_module")
    with pytest.raises(InputError, match="FACEXAI_NETWORKS names the module no_such_module"):
        load_model("tutorial")

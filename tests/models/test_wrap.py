"""Any network becomes a recognizer: cut at its last map, fed as it wants, refused in one line where it is none."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facexai.errors import InputError
from facexai.explainers import EXPLAINERS, explain
from facexai.models import Preprocessing, attach_decoder, build, spatial_maps, wrap_model
from facexai.pairs import FacePair
from facexai.training.decoder import fresh_decoder
from facexai.weights import load_model, save_model

SIZE = (48, 40)
QUICK = {
    "rise": {"masks": 8},
    "corr-rise": {"masks": 8},
    "lime": {"samples": 20},
    "min-plus": {"stride": 20},
    "occlusion": {"stride": 20},
    "smoothgrad": {"samples": 2},
    "integrated-gradients": {"steps": 4},
}
BLACK_BOX = {"rise", "corr-rise", "min-plus", "lime", "occlusion", "random", "centre", "edges", "detail"}


class Small(nn.Module):
    """A network with names of its own; its embedding comes first of two outputs, and its head works in place."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU(inplace=True), nn.Conv2d(8, 6, 3, 2, 1))
        self.classifier = nn.Linear(6, 5)

    def forward(self, x: Tensor):
        x = F.relu(self.body(x), inplace=True)
        x = self.classifier(x.mean((2, 3)))
        return x, x.norm(dim=1)


class Opaque(nn.Module):
    """As an ONNX network: embeddings, and no gradient."""

    differentiable = False

    def __init__(self) -> None:
        super().__init__()
        self.net = Small()

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)[0]


@pytest.fixture
def small():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Small()


def faces(count: int = 2, size=SIZE) -> Tensor:
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_trunk_and_head_together_are_the_network_itself(small):
    model = wrap_model(small, features="body", input_size=SIZE)
    with torch.no_grad():
        features = model.features(faces())
        before = features.clone()
        assert torch.equal(features, small.body(faces()))
        assert torch.allclose(model.pool(features), small(faces())[0])
        assert torch.equal(features, before)  # though the network works in place
    assert (model.dimension, model.name, model.training) == (5, "Small", False)


def test_weights_stay_shared_with_the_network_that_was_wrapped(small):
    model = wrap_model(small, features="body", input_size=SIZE)
    before = model.embed(faces())
    nn.init.normal_(small.classifier.weight, generator=torch.Generator().manual_seed(2))
    assert not torch.allclose(model.embed(faces()), before)


@pytest.mark.parametrize("features", ["body", None])
def test_the_network_sees_its_own_colours_and_range(small, features):
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    model = wrap_model(small, features=features, input_size=SIZE, mean=mean, std=std, channel_order="BGR")
    red, green, blue = ((faces() + 1) / 2).unbind(1)
    by_hand = torch.stack([(blue - 0.4) / 0.2, (green - 0.5) / 0.25, (red - 0.6) / 0.3], 1)
    with torch.no_grad():
        assert torch.allclose(model.embed(faces()), F.normalize(small(by_hand)[0]), atol=1e-6)


def test_a_recognizer_of_rgb_in_the_usual_range_changes_no_bit():
    images = faces()
    assert Preprocessing()(images) is images
    pixels = Preprocessing(0, 1 / 255)(torch.tensor([-1.0, 0, 1]).view(1, 3, 1, 1))
    assert torch.allclose(pixels.flatten(), torch.tensor([0, 127.5, 255]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean": 127.5}, r"scale|\[0, 1\]; got 127.5. Divide it by 255"),
        ({"std": 0.0}, "std must be above 0"),
        ({"mean": (0.5, 0.5)}, "one for each of three channels"),
        ({"channel_order": "GBR"}, "must be RGB or BGR"),
        ({"features": "boddy"}, r"no submodule 'boddy'; the last spatial maps are body, body\.2"),
        ({"features": "classifier"}, "must be a spatial map"),
        ({"features": "body", "head": nn.Flatten()}, "give features or head"),
        ({"input_size": 2, "features": None, "module": nn.Conv2d(3, 4, 5)}, "fails on inputs of shape"),
        ({"module": nn.Conv2d(3, 4, 5)}, "must give embeddings"),
    ],
)
def test_what_cannot_be_wrapped_is_refused_in_one_line(small, options, message):
    options = {"module": small, "input_size": SIZE, **options}
    with pytest.raises(InputError, match=message) as caught:
        wrap_model(options.pop("module"), **options)
    assert "\n" not in str(caught.value)


class Bypass(Small):
    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.body(x).mean((2, 3))) + x.mean((2, 3)).repeat(1, 2)[:, :5]


class Branching(Small):
    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return self.classifier(y.mean((2, 3)) if y.sum() > 0 else y.amax((2, 3)))


def test_an_image_that_gets_past_the_cut_is_noticed():
    with pytest.raises(InputError, match="past 'body'"):
        wrap_model(Bypass(), features="body", input_size=SIZE)


def test_a_network_that_cannot_be_recorded_comes_in_two_parts():
    network = Branching()
    with pytest.raises(InputError, match="give the rest as head"):
        wrap_model(network, features="body", input_size=SIZE)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), network.classifier)
    model = wrap_model(network.body, head=head, input_size=SIZE)
    with torch.no_grad():
        assert torch.allclose(model.pooled(faces()), head(network.body(faces())))


def test_spatial_maps_come_in_the_order_of_the_network(small):
    assert spatial_maps(small.eval(), SIZE) == ["body.0", "body.1", "body.2", "body"]


def test_a_wrapped_network_is_saved_with_its_preprocessing(small, tmp_path):
    from facexai.models import ARCHITECTURES

    options = {"features": "body", "input_size": SIZE, "std": 128 / 255, "channel_order": "BGR"}
    model = wrap_model(small, **options, name="test-small")
    fresh_decoder(model).eval()
    save_model(model, tmp_path / "saved", {})
    ARCHITECTURES["test-small"] = lambda: wrap_model(Small(), features="body", input_size=SIZE, name="test-small")
    try:
        again = load_model(tmp_path / "saved")
    finally:
        ARCHITECTURES._items.pop("test-small")
    with torch.no_grad():
        assert torch.equal(again.embed(faces()), model.embed(faces()))
        assert torch.equal(again.reconstruct(again.features(faces())), model.reconstruct(model.features(faces())))
    assert again.preprocessing == Preprocessing(0.5, 128 / 255, "BGR")
    assert "preprocessing" in (tmp_path / "saved" / "README.md").read_text()


def test_a_network_that_nobody_can_build_again_is_not_saved(small, tmp_path):
    model = wrap_model(small, input_size=SIZE)
    model.architecture = {}
    with pytest.raises(InputError, match="has no architecture to save"):
        save_model(model, tmp_path / "saved", {})
    assert not (tmp_path / "saved").exists()


# Explaining


@pytest.mark.parametrize("method", list(EXPLAINERS))
def test_a_black_box_is_explained_by_its_scores_alone(method):
    model = wrap_model(Opaque(), input_size=SIZE, name="opaque")
    pair = FacePair(*faces())
    if method in BLACK_BOX:
        assert explain(pair, model, method, **QUICK.get(method, {})).signed.shape == (2, *SIZE)
        return
    with pytest.raises(InputError, match=r"opaque (gives embeddings and no|is a black box|has no xcos head)") as caught:
        explain(pair, model, method)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", [name for name in EXPLAINERS if name not in ("xcos", "contrast")])
def test_every_method_explains_a_wrapped_network_of_any_shape(small, method):
    model = wrap_model(small, features="body", input_size=SIZE, std=0.25, channel_order="BGR")
    fresh_decoder(model)
    assert model.decoder.size is None
    pair = FacePair(*faces())
    saliency = explain(pair, model, method, **QUICK.get(method, {}))
    assert saliency.signed.shape == (2, *SIZE)
    with torch.no_grad():
        probe, gallery = model.embed(pair.images)
    assert saliency.score == pytest.approx(float(probe @ gallery), abs=1e-5)


def test_ddfv_weights_of_an_unknown_head_are_the_fall_of_the_score(small):
    from facexai.explainers import decompose

    model = wrap_model(small, features="body", input_size=SIZE)
    fresh_decoder(model)
    parts = decompose(FacePair(*faces()), model)
    with torch.no_grad():
        features = model.features(faces())
        whole = F.normalize(model.pool(features))
        for channel in range(6):
            masked = features[0].clone()
            masked[channel].view(-1)[masked[channel].argmax()] = 0
            fall = whole[0] @ whole[1] - F.normalize(model.pool(masked[None]))[0] @ whole[1]
            assert float(parts.weights[0, channel]) == pytest.approx(float(fall), abs=1e-5)


# Decoders for maps of any size


@pytest.mark.parametrize(
    ("size", "cells", "doublings", "final"),
    [((112, 96), (7, 6), 4, None), ((160, 160), (3, 3), 6, (160, 160)), ((64, 64), (2, 2), 5, None)],
)
def test_a_decoder_fits_the_map(size, cells, doublings, final):
    trunk = nn.AdaptiveAvgPool2d(cells)
    model = wrap_model(trunk, head=nn.Flatten(), input_size=size)
    decoder = fresh_decoder(model)
    assert (len(decoder.layers), decoder.size) == (doublings, final)
    with torch.no_grad():
        assert decoder.eval()(model.features(faces(size=size))).shape == (2, 3, *size)


@pytest.mark.parametrize("doublings", [2, 5])
def test_the_quick_residuals_hold_for_any_number_of_layers(doublings):
    from facexai.explainers import channel_residuals

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build("ddfv-iresnet", blocks=[1, 1, 1, 1], widths=[4, 4, 8, 16])
        decoder = attach_decoder(model, channels=8, doublings=doublings).eval()
        features = torch.randn(8, 3, 2)
    quick, literal = (channel_residuals(features, decoder, way).stack() for way in ("local", "literal"))
    assert torch.allclose(quick, literal, atol=1e-4)


# What foreign networks do in other words


class Branch(nn.Module):
    def __init__(self, add) -> None:
        super().__init__()
        self.conv, self.add, self.last = nn.Conv2d(3, 3, 3, padding=1), add, nn.Conv2d(3, 4, 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.add(self.conv(x), x).relu())


def in_place(y: Tensor, x: Tensor) -> Tensor:
    y += x
    return y


@pytest.mark.parametrize("add", [in_place, lambda y, x: y * 1.0 + x])
def test_excitation_knows_sums_in_place_and_products_with_a_number(add):
    maps = []
    for way in (torch.add, add):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = wrap_model(Branch(way), head=nn.Flatten(), input_size=16)
        maps.append(explain(FacePair(*faces(size=(16, 16))), model, "excitation-backprop").signed)
    assert torch.allclose(maps[0], maps[1], atol=1e-7)
    assert maps[0].abs().max() > 0

"""Networks in ONNX files: embeddings are those of the network; without onnxruntime there is one clear line."""

import sys

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from facexai.errors import InputError
from facexai.explainers import explain
from facexai.models import Preprocessing
from facexai.pairs import FacePair
from facexai.weights import load_model, save_model


@pytest.fixture
def weights():
    generator = np.random.default_rng(0)
    return [generator.normal(0, 0.1, shape).astype(np.float32) for shape in ((4, 3, 8, 8), (16, 4 * 5 * 4))]


def write_network(file, weights, *, batch="N", size=(40, 32), last=False):
    """A convolution and a linear layer, written down node by node."""
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    helper, number = onnx.helper, onnx.TensorProto.FLOAT
    shape = [batch, *size, 3] if last else [batch, 3, *size]
    nodes = [helper.make_node("Transpose", ["faces"], ["first"], perm=[0, 3, 1, 2])] if last else []
    nodes += [
        helper.make_node("Conv", ["first" if last else "faces", "kernel"], ["map"], strides=[8, 8]),
        helper.make_node("Flatten", ["map"], ["flat"]),
        helper.make_node("Gemm", ["flat", "matrix"], ["embedding"], transB=1),
    ]
    named = [
        onnx.numpy_helper.from_array(value, name) for value, name in zip(weights, ("kernel", "matrix"), strict=True)
    ]
    inputs = [helper.make_tensor_value_info("faces", number, shape)]
    outputs = [helper.make_tensor_value_info("embedding", number, [batch, 16])]
    graph = helper.make_graph(nodes, "network", inputs, outputs, named)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(file))


def faces(count: int) -> torch.Tensor:
    return torch.rand(count, 3, 40, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("form", [{}, {"batch": 1}, {"batch": 4}, {"last": True}])
def test_embeddings_are_those_of_the_network(tmp_path, weights, form):
    write_network(tmp_path / "net.onnx", weights, **form)
    kernel, matrix = map(torch.from_numpy, weights)
    for preprocessing in (None, Preprocessing(0, 1 / 255, "BGR")):
        model = load_model(f"onnx@{tmp_path / 'net.onnx'}", preprocessing=preprocessing)
        seen = faces(6) if preprocessing is None else (faces(6).flip(1) + 1) * 127.5
        expected = F.normalize(F.conv2d(seen, kernel, stride=8).flatten(1) @ matrix.T)
        assert torch.allclose(model.embed(faces(6)), expected, atol=1e-5)
    assert (model.dimension, model.input_size, model.name) == (16, (40, 32), "onnx@net.onnx")


def test_an_onnx_network_is_a_black_box(tmp_path, weights):
    write_network(tmp_path / "net.onnx", weights)
    model, pair = load_model(f"onnx@{tmp_path / 'net.onnx'}"), FacePair(*faces(2))
    for method, options in (("rise", {"masks": 8}), ("corr-rise", {"masks": 8}), ("occlusion", {"stride": 16})):
        assert explain(pair, model, method, **options).signed.shape == (2, 40, 32)
    for method in ("gradient", "ddfv", "grad-cam"):
        with pytest.raises(InputError, match="choose a method that needs none"):
            explain(pair, model, method)
    with pytest.raises(InputError, match="no architecture to save"):
        save_model(model, tmp_path / "saved", {})


def test_what_is_no_network_is_refused_in_one_line(tmp_path):
    pytest.importorskip("onnxruntime")
    (tmp_path / "text.onnx").write_text("no network")
    for file in ("text.onnx", "nowhere.onnx"):
        with pytest.raises(InputError, match=file) as caught:
            load_model(f"onnx@{tmp_path / file}")
        assert "\n" not in str(caught.value)


def test_without_onnxruntime_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"pip install 'facexai\[onnx\]'"):
        load_model(f"onnx@{tmp_path / 'net.onnx'}")

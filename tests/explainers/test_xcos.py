"""xCos: attention times cosine, against the paper's formula cell by cell; a model without the head says what to do."""

import pytest
import torch
from explainer_toys import smooth_pair, tiny_recognizer, with_xcos
from torch.nn import functional as F

from facexai.errors import InputError
from facexai.explainers import explain, make_explainer
from facexai.models import FaceRecognizer, build
from facexai.weights import load_model, save_model


@pytest.fixture(scope="module")
def model() -> FaceRecognizer:
    return with_xcos(tiny_recognizer())


def literal(model: FaceRecognizer, own: torch.Tensor, other: torch.Tensor, threshold: float) -> torch.Tensor:
    """attention[p] x (cos(A[p], B[p]) - T), one cell after the other. (C, h, w) twice -> (h, w)."""
    head = model.xcos
    convolution, norm, slope = head.to_grid
    a, b = (slope(norm(convolution(x[None])))[0] for x in (own, other))
    logits = head.attend(torch.cat([head.embed(a[None]), head.embed(b[None])], dim=1))[0, 0]
    weights = torch.exp(logits) / torch.exp(logits).sum()
    cells = torch.zeros(7, 7)
    for row in range(7):
        for column in range(7):
            u, v = a[:, row, column], b[:, row, column]
            cells[row, column] = weights[row, column] * (u @ v / (u.norm() * v.norm()) - threshold)
    return cells


def test_the_map_is_the_papers_product_and_sums_to_xcos_less_the_threshold(model):
    saliency = explain(smooth_pair(), model, "xcos", upsampling="cell")
    with torch.no_grad():
        probe, gallery = model.features(smooth_pair().images)
        expected = torch.stack([literal(model, probe, gallery, 0.3), literal(model, gallery, probe, 0.3)])
        grids = model.xcos.grid(torch.stack([probe, gallery]))
        xcos = model.xcos(grids, grids.flip(0))
    assert torch.allclose(saliency.signed, F.interpolate(expected[None] / 256, scale_factor=16)[0], atol=1e-7)
    assert saliency.signed.sum((1, 2)).tolist() == pytest.approx((xcos - 0.3).tolist(), abs=1e-5)
    plain = explain(smooth_pair(), model, "xcos", threshold=0.0).signed
    assert plain.sum((1, 2)).tolist() == pytest.approx(xcos.tolist(), abs=1e-5)


def test_the_score_is_that_of_the_network(model):
    saliency = explain(smooth_pair(), model, "xcos")
    assert saliency.score == pytest.approx(explain(smooth_pair(), model, "centre").score, abs=1e-6)


def test_a_model_without_the_head_says_how_to_get_one():
    with pytest.raises(InputError, match="has no xcos head; train one with `facexai train xcos`"):
        explain(smooth_pair(), tiny_recognizer(), "xcos")


def test_the_head_is_saved_and_loaded_with_the_model(model, tmp_path):
    loaded = load_model(save_model(model, tmp_path, {}))
    expected = explain(smooth_pair(), model, "xcos").signed
    assert torch.equal(explain(smooth_pair(), loaded, "xcos").signed, expected)
    assert build("mobilefacenet", xcos={"channels": 512}).xcos is not None
    assert build("mobilefacenet").xcos is None


def test_senseless_options_are_refused():
    with pytest.raises(InputError, match="threshold must be a number or 'margin'; got 'mean'"):
        make_explainer("xcos", threshold="mean")

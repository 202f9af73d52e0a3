"""One probe against a gallery gives the maps of the pairs, from residuals that are computed once."""

import copy

import pytest
import torch
from explainer_toys import PATCH, patch_image, smooth_images, tiny_recognizer, wandering_recognizer
from torch import Tensor, nn

from facexai.errors import InputError
from facexai.explainers import explain, explain_gallery, prepare_partners, prepare_probe
from facexai.models import FaceRecognizer, FullyConnectedHead, GlobalDepthwiseHead, MaxPoolHead
from facexai.pairs import FacePair


@pytest.fixture(scope="module")
def model() -> FaceRecognizer:
    return tiny_recognizer()


@pytest.fixture(scope="module")
def faces() -> Tensor:
    return smooth_images(4, seed=11)


HEADS = {
    "normalised": lambda: tiny_recognizer().head,
    "raw": lambda: MaxPoolHead(32, normalize=False),
    "fully connected": lambda: FullyConnectedHead(32, 7, 16),
    "depthwise": lambda: GlobalDepthwiseHead(32, 7, 16),
}


def agree(maps: Tensor, expected: Tensor) -> bool:
    return torch.allclose(maps, expected, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.filterwarnings("ignore:ddfv-paper on a head")
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("ddfv", {}),
        ("ddfv", {"weight": "contribution"}),
        ("ddfv", {"weight": "second-max"}),
        ("ddfv", {"weight": "ablation", "missing": "own", "balance": False}),
        ("ddfv", {"weight": "first-order", "missing": "skip"}),
        ("ddfv", {"missing": "partner", "balance": False, "mask": "channel"}),
        ("ddfv", {"threshold": 0.01, "residual": "l1"}),
        ("ddfv-paper", {}),
    ],
)
def test_each_map_is_that_of_the_pair(method, options, head, model, faces):
    network = FaceRecognizer(model.trunk, HEADS[head](), model.decoder).eval()
    network.threshold = 0.3
    if method == "ddfv-paper" and head in ("fully connected", "depthwise"):
        with pytest.raises(InputError, match="need the partners' channel maxima"):
            explain_gallery(faces[0], faces[1:], network, method)
        return
    probe, gallery = faces[0], faces[1:]
    maps, scores = explain_gallery(probe, gallery, network, method, batch_size=2, **options)
    pairs = [explain(FacePair(probe, partner), network, method, **options) for partner in gallery]
    assert agree(maps, torch.stack([saliency.signed[0] for saliency in pairs]))
    assert scores.tolist() == pytest.approx([saliency.score for saliency in pairs], abs=1e-6)


@pytest.mark.parametrize("missing", ["skip", "own"])
def test_embeddings_of_any_length_stand_for_the_images_where_partners_need_not_show_channels(missing, model, faces):
    embeddings = model.embed(faces[1:]).detach()
    maps, scores = explain_gallery(faces[0], 3 * embeddings, model, missing=missing)
    expected_maps, expected_scores = explain_gallery(faces[0], faces[1:], model, missing=missing)
    assert agree(maps, expected_maps)
    assert torch.allclose(scores, expected_scores, atol=1e-6)


def test_embeddings_alone_do_not_say_where_a_partner_has_what_the_probe_lacks(model, faces):
    embeddings, prepared = model.embed(faces[1:]).detach(), prepare_probe(faces[0], model)
    for ask in (lambda: explain_gallery(faces[0], embeddings, model), lambda: prepared.maps(embeddings)):
        with pytest.raises(InputError) as caught:
            ask()
        assert str(caught.value) == (
            "a channel that the probe lacks is drawn where the partner has it, which embeddings do not tell; give "
            "images, or choose missing='skip'"
        )
    assert prepared.scores(embeddings).tolist() == pytest.approx((embeddings @ model.embed(faces[:1]).T)[:, 0].tolist())
    assert prepared.weights(embeddings).shape == (3, 32)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("missing", ["partner", "own", "skip"])
def test_prepared_partners_give_the_maps_of_the_pairs(missing, head, model, faces):
    network = FaceRecognizer(model.trunk, HEADS[head](), model.decoder).eval()
    prepared, partners = prepare_probe(faces[0], network, missing=missing), prepare_partners(faces[1:], network)
    pairs = [explain(FacePair(faces[0], partner), network, missing=missing) for partner in faces[1:]]
    assert agree(prepared.maps(partners), torch.stack([saliency.signed[0] for saliency in pairs]))
    assert prepared.scores(partners).tolist() == pytest.approx([saliency.score for saliency in pairs], abs=1e-6)


def test_a_prepared_probe_shows_what_it_lacks_where_each_partner_has_it():
    """The probe lacks channel 1 and has its maximum in patch 2; two partners have the channel, in patch 1."""
    faces = [(0.8, -1, 0, 0), (0.8, 0.6, 0, 0), (0.6, 0.8, 0, 0), (0.8, -1, 0, 0)]
    probe, *gallery = (patch_image(*means) for means in faces)
    model = wandering_recognizer()
    partners = prepare_partners(torch.stack(gallery), model)
    assert partners.present.tolist() == [[True, True, False, False]] * 2 + [[True, False, False, False]]
    assert partners.cells.tolist() == [[0, 1, 2, 3]] * 2 + [[0, 2, 2, 3]]
    maps = prepare_probe(probe, model, balance=False).maps(partners)
    patches = nn.functional.avg_pool2d(maps, PATCH)
    for found, known in zip(
        patches.flatten(1).tolist(), [[0.64, -0.36, 0, 0], [0.48, -0.48, 0, 0], [0.64, 0, 0, 0]], strict=True
    ):
        assert found == pytest.approx(known, abs=1e-6)


def test_partners_are_prepared_in_eval_mode_and_without_gradients(model, faces):
    expected = prepare_partners(faces[1:], model)
    model.train()
    try:
        partners = prepare_partners(faces[1:], model)
        assert model.training and model.trunk.training
    finally:
        model.eval()
    assert torch.equal(partners.embeddings, expected.embeddings) and not partners.embeddings.requires_grad
    assert torch.allclose(nn.functional.normalize(partners.embeddings), model.embed(faces[1:]), atol=1e-6)


def test_a_further_partner_or_threshold_runs_no_network(model, faces):
    partners = prepare_partners(faces[1:], model)
    prepared = prepare_probe(faces[0], model)
    broken = copy.deepcopy(model)
    for parameter in model.parameters():
        parameter.data.zero_()
    try:
        maps = prepared.maps(partners, threshold=0.01)
    finally:
        model.load_state_dict(broken.state_dict())
    assert agree(maps, explain_gallery(faces[0], faces[1:], model, threshold=0.01)[0])
    assert not agree(maps, prepared.maps(partners))


def test_modes_and_gradients_are_left_as_they_were(model, faces):
    model.train()
    try:
        maps, _ = explain_gallery(faces[0], faces[1:], model)
        assert model.training and model.trunk.training
    finally:
        model.eval()
    assert agree(maps, explain_gallery(faces[0], faces[1:], model)[0])
    assert not maps.requires_grad and all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tolerance": 0.1}, "a tolerance needs the weights of one partner"),
        ({"method": "ddfv-papr"}, "unknown explainer 'ddfv-papr'"),
        ({"speed": 1}, "unknown option 'speed'"),
    ],
)
def test_what_cannot_be_prepared_is_said(arguments, message, model, faces):
    with pytest.raises(InputError, match=message):
        prepare_probe(faces[0], model, **arguments)


def test_a_network_without_a_decoder_and_a_wrong_size_are_refused(model, faces):
    with pytest.raises(InputError, match="has no decoder"):
        prepare_probe(faces[0], FaceRecognizer(model.trunk, model.head))
    with pytest.raises(InputError, match="112 x 112 pixels; got 56 x 56"):
        prepare_probe(faces[0, :, ::2, ::2], model)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gallery_on_the_gpu_comes_back_to_the_probe(model, faces):
    expected, _ = explain_gallery(faces[0], faces[1:], model)
    with torch.backends.cudnn.flags(allow_tf32=False):
        maps, scores = explain_gallery(faces[0], faces[1:], copy.deepcopy(model).cuda())
    assert maps.device == scores.device == faces.device
    assert torch.allclose(maps, expected, atol=1e-4 * float(expected.abs().max()))

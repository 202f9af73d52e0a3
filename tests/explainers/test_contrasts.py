"""Contrast: the map against the partner less the map against others."""

import pytest
import torch
from explainer_toys import patch_image, patch_pair, patch_recognizer, smooth_images, smooth_pair, tiny_recognizer

from facexai.errors import InputError
from facexai.explainers import contrast, explain, make_explainer, reference_faces
from facexai.models import FaceRecognizer
from facexai.pairs import FacePair


@pytest.fixture(scope="module")
def model() -> FaceRecognizer:
    return tiny_recognizer()


def test_it_is_the_difference_of_two_maps_known_by_hand():
    """Products (.36, .64) with the partner and (.48, .48) with the stranger; of the gallery image likewise."""
    pair = patch_pair((0.6, 0.8, 0, 0), (0.6, 0.8, 0, 0))
    stranger = patch_image(0.8, 0.6, 0, 0)
    options = {"weight": "product", "balance": False, "upsampling": "cell"}
    signed = contrast(pair, stranger, patch_recognizer(), "max-pool", **options).signed
    for image in range(2):
        assert float(signed[image, :8, :8].sum()) == pytest.approx(0.36 - 0.48, abs=1e-5)
        assert float(signed[image, :8, 8:].sum()) == pytest.approx(0.64 - 0.48, abs=1e-5)


def test_several_references_count_by_their_mean_and_each_image_keeps_its_place(model):
    pair, others = smooth_pair(), smooth_images(2, seed=7)
    signed = contrast(pair, others, model, "max-pool").signed
    plain = explain(pair, model, "max-pool").signed
    probe = [explain(FacePair(pair.probe, other), model, "max-pool").signed[0] for other in others]
    gallery = [explain(FacePair(pair.gallery, other), model, "max-pool").signed[0] for other in others]
    assert torch.allclose(signed[0], plain[0] - (probe[0] + probe[1]) / 2, atol=1e-8)
    assert torch.allclose(signed[1], plain[1] - (gallery[0] + gallery[1]) / 2, atol=1e-8)


@pytest.mark.parametrize(
    ("method", "options"),
    [("ddfv", {}), ("ddfv", {"missing": "own", "balance": False}), ("rise", {"masks": 20, "minimum": 20})],
)
def test_methods_that_know_galleries_give_the_same_as_pair_by_pair(model, method, options):
    pair, other = smooth_pair(), smooth_images(1, seed=7)[0]
    signed = contrast(pair, other, model, method, **options).signed
    plain = explain(pair, model, method, **options).signed
    for own, image in enumerate(pair.images):
        against = explain(FacePair(image, other), model, method, **options).signed[0]
        assert torch.allclose(signed[own], plain[own] - against, atol=1e-5 * float(plain.abs().max()))


def test_the_partner_as_its_own_reference_leaves_nothing(model):
    pair = smooth_pair()
    assert float(contrast(pair, pair.gallery, model, "max-pool").signed[0].abs().max()) < 1e-9


def test_the_default_references_are_rendered_people(model, monkeypatch):
    faces = smooth_images(4, seed=3)
    monkeypatch.setattr("facexai.explainers.contrasts.reference_faces", lambda people, seed, size: faces[:people])
    made = explain(smooth_pair(), model, "contrast", of="max-pool", people=3)
    assert torch.equal(made.signed, contrast(smooth_pair(), faces[:3], model, "max-pool").signed)
    assert made.method == "Contrast(of='max-pool', options={}, people=3, seed=42)"


def test_rendered_references_are_faces_of_the_models_size(monkeypatch):
    monkeypatch.setattr(
        "facexai.datasets.rendered.RenderedFaces.images",
        lambda faces, **_: torch.full((2 * faces.identities, 112, 112, 3), 255, dtype=torch.uint8).numpy(),
    )
    reference_faces.reference_pairs.cache_clear()
    faces = reference_faces.reference_faces(2, 5, (64, 64))
    reference_faces.reference_pairs.cache_clear()
    assert faces.shape == (2, 3, 64, 64) and float(faces.min()) == pytest.approx(1)


def test_senseless_input_is_refused(model):
    with pytest.raises(InputError, match="contrast takes the name of another method"):
        make_explainer("contrast", of="contrast")
    with pytest.raises(InputError, match="unknown explainer 'nothing'"):
        make_explainer("contrast", of="nothing")
    with pytest.raises(InputError, match=r"references must be images \(3, 112, 112\)"):
        contrast(smooth_pair(), torch.zeros(3, 16, 16), model)

"""Stage 1 on very few faces: what is saved, what learns, and what makes it a training without the module."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from facexai.errors import InputError
from facexai.frontalizations import load_pose_invariant
from facexai.models.hopenet import HopeNet
from facexai.pose_networks import load_pose_network, save_pose_network
from facexai.training import PRESETS, PretrainConfig, read_log, train_pose_invariant
from facexai.training import pretrain as module
from facexai.training.pretrain import _networks
from facexai.weights import load_model


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("pretrain")
    torch.manual_seed(0)
    save_pose_network(HopeNet(10, size=32, stages=3), root / "pose", {})
    patch = pytest.MonkeyPatch()
    patch.setenv("FACEXAI_CACHE", str(root / "cache"))
    yield root
    patch.undo()


@pytest.fixture(scope="module")
def tiny(root) -> PretrainConfig:
    return replace(
        PRESETS["tutorial-fspfm-1"],
        start="",
        pose_network=str(root / "pose"),
        identities=4,
        images_per_identity=3,
        epochs=1,
        batch_size=6,
        precision="32-true",
        log_every=1,
    )


@pytest.fixture(scope="module")
def finished(tiny, root) -> Path:
    def validate(model) -> dict[str, float]:
        assert not model.training
        return {"auc": 0.75}

    return train_pose_invariant(tiny, root / "run", validate=validate, card={"command": "here"}, progress=False)


def test_the_run_leaves_both_networks_that_belong_together(finished, tiny):
    card = json.loads((finished / "card.json").read_text())
    assert (card["command"], card["recognizer"], card["validation"]) == ("here", "recognizer", {"auc": 0.75})
    recognizer = load_model(finished / "recognizer")
    assert card["network_sha256"]["recognizer"] == recognizer.card["sha256"]["model.safetensors"]
    model = load_pose_invariant(finished)
    assert model.embed(torch.zeros(1, 3, 112, 112)).shape == (1, recognizer.dimension)
    assert [row["validation"] for row in read_log(finished / "log.jsonl") if "validation" in row] == [{"auc": 0.75}]


def test_recognizer_and_module_learn_and_the_pose_network_rests(finished, tiny):
    before, after = _networks(tiny).state_dict(), load_pose_invariant(finished).state_dict()
    moved = {name for name in before if not torch.allclose(before[name].float(), after[name].float(), atol=1e-3)}
    assert {name.split(".")[0] for name in moved} == {"recognizer", "frontalization"}
    resting = load_pose_network(tiny.pose_network).state_dict()
    assert all(torch.equal(after[f"estimator.{name}"], value) for name, value in resting.items())


def test_a_limit_that_no_face_reaches_trains_the_recognizer_without_the_module(tiny):
    """The control of stage 1: the same start, the same batches."""
    images = torch.rand(4, 3, 112, 112, generator=torch.Generator().manual_seed(0)) * 2 - 1
    model = _networks(replace(tiny, limit=180.0, frontalizer="fspfm:residual_start=default")).eval()
    assert torch.equal(model.frontalized(images), model.recognizer.pool(model.recognizer.features(images)))
    model.frontalized(images).square().sum().backward()
    assert all(not bool(p.grad.any()) for p in model.frontalization.parameters() if p.grad is not None)


def test_training_faces_can_be_frontal_alone(monkeypatch, tiny):
    asked = []

    class Faces:
        identity = None

        def __init__(self, *numbers, frontal):
            asked.append((*numbers, frontal))

        def images(self, **_):
            raise InputError("seen")

    monkeypatch.setattr(module, "RenderedFaces", Faces)
    with pytest.raises(InputError, match="seen"):
        module._training_set(replace(tiny, frontal=1.0), progress=False)
    assert asked == [(4, 3, 5, 1.0)]

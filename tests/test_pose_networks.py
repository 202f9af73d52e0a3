"""Saved pose networks come back equal, published ones load by their own names, and nothing damaged is let in."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from facexai.errors import InputError
from facexai.models.hopenet import HopeNet
from facexai.models.three_ddfa import PARAMETERS, ThreeDDFA
from facexai.pose_networks import SHIPPED_POSE_NETWORKS, load_pose_network, save_pose_network
from facexai.weights import SHIPPED, load_model

IMAGES = torch.linspace(-1, 1, 2 * 3 * 112 * 112).reshape(2, 3, 112, 112)


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    model = HopeNet(10, size=64, stages=3).eval()
    return model, save_pose_network(model, tmp_path / "net", {"name": "small", "seed": 0})


def test_a_saved_network_comes_back_equal_and_leaves_the_global_state_alone(saved):
    model, folder = saved
    state = torch.get_rng_state()
    loaded = load_pose_network(folder)
    assert torch.equal(torch.get_rng_state(), state)
    for ours, theirs in zip(model(IMAGES), loaded(IMAGES), strict=True):
        assert torch.equal(ours, theirs)
    assert (loaded.name, loaded.card["seed"], loaded.training) == ("small", 0, False)
    assert "Model card: small" in (folder / "README.md").read_text()


def test_half_precision_halves_the_file_and_hardly_moves_the_angles(saved, tmp_path):
    model, folder = saved
    half = save_pose_network(model, tmp_path / "half", {}, half=True)
    sizes = [(path / "model.safetensors").stat().st_size for path in (half, folder)]
    assert sizes[0] < 0.55 * sizes[1]
    assert (load_pose_network(half)(IMAGES).angles - model(IMAGES).angles).abs().max() < 0.1


def test_a_tampered_file_is_refused(saved):
    _, folder = saved
    payload = bytearray((folder / "model.safetensors").read_bytes())
    payload[-1] ^= 1
    (folder / "model.safetensors").write_bytes(payload)
    with pytest.raises(InputError, match="sha256 differs"):
        load_pose_network(folder)


def test_a_card_of_another_size_is_refused(saved):
    _, folder = saved
    card = json.loads((folder / "card.json").read_text())
    card["architecture"]["options"]["stages"] = 4
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(InputError, match="weights of another network"):
        load_pose_network(folder)
    card["architecture"]["options"] = {"colour": "red"}
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(InputError, match="describes no HopeNet"):
        load_pose_network(folder)


def test_recognizers_and_pose_networks_are_told_apart(saved):
    _, folder = saved
    with pytest.raises(InputError, match="holds a pose network, but a recognizer is needed"):
        load_model(folder)
    recognizer = Path(load_model.__code__.co_filename).parent / "checkpoints" / "tutorial"
    with pytest.raises(InputError, match="holds a recognizer, but a pose network is needed"):
        load_pose_network(recognizer)
    assert not set(SHIPPED) & set(SHIPPED_POSE_NETWORKS) and "tutorial" in SHIPPED


def test_a_published_hopenet_loads_by_its_own_names(tmp_path):
    torch.manual_seed(1)
    model = HopeNet().eval()
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    torch.save({**state, "module.fc_finetune.weight": torch.zeros(3, 2051)}, tmp_path / "hopenet.pkl")
    loaded = load_pose_network(f"hopenet@{tmp_path / 'hopenet.pkl'}")
    assert torch.equal(loaded(IMAGES).angles, model(IMAGES).angles)
    assert loaded.name == "hopenet@hopenet.pkl"
    state.pop("module.fc_yaw.bias")
    torch.save(state, tmp_path / "less.pkl")
    with pytest.raises(InputError, match=r"less\.pkl: these are not the weights of this HopeNet: 1 tensors missing"):
        load_pose_network(f"hopenet@{tmp_path / 'less.pkl'}")


@pytest.fixture
def published(tmp_path):
    """A 3DDFA file and its moments, with random weights, as they are published."""
    torch.manual_seed(2)
    model = ThreeDDFA(torch.randn(PARAMETERS), torch.rand(PARAMETERS) + 0.5).eval()
    own = {name: value for name, value in model.state_dict().items() if name not in ("mean", "std")}
    state = {f"module.{name}": value for name, value in own.items()}
    state |= {"module.fc_lm.weight": torch.zeros(136, 512), "module.fc_lm.bias": torch.zeros(136)}
    torch.save({"epoch": 1, "state_dict": state}, tmp_path / "net.pth")
    np.savez(tmp_path / "net_param_mean_std.npz", mean=model.mean.numpy(), std=model.std.numpy())
    return model, tmp_path


def test_a_published_3ddfa_loads_with_its_moments(published):
    model, folder = published
    loaded = load_pose_network(f"3ddfa@{folder / 'net.pth'}")
    assert torch.equal(loaded(IMAGES).angles, model(IMAGES).angles)
    assert loaded(IMAGES).feature.shape == (2, loaded.pose_size) == (2, 512)


def test_3ddfa_without_usable_moments_is_refused(published):
    _, folder = published
    file = folder / "net_param_mean_std.npz"
    np.savez(file, mean=np.zeros(3), std=np.ones(3))
    with pytest.raises(InputError, match="must hold 62 means"):
        load_pose_network(f"3ddfa@{folder / 'net.pth'}")
    file.write_bytes(b"no archive")
    with pytest.raises(InputError, match="does not hold `mean` and `std`"):
        load_pose_network(f"3ddfa@{folder / 'net.pth'}")
    file.unlink()
    with pytest.raises(InputError, match=r"need one file \*param_mean_std\.npz .* found 0"):
        load_pose_network(f"3ddfa@{folder / 'net.pth'}")


@pytest.mark.parametrize("spec", ["hopenet@{}/none.pkl", "3ddfa@{}/text.pth", "resnet@{}/text.pth", "{}", "hopenets"])
def test_what_is_no_pose_network_is_one_clear_line(tmp_path, spec):
    (tmp_path / "text.pth").write_text("words")
    with pytest.raises(InputError) as caught:
        load_pose_network(spec.format(tmp_path))
    assert "\n" not in str(caught.value)


REALDATA = Path(os.environ.get("FACEXAI_REALDATA") or "missing")


@pytest.mark.realdata
@pytest.mark.skipif(not REALDATA.is_dir(), reason="FACEXAI_REALDATA does not name a folder of real faces")
@pytest.mark.parametrize("spec", ["hopenet-tutorial", "3ddfa@{}/weights/3ddfa_v2_mb05_120x120.pth"])
def test_real_profiles_are_told_from_real_frontal_faces(spec):
    from sklearn.metrics import roc_auc_score

    from facexai.datasets.folders import load_faces

    people = sorted((REALDATA / "cfp").iterdir())[:60]
    paths = {kind: [p for person in people for p in sorted((person / kind).glob("*.jpg"))[:4]] for kind in KINDS}
    network = load_pose_network(spec.format(REALDATA))
    yaws = []
    for kind in KINDS:
        faces = torch.from_numpy(load_faces(paths[kind])).permute(0, 3, 1, 2) / 127.5 - 1
        with torch.inference_mode():
            yaws.append(network(faces).angles[:, 0].abs())
    labels = np.repeat([0, 1], [len(part) for part in yaws])
    assert roc_auc_score(labels, torch.cat(yaws).numpy()) > 0.97


KINDS = ("frontal", "profile")

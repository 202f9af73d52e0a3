"""Saved models come back equal, and nothing damaged, foreign or unsafe is let in."""

import csv
import json
import os
import pickle
from pathlib import Path

import pytest
import torch

from facexai.errors import InputError
from facexai.models import build
from facexai.weights import load_model, record_benchmark, save_model, write_atomically

OPTIONS = {"blocks": [1, 1, 1, 1], "widths": [4, 4, 8, 16]}
IMAGES = torch.linspace(-1, 1, 2 * 3 * 112 * 112).reshape(2, 3, 112, 112)


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    model = build("ddfv-iresnet", **OPTIONS).eval()
    model.threshold = 0.25
    return model, save_model(model, tmp_path / "model", {"name": "tiny", "seed": 0})


def test_a_saved_model_comes_back_equal(saved):
    model, folder = saved
    loaded = load_model(folder)
    assert torch.equal(loaded.embed(IMAGES), model.embed(IMAGES))
    assert (loaded.threshold, loaded.name, loaded.card["seed"], loaded.training) == (0.25, "tiny", 0, False)
    assert "Model card: tiny" in (folder / "README.md").read_text()


def test_figures_of_benchmarks_are_added_to_the_card(saved):
    _, folder = saved
    for name, accuracy in (("first", 0.9), ("second", 0.8), ("first", 0.95)):
        record_benchmark(folder, {"benchmark": name, "accuracy": accuracy})
    benchmarks = load_model(folder).card["benchmarks"]
    assert {name: figures["accuracy"] for name, figures in benchmarks.items()} == {"first": 0.95, "second": 0.8}
    assert "0.95" in (folder / "README.md").read_text()


def test_half_precision_halves_the_file_and_hardly_moves_the_scores(tmp_path, saved):
    model, folder = saved
    half = save_model(model, tmp_path / "half", {}, half=True)
    sizes = [(path / "model.safetensors").stat().st_size for path in (half, folder)]
    assert sizes[0] < 0.65 * sizes[1]
    assert (load_model(half).embed(IMAGES) - model.embed(IMAGES)).abs().max() < 5e-3


@pytest.mark.parametrize("name", ["model.safetensors", "decoder.safetensors"])
def test_a_tampered_file_is_refused(saved, name):
    _, folder = saved
    payload = bytearray((folder / name).read_bytes())
    payload[-1] ^= 1
    (folder / name).write_bytes(payload)
    with pytest.raises(InputError, match="sha256 differs"):
        load_model(folder)


def test_a_card_that_is_no_card_is_refused(saved):
    _, folder = saved
    (folder / "card.json").write_text("[1, 2]")
    with pytest.raises(InputError, match="is not a model card"):
        load_model(folder)
    (folder / "card.json").unlink()
    with pytest.raises(InputError, match=r"has no card\.json"):
        load_model(folder)


def test_weights_of_another_architecture_are_refused(saved):
    _, folder = saved
    card = json.loads((folder / "card.json").read_text())
    card["architecture"]["options"]["widths"] = [4, 4, 8, 32]
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(InputError, match="another architecture"):
        load_model(folder)


def test_a_published_state_dict_loads_by_its_own_names(tmp_path):
    torch.manual_seed(0)
    model = build("mobilefacenet").eval()
    published = {f"arcface.{name.partition('.')[2]}": value for name, value in model.state_dict().items()}
    torch.save(published, tmp_path / "net.pth")
    assert torch.equal(load_model(f"mobilefacenet@{tmp_path / 'net.pth'}").embed(IMAGES), model.embed(IMAGES))


class Payload:
    def __reduce__(self):
        return (os.mkdir, ("executed",))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text.pth", b"this is no network"),
        ("empty.pth", b""),
        ("pickle.pth", pickle.dumps(Payload())),
        ("list.pth", None),
    ],
)
def test_a_file_that_is_no_state_dict_is_refused_and_never_run(tmp_path, monkeypatch, name, content):
    monkeypatch.chdir(tmp_path)
    if content is None:
        torch.save([1, 2], tmp_path / name)
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_model(f"mobilefacenet@{tmp_path / name}")
    assert "\n" not in str(caught.value)
    assert not Path("executed").exists()


def test_unknown_names_say_what_would_work():
    with pytest.raises(InputError, match="give a shipped name"):
        load_model("tutorail")
    with pytest.raises(InputError, match="unknown architecture 'iresnet51'"):
        load_model("iresnet51@backbone.pth")
    with pytest.raises(InputError, match="no weights file"):
        load_model("iresnet50@nowhere.pth")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    target = tmp_path / "file"
    write_atomically(target, b"old")

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.realdata
@pytest.mark.skipif("FACEXAI_REALDATA" not in os.environ, reason="FACEXAI_REALDATA does not name the real faces")
def test_the_published_mobilefacenet_verifies_real_faces():
    from facexai.images import load_image

    root = Path(os.environ["FACEXAI_REALDATA"])
    model = load_model(f"mobilefacenet@{root / 'weights/mobilefacenet_casia.pth'}")
    with open(root / "lfw_pairs.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["fold"] == "0"][::12]
    with torch.inference_mode():
        sides = [
            model.embed(torch.stack([load_image(root / "lfw" / row[side]) for row in rows]))
            for side in ("name1", "name2")
        ]
    scores = (sides[0] * sides[1]).sum(1)
    genuine = torch.tensor([row["same"] == "1" for row in rows])
    assert ((scores > 0.28) == genuine).float().mean() > 0.95

"""An xcos head learns the score of a frozen network, place by place, and recognition does not move by a bit."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import facexai.training
from facexai import cli
from facexai.errors import InputError
from facexai.explainers import explain
from facexai.training import PRESETS, XCosConfig, read_log, train_xcos
from facexai.training.xcos import PairedFaces, draw_pairs, split_pairs
from facexai.weights import load_model, save_model

sys.path.append(str(Path(__file__).parents[1] / "explainers"))
from explainer_toys import smooth_images, smooth_pair, tiny_recognizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Five 'people' of six soft images each, and a small network."""
    root = tmp_path_factory.mktemp("xcos")
    people, noise = smooth_images(5, seed=1), smooth_images(30, seed=2)
    for number in range(30):
        face = 0.7 * people[number // 6] + 0.3 * noise[number]
        file = root / "faces" / f"{number // 6}" / f"{number:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(((face + 1) * 127.5).byte().permute(1, 2, 0).numpy()).save(file)
    save_model(tiny_recognizer(), root / "given", {"limits": "A toy.", "command": "none"})
    return root


@pytest.fixture(scope="module")
def tiny(folder) -> XCosConfig:
    return XCosConfig(
        model=str(folder / "given"),
        images=str(folder / "faces"),
        epochs=3,
        batch_size=6,
        identity_weight=0.01,
        lr=1e-2,
        precision="32-true",
        log_every=1,
    )


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory) -> Path:
    return train_xcos(tiny, tmp_path_factory.mktemp("run") / "whole", progress=False)


def test_recognition_stays_as_it_is_and_xcos_follows_the_score(finished, folder):
    before, after = load_model(folder / "given").state_dict(), load_model(finished).state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert {name.split(".")[0] for name in after.keys() - before.keys()} == {"xcos"}
    losses = [row["loss_cos"] for row in read_log(finished / "log.jsonl") if "loss_cos" in row]
    assert np.mean(losses[-6:]) < 0.7 * np.mean(losses[:6])
    assert float(explain(smooth_pair(), load_model(finished), "xcos").discriminative.max()) > 0


def test_the_card_says_what_was_given_and_how_well_xcos_follows(finished, tiny):
    card = load_model(finished).card
    assert card["recognizer"] == {"name": "given", "command": "none"} and card["limits"] == "A toy."
    assert card["settings"] == tiny.to_json()
    assert card["steps"] == 18  # two pairs for each of 18 images of three people; the other two people validate
    assert set(card["validation"]) == {"mse", "variance_explained"}


def test_a_resumed_run_learns_what_an_uninterrupted_one_learns(finished, tiny, tmp_path, interrupted):
    interrupted(lambda: train_xcos(tiny, tmp_path, progress=False))
    with pytest.raises(InputError, match="cannot resume with another lr"):  # so it does look at the checkpoint
        train_xcos(replace(tiny, lr=1.0), tmp_path, resume=True, progress=False)
    resumed = load_model(train_xcos(tiny, tmp_path, resume=True, progress=False)).state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in load_model(finished).state_dict().items())


def test_each_image_meets_its_own_person_and_a_stranger():
    identity = np.array([3, 0, 0, 7, 7, 7, 3, 9, 5, 5])
    pairs = draw_pairs(identity, np.array([0, 1, 2, 3, 4, 5, 6, 7]), np.random.default_rng(0))
    genuine = identity[pairs[:, 0]] == identity[pairs[:, 1]]
    assert sorted(pairs[genuine, 0]) == sorted(pairs[genuine, 1]) == [0, 1, 2, 3, 4, 5, 6]  # the only 9 has no mate
    assert (pairs[genuine, 0] != pairs[genuine, 1]).all()
    assert sorted(pairs[~genuine, 0]) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert pairs.max() == 7


def test_held_out_people_are_in_no_pair_to_learn_from():
    identity = np.repeat(np.arange(30), 3)
    learning, held_out = split_pairs(identity)
    people, others = set(identity[learning].flatten()), set(identity[held_out].flatten())
    assert len(others) == 3 and not people & others and len(people | others) == 30
    with pytest.raises(InputError, match="at least four people; got 3"):
        split_pairs(np.array([0, 0, 1, 1, 2, 2]))


def test_a_pair_is_the_probe_above_the_gallery_image():
    images = np.arange(3, dtype=np.uint8)[:, None, None, None].repeat(4, 1).repeat(5, 2).repeat(3, 3)
    paired = PairedFaces(images, np.array([[0, 1], [2, 0]]))
    assert len(paired) == 2
    assert paired[np.array([1])].shape == (1, 8, 5, 3)
    assert paired[np.array([1])][0, :, 0, 0].tolist() == [2, 2, 2, 2, 0, 0, 0, 0]


def test_the_command_gives_model_and_images_to_the_run(monkeypatch, tmp_path, capsys):
    seen = []

    def train(config, out, **options):
        seen.append((config, options["card"]["command"]))
        return save_model(tiny_recognizer(), out, {})

    monkeypatch.setattr(facexai.training, "train_xcos", train)
    words = ["train", "xcos", "--model", "tutorial", "--images", "faces", "--set", "epochs=2", "--out"]
    assert cli.main([*words, str(tmp_path / "run")]) == 0
    assert seen[0][0] == replace(PRESETS["xcos"], model="tutorial", images="faces", epochs=2)
    assert seen[0][1] == "facexai train xcos --model tutorial --images faces --preset xcos --set epochs=2"
    assert cli.main([*words, str(tmp_path / "other"), "--preset", "decoder"]) == 2
    assert "belongs to another training; choose one of xcos" in capsys.readouterr().err

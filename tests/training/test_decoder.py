"""A decoder learns on a frozen trunk: faces come back, and recognition does not move by a bit."""

import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import facexai.training
from facexai import cli
from facexai.datasets import ImageFolder
from facexai.errors import InputError
from facexai.explainers import explain
from facexai.models import FaceRecognizer, build
from facexai.pairs import FacePair
from facexai.training import PRESETS, DecoderConfig, preset, read_log, train_decoder
from facexai.training.decoder import fresh_decoder, reconstruction_quality, split
from facexai.weights import load_model, save_model

sys.path.append(str(Path(__file__).parents[1] / "explainers"))
from explainer_toys import patch_recognizer, smooth_images, tiny_recognizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Forty soft images in nested folders, and a small network without a decoder of its own choosing."""
    root = tmp_path_factory.mktemp("decoder")
    pixels = ((smooth_images(40) + 1) * 127.5).byte().permute(0, 2, 3, 1).numpy()
    for number, image in enumerate(pixels):
        file = root / "faces" / f"{number % 3}" / f"{number:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    save_model(tiny_recognizer(), root / "given", {"name": "given", "limits": "A toy.", "command": "none"})
    return root


@pytest.fixture(scope="module")
def tiny(folder) -> DecoderConfig:
    return DecoderConfig(
        model=str(folder / "given"),
        images=str(folder / "faces"),
        epochs=3,
        batch_size=6,
        lr=1e-2,
        precision="32-true",
        log_every=1,
    )


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory) -> Path:
    return train_decoder(tiny, tmp_path_factory.mktemp("run") / "whole", progress=False)


def test_recognition_stays_as_it_is_and_faces_come_back(finished, folder):
    before, after = load_model(folder / "given"), load_model(finished)
    for name, value in before.state_dict().items():
        assert torch.equal(value, after.state_dict()[name]) != name.startswith("decoder.") or "num_batches" in name
    assert after.threshold == before.threshold
    losses = [row["loss_rec"] for row in read_log(finished / "log.jsonl") if "loss_rec" in row]
    assert np.mean(losses[-6:]) < 0.9 * np.mean(losses[:6])  # the last epoch and the first


def test_the_card_says_what_was_given_and_how_well_faces_come_back(finished, tiny):
    card = load_model(finished).card
    assert card["recognizer"] == {"name": "given", "command": "none"} and card["limits"] == "A toy."
    assert card["settings"] == tiny.to_json() and card["data"].endswith("40 images")
    assert (card["steps"], card["images_seen"]) == (18, 108)  # 36 images to learn from, 4 to validate on
    quality = card["validation"]
    assert quality["variance_explained"] == pytest.approx(1 - quality["mse"] / quality["mean_image_mse"])


def test_a_network_without_a_decoder_can_then_be_explained(folder, tiny, tmp_path):
    torch.manual_seed(0)
    save_model(build("mobilefacenet").eval(), tmp_path / "plain", {})
    config = replace(tiny, model=str(tmp_path / "plain"), epochs=1, batch_size=18)
    model = load_model(train_decoder(config, tmp_path / "run", progress=False))
    pair = FacePair(*smooth_images(2))
    assert explain(pair, model).signed.abs().max() > 0
    with pytest.raises(InputError, match="no decoder"):
        explain(pair, load_model(tmp_path / "plain"))


def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(finished, tiny, tmp_path, interrupted):
    interrupted(lambda: train_decoder(tiny, tmp_path, progress=False))
    with pytest.raises(InputError, match="cannot resume with another lr"):
        train_decoder(replace(tiny, lr=1.0), tmp_path, resume=True, progress=False)
    train_decoder(tiny, tmp_path, resume=True, progress=False)
    expected, resumed = load_model(finished).state_dict(), load_model(tmp_path).state_dict()
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)


def test_the_global_random_state_is_left_alone(tiny, tmp_path):
    before = torch.get_rng_state()
    train_decoder(replace(tiny, epochs=1), tmp_path, progress=False)
    assert torch.equal(torch.get_rng_state(), before)


class Painter(FaceRecognizer):
    """Rebuilds the image perfectly, or as grey."""

    def __init__(self, gain: float) -> None:
        super().__init__(nn.Identity(), nn.Identity(), nn.Identity(), input_size=(4, 4))
        self.gain = nn.Parameter(torch.tensor(gain))

    def reconstruct(self, features):
        return self.gain * features


def test_the_mean_image_explains_nothing_and_a_perfect_painter_everything():
    images = np.array([0, 255], np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    for gain, mse in ((1.0, 0.0), (0.0, 1.0), (0.5, 0.25)):
        quality = reconstruction_quality(Painter(gain), images, batch_size=1)
        assert quality == pytest.approx({"mse": mse, "mean_image_mse": 1.0, "variance_explained": 1 - mse})


def test_images_are_learnt_from_or_validated_on():
    images = np.arange(40)
    learning, held_out = split(images, held_out=500)  # type: ignore[arg-type]
    assert (len(learning), len(held_out)) == (36, 4)
    assert sorted([*learning[np.arange(36)], *held_out[np.arange(4)]]) == list(range(40))
    assert len(split(images, held_out=2)[1]) == 2  # type: ignore[arg-type]
    with pytest.raises(InputError, match="19 are too few"):
        split(images[:19], held_out=500)  # type: ignore[arg-type]


def test_a_feature_map_of_another_size_gets_as_many_layers_as_it_needs():
    model = patch_recognizer()  # 2 x 2 cells for 16 x 16 pixels
    decoder = fresh_decoder(model)
    assert len(decoder.layers) == 3
    assert model.reconstruct(model.features(torch.zeros(2, 3, 16, 16))).shape == (2, 3, 16, 16)


def test_folders_are_searched_to_the_bottom_and_links_are_followed(folder, tmp_path):
    assert len(ImageFolder(folder / "faces")) == 40
    (tmp_path / "linked").symlink_to(folder / "faces" / "1")
    linked = ImageFolder(tmp_path)
    assert [path.name for path in linked.paths] == [f"{number:02d}.png" for number in range(1, 40, 3)]
    assert linked[np.array([0, 1])].shape == (2, 112, 112, 3)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no images"):
        ImageFolder(tmp_path / "empty")
    with pytest.raises(InputError, match="no folder"):
        ImageFolder(tmp_path / "nowhere")


def test_presets_belong_to_one_training():
    assert preset("decoder", DecoderConfig) is PRESETS["decoder"]
    with pytest.raises(InputError, match="preset 'tutorial' belongs to another training; choose one of decoder"):
        preset("tutorial", DecoderConfig)


@pytest.mark.parametrize("field", [field.name for field in fields(DecoderConfig)])
def test_every_setting_is_used(field):
    sources = Path(facexai.training.__file__).parent
    assert any(f"config.{field}" in (sources / name).read_text() for name in ("decoder.py", "fit.py"))


def test_the_command_trains_and_leaves_nothing_behind_where_it_cannot(folder, tmp_path, capsys):
    command = ["train", "decoder", "--model", str(folder / "given"), "--out", str(tmp_path / "run")]
    settings = ["--set", "epochs=1", "--set", "batch_size=9", "--set", "precision=32-true"]
    assert cli.main([*command, "--images", str(tmp_path), *settings]) == 2
    assert "holds no images" in capsys.readouterr().err and not (tmp_path / "run").exists()
    assert cli.main([*command, "--images", str(folder / "faces"), *settings]) == 0
    assert "trained:" in capsys.readouterr().out
    card = load_model(tmp_path / "run").card
    assert card["command"].startswith(f"facexai train decoder --model {folder / 'given'} --images")
    assert card["steps"] == 4

"""The training loop: deterministic, resumable, atomic; presets that say what the paper prints."""

import functools
import json
import operator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

import facexai.training
from facexai.errors import InputError
from facexai.training import PRESETS, DDFVConfig, override, read_log, train_ddfv
from facexai.training.loop import batches, lr_factor
from facexai.weights import load_model

TINY = replace(
    PRESETS["smoke"], identities=2, images_per_identity=8, batch_size=4, epochs=2, precision="32-true", half=False
)


@pytest.fixture(scope="module", autouse=True)
def two_rendered_people(tmp_path_factory):
    """Sixteen noise images of two 'people' in place of rendered ones: what is learnt does not matter here."""
    from facexai.training import ddfv

    pixels = np.random.default_rng(0).integers(0, 256, (16, 112, 112, 3), dtype=np.uint8)
    patch = pytest.MonkeyPatch()
    patch.setattr(ddfv.RenderedFaces, "images", lambda self, **_: pixels)
    yield
    patch.undo()


def weights_of(folder):
    return load_model(folder).state_dict()


def equal(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return train_ddfv(TINY, tmp_path_factory.mktemp("run") / "whole", progress=False)


def test_a_run_leaves_model_card_log_and_checkpoint(finished):
    rows = read_log(finished / "log.jsonl")
    assert [row["step"] for row in rows] == list(range(1, 9))
    assert all(np.isfinite([row["loss_id"], row["loss_rec"]]).all() for row in rows)
    card = load_model(finished).card
    assert (card["steps"], card["images_seen"], card["seed"]) == (8, 32, 42)
    assert card["settings"] == json.loads((finished / "config.json").read_text()) == TINY.to_json()
    assert (finished / "last.ckpt").is_file()


def test_the_same_seed_gives_the_same_weights_and_another_seed_does_not(finished, tmp_path):
    assert equal(weights_of(train_ddfv(TINY, tmp_path / "again", progress=False)), weights_of(finished))
    other = weights_of(train_ddfv(replace(TINY, seed=7), tmp_path / "other", progress=False))
    assert not equal(other, weights_of(finished))


@pytest.mark.parametrize("stop_at", [3, 4])
def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(finished, tmp_path, monkeypatch, stop_at):
    from facexai.training import ddfv, fit

    calls = 0

    def interrupt(*args):
        nonlocal calls
        calls += 1
        if calls > stop_at:
            raise KeyboardInterrupt
        return lr_factor(*args)

    monkeypatch.setattr(fit, "lr_factor", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_ddfv(TINY, tmp_path, progress=False)
    monkeypatch.undo()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            ddfv.RenderedFaces,
            "images",
            lambda self, **_: np.random.default_rng(0).integers(0, 256, (16, 112, 112, 3), dtype=np.uint8),
        )
        train_ddfv(TINY, tmp_path, resume=True, progress=False)
    assert equal(weights_of(tmp_path), weights_of(finished))
    assert [row["step"] for row in read_log(tmp_path / "log.jsonl")] == list(range(1, 9))


def test_training_leaves_the_global_random_state_alone(tmp_path):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    train_ddfv(replace(TINY, epochs=1), tmp_path, progress=False)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_run_with_other_settings_is_not_resumed(finished):
    with pytest.raises(InputError, match=r"another lr: the run has 0\.002, the command 0\.1"):
        train_ddfv(replace(TINY, lr=0.1), finished, resume=True, progress=False)


def test_nothing_to_resume_and_damaged_checkpoints_are_said(tmp_path):
    with pytest.raises(InputError, match="nothing to resume"):
        train_ddfv(TINY, tmp_path, resume=True, progress=False)
    (tmp_path / "last.ckpt").write_bytes(b"torn")
    with pytest.raises(InputError, match="is damaged"):
        train_ddfv(TINY, tmp_path, resume=True, progress=False)


def test_validation_gives_the_model_its_threshold(tmp_path):
    seen = []

    def validate(model):
        seen.append(model.training)
        return {"accuracy": 0.5, "threshold": 0.123}

    folder = train_ddfv(TINY, tmp_path, validate=validate, progress=False)
    assert seen == [False, False]
    assert load_model(folder).threshold == 0.123
    assert load_model(folder).card["validation"]["accuracy"] == 0.5


def test_resuming_a_finished_run_keeps_its_threshold(tmp_path):
    config = replace(TINY, epochs=1)
    for resume in (False, True):
        train_ddfv(config, tmp_path, resume=resume, validate=lambda _: {"threshold": 0.123}, progress=False)
        assert load_model(tmp_path).threshold == 0.123


def test_training_goes_on_from_a_saved_model(finished, tmp_path):
    config = replace(TINY, start=str(finished), lr=1e-12, decoder_lr=1e-12, epochs=1, margin=0.0)
    run = train_ddfv(config, tmp_path / "more", progress=False)
    before, after = load_model(finished).state_dict(), load_model(run).state_dict()
    learnt = [name for name in before if "running" not in name and "num_batches" not in name]
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in learnt)
    assert load_model(run).card["started_from"]["steps"] == load_model(finished).card["steps"]
    # the centres are where the network puts the people: sixteen images of noise, told apart from the first step
    from_nothing = train_ddfv(replace(config, start=""), tmp_path / "fresh", progress=False)
    losses = [read_log(folder / "log.jsonl")[0]["loss_id"] for folder in (run, from_nothing)]
    assert losses[0] < losses[1]


def test_a_start_of_another_architecture_is_refused(finished, tmp_path):
    with pytest.raises(InputError, match="start must be a model of the same architecture"):
        train_ddfv(replace(TINY, start=str(finished), normalize=False), tmp_path / "run", progress=False)


def test_augmented_images_are_what_is_learnt(finished, tmp_path):
    other = train_ddfv(replace(TINY, augment=1.0), tmp_path / "augmented", progress=False)
    assert not equal(weights_of(other), weights_of(finished))


def test_a_detached_decoder_does_not_move_the_trunk(tmp_path):
    common = replace(TINY, epochs=1, detach_decoder=True)
    light, heavy = (
        weights_of(train_ddfv(replace(common, reconstruction_weight=weight), tmp_path / str(weight), progress=False))
        for weight in (0.0, 100.0)
    )
    trunk = [name for name in light if name.startswith("trunk.")]
    assert all(torch.equal(light[name], heavy[name]) for name in trunk)
    joint = weights_of(
        train_ddfv(
            replace(common, detach_decoder=False, reconstruction_weight=100.0), tmp_path / "joint", progress=False
        )
    )
    assert not all(torch.equal(light[name], joint[name]) for name in trunk)


def test_fewer_images_than_a_batch_are_refused(tmp_path):
    with pytest.raises(InputError, match="16 images are less than one batch of 64"):
        train_ddfv(replace(TINY, batch_size=64), tmp_path, progress=False)


def test_an_identity_folder_trains(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    for person in ("ada", "grace"):
        (tmp_path / "faces" / person).mkdir(parents=True)
        for number in range(4):
            pixels = rng.integers(0, 256, (112, 112, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "faces" / person / f"{number}.png")
    folder = train_ddfv(replace(TINY, images=str(tmp_path / "faces"), epochs=1), tmp_path / "run", progress=False)
    assert load_model(folder).card["data"].endswith("8 images")


# Batches, rates, settings


def test_an_epoch_shows_each_image_once_and_resumes_where_it_stopped():
    images = np.arange(12, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    identity = np.arange(12)

    def epoch(first, **changes):
        options = {"batch_size": 4, "epoch": 0, "seed": 1, "rank": 0, "world": 1} | changes
        return [labels.tolist() for _, labels in batches(images, identity, first=first, **options)]

    whole = epoch(0)
    assert sorted(functools.reduce(operator.iadd, whole, [])) == list(range(12))
    assert epoch(2) == whole[2:]
    assert epoch(0, epoch=1) != whole
    ranks = [epoch(0, batch_size=3, rank=rank, world=2) for rank in range(2)]
    assert sorted(functools.reduce(operator.iadd, ranks[0] + ranks[1], [])) == list(range(12))


def test_every_second_image_is_mirrored_and_labels_follow_their_images():
    ramp = np.broadcast_to(np.arange(4, dtype=np.uint8)[:, None], (1, 4, 4, 3))
    images = np.concatenate([ramp + np.uint8(10 * number) for number in range(20)])
    mirrored = 0
    for faces, labels in batches(images, np.arange(20), batch_size=5, epoch=0, first=0, seed=1, rank=0, world=1):
        assert (faces.amin((1, 2, 3)) // 10 == labels).all()
        mirrored += int((faces[:, 0, 0, 0] > faces[:, 0, 0, -1]).sum())
    assert 4 <= mirrored <= 16


def test_learning_rates_by_hand():
    assert lr_factor(0.0, "cosine", 0.0) == 1.0
    assert lr_factor(0.5, "cosine", 0.0) == pytest.approx(0.5)
    assert lr_factor(0.01, "steps", 0.02) == pytest.approx(0.5)
    assert [lr_factor(p, "steps", 0.0) for p in (0.39, 0.41, 0.65, 0.9)] == pytest.approx([1, 0.1, 0.01, 0.001])


def test_the_paper_preset_holds_what_the_paper_prints():
    paper = PRESETS["paper-ddfv"]
    assert (paper.epochs, paper.lr, paper.decoder_lr, paper.optimizer) == (25, 0.02, 2e-4, "sgd")
    assert (paper.architecture, paper.normalize, paper.detach_decoder) == ("ddfv-iresnet50", False, False)


def test_settings_are_parsed_by_the_type_of_their_field():
    config = override(DDFVConfig(), ["lr=3e-4", "epochs=3", "compile=true", "schedule=cosine", "scale=32"])
    assert (config.lr, config.epochs, config.compile, config.schedule, config.scale) == (3e-4, 3, True, "cosine", 32.0)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("lrr=1", "unknown setting 'lrr'; choose one of architecture"),
        ("epochs=1.5", "epochs must be a int"),
        ("epochs=0", "epochs must be at least 1"),
        ("compile=3", "compile must be a bool"),
        ("schedule=linear", "schedule must be one of steps, cosine"),
        ("lr", "a setting is key=value"),
        ("lr=fast", "lr must be a float"),
        ("reconstructed=0", "reconstructed must be a share"),
    ],
)
def test_bad_settings_are_named(setting, message):
    with pytest.raises(InputError, match=message):
        override(DDFVConfig(), [setting])


@pytest.mark.parametrize("field", [field.name for field in fields(DDFVConfig)])
def test_every_setting_is_used_by_the_loop(field):
    """A setting that nothing reads would be a silent wrong experiment."""
    folder = Path(facexai.training.__file__).parent
    assert any(f"config.{field}" in (folder / name).read_text() for name in ("ddfv.py", "fit.py"))

"""A pose network learns: mirrored faces get mirrored poses, seeds decide, nothing else moves."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import facexai.training
from facexai.errors import InputError
from facexai.losses import head_pose_loss
from facexai.models.hopenet import HopeNet, expected_angles
from facexai.pose_networks import load_pose_network
from facexai.training import PRESETS, HopeNetConfig, override, preset, read_log, train_hopenet
from facexai.training import hopenet as module
from facexai.training.hopenet import MIRRORED, PoseObjective
from facexai.training.loop import batches, lr_factor


def gradient_image(yaw: float) -> np.ndarray:
    """Something whose 'yaw' a small network can read off: a ramp that rises to the right as far as it is turned."""
    ramp = 127 + yaw * np.linspace(-1, 1, 112)
    return np.broadcast_to(ramp[None, :, None], (112, 112, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("faces")
    yaws = np.random.default_rng(0).uniform(-90, 90, 48).round(1)
    lines = ["name,yaw,pitch,roll"]
    for number, yaw in enumerate(yaws):
        Image.fromarray(gradient_image(yaw)).save(root / f"{number:02d}.png")
        lines.append(f"{number:02d}.png,{yaw},5,0")
    (root / "poses.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def tiny(folder) -> HopeNetConfig:
    return replace(
        PRESETS["hopenet-tutorial"],
        images=str(folder),
        poses=str(folder / "poses.csv"),
        size=32,
        epochs=6,
        batch_size=8,
        augment=0.0,
        precision="32-true",
        half=False,
        log_every=1,
    )


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory) -> Path:
    return train_hopenet(tiny, tmp_path_factory.mktemp("run") / "whole", progress=False)


def test_the_error_falls_and_the_card_says_how_it_came(finished, tiny):
    rows = [row for row in read_log(finished / "log.jsonl") if "yaw" in row]
    assert np.mean([row["yaw"] for row in rows[-6:]]) < 0.6 * np.mean([row["yaw"] for row in rows[:6]])
    card = load_pose_network(finished).card
    assert card["settings"] == tiny.to_json() and card["data"].endswith("48 images")
    assert (card["steps"], card["images_seen"], card["seed"]) == (36, 288, 42)


def test_the_objective_is_the_loss_of_the_paper_on_what_the_network_says():
    torch.manual_seed(0)
    model = HopeNet(10, size=32, stages=3).eval()
    images, angles = torch.rand(4, 3, 32, 32) * 2 - 1, torch.rand(4, 3) * 100 - 50
    terms = PoseObjective(model, 0.3)(images, angles, 0.0)
    logits = model.logits(model.feature(images))
    torch.testing.assert_close(terms["loss"], head_pose_loss(logits, angles, alpha=0.3))
    errors = (expected_angles(logits) - angles).abs().mean(0)
    torch.testing.assert_close(torch.stack([terms[name] for name in ("yaw", "pitch", "roll")]), errors)


def test_mirrored_faces_have_mirrored_poses():
    """Yaw and roll change sign and pitch does not: checked on the rotation itself."""
    from facexai.pose import Pose

    mirror = np.diag([-1.0, 1.0, 1.0])
    pose = Pose(50.0, -20.0, 12.0)
    turned = Pose(*(np.array([pose.yaw, pose.pitch, pose.roll]) * MIRRORED).tolist())
    np.testing.assert_allclose(turned.matrix(), mirror @ pose.matrix() @ mirror, atol=1e-6)


def test_labels_are_mirrored_with_their_images():
    yaws = np.linspace(-90, 90, 20).astype(np.float32)
    images = np.stack([gradient_image(yaw) for yaw in yaws])
    poses = np.stack([yaws, np.full(20, 5, np.float32), yaws / 9], axis=1)
    before, seen = poses.copy(), []
    options = {"batch_size": 5, "epoch": 0, "first": 0, "seed": 1, "rank": 0, "world": 1}
    for faces, labels in batches(images, poses, mirrored=lambda angles: angles * MIRRORED, **options):
        rise = (faces[:, 0, 0, -1].float() - faces[:, 0, 0, 0].float()) / 2
        torch.testing.assert_close(rise, labels[:, 0], atol=1.0, rtol=0)
        torch.testing.assert_close(labels[:, 2], labels[:, 0] / 9)
        assert (labels[:, 1] == 5).all()
        seen += labels[:, 0].tolist()
    assert np.array_equal(poses, before)
    assert sorted(np.abs(seen)) == pytest.approx(sorted(np.abs(yaws))) and sorted(seen) != sorted(yaws.tolist())


def test_the_same_seed_gives_the_same_weights_and_another_seed_does_not(tiny, tmp_path):
    state = torch.get_rng_state()
    configs = {"one": 42, "again": 42, "other": 7}
    runs = [
        train_hopenet(replace(tiny, epochs=1, seed=seed), tmp_path / name, progress=False)
        for name, seed in configs.items()
    ]
    assert torch.equal(torch.get_rng_state(), state)
    first, second, third = (load_pose_network(run).state_dict() for run in runs)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], third["conv1.weight"])


def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(finished, tiny, tmp_path, interrupted):
    interrupted(lambda: train_hopenet(tiny, tmp_path, progress=False))
    with pytest.raises(InputError, match="cannot resume with another lr"):  # so it does look at the checkpoint
        train_hopenet(replace(tiny, lr=1.0), tmp_path, resume=True, progress=False)
    train_hopenet(tiny, tmp_path, resume=True, progress=False)
    expected, resumed = (load_pose_network(run).state_dict() for run in (finished, tmp_path))
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)


def test_training_goes_on_from_a_saved_network(finished, tiny, tmp_path):
    config = replace(tiny, start=str(finished), lr=0.0, epochs=1)
    before, after = (load_pose_network(run) for run in (finished, train_hopenet(config, tmp_path, progress=False)))
    assert torch.equal(before.state_dict()["fc_yaw.weight"], after.state_dict()["fc_yaw.weight"])
    with pytest.raises(InputError, match=r"start must be a HopeNet with .*'size': 48"):
        train_hopenet(replace(config, size=48), tmp_path / "other", progress=False)


def test_heads_learn_at_a_rate_of_their_own():
    trunk, heads = module._optimizer(HopeNet(10, size=32, stages=3), HopeNetConfig(lr=0.1, head_lr=5.0)).param_groups
    assert (trunk["lr"], heads["lr"], len(heads["params"])) == (0.1, 0.5, 6)


def test_validation_sees_the_network_in_eval_mode_and_goes_to_the_card(tiny, tmp_path):
    def validate(model):
        assert not model.training
        return {"yaw_mae": 1.5}

    run = train_hopenet(replace(tiny, epochs=1), tmp_path, validate=validate, progress=False)
    assert load_pose_network(run).card["validation"] == {"yaw_mae": 1.5}


def test_rendered_faces_train_and_no_face_is_turned(monkeypatch, tmp_path):
    pixels = np.zeros((8, 112, 112, 3), np.uint8)
    turns = []
    monkeypatch.setattr(module.RenderedPoses, "images", lambda self, **_: pixels)
    monkeypatch.setattr(
        module, "augment", lambda images, strength, turn, cut, **_: turns.append((strength, turn, cut)) or images
    )
    config = replace(PRESETS["hopenet-tutorial"], identities=2, images_per_identity=4, batch_size=4, epochs=1, size=32)
    run = train_hopenet(config, tmp_path, progress=False)
    assert load_pose_network(run).card["data"] == "rendered faces: 2 identities x 4 images, seed 1"
    assert turns == [(1.5, False, 0.6)] * 2


# Settings


def test_the_paper_preset_holds_what_paper_and_code_print():
    paper = preset("paper-hopenet", HopeNetConfig)
    assert (paper.depth, paper.size, paper.stages, paper.alpha) == (50, 224, 4, 1.0)
    assert (paper.epochs, paper.lr, paper.batch_size, paper.head_lr) == (25, 1e-5, 16, 5.0)
    assert (paper.schedule, paper.weight_decay, paper.augment) == ("constant", 0.0, 0.0)
    assert [lr_factor(share, "constant", 0.0) for share in (0.0, 0.5, 1.0)] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("field", [field.name for field in fields(HopeNetConfig)])
def test_every_setting_is_used_by_the_loop(field):
    text = "".join((Path(facexai.training.__file__).parent / name).read_text() for name in ("hopenet.py", "fit.py"))
    assert f"config.{field}" in text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["images=faces"], "images and poses belong together"),
        (["poses=poses.csv"], "images and poses belong together"),
        (["loose=2"], r"loose must be a share in \[0, 1\]; got 2.0"),
        (["schedule=linear"], "schedule must be one of constant, steps, cosine"),
        (["epochs=0"], "epochs must be at least 1"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(InputError, match=message):
        override(HopeNetConfig(), settings)


def test_a_pose_file_with_nan_stops_the_run_before_it_starts(tiny, folder, tmp_path):
    (tmp_path / "bad.csv").write_text("name,yaw,pitch,roll\n00.png,nan,0,0\n")
    with pytest.raises(InputError, match="line 2: yaw must be a number"):
        train_hopenet(replace(tiny, poses=str(tmp_path / "bad.csv")), tmp_path / "run", progress=False)

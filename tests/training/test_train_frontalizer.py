"""From networks and faces to a saved frontalizer, end to end on very few faces; and what cannot be trained from."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from facexai.datasets import rendered as rendered_module
from facexai.errors import InputError
from facexai.frontalizations import load_frontalization, load_pose_invariant, save_frontalization
from facexai.models import build
from facexai.models.frontalizers import FRONTALIZERS, FSPFM, Frontalization, PoseClassCentring
from facexai.models.hopenet import HopeNet
from facexai.pose_networks import load_pose_network, save_pose_network
from facexai.training import PRESETS, FinetuneConfig, override, read_log, train_frontalizer
from facexai.training import frontalizer as frontalizer_module
from facexai.training.frontalizer import cross_pose_faces, fingerprint, fit_centring, fresh_frontalizer, split_people
from facexai.weights import load_model, save_model


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two small random networks, and a cache of its own for rendered faces."""
    root = tmp_path_factory.mktemp("frontalizer")
    torch.manual_seed(0)
    recognizer = build("ddfv-iresnet", blocks=(1, 1, 1, 1), widths=(4, 4, 8, 16), stem_stride=2)
    save_model(recognizer, root / "recognizer", {"name": "small"})
    save_pose_network(HopeNet(10, size=32, stages=3), root / "pose", {})
    patch = pytest.MonkeyPatch()
    patch.setenv("FACEXAI_CACHE", str(root / "cache"))
    yield root
    patch.undo()


@pytest.fixture(scope="module")
def tiny(root) -> FinetuneConfig:
    return replace(
        PRESETS["tutorial-fspfm"],
        model=str(root / "recognizer"),
        pose_network=str(root / "pose"),
        identities=6,
        frontals=1,
        profiles=2,
        epochs=2,
        batch_size=4,
    )


@pytest.fixture(scope="module")
def finished(tiny, root) -> Path:
    return train_frontalizer(tiny, root / "run", card={"command": "here"}, progress=False)


@pytest.fixture(scope="module")
def folder(root) -> Path:
    """Four people, each with two images, one of them 'turned' by the pose file; the images themselves are noise."""
    rng = np.random.default_rng(0)
    lines = ["name,yaw,pitch,roll,identity"]
    for person in range(4):
        (root / "faces" / f"p{person}").mkdir(parents=True)
        for number, yaw in enumerate((0, 60, -70)):
            name = f"p{person}/{number}.png"
            Image.fromarray(rng.integers(0, 256, (112, 112, 3), np.uint8)).save(root / "faces" / name)
            lines.append(f"{name},{yaw},0,0,p{person}")
    (root / "poses.csv").write_text("\n".join(lines) + "\n")
    return root / "faces"


def test_the_run_leaves_a_frontalizer_its_settings_and_its_log(finished, tiny, root):
    card = load_frontalization(finished).card
    assert (card["command"], card["recognizer"], card["pose_network"]) == ("here", tiny.model, tiny.pose_network)
    assert card["data"] == "rendered faces: 6 identities x (1 frontal + 2 profile), seed 4"
    assert card["settings"] == tiny.to_json() == json.loads((finished / "config.json").read_text())
    rows = read_log(finished / "log.jsonl")
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    assert card["validation"]["auc_before"] == rows[0]["auc"]
    assert card["validation"]["auc"] == rows[card["kept_epoch"]]["auc"] == max(row["auc"] for row in rows)
    digests = [json.loads((root / name / "card.json").read_text())["sha256"] for name in ("recognizer", "pose")]
    expected = [digest["model.safetensors"] for digest in digests]
    assert list(card["network_sha256"].values()) == expected
    model = load_pose_invariant(finished)
    assert model.embed(torch.zeros(1, 3, 112, 112)).shape == (1, 16)


def test_the_same_settings_give_the_same_weights_from_cached_features(finished, tiny, root, monkeypatch):
    monkeypatch.setattr(frontalizer_module, "extract_features", None)
    again = train_frontalizer(tiny, root / "again", progress=False)
    files = [(folder / "model.safetensors").read_bytes() for folder in (finished, again)]
    assert files[0] == files[1]


def test_it_goes_on_from_a_frontalizer_of_stage_1(finished, tiny, root):
    started = train_frontalizer(replace(tiny, start=str(finished), lr=1e-12), root / "on", progress=False)
    first, second = (load_frontalization(folder).frontalizer.state_dict() for folder in (finished, started))
    assert all(torch.allclose(first[name], second[name], atol=1e-5) for name in first)


def test_the_gates_see_standardised_poses(finished, tiny):
    frontalizer = load_frontalization(finished).frontalizer
    assert isinstance(frontalizer, FSPFM)
    assert float(frontalizer.pose_mean.abs().max()) > 0


def test_photographs_learn_with_the_poses_of_a_file(folder, tiny, root):
    config = replace(tiny, images=str(folder), poses=str(folder.parent / "poses.csv"), centring="unit")
    out = train_frontalizer(config, root / "photos", progress=False)
    card = load_frontalization(out).card
    assert (card["data"], card["people"], card["pairs"]) == (f"{folder}: 12 images", 2, 4)


def test_pose_classes_are_told_by_the_poses_of_the_file(folder, tiny):
    """Whatever the pose network, here a random one, makes of noise."""
    recognizer, estimator = load_model(tiny.model), load_pose_network(tiny.pose_network)
    config = replace(tiny, images=str(folder), poses=str(folder.parent / "poses.csv"))
    faces, _ = cross_pose_faces(config, recognizer, estimator, progress=False)
    assert faces.frontal_yaw.tolist() == [0] * 4
    assert faces.of(1, 3).profile_yaw.tolist() == [60, -70] * 2
    centring = fit_centring("pose-centring", faces)
    assert isinstance(centring, PoseClassCentring)
    for part, mean in zip((faces.frontal, faces.profile), centring.means, strict=True):
        assert torch.allclose(mean, F.normalize(part.embedding, dim=-1).mean((0, 1)), atol=1e-6)


def test_another_renderer_makes_features_anew(tiny, monkeypatch):
    recognizer, estimator = load_model(tiny.model), load_pose_network(tiny.pose_network)
    first, _ = cross_pose_faces(tiny, recognizer, estimator, progress=False)

    def extract(*_, **__):
        raise AssertionError("extracted anew")

    monkeypatch.setattr(frontalizer_module, "extract_features", extract)
    again, _ = cross_pose_faces(tiny, recognizer, estimator, progress=False)
    assert torch.equal(first.profile.embedding, again.profile.embedding)
    monkeypatch.setattr(rendered_module, "APPEARANCE", rendered_module.APPEARANCE + 1)
    with pytest.raises(AssertionError, match="extracted anew"):
        cross_pose_faces(tiny, recognizer, estimator, progress=False)


def refused(config: FinetuneConfig, out: Path) -> str:
    with pytest.raises(InputError) as caught:
        train_frontalizer(config, out, progress=False)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["p0/0.png,nan,0,0,a"], "line 2: yaw must be a number within"),
        (["p0/0.png,80,0,0,a", "p1/0.png,70,0,0,b"], "there are 0 frontal faces and 2 profiles"),
        (["p0/0.png,0,0,0,a", "p1/0.png,70,0,0,b"], "and 0 people with both"),
        (["p0/9.png,0,0,0,a"], "9.png"),
    ],
)
def test_poses_that_cannot_be_used_are_told_in_one_line(folder, tiny, tmp_path, lines, words):
    file = tmp_path / "poses.csv"
    file.write_text("\n".join(["name,yaw,pitch,roll,identity", *lines]) + "\n")
    assert words in refused(replace(tiny, images=str(folder), poses=str(file)), tmp_path / "out")


def test_poses_without_images_and_too_few_people_are_refused(folder, tiny, tmp_path):
    poses = str(folder.parent / "poses.csv")
    assert "poses belong to images" in refused(replace(tiny, poses=poses), tmp_path / "out")
    few = "\n".join(Path(poses).read_text().splitlines()[:10]) + "\n"
    (tmp_path / "few.csv").write_text(few)
    message = refused(replace(tiny, images=str(folder), poses=str(tmp_path / "few.csv")), tmp_path / "out")
    assert message == "at least four people must be seen from both sides, two to validate on; got 3"


def test_networks_that_are_not_there_and_a_start_of_other_dimension_are_refused(tiny, tmp_path):
    assert "no model 'nobody'" in refused(replace(tiny, model="nobody"), tmp_path / "out")
    assert "no pose network 'nobody'" in refused(replace(tiny, pose_network="nobody"), tmp_path / "out")
    other = Frontalization(fresh_frontalizer("fspfm", 8, 256, 0))
    save_frontalization(other, tmp_path / "other", {})
    message = refused(replace(tiny, start=str(tmp_path / "other")), tmp_path / "out")
    assert "FSPFM takes embeddings (N, 8); got" in message


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("fspmf", "unknown frontalizer 'fspmf'"),
        ("fspfm:colour=red", "does not take these options"),
        ("fspfm:stacked", "an option of a frontalizer is option=value; got 'stacked'"),
        ("fspfm:block=brick", "block must be batchnorm"),
    ],
)
def test_specs_that_name_nothing_are_refused(spec, words):
    with pytest.raises(InputError, match=words):
        fresh_frontalizer(spec, 16, 8, 0)


def test_each_frontalizer_gets_the_pose_that_it_takes():
    state = torch.get_rng_state()
    for name in FRONTALIZERS:
        assert fresh_frontalizer(name, 16, 8, 0).pose_size == (8 if FRONTALIZERS[name].takes == "feature" else 1)
    assert fresh_frontalizer("fspfm:yaw_only=true", 16, 8, 0).takes == "yaw"
    first, again, other = (fresh_frontalizer("fspfm:block=prelu:width=2", 16, 8, seed) for seed in (0, 0, 1))
    assert fingerprint(first) == fingerprint(again) != fingerprint(other)
    assert torch.equal(torch.get_rng_state(), state)


def test_people_are_held_out_whole(tiny, finished):
    recognizer, estimator = load_model(tiny.model), load_pose_network(tiny.pose_network)
    faces, _ = cross_pose_faces(tiny, recognizer, estimator, progress=False)
    learning, held_out = split_people(faces, 1)
    assert (learning.people, held_out.people) == (4, 2)
    assert torch.equal(torch.cat([learning.profile.embedding, held_out.profile.embedding]), faces.profile.embedding)


def test_the_papers_preset_holds_what_the_paper_prints():
    paper = PRESETS["paper-fspfm-2"]
    assert isinstance(paper, FinetuneConfig)
    printed = (paper.epochs, paper.lr, paper.adaptation, paper.adaptation_weight, paper.profile_beyond, paper.seed)
    assert printed == (50, 1e-3, "proposed", 4.0, 40.0, 42)
    with pytest.raises(InputError, match="adaptation must be one of none, huang, proposed, angular; got 'other'"):
        override(paper, ["adaptation=other"])

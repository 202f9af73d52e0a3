"""`train finetune` and `benchmark --frontalizer`: what they print, write and refuse."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from facexai import cli
from facexai.models import build
from facexai.models.hopenet import HopeNet
from facexai.pose_networks import save_pose_network
from facexai.weights import save_model


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Coarse patterns for faces, their poses and pairs, and three random networks."""
    root, rng = tmp_path_factory.mktemp("commands"), np.random.default_rng(0)
    lines = ["name,yaw,pitch,roll,identity"]
    for person in range(4):
        (root / f"faces/{person}").mkdir(parents=True)
        for number, yaw in enumerate((0, 60, -70)):
            pixels = np.kron(rng.integers(0, 256, (7, 7, 3), np.uint8), np.ones((16, 16, 1), np.uint8))
            Image.fromarray(pixels).save(root / f"faces/{person}/{number}.png")
            lines.append(f"{person}/{number}.png,{yaw},0,0,{person}")
    (root / "poses.csv").write_text("\n".join(lines) + "\n")
    pairs = [f"{p}/0.png,{q}/1.png,{int(p == q)},{p % 2}" for p in range(4) for q in range(4)]
    (root / "pairs.csv").write_text("\n".join(["name1,name2,same,fold", *pairs]) + "\n")
    torch.manual_seed(0)
    for name, width in (("small", 16), ("other", 8)):
        network = build("ddfv-iresnet", blocks=(1, 1, 1, 1), widths=(4, 4, 8, width), stem_stride=2)
        save_model(network, root / name, {"name": name})
    save_pose_network(HopeNet(10, size=32, stages=3), root / "pose", {})
    return root


def settings(root: Path) -> list[str]:
    given = {"pose_network": root / "pose", "images": root / "faces", "poses": root / "poses.csv"}
    given |= {"epochs": 2, "batch_size": 4, "limit": 0, "lr": 0.05, "keep_best": "false"}  # so that much is moved
    return [word for key, value in given.items() for word in ("--set", f"{key}={value}")]


def run(capsys, *arguments) -> tuple[int, str, str]:
    code = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(scope="module")
def trained(root) -> Path:
    code = cli.main(["train", "finetune", "--model", str(root / "small"), "--out", str(root / "run"), *settings(root)])
    assert code == 0
    return root / "run"


def test_finetune_says_how_to_use_what_it_made(capsys, root):
    words = ["--set", f"model={root / 'small'}", *settings(root)]
    code, out, err = run(capsys, "train", "finetune", "--out", root / "json", "--json", "-", *words)
    assert code == 0, err
    assert f"--frontalizer {root / 'json'}" in err
    card = json.loads(out)["card"]
    assert (card["kind"], card["people"], card["recognizer"]) == ("frontalizer", 2, str(root / "small"))
    assert card["command"].startswith(f"facexai train finetune --model {root / 'small'} --preset tutorial-fspfm --set")


def benchmark(root: Path, *words) -> list:
    return ["benchmark", "pairs", "--pairs", root / "pairs.csv", "--images", root / "faces", *words]


def test_benchmark_takes_the_recognizer_that_the_frontalizer_was_trained_for(capsys, root, trained):
    results = {}
    for name, words in {
        "raw": ["--model", root / "small"],
        "ours": ["--frontalizer", trained],
        "given": ["--frontalizer", trained, "--model", root / "small"],
    }.items():
        code, out, err = run(capsys, *benchmark(root, *words, "--json", "-"))
        assert code == 0, err
        results[name] = json.loads(out)
    assert results["ours"]["model"] == "small + fspfm"
    del results["ours"]["seconds"], results["given"]["seconds"]
    assert results["ours"] == results["given"]
    moved = ("auc", "eer", "threshold")
    assert [results["ours"][name] for name in moved] != [results["raw"][name] for name in moved]


def test_figures_are_recorded_on_the_card_of_the_frontalizer(capsys, root, trained):
    code, _, err = run(capsys, *benchmark(root, "--frontalizer", trained, "--record"))
    assert code == 0, err
    assert "pairs" in json.loads((trained / "card.json").read_text())["benchmarks"]
    assert "benchmarks" not in json.loads((root / "small" / "card.json").read_text())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--frontalizer", "nobody"], "no frontalizer 'nobody'"),
        (["--frontalizer", "{root}/small"], "holds a recognizer, but a frontalizer is needed"),
        (["--frontalizer", "{root}/run", "--model", "{root}/other"], "dimension 16, but other gives 8"),
        (["--frontalizer", "nobody", "--record"], "--record takes the folder"),
        (["--model", ".", "--record", "--limit", "40"], "a card holds figures of whole benchmarks"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(capsys, root, trained, words, message):
    code, out, err = run(capsys, *benchmark(root, *(word.format(root=root) for word in words)))
    assert (code, out) == (2, "")
    assert message in err and err.count("\n") == 1


def test_a_run_that_cannot_start_leaves_no_folder(capsys, root, tmp_path):
    code, _, err = run(capsys, "train", "finetune", "--out", tmp_path / "run", "--set", "poses=poses.csv")
    assert code == 2 and "poses belong to images" in err
    assert not (tmp_path / "run").exists()


def test_a_folder_with_a_model_of_another_kind_or_a_run_is_left_alone(capsys, root, tmp_path, trained):
    before = (root / "pose" / "card.json").read_bytes()
    words = ["--model", root / "small", *settings(root)]
    code, _, err = run(capsys, "train", "finetune", "--out", root / "pose", *words)
    assert (code, err) == (
        2,
        f"facexai: {root / 'pose'} holds a pose network, which a frontalizer would overwrite; choose another --out\n",
    )
    assert (root / "pose" / "card.json").read_bytes() == before
    code, _, err = run(capsys, "train", "hopenet", "--out", trained)
    assert code == 2 and "holds a frontalizer, which a pose network would overwrite" in err
    (tmp_path / "last.ckpt").touch()
    code, _, err = run(capsys, "train", "finetune", "--out", tmp_path, *words)
    assert code == 2 and err.endswith("holds a run already; choose another --out\n")
    assert run(capsys, "train", "finetune", "--out", trained, *words)[0] == 0  # of its own kind, so learnt anew


def test_frontalizers_are_listed(capsys):
    code, out, _ = run(capsys, "list", "frontalizers")
    assert code == 0
    assert {"fspfm", "dream", "agpm", "pam-like", "pad-like"} <= {line.split()[0] for line in out.splitlines()}

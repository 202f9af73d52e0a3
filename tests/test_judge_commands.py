"""The commands that judge maps: a table for people, JSON as the design has it, one line for what cannot be."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from facexai import cli
from facexai.explainers import EXPLAINERS, make_explainer
from facexai.models import build
from facexai.weights import save_model

PAIRS = 8
GAMES = {"hiding-game": "auc", "insertion-deletion": "gain"}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """Faces of noise, pairs among them in two folds, and a small random network."""
    folder = tmp_path_factory.mktemp("files")
    pixels = np.random.default_rng(0).integers(0, 256, (PAIRS, 28, 28, 3), np.uint8).repeat(4, 1).repeat(4, 2)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number}.png")
        Image.fromarray(255 - image).save(folder / f"other{number}.png")
    rows = [f"{n}.png,{'' if n % 2 else 'other'}{n}.png,{n % 2},{n // 4}" for n in range(PAIRS)]
    (folder / "pairs.csv").write_text("\n".join(["name1,name2,same,fold", *rows]))
    torch.manual_seed(0)
    model = build("ddfv-iresnet", blocks=(1, 1, 1, 1), widths=(4, 4, 8, 8), stem_stride=2)
    model.threshold = 0.25
    save_model(model, folder / "model", {"name": "small"})
    return folder


@pytest.fixture(autouse=True)
def plain(monkeypatch, tmp_path):
    monkeypatch.delenv("FACEXAI_DEBUG", raising=False)
    monkeypatch.setenv("FACEXAI_CACHE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "120")


def command(name: str, files: Path, *more: str) -> int:
    own_pairs = ["--pairs", str(files / "pairs.csv"), "--images", str(files)]
    return cli.main([name, "pairs", "--model", str(files / "model"), *own_pairs, *more])


@pytest.mark.parametrize("name", GAMES)
def test_json_has_every_method_with_its_interval_and_its_difference_to_ddfv(name, files, tmp_path, capsys):
    assert command(name, files, "--methods", "centre,random:seed=7", "--json", str(tmp_path / "r.json")) == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["benchmark"], report["judge"], report["pairs"], report["rendered"]) == ("pairs", name, PAIRS, False)
    assert set(report["methods"]) == {"ddfv", "centre", "random:seed=7"}
    for method in report["methods"].values():
        low, high = method["ci95"]
        assert low <= method[GAMES[name]] <= high
        assert len(method["minus_ddfv"]["ci95"]) == 2
        assert method["seconds_per_pair"] > 0
        assert len(method["curve"]["fraction"]) > 2
    assert report["methods"]["random:seed=7"]["explainer"] == "Random(seed=7)"
    out = capsys.readouterr().out.splitlines()
    assert out[0].split()[:2] == ["method", GAMES[name]]
    assert {line.split()[0] for line in out[1:4]} == set(report["methods"])
    assert sum("*" in line for line in out[1:4]) == 2


def test_a_method_may_be_judged_on_fewer_pairs(files, tmp_path, capsys):
    assert command("hiding-game", files, "--methods", "centre,random:seed=7@6", "--json", str(tmp_path / "r.json")) == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["asked"]["methods"] == "centre,random:seed=7@6"
    assert {name: line["pairs"] for name, line in report["methods"].items()} == {
        "ddfv": PAIRS,
        "centre": PAIRS,
        "random:seed=7": 6,
    }
    out = capsys.readouterr().out
    assert "pairs" in out.splitlines()[0].split()
    assert "ranks follow the paired difference to ddfv" in out


def test_all_are_the_registered_methods_and_later_mentions_override():
    every = dict.fromkeys(EXPLAINERS)
    for text, limits, asked in (
        ("all", {}, []),
        ("all,rise@60, lime @5", {"rise": 60, "lime": 5}, []),
        ("all,rise@60,rise", {}, []),
        ("rise@60,all", {}, []),
        ("all@9,ddfv", {name: 9 for name in every if name != "ddfv"}, []),
        ("all,rise:masks=3@60", {"rise:masks=3": 60}, ["rise:masks=3"]),
    ):
        entrants = cli.read_methods(text)
        assert (entrants["limits"], list(entrants["methods"]), entrants["every"]) == (limits, asked, True)
    entrants = cli.read_methods("ddfv,rise:masks=3@60")
    assert (entrants["limits"], entrants["every"]) == ({"rise:masks=3": 60}, False)
    assert entrants["methods"] == {"ddfv": make_explainer("ddfv"), "rise:masks=3": make_explainer("rise", masks=3)}
    assert cli.read_methods(None) == {}


def test_sanity_makes_more_maps_of_the_same_pairs(files, capsys):
    assert command("sanity", files, "--methods", "centre", "--set", "steps=1", "--json", "-") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["judge"], report["pairs"]) == ("sanity", PAIRS)
    assert report["methods"]["centre"]["partner"] == pytest.approx(1)  # it never looks at the other face
    assert len(report["methods"]["centre"]["steps"]) == 1


def test_json_on_stdout_stands_alone_and_settings_reach_the_judge(files, capsys):
    assert (
        command("hiding-game", files, "--methods", "centre", "--set", "sigma=8", "--set", "which=probe", "--json", "-")
        == 0
    )
    captured = capsys.readouterr()
    assert "sigma=8" in json.loads(captured.out)["settings"]
    assert "which='probe'" in json.loads(captured.out)["settings"]
    assert "centre" in captured.err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--methods", "centre,gradcam"], "unknown explainer 'gradcam'"),
        (["--methods", "centre:width=2"], "unknown option 'width' of explainer 'centre'"),
        (["--methods", ","], "--methods takes names"),
        (["--methods", "rise@x"], "--methods takes NAME@PAIRS, with at least 1 pair, as in rise@60; got 'rise@x'"),
        (["--methods", "centre,rise@0"], "got 'rise@0'"),
        (["--methods", "@5"], "got '@5'"),
        (["--methods", "rise@"], "got 'rise@'"),
        (["--methods", "rise@5@5"], "unknown explainer 'rise@5'"),
        (["--methods", "all,nonsense@5"], "unknown explainer 'nonsense'"),
        (["--set", "blur=8"], "unknown option 'blur'; choose one of which, fill"),
        (["--set", "sigma=wide"], "sigma must be a number of pixels above 0"),
        (["--set", "fill=white"], "unknown fill 'white'"),
        (["--set", "fractions=0.5"], "fractions must rise from 0"),
        (["--limit", "0"], "--limit"),
    ],
)
def test_unusable_input_is_one_line_and_status_2(more, message, files, capsys):
    assert command("hiding-game", files, *more) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_patches_are_put_on_the_users_own_pairs(files, capsys):
    own_pairs = ["--pairs", str(files / "pairs.csv"), "--images", str(files)]
    arguments = ["--model", str(files / "model"), "--methods", "centre", "--set", "size=24", "--json", "-"]
    assert cli.main(["localize", "patch", *own_pairs, *arguments]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["benchmark"], report["rendered"], report["pairs"]) == ("patch", False, PAIRS // 2)
    assert "size=24" in report["settings"]
    assert set(report["methods"]) == {"ddfv", "centre"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["localize", "eyes"], "unknown preset 'eyes'; choose one of regions, occluder, patch"),
        (["localize", "regions", "--pairs", "pairs.csv", "--images", "."], "renders its own pairs"),
        (["localize", "patch", "--pairs", "pairs.csv"], "--pairs CSV --images DIR"),
    ],
)
def test_what_localize_cannot_use(arguments, message, files, capsys, monkeypatch):
    monkeypatch.chdir(files)
    assert cli.main(arguments) == 2
    assert message in capsys.readouterr().err


def test_pairs_belong_to_the_benchmark_of_that_name(files, capsys):
    arguments = ["hiding-game", "synthetic-lfw", "--pairs", str(files / "pairs.csv"), "--images", str(files)]
    assert cli.main(arguments) == 2
    assert "benchmark synthetic-lfw takes no --pairs and --images" in capsys.readouterr().err

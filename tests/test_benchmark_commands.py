"""`facexai benchmark` and `facexai convert` on the user's own files."""

import csv
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from facexai.cli import main
from facexai.datasets import write_bin_pack
from facexai.models import build
from facexai.weights import save_model

PEOPLE, IMAGES, FOLDS = 20, 3, 10
FIGURES = ("accuracy", "accuracy_std", "auc", "eer", "tar", "threshold", "pairs", "folds")


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """A folder of people and pairs.csv: 2 genuine and 2 impostor pairs in each of ten folds of two people."""
    root = tmp_path_factory.mktemp("faces")
    rng = np.random.default_rng(0)
    for person in range(PEOPLE):
        (root / f"P_{person}").mkdir()
        base = rng.integers(0, 256, (7, 7, 3))
        for image in range(1, IMAGES + 1):
            noisy = np.clip(base + rng.integers(-160, 160, base.shape), 0, 255).astype(np.uint8)
            picture = Image.fromarray(noisy).resize((112, 112))
            picture.save(root / f"P_{person}" / f"P_{person}_{image:04d}.jpg", quality=95)
    with open(root / "pairs.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["name1", "name2", "same", "fold"])
        for fold in range(FOLDS):
            for first, second, same in pairs_of_fold(fold):
                table.writerow([name(*first), name(*second), same, fold])
    return root


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A saved network that runs at once."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build("ddfv-iresnet", blocks=(1, 1, 1, 1), widths=(4, 4, 8, 16))
    return save_model(model, tmp_path_factory.mktemp("models") / "tiny", {})


def name(person: int, image: int) -> str:
    return f"P_{person}/P_{person}_{image:04d}.jpg"


def pairs_of_fold(fold: int) -> list[tuple[tuple[int, int], tuple[int, int], int]]:
    a, b = 2 * fold, 2 * fold + 1
    return [((a, 1), (a, 2), 1), ((b, 2), (b, 3), 1), ((a, 2), (b, 1), 0), ((a, 3), (b, 3), 0)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEXAI_CACHE", str(tmp_path / "cache"))


def run(*arguments, capsys) -> dict:
    assert main([*map(str, arguments), "--json", "-"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def refused(*arguments, capsys) -> str:
    assert main([*map(str, arguments)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


@pytest.fixture
def pack(faces, tmp_path):
    with open(faces / "pairs.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    payloads = [(faces / row[side]).read_bytes() for row in rows for side in ("name1", "name2")]
    return write_bin_pack(tmp_path / "mine.bin", payloads, [row["same"] == "1" for row in rows])


def test_a_pack_and_a_list_of_the_same_images_give_the_same_numbers(faces, pack, tiny, capsys):
    of_list = run(
        "benchmark", "pairs", "--pairs", faces / "pairs.csv", "--images", faces, "--model", tiny, capsys=capsys
    )
    of_pack = run("benchmark", "pairs", "--bin", pack, "--model", tiny, capsys=capsys)
    assert [of_pack[key] for key in FIGURES] == [of_list[key] for key in FIGURES]
    assert (of_pack["benchmark"], of_pack["pairs"], of_pack["folds"]) == ("mine", 40, 10)
    assert 0 < of_pack["auc"] < 1  # hard enough that a mistake would show


def test_a_benchmark_prints_intervals_and_over_what_they_are(faces, pack, tiny, capsys):
    lists = "--pairs", faces / "pairs.csv", "--images", faces
    of_list = run("benchmark", "pairs", *lists, "--model", tiny, capsys=capsys)
    of_pack = run("benchmark", "pairs", "--bin", pack, "--model", tiny, capsys=capsys)
    assert (of_list["resampled"], of_pack["resampled"]) == ("people", "pairs")  # a pack names nobody
    assert main(["benchmark", "pairs", *map(str, lists), "--model", str(tiny)]) == 0
    printed = capsys.readouterr().out
    for metric in ("accuracy", "auc", "eer"):
        low, high = of_list["ci95"][metric]
        assert low <= of_list[metric] <= high
        assert ("[{:.4f}, {:.4f}]" if metric == "auc" else "[{:.2%}, {:.2%}]").format(low, high) in printed
    assert "intervals: 95 %, bootstrap over people" in printed


def test_a_pack_becomes_a_folder_that_gives_the_same_numbers(pack, tiny, tmp_path, capsys):
    result = run("convert", pack, "--out", tmp_path / "folder", capsys=capsys)
    assert (result["pairs"], result["images"]) == (40, 60)
    lists = "--pairs", tmp_path / "folder" / "pairs.csv", "--images", tmp_path / "folder"
    of_folder = run("benchmark", "pairs", *lists, "--model", tiny, capsys=capsys)
    of_pack = run("benchmark", "pairs", "--bin", pack, "--model", tiny, capsys=capsys)
    assert [of_pack[key] for key in FIGURES] == [of_folder[key] for key in FIGURES]
    assert "holds files already" in refused("convert", pack, "--out", tmp_path / "folder", capsys=capsys)


def test_a_pack_that_cannot_be_converted_leaves_nothing(tmp_path, capsys):
    write_bin_pack(tmp_path / "x.bin", [b"noise", b"other"], [True])
    line = refused("convert", tmp_path / "x.bin", "--out", tmp_path / "out", capsys=capsys)
    assert "image 0 is no JPEG, PNG, WebP or BMP" in line
    assert {path.name for path in tmp_path.iterdir()} <= {"x.bin", "cache"}


def test_files_that_a_benchmark_does_not_take_are_refused(faces, pack, capsys):
    line = refused("benchmark", "synthetic-lfw", "--bin", pack, capsys=capsys)
    assert "benchmark synthetic-lfw takes no --bin; its images are rendered" in line
    line = refused("benchmark", "pairs", "--images", faces, capsys=capsys)
    assert "benchmark 'pairs' needs a pair list and a folder of images" in line


def test_the_official_folder_gives_the_same_numbers_as_a_list_and_a_pack(faces, pack, tiny, tmp_path, capsys):
    lines = [f"{FOLDS}\t2"]
    for fold in range(FOLDS):
        for (person, image), (other, second), same in pairs_of_fold(fold):
            lines.append(f"P_{person}\t{image}\t{second}" if same else f"P_{person}\t{image}\tP_{other}\t{second}")
    (tmp_path / "lfw").mkdir()
    (tmp_path / "lfw" / "images").symlink_to(faces)
    (tmp_path / "lfw" / "pairs.txt").write_text("\n".join(lines))
    lists = "--pairs", faces / "pairs.csv", "--images", faces
    of_root = run("benchmark", "lfw", "--root", tmp_path / "lfw", "--model", tiny, capsys=capsys)
    of_list, of_pack = (
        run("benchmark", "lfw", *files, "--model", tiny, capsys=capsys) for files in (lists, ("--bin", pack))
    )
    assert of_root["benchmark"] == "lfw"
    assert [of_root[key] for key in FIGURES] == [of_list[key] for key in FIGURES] == [of_pack[key] for key in FIGURES]
    assert "leave the other files out" in refused("benchmark", "lfw", "--root", tmp_path, "--bin", pack, capsys=capsys)
    assert "facexai brings no photos: give the folder of lfw" in refused("benchmark", "lfw", capsys=capsys)


def test_a_result_says_where_it_comes_from(faces, pack, tiny, tmp_path, capsys):
    of_pack = run("benchmark", "pairs", "--bin", pack, "--model", tiny, capsys=capsys)
    lists = "--pairs", faces / "pairs.csv", "--images", faces
    of_list = run("benchmark", "pairs", *lists, "--model", tiny, capsys=capsys)
    assert of_pack["data"]["files"] == {"mine.bin": hashlib.sha256(pack.read_bytes()).hexdigest()}
    assert of_list["data"]["files"] == {"pairs.csv": hashlib.sha256((faces / "pairs.csv").read_bytes()).hexdigest()}
    for key in ("images_sha256", "pairs_sha256"):  # the same images and pairs, whatever holds them
        assert of_pack["data"][key] == of_list["data"][key]
    assert torch.__version__.startswith(of_pack["versions"]["torch"].partition("+")[0])
    assert of_pack["model_sha256"] == of_list["model_sha256"] is not None
    with torch.random.fork_rng():
        torch.manual_seed(1)
        other = build("ddfv-iresnet", blocks=(1, 1, 1, 1), widths=(4, 4, 8, 16))
    save_model(other, tmp_path / "other", {})
    of_other = run("benchmark", "pairs", "--bin", pack, "--model", tmp_path / "other", capsys=capsys)
    assert of_other["model_sha256"] != of_pack["model_sha256"]
    assert of_other["data"] == of_pack["data"]


def test_two_results_are_compared(faces, pack, tiny, tmp_path, capsys):
    lists = "--pairs", faces / "pairs.csv", "--images", faces
    for name, files, flip in (("a", lists, "--no-flip"), ("b", ("--bin", pack), "--scores"), ("c", lists, "--scores")):
        target = tmp_path / f"{name}.json"
        command = ["benchmark", "pairs", *files, "--model", tiny, "--scores", flip, "--json", target]
        assert main([*map(str, command)]) == 0
    capsys.readouterr()
    gain = run("compare", tmp_path / "a.json", tmp_path / "b.json", capsys=capsys)
    assert gain["pairs"] == 40
    assert gain["resampled"] == "people"  # the pack knows none, the folders do
    low, high = gain["auc"]["ci95"]
    assert low <= gain["auc"]["difference"] <= high and low < high
    same = run("compare", tmp_path / "b.json", tmp_path / "c.json", capsys=capsys)
    assert same["auc"]["difference"] == 0 and same["mcnemar"]["p_value"] == 1
    assert main(["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 0
    assert "McNemar: " in capsys.readouterr().out


@pytest.mark.realdata
@pytest.mark.skipif("FACEXAI_REALDATA" not in os.environ, reason="FACEXAI_REALDATA does not name the real faces")
def test_real_photos_give_the_same_numbers_from_a_list_a_pack_and_its_folder(tiny, tmp_path, capsys):
    root = Path(os.environ["FACEXAI_REALDATA"])
    with open(root / "lfw_pairs.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["fold"] in "01"][::15]
    with open(tmp_path / "pairs.csv", "w", newline="") as file:
        table = csv.DictWriter(file, ["name1", "name2", "same"], extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)
    payloads = ((root / "lfw" / row[side]).read_bytes() for row in rows for side in ("name1", "name2"))
    pack = write_bin_pack(tmp_path / "lfw.bin", payloads, [row["same"] == "1" for row in rows])
    assert main(["convert", str(pack), "--out", str(tmp_path / "folder")]) == 0
    capsys.readouterr()
    results = [
        run("benchmark", "pairs", *files, "--model", tiny, "--no-cache", capsys=capsys)
        for files in (
            ("--pairs", tmp_path / "pairs.csv", "--images", root / "lfw"),
            ("--bin", pack),
            ("--pairs", tmp_path / "folder" / "pairs.csv", "--images", tmp_path / "folder"),
        )
    ]
    assert results[0]["pairs"] == 80
    assert [[result[key] for key in FIGURES] for result in results[1:]] == [[results[0][key] for key in FIGURES]] * 2

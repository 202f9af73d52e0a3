"""What the commands print and write when all is well."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import facexai
from facexai import benchmarks, cli, detection
from facexai.benchmarks import BENCHMARKS, RenderedProtocol
from facexai.detection import Detection
from facexai.images import load_image
from facexai.models import build
from facexai.pixels import TEMPLATE
from facexai.training import PRESETS, DDFVConfig
from facexai.weights import load_model, save_model


@pytest.fixture(autouse=True)
def no_detector(monkeypatch, tmp_path):
    """No test finds a detector of this machine."""
    monkeypatch.delenv("FACEXAI_YUNET", raising=False)
    monkeypatch.delenv("FACEXAI_DEBUG", raising=False)
    monkeypatch.setenv("FACEXAI_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two crops and a small random network."""
    folder = tmp_path_factory.mktemp("files")
    generator = np.random.default_rng(42)
    for name in ("a.png", "b.png"):
        Image.fromarray(generator.integers(0, 256, (112, 112, 3), np.uint8)).save(folder / name)
    torch.manual_seed(42)
    model = build("ddfv-iresnet", blocks=(1, 1, 1, 1), widths=(4, 4, 8, 8), stem_stride=2)
    model.threshold = 0.25
    save_model(model, folder / "model", {"name": "small"})
    return folder


def run(capsys, *arguments):
    """Run a command that succeeds; its output and its errors."""
    code = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured.out, captured.err


def test_no_command_shows_help(capsys):
    out, _ = run(capsys)
    for command in ("explain", "verify", "benchmark", "train", "render", "bench", "list"):
        assert command in out


def test_verify_prints_the_decision(capsys, files):
    out, err = run(capsys, "verify", files / "a.png", files / "b.png", "--no-align", "--model", files / "model")
    assert "threshold 0.250" in out and err == ""


def test_verify_json_is_one_object_on_stdout(capsys, files):
    arguments = ["verify", files / "a.png", files / "b.png", "--no-align", "--model", files / "model", "--json", "-"]
    out, err = run(capsys, *arguments)
    result = json.loads(out)
    model = load_model(files / "model")
    with torch.inference_mode():
        first, second = model.embed(torch.stack([load_image(files / name) for name in ("a.png", "b.png")]))
    assert abs(result["score"] - float(first @ second)) < 1e-6
    assert result["threshold"] == 0.25 and result["accepted"] is (result["score"] >= 0.25)
    assert "threshold 0.250" in err


def test_the_threshold_of_the_command_line_decides(capsys, files):
    arguments = ["verify", files / "a.png", files / "a.png", "--no-align", "--model", files / "model", "--json", "-"]
    assert json.loads(run(capsys, *arguments, "--threshold", "0.9")[0])["accepted"] is True
    assert json.loads(run(capsys, *arguments, "--threshold", "1.1")[0])["accepted"] is False


def test_json_goes_to_a_file(capsys, files, tmp_path):
    target = tmp_path / "result.json"
    run(capsys, "verify", files / "a.png", files / "b.png", "--no-align", "--model", files / "model", "--json", target)
    assert json.loads(target.read_text())["model"] == "small"


def test_crops_need_no_detector_and_a_note_says_so(capsys, files):
    _, err = run(capsys, "verify", files / "a.png", files / "b.png", "--model", files / "model")
    assert err.count("\n") == 1 and "taken as aligned crops" in err


def test_photos_are_aligned_and_the_largest_face_taken(capsys, files, monkeypatch):
    found = [Detection(np.array([0.0, 0, size, size]), TEMPLATE + size - 100, 0.9) for size in (100, 90)]
    monkeypatch.setattr(detection, "find_detector_model", lambda model_file=None: Path("yunet.onnx"))
    monkeypatch.setattr(detection, "detect_faces", lambda image, **options: found)
    arguments = ["verify", files / "a.png", files / "b.png", "--model", files / "model", "--json", "-"]
    taken = json.loads(run(capsys, *arguments, "--largest-face")[0])
    as_is = json.loads(run(capsys, *arguments, "--no-align")[0])
    assert abs(taken["score"] - as_is["score"]) < 1e-4  # the larger one lies on the template already


def test_explain_writes_a_report_pngs_and_the_raw_maps(capsys, files, tmp_path):
    out = tmp_path / "deep" / "out"
    arguments = ["explain", files / "a.png", files / "b.png", "--no-align", "--model", files / "model", "--out", out]
    result = json.loads(run(capsys, *arguments, "--json", "-")[0])
    roles, maps = ("probe", "gallery"), ("similarity", "dissimilarity", "discriminative")
    images = {f"{role}.png" for role in roles} | {f"{role}_{name}.png" for role in roles for name in maps}
    assert {file.name for file in out.iterdir()} == images | {"report.html", "saliency.npz"}
    assert set(result["files"]) == {str(file) for file in out.iterdir()}
    assert list(tmp_path.iterdir()) == [out.parent] and list(out.parent.iterdir()) == [out]  # no temporary folder
    with np.load(out / "saliency.npz") as saved:
        assert saved["signed"].shape == (2, 112, 112) and np.abs(saved["signed"]).max() > 0
        assert abs(float(saved["score"]) - result["score"]) < 1e-6
    assert "http" not in (out / "report.html").read_text().split("<body")[0].replace("http-equiv", "")


def test_explain_replaces_its_own_files_only(capsys, files, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "report.html").write_text("old")
    arguments = ["explain", files / "a.png", files / "b.png", "--no-align", "--model", files / "model"]
    run(capsys, *arguments, "--out", tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine" and (tmp_path / "report.html").read_text() != "old"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_options_reach_the_method(capsys, files):
    arguments = ["explain", files / "a.png", files / "b.png", "--no-align", "--model", files / "model", "--json", "-"]
    default = json.loads(run(capsys, *arguments)[0])["method"]
    changed = json.loads(run(capsys, *arguments, "--set", "which=probe")[0])["method"]
    assert default != changed


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        (["seed=7", "rate=1e-3", "mask=max"], {"seed": 7, "rate": 1e-3, "mask": "max"}),
        (
            ["widths=(4, 8)", "amp=true", "limit=none", "name=a=b"],
            {"widths": (4, 8), "amp": True, "limit": None, "name": "a=b"},
        ),
        (None, {}),
    ],
)
def test_settings_are_read_as_values(settings, options):
    assert cli.read_settings(settings) == options


def test_render_writes_the_same_faces_for_the_same_seed(capsys, tmp_path):
    for name in ("one", "two"):
        run(capsys, "render", "--out", tmp_path / name, "--identities", "2", "--images", "2", "--size", "48")
    one, two = (sorted((tmp_path / name).rglob("*.png")) for name in ("one", "two"))
    assert len(one) == 5 and [file.read_bytes() for file in one] == [file.read_bytes() for file in two]
    with open(tmp_path / "one" / "images.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["00000/000.png", "00000/001.png", "00001/000.png", "00001/001.png"]
    assert len({row["yaw"] for row in rows}) == 4


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("models", "mobilefacenet@FILE"),
        ("methods", "ddfv"),
        ("benchmarks", "synthetic-lfw"),
        ("presets", "paper-ddfv"),
        ("pose-networks", "3ddfa@FILE"),
        ("presets", "paper-hopenet"),
    ],
)
def test_lists(capsys, kind, name):
    assert name in [line.split()[0] for line in run(capsys, "list", kind)[0].splitlines()]


def test_help_loads_nothing_heavy():
    code = "import sys; from facexai.cli import main; main([]); print(*sys.modules, file=sys.stderr)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr.split()
    assert "facexai.cli" in loaded and not {"torch", "numpy", "cv2", "plotly"} & set(loaded)


def test_a_reader_that_goes_away_leaves_no_traceback():
    command = f'{sys.executable} -c \'from facexai.cli import main; exit(main(["list", "models"]))\''
    piped = subprocess.run(f"{command} | true", shell=True, capture_output=True, text=True)
    assert piped.stderr == ""


@pytest.mark.parametrize("what", ["explain", "render"])
def test_bench_prints_what_was_measured(capsys, monkeypatch, what):
    measured = {"local": {"seconds": 0.125}, "machine": "two cores"}
    monkeypatch.setitem(sys.modules, "facexai.bench", SimpleNamespace(**{f"bench_{what}": lambda: measured}))
    monkeypatch.setattr(facexai, "bench", sys.modules["facexai.bench"], raising=False)
    out, err = run(capsys, "bench", what, "--json", "-")
    assert json.loads(out) == measured and "local seconds" in err and "0.125" in err and "two cores" in err


def test_training_on_rendered_faces_is_judged_on_others(monkeypatch):
    protocols = []
    monkeypatch.setattr(RenderedProtocol, "load", lambda protocol: protocols.append(protocol))
    validate = cli.rendered_validation(DDFVConfig(identities=3000))
    assert validate is not None
    [protocol] = protocols
    assert protocol.seed not in {preset.data_seed for preset in map(PRESETS.__getitem__, PRESETS)}
    assert protocol.seed not in {getattr(BENCHMARKS[name], "seed", None) for name in BENCHMARKS}

    report = SimpleNamespace(accuracy=0.9, auc=0.95, eer=0.1, threshold=0.3, pairs=10)
    monkeypatch.setattr(benchmarks, "verify", lambda model, data, progress: report)
    assert validate(build("mobilefacenet")) == {"accuracy": 0.9, "auc": 0.95, "eer": 0.1, "threshold": 0.3}


def test_no_threshold_from_rendered_faces_for_a_network_trained_on_photos():
    assert cli.rendered_validation(DDFVConfig(images="photos")) is None


@pytest.mark.slow
def test_torchrun_shares_the_images_among_two_processes(tmp_path):
    noise = np.random.default_rng(0)
    for person in range(2):
        (tmp_path / f"images/{person}").mkdir(parents=True)
        for image in range(4):
            pixels = noise.integers(0, 256, (112, 112, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"images/{person}/{image}.png")
    train = ["train", "ddfv", "--preset", "smoke", "--out", str(tmp_path / "run")]
    options = [f"images={tmp_path / 'images'}", "batch_size=2", "epochs=1", "precision=32-true"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "facexai", *train, *(word for option in options for word in ("--set", option))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("trained:") == 1
    card = json.loads((tmp_path / "run/card.json").read_text())
    assert card["machine"].startswith("2 process(es)")
    assert (card["steps"], card["images_seen"]) == (2, 8)  # two steps of two images in each of two processes

"""What cannot be used is refused by the command line in one line with its exit status, and leaves nothing behind."""

import errno
import json
import os
import shutil
import signal
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from facexai import cli, detection
from facexai.detection import Detection
from facexai.errors import InputError
from facexai.explainers import explain
from facexai.images import load_image
from facexai.models import build
from facexai.pairs import FacePair
from facexai.pixels import TEMPLATE
from facexai.training import ddfv, fit
from facexai.weights import load_model, save_model


@pytest.fixture(autouse=True)
def no_detector(monkeypatch, tmp_path):
    """No test finds a detector of this machine."""
    monkeypatch.delenv("FACEXAI_YUNET", raising=False)
    monkeypatch.delenv("FACEXAI_DEBUG", raising=False)
    monkeypatch.setenv("FACEXAI_CACHE", str(tmp_path / "cache"))


def png_of_size(width, height):
    """A PNG whose header promises `width` x `height` pixels, without them."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Good and bad photos and models; the tests only read them."""
    folder = tmp_path_factory.mktemp("files")
    generator = np.random.default_rng(42)
    for name, size in {"a.png": 112, "b.png": 112, "photo.png": 160, "dot.png": 1, "whole.jpg": 160}.items():
        Image.fromarray(generator.integers(0, 256, (size, size, 3), np.uint8)).save(folder / name)
    whole = (folder / "whole.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("these are words\n")
    (folder / "bomb.png").write_bytes(png_of_size(20_000, 20_000))
    torch.manual_seed(42)
    model = build("ddfv-iresnet", blocks=(1, 1, 1, 1), widths=(4, 4, 8, 8), stem_stride=2)
    save_model(model, folder / "model", {"name": "small"})
    shutil.copytree(folder / "model", folder / "tampered")
    with open(folder / "tampered" / "model.safetensors", "r+b") as weights:
        weights.seek(-1, os.SEEK_END)
        weights.write(b"\x55")
    shutil.copytree(folder / "model", folder / "corrupt")
    (folder / "corrupt" / "card.json").write_text("{")
    torch.save(build("mobilefacenet").state_dict(), folder / "mobile.pth")
    (folder / "words.pth").write_text("these are words\n")
    return folder


def refused(capsys, folder, *arguments, status=2):
    """Run the command; the one line it says. Fails where it says more, ends otherwise, or leaves a file behind."""
    before = snapshot(folder)
    code = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert code == status, captured.err
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("facexai: "), captured.err
    assert snapshot(folder) == before
    return lines[0]


def snapshot(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*"))


BAD_PHOTOS = {
    "missing.jpg": "does not exist",
    "text.jpg": "is not an image",
    "truncated.jpg": "is damaged or incomplete",
    "dot.png": "is 1x1 pixels",
    "bomb.png": "is too large to open safely",
    "": "is a folder",
}


@pytest.mark.parametrize("name", BAD_PHOTOS)
@pytest.mark.parametrize("command", ["explain", "verify"])
def test_a_photo_that_cannot_be_read(capsys, files, tmp_path, command, name):
    out = ["--out", tmp_path / "out"] if command == "explain" else []
    line = refused(capsys, tmp_path, command, files / "a.png", files / name, "--model", files / "model", *out)
    assert f"{files / name} {BAD_PHOTOS[name]}" in line


def test_a_photo_where_no_detector_is_at_hand(capsys, files, tmp_path):
    line = refused(capsys, tmp_path, "verify", files / "a.png", files / "photo.png", "--model", files / "model")
    assert "OpenCV Zoo" in line and "FACEXAI_YUNET" in line and "--no-align" in line


def test_a_crop_of_another_size(capsys, files, tmp_path):
    arguments = ["verify", files / "a.png", files / "photo.png", "--no-align", "--model", files / "model"]
    assert "photo.png is 160x160" in refused(capsys, tmp_path, *arguments)


@pytest.mark.parametrize(
    ("count", "message"), [(0, "no face found in"), (2, "has 2; crop the photo, or take the largest")]
)
def test_a_photo_without_exactly_one_face(capsys, monkeypatch, files, tmp_path, count, message):
    face = Detection(np.array([10.0, 10, 100, 100]), TEMPLATE, 0.9)
    monkeypatch.setattr(detection, "find_detector_model", lambda model_file=None: Path("yunet.onnx"))
    monkeypatch.setattr(detection, "detect_faces", lambda image, **options: [face] * count)
    arguments = ["verify", files / "photo.png", files / "a.png", "--model", files / "model"]
    line = refused(capsys, tmp_path, *arguments)
    assert f"{files / 'photo.png'}" in line and message in line


def test_images_that_are_not_finite_or_differ_in_size():
    image = torch.zeros(3, 112, 112)
    for bad in (torch.full_like(image, float("nan")), torch.zeros(3, 100, 100), image + 2, image.to(torch.uint8)):
        with pytest.raises(InputError) as caught:
            FacePair(image, bad)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="NaN"):
        load_image(torch.full_like(image, float("nan")))


def test_other_things_in_the_place_of_a_pair_and_of_a_model():
    image = torch.zeros(3, 112, 112)
    with pytest.raises(InputError, match=r"^gallery must be a torch tensor; got ndarray\. Use facexai\.load_image\.$"):
        FacePair(image, image.numpy())  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^what is explained is a FacePair"):
        explain((image, image), load_model("tutorial"))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^the model must be a network; got 'tutorial'. Use facexai\.load_model\.$"):
        explain(FacePair(image, image), "tutorial")  # type: ignore[arg-type]


BAD_MODELS = {
    "nobody": "no model 'nobody'",
    "{files}/tampered": "sha256 differs",
    "{files}/corrupt": "is not a model card",
    "{files}": "is not a saved model",
    "iresnet18@{files}/mobile.pth": "weights of another architecture",
    "mobilefacenet@{files}/words.pth": "is not a PyTorch file",
    "mobilefacenet@{files}/gone.pth": "no weights file",
    "mobilefacenett@{files}/mobile.pth": "did you mean 'mobilefacenet'",
}


@pytest.mark.parametrize("spec", BAD_MODELS)
def test_a_model_that_cannot_be_loaded(capsys, files, tmp_path, spec):
    arguments = ["verify", files / "a.png", files / "b.png", "--model", spec.format(files=files)]
    assert BAD_MODELS[spec] in refused(capsys, tmp_path, *arguments)


def test_a_network_without_decoder(capsys, files, tmp_path):
    arguments = ["explain", files / "a.png", files / "b.png", "--no-align", "--out", tmp_path / "out"]
    line = refused(capsys, tmp_path, *arguments, "--model", f"mobilefacenet@{files / 'mobile.pth'}")
    assert "decoder" in line


WRONG_USAGE = {
    "frobnicate": "No such command 'frobnicate'",
    "explain": "Missing argument",
    "verify a.png": "Missing argument",
    "verify a.png b.png --modell x": "No such option",
    "verify a.png b.png --threshold high": "--threshold",
    "explain a.png b.png --set seed": "KEY=VALUE",
    "explain a.png b.png --method nonsense": "unknown",
    "explain a.png b.png --set nonsense=1": "nonsense",
    "explain a.png b.png --json nowhere/result.json": "--json takes a file in a folder that can be written",
    "explain a.png b.png --json /proc/result.json": "--json takes a file in a folder that can be written",
    "explain a.png b.png --json /dev/null": "--json takes a file in a folder that can be written",
    "explain a.png b.png --out /proc/out": "--out takes a folder",
    "verify a.png b.png --threshold nan": "--threshold takes a finite number; got nan",
    "verify a.png b.png --threshold inf": "--threshold takes a finite number; got inf",
    "sanity --set steps=0": "steps must be at least 1; got 0",
    "explain a.png b.png --out a.png/out": "--out takes a folder",
    "benchmark nonsense": "unknown benchmark 'nonsense'",
    "list nonsense": "unknown list 'nonsense'",
    "train": "Missing command",
    "train ddfv --preset nonsense --out out": "unknown preset 'nonsense'",
    "train ddfv --preset smoke --set nonsense=1 --out out": "nonsense",
    "train ddfv --preset smoke": "Missing option '--out'",
    "train hopenet --preset tutorial --out out": "belongs to another training; choose one of hopenet-tutorial, paper",
    "train hopenet --set nonsense=1 --out out": "unknown setting 'nonsense'",
    "train hopenet --set images=faces --out out": "images and poses belong together",
    "pose-error --model nonsense": "no pose network 'nonsense'",
    "pose-error --poses poses.csv": "--poses and --images belong together",
    "render --out out --identities 0": "--identities",
    "bench nonsense": "No such command",
}


@pytest.mark.parametrize("line", WRONG_USAGE)
def test_wrong_usage(capsys, monkeypatch, files, tmp_path, line):
    for name in ("a.png", "b.png"):
        shutil.copy(files / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    model = ["--model", files / "model", "--no-align"] if line.startswith("explain a") else []
    assert WRONG_USAGE[line] in refused(capsys, tmp_path, *line.split(), *model)


def test_a_folder_in_use_is_not_mixed_with_rendered_faces(capsys, tmp_path):
    (tmp_path / "mine.txt").touch()
    assert "holds files already" in refused(capsys, tmp_path, "render", "--out", tmp_path)


# Not the user's fault: exit status 1


def test_a_full_disk(capsys, monkeypatch, files, tmp_path):
    def full(*paths):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), paths[0])

    monkeypatch.setattr(os, "replace", full)
    arguments = ["explain", files / "a.png", files / "b.png", "--no-align", "--model", files / "model"]
    line = refused(capsys, tmp_path, *arguments, "--out", tmp_path / "deep" / "out", status=1)
    assert "the disk is full" in line


def test_what_is_unexpected_is_one_line_unless_debugging(capsys, monkeypatch, files, tmp_path):
    def broken(*arguments, **options):
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(cli, "load_network", broken)
    arguments = ["verify", str(files / "a.png"), str(files / "b.png")]
    assert "RuntimeError: first line second line" in refused(capsys, tmp_path, *arguments, status=1)
    monkeypatch.setenv("FACEXAI_DEBUG", "1")
    with pytest.raises(RuntimeError, match="first line"):
        cli.main(arguments)


# Training


SMALL_RUN = ["identities=2", "images_per_identity=4", "batch_size=4", "epochs=2", "precision=32-true"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """One cache for all runs of this file: the faces are rendered once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def train(monkeypatch, cache, tmp_path):
    """Arguments of a run of four steps into `tmp_path / "run"`; validation is tested elsewhere."""
    monkeypatch.setattr(cli, "rendered_validation", lambda config: lambda model: {"threshold": 0.5})
    monkeypatch.setenv("FACEXAI_CACHE", str(cache))
    settings = [word for setting in SMALL_RUN for word in ("--set", setting)]
    return ["train", "ddfv", "--preset", "smoke", *settings, "--out", str(tmp_path / "run")]


@pytest.fixture(autouse=True)
def ctrl_c_is_heard():
    """A shell starts background jobs with SIGINT ignored, and the suite may be one."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press_ctrl_c(monkeypatch, module, name, *, after=0):
    """Send SIGINT from inside the training loop, once the function `name` of `module` was called `after` times."""
    original, calls = getattr(module, name), []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) > after:
            signal.raise_signal(signal.SIGINT)
        return original(*arguments, **options)

    monkeypatch.setattr(module, name, interrupted)


def test_ctrl_c_in_training_and_what_may_follow(capsys, monkeypatch, train, tmp_path):
    run, checkpoint = tmp_path / "run", tmp_path / "run" / "last.ckpt"
    with monkeypatch.context() as patch:
        press_ctrl_c(patch, fit, "lr_factor", after=2)
        assert cli.main(train) == 1
    assert capsys.readouterr().err == "facexai: interrupted; continue with --resume\n"
    assert sorted(file.name for file in run.iterdir()) == ["config.json", "last.ckpt", "log.jsonl"]

    assert "holds a run already" in refused(capsys, run, *train)
    assert "cannot resume with another lr" in refused(capsys, run, *train, "--set", "lr=1", "--resume")
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: len(whole) // 2])
    assert "last.ckpt is damaged" in refused(capsys, run, *train, "--resume")
    checkpoint.write_bytes(whole)

    assert cli.main([*train, "--resume"]) == 0
    steps = [json.loads(line)["step"] for line in (run / "log.jsonl").read_text().splitlines()]
    assert sorted(set(steps)) == [1, 2, 3, 4]
    assert load_model(run).threshold == 0.5


def test_ctrl_c_before_the_first_checkpoint(capsys, monkeypatch, train, tmp_path):
    press_ctrl_c(monkeypatch, ddfv, "_training_set")
    assert cli.main(train) == 1
    assert capsys.readouterr().err == "facexai: interrupted; nothing was learnt yet; start again\n"
    assert snapshot(tmp_path) == []


def test_nothing_to_resume(capsys, train, tmp_path):
    assert "nothing to resume" in refused(capsys, tmp_path, *train, "--resume")


def test_a_full_disk_in_training(capsys, monkeypatch, train, tmp_path):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(torch, "save", full)
    assert cli.main([*train, "--set", "epochs=1"]) == 1
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "the disk is full" in line
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == ["config.json", "log.jsonl"]


def test_what_torch_says_of_a_full_disk_is_translated():
    error = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 640 vs 598")
    status, line = cli.describe_failure(error)
    assert status == 1 and "the disk is full" in line

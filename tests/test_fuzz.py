"""Two hundred bad files: each is refused in one clear line, runs nothing and leaves nothing."""

import io
import json
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from facexai.benchmarks.records import read_scored
from facexai.datasets import BinPack, PairList, RecordFaces, load_faces, write_bin_pack
from facexai.datasets.ijb import read_ijb
from facexai.datasets.official import OFFICIAL
from facexai.datasets.recordio import write_identity_records
from facexai.errors import InputError
from facexai.models import build
from facexai.weights import load_model, save_model

Random = np.random.Generator
KINDS: dict[str, Callable[[Path, Random], Callable[[], object]]] = {}


def kind(make):
    """Files a maker: it spoils something in a folder and returns what must be refused."""
    KINDS[make.__name__] = make
    return make


class Evil:
    """Unpickled, it makes a file."""

    def __reduce__(self):
        return os.system, ("touch ran",)


def picture(value: int = 0, size: tuple[int, int] = (112, 112), form: str = "PNG") -> bytes:
    pixels = np.random.default_rng(value).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


SEEDS = 8
FACES = [picture(k) for k in range(4)]


def spoil(content: bytes, rng: Random, start: int = 0) -> bytes:
    """Part of a file is missing, or noise lies in its place."""
    at = int(rng.integers(start, len(content) - 1))
    length = int(rng.integers(40, 200))
    return content[:at] if rng.random() < 0.5 else content[:at] + rng.bytes(length) + content[at + length :]


def read_all(images):
    return images[np.arange(len(images))]


# Packs


@kind
def cut_pack(folder, rng):
    file = write_bin_pack(folder / "x.bin", FACES, [True, False])
    content = file.read_bytes()
    file.write_bytes(content[: rng.integers(len(content))])
    return lambda: BinPack(file)


@kind
def noise_in_a_face_of_a_pack(folder, rng):
    file = write_bin_pack(folder / "x.bin", FACES, [True, False])
    content = file.read_bytes()
    at = int(rng.integers(200, len(FACES[0]) - 300))  # inside the first PNG, whose checksum tells
    file.write_bytes(content[:at] + rng.bytes(100) + content[at + 100 :])
    return lambda: read_all(BinPack(file))


@kind
def noise_as_a_pack(folder, rng):
    (folder / "x.bin").write_bytes(rng.bytes(int(rng.integers(1, 3000))))
    return lambda: BinPack(folder / "x.bin")


@kind
def random_instructions_as_a_pack(folder, rng):
    codes = np.frombuffer(b"](\x85\x86\x87\x94qK\x88\x89N)eaRb0h\x8cC", np.uint8)
    (folder / "x.bin").write_bytes(b"\x80\x04" + rng.choice(codes, 400).tobytes() + b".")
    return lambda: BinPack(folder / "x.bin")


@kind
def pack_that_runs_code(folder, rng):
    parts = [FACES, [True, False]]
    parts[int(rng.integers(2))].append(Evil()) if (deep := rng.random() < 0.5) else None
    content = parts if deep else Evil()
    (folder / "x.bin").write_bytes(pickle.dumps(content, int(rng.integers(0, 6))))
    del FACES[4:]
    return lambda: BinPack(folder / "x.bin")


@kind
def pack_of_false_lengths(folder, rng):
    code, form = [(b"B", "<I"), (b"\x8e", "<Q"), (b"\x8d", "<Q"), (b"X", "<I"), (b"T", "<i")][int(rng.integers(5))]
    size = int(rng.integers(1 << 20, 1 << 31))
    (folder / "x.bin").write_bytes(b"\x80\x04](" + code + struct.pack(form, size) + b"short")
    return lambda: BinPack(folder / "x.bin")


@kind
def pack_of_other_things(folder, rng):
    contents = [{}, 7, ([], []), (FACES, [True]), (FACES, "no"), (FACES, [2, 3]), ([None] * 4, [True, False]), (1, 2)]
    (folder / "x.bin").write_bytes(pickle.dumps(contents[int(rng.integers(len(contents)))], 4))
    return lambda: BinPack(folder / "x.bin")


# RecordIO


def packed(folder: Path) -> Path:
    return write_identity_records(folder / "train.rec", [FACES[:2], FACES[2:]], 4)


@kind
def cut_records(folder, rng):
    file = packed(folder)
    content = file.read_bytes()
    file.write_bytes(content[: rng.integers(len(content) - 4)])
    return lambda: read_all(RecordFaces(file))


@kind
def noise_in_records(folder, rng):
    file = packed(folder)
    content = bytearray(file.read_bytes())
    at = int(rng.integers(200, len(FACES[0]) - 300))
    content[at : at + 100] = rng.bytes(100)
    file.write_bytes(content)
    return lambda: read_all(RecordFaces(file))


@kind
def records_without_magic(folder, rng):
    file = packed(folder)
    content = bytearray(file.read_bytes())
    offsets = [int(line.split()[1]) for line in file.with_suffix(".idx").read_text().splitlines()]
    content[offsets[int(rng.integers(5))] + int(rng.integers(4))] ^= int(rng.integers(1, 256))
    file.write_bytes(content)
    return lambda: read_all(RecordFaces(file))


@kind
def index_of_another_file(folder, rng):
    file = packed(folder)
    rows = [line.split() for line in file.with_suffix(".idx").read_text().splitlines()]
    shift = int(rng.integers(1, 500))
    file.with_suffix(".idx").write_text("".join(f"{key}\t{int(offset) + shift}\n" for key, offset in rows))
    return lambda: read_all(RecordFaces(file))


@kind
def noise_as_an_index(folder, rng):
    file = packed(folder)
    lines = file.with_suffix(".idx").read_text().splitlines()
    row = int(rng.integers(len(lines)))
    lines[row] = ["", "1", "1 2 3", "-1\t0", "a\tb", "9" * 30 + "\t0", "0\t" + "9" * 30][int(rng.integers(1, 7))]
    file.with_suffix(".idx").write_text("\n".join(lines))
    return lambda: read_all(RecordFaces(file))


# Lists


def people(folder: Path) -> None:
    for person in "AB":
        (folder / "images" / person).mkdir(parents=True)
        for number in (1, 2):
            (folder / "images" / person / f"{person}_{number:04d}.jpg").write_bytes(FACES[number])


CSV = "name1,name2,same,fold\nA/A_0001.jpg,A/A_0002.jpg,1,0\nA/A_0001.jpg,B/B_0001.jpg,0,1\n"
BAD_NAMES = ("../../etc/passwd", "/etc/passwd", "A/../../x.jpg", "", "A", "\0", "A/A_0009.jpg", "x" * 5000, "~/x")


@kind
def name_that_leads_astray(folder, rng):
    people(folder)
    name = BAD_NAMES[int(rng.integers(len(BAD_NAMES)))]
    (folder / "pairs.csv").write_text(CSV.replace("A/A_0001.jpg", name, 1))
    return lambda: PairList.read(folder / "pairs.csv", folder / "images")


@kind
def spoilt_csv(folder, rng):
    people(folder)
    bad = [
        CSV.replace("same", "equal"),
        CSV.replace(",1,0", ",maybe,0"),
        CSV.replace(",0,1", ",0,zero"),
        CSV.replace(",0,1", ",0,0"),
        CSV.replace(",1,0", ""),
        "",
        "\0" * 100,
        CSV + '"' + "x" * 200_000,
        CSV.replace(",0,1", ",0," + "9" * 5000),
    ]
    (folder / "pairs.csv").write_text(bad[int(rng.integers(len(bad)))])
    return lambda: PairList.read(folder / "pairs.csv", folder / "images")


@kind
def noise_as_a_csv(folder, rng):
    (folder / "pairs.csv").write_bytes(rng.bytes(500))
    return lambda: PairList.read(folder / "pairs.csv", folder)


@kind
def spoilt_lfw(folder, rng):
    people(folder)
    lines = ["2 1", "A 1 2", "A 1 B 1", "B 1 2", "B 2 A 2"]
    row = int(rng.integers(5))
    words = ["", "A", "../A 1 2", "A 1 B", "A one 2", "A 1 99999999999999", "2 2", "A -1 2", "\0 1 2", "A 1 9"]
    lines[row] = words[int(rng.integers(len(words)))]
    (folder / "pairs.txt").write_text("\n".join(lines))
    return lambda: OFFICIAL["lfw"](folder)


@kind
def spoilt_two_lines(folder, rng):
    people(folder)
    name = ("../../etc/passwd", "/etc/passwd", "nobody.jpg", "x 7", "y")[int(rng.integers(5))]
    (folder / "pairs_CPLFW.txt").write_text("A/A_0001.jpg 1\nA/A_0002.jpg 1\n" + f"{name} 0\nA/A_0001.jpg 0\n" * 3)
    return lambda: OFFICIAL["cplfw"](folder)


@kind
def spoilt_cfp(folder, rng):
    protocol = folder / "Protocol"
    for fold in ("01", "02"):
        (protocol / "Split" / "FF" / fold).mkdir(parents=True)
        for name in ("same", "diff"):
            (protocol / "Split" / "FF" / fold / f"{name}.txt").write_text("1,2\n")
    (protocol / "Pair_list_F.txt").write_text("1 ../Data/Images/1.jpg\n2 ../Data/Images/2.jpg\n")
    (folder / "Data" / "Images").mkdir(parents=True)
    for name in "12":
        (folder / "Data" / "Images" / f"{name}.jpg").write_bytes(FACES[0])
    words = ["3,1", "1", "1,2,3", "x,y", "-1,2", "1;2"]
    file = protocol / "Split" / "FF" / "02" / "same.txt"
    file.write_text(words[int(rng.integers(len(words)))] + "\n")
    if rng.random() < 0.3:
        (protocol / "Pair_list_F.txt").write_text("1 ../../../etc/passwd\n2 ../../x.jpg\n")
        file.write_text("1,2\n")
    return lambda: OFFICIAL["cfp-ff"](folder)


@kind
def spoilt_ijb(folder, rng):
    (folder / "meta").mkdir()
    (folder / "loose_crop").mkdir()
    (folder / "loose_crop" / "1.jpg").write_bytes(FACES[0])
    texts = {
        "face_tid_mid": "1.jpg 1 1\n",
        "name_5pts_score": "1.jpg " + "5 " * 10 + "0.9\n",
        "template_pair_label": "1 1 1\n",
    }
    name = list(texts)[int(rng.integers(3))]
    texts[name] = ["", "x", "1.jpg 1\n", "../1.jpg 1 1\n", "1 1 7\n", "2 2 1\n", "nan " * 12][int(rng.integers(7))]
    for part, text in texts.items():
        (folder / "meta" / f"ijbc_{part}.txt").write_text(text)
    return lambda: read_ijb(folder, "ijbc")


# Images


@kind
def cut_picture(folder, rng):
    content = picture(1, form=["PNG", "JPEG", "WEBP", "BMP"][int(rng.integers(4))])
    (folder / "x.jpg").write_bytes(content[: rng.integers(len(content) * 9 // 10)])
    return lambda: load_faces([folder / "x.jpg"])


@kind
def noise_as_a_picture(folder, rng):
    start = [b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"RIFF"][int(rng.integers(7))]
    (folder / "x.jpg").write_bytes(start + rng.bytes(300))
    return lambda: load_faces([folder / "x.jpg"])


@kind
def picture_that_unpacks_to_gigabytes(folder, rng):
    side = int(rng.integers(5_000, 60_000))  # some below Pillow's own bound
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(10_000_000), 9)), (b"IEND", b"")]
    with open(folder / "x.png", "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, body in chunks:
            file.write(struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)))
    return lambda: load_faces([folder / "x.png"])


# Models and results


def tiny_model(folder: Path) -> Path:
    with torch.random.fork_rng():
        return save_model(build("ddfv-iresnet", blocks=(1, 1, 1, 1), widths=(2, 2, 2, 8)), folder / "model", {})


@kind
def spoilt_weights(folder, rng):
    file = tiny_model(folder) / ("model.safetensors" if rng.random() < 0.7 else "decoder.safetensors")
    file.write_bytes(spoil(file.read_bytes(), rng))
    return lambda: load_model(folder / "model")


@kind
def spoilt_card(folder, rng):
    file = tiny_model(folder) / "card.json"
    card = json.loads(file.read_text())
    change = int(rng.integers(5))
    card["architecture"]["name"] = "evil" if change == 0 else card["architecture"]["name"]
    card["sha256"] = {"../../etc/passwd": "0"} if change == 1 else card["sha256"]
    text = {2: "{", 3: "[" * 5000, 4: "[]"}.get(change) or json.dumps(card)
    file.write_text(text)
    return lambda: load_model(folder / "model")


@kind
def checkpoint_that_runs_code(folder, rng):
    torch.save({"weight": torch.zeros(2), "more": Evil()}, folder / "x.pth")
    if rng.random() < 0.5:
        (folder / "x.pth").write_bytes(pickle.dumps(Evil(), 2))
    return lambda: load_model(f"mobilefacenet@{folder / 'x.pth'}")


@kind
def checkpoint_that_unpacks_to_gigabytes(folder, rng):
    torch.save({"weight": torch.zeros(2)}, folder / "good.pth")
    with (
        zipfile.ZipFile(folder / "good.pth") as good,
        zipfile.ZipFile(folder / "x.pth", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as bomb,
    ):
        for entry in good.infolist():
            extra = bytes(int(rng.integers(1, 20)) * 1_000_000) if entry.filename.endswith("/0") else b""
            bomb.writestr(entry.filename, good.read(entry) + extra)
    return lambda: load_model(f"mobilefacenet@{folder / 'x.pth'}")


@kind
def spoilt_checkpoint(folder, rng):
    torch.save({"weight": torch.zeros(500)}, folder / "x.pth")
    content = (folder / "x.pth").read_bytes()
    (folder / "x.pth").write_bytes(spoil(content, rng))
    return lambda: load_model(f"mobilefacenet@{folder / 'x.pth'}")


@kind
def spoilt_result(folder, rng):
    texts = ["", "{", "[" * 9999, "1", '{"scored": 1}', '{"scored": {"scores": "A"}, "pairs": 1e99}', "\\ud800"]
    (folder / "x.json").write_text(texts[int(rng.integers(len(texts)))])
    return lambda: read_scored(folder / "x.json")


def files_of(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("name", KINDS)
def test_a_bad_file_is_refused_in_one_line_and_does_nothing(name, seed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refuse = KINDS[name](tmp_path, np.random.default_rng([seed, len(name)]))
    before = files_of(tmp_path)
    with pytest.raises(InputError) as caught:
        refuse()
    message = str(caught.value)
    assert message and len(message.splitlines()) == 1 and message.isprintable()
    assert len(message) < 1000
    assert files_of(tmp_path) == before  # nothing written, nothing run


def test_there_are_two_hundred_of_them():
    assert SEEDS * len(KINDS) >= 200

"""Packs of pairs: what pickle reads, read without pickle; and what is refused."""

import io
import os
import pickle
import struct

import numpy as np
import pytest
from PIL import Image

from facexai.datasets import BinPack, write_bin_pack
from facexai.errors import InputError


def encoded(value: int, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((112, 112, 3), value, np.uint8)).save(buffer, kind)
    return buffer.getvalue()


FACES = [encoded(0), encoded(40), encoded(0), encoded(200), encoded(90, "JPEG"), encoded(40)]
SAME = [True, False, True]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("form", ["bytes", "arrays", "array labels", "numpy labels"])
def test_packs_of_every_protocol_hold_what_pickle_finds(tmp_path, protocol, form):
    images = [np.frombuffer(face, np.uint8) for face in FACES] if form == "arrays" else FACES
    labels = {"array labels": np.array(SAME), "numpy labels": [np.bool_(same) for same in SAME]}.get(form, SAME)
    file = tmp_path / "lfw.bin"
    file.write_bytes(pickle.dumps((images, labels), protocol))
    pack = BinPack(file)
    assert pack.genuine.tolist() == SAME
    assert pack.payloads(pack.probe) == FACES[::2]
    assert pack.payloads(pack.gallery) == FACES[1::2]


def test_a_pack_of_python_2_is_read(tmp_path):
    strings = b"".join(b"T" + struct.pack("<I", len(face)) + face + b"q" + bytes([k]) for k, face in enumerate(FACES))
    file = tmp_path / "old.bin"
    file.write_bytes(b"\x80\x02](" + strings + b"e](\x88I00\nK\x01e\x86q\x20.")
    assert pickle.loads(file.read_bytes(), encoding="bytes") == (FACES, [True, False, 1])
    pack = BinPack(file)
    assert pack.genuine.tolist() == SAME
    assert pack.payloads(pack.gallery) == FACES[1::2]


def test_an_image_of_several_pairs_is_kept_once_in_the_order_of_the_pairs(tmp_path):
    pack = BinPack(write_bin_pack(tmp_path / "x.bin", FACES, SAME))
    assert len(pack) == 4
    assert (pack.probe.tolist(), pack.gallery.tolist()) == ([0, 0, 3], [1, 2, 1])
    assert pack[[2, 0]][:, 5, 5, 0].tolist() == [200, 0]


def test_what_is_written_is_what_the_field_reads(tmp_path, monkeypatch):
    monkeypatch.setattr("facexai.datasets.bin_packs.BLOCK", 4)
    file = write_bin_pack(tmp_path / "x.bin", iter(FACES), SAME)
    with open(file, "rb") as handle:
        assert pickle.load(handle, encoding="bytes") == (FACES, SAME)
    with pytest.raises(InputError, match="a pack of 2 pairs needs 4 images; got 6"):
        write_bin_pack(tmp_path / "y.bin", FACES, SAME[:2])
    assert os.listdir(tmp_path) == ["x.bin"]


def test_images_stay_in_the_file(tmp_path):
    """What is remembered of a pack does not grow with its images."""
    noise = np.random.default_rng(0).bytes
    sizes = []
    for length in (1_000, 100_000):
        pack = BinPack(write_bin_pack(tmp_path / "x.bin", [noise(length) for _ in range(20)], [True, False] * 5))
        sizes.append(len(pickle.dumps(pack)))
    assert sizes[0] == pytest.approx(sizes[1], abs=200) and sizes[1] < 5000


class Evil:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pack_that_runs_code_is_refused_and_runs_nothing(tmp_path, protocol):
    file, target = tmp_path / "evil.bin", tmp_path / "ran"
    file.write_bytes(pickle.dumps((Evil(target), SAME), protocol))
    with pytest.raises(InputError, match=r"evil\.bin is not read: it calls for 'posix\.system'.*source that you trust"):
        BinPack(file)
    assert not target.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no pickle of plain data or is damaged"),
        (b"PK\x03\x04 a zip file", "is no pickle of plain data or is damaged"),
        (pickle.dumps((FACES, SAME))[:-500], "is no pickle of plain data or is damaged"),
        (b"\x80\x04" + b"(" * 1000, "too many instructions"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 2**62), "damaged"),
        (pickle.dumps({"a": 1}), "its instruction EMPTY_DICT is none that lists of images need"),
        (pickle.dumps((FACES, SAME), 0), "written with pickle protocol 2 or later"),
        (pickle.dumps(FACES), "holds something else than pairs of images"),
        (pickle.dumps((FACES, SAME[:2])), "holds 6 images and 2 labels; a .bin pack holds"),
        (pickle.dumps((FACES, [1, 0, 2])), "the labels are no list of booleans"),
        (pickle.dumps(([*FACES[:5], 7], SAME)), "image 5 is no encoded image"),
        (pickle.dumps(([np.array([None] * 6)] * 6, SAME)), "damaged"),
    ],
)
def test_what_is_no_pack_is_named_in_one_line(tmp_path, content, message):
    file = tmp_path / "x.bin"
    file.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        BinPack(file)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="cannot read"):
        BinPack(tmp_path / "nowhere.bin")


def test_an_image_that_cannot_be_read_is_named(tmp_path):
    pack = BinPack(write_bin_pack(tmp_path / "x.bin", [b"noise", FACES[0]], [True]))
    with pytest.raises(InputError, match=r"image 0 of .*x\.bin is not an image that can be read"):
        pack[[0]]

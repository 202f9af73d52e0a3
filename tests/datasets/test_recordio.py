"""RecordIO byte by byte, in pieces, from threads and processes; and what is refused."""

import io
import multiprocessing
import pickle
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from facexai.datasets import IdentityFolder, RecordFaces, identity_faces
from facexai.datasets.recordio import MAGIC_BYTES, RecordFile, RecordWriter, unpack, write_identity_records
from facexai.errors import InputError


def write(folder, contents: dict[int, bytes]):
    with open(folder / "x.rec", "wb") as records, open(folder / "x.idx", "wb") as index:
        writer = RecordWriter(records, index)
        for key, content in contents.items():
            writer.write(key, content)
    return folder / "x.rec"


def encoded(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((112, 112, 3), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def packed(tmp_path):
    """Three people with 2, 1 and 3 images."""
    return write_identity_records(
        tmp_path / "train.rec", [[encoded(10), encoded(20)], [encoded(30)], [encoded(v) for v in (40, 50, 60)]], 6
    )


def test_a_record_lies_in_the_file_as_the_format_says(tmp_path):
    file = write(tmp_path, {0: b"abcde", 7: b""})
    assert file.read_bytes() == bytes.fromhex("0a23d7ce 05000000") + b"abcde\0\0\0" + bytes.fromhex("0a23d7ce 00000000")
    assert (tmp_path / "x.idx").read_bytes() == b"0\t0\n7\t16\n"
    assert RecordFile(file).read(np.array([7, 0])) == [b"", b"abcde"]


def test_a_record_that_holds_the_magic_number_is_cut_and_put_together(tmp_path):
    content = b"1234" + MAGIC_BYTES + MAGIC_BYTES + b"56"
    file = write(tmp_path, {3: content, 4: b"x" + MAGIC_BYTES})
    raw = file.read_bytes()
    parts = [struct.unpack_from("<II", raw, at) for at in (0, 12, 20)]
    assert [(word >> 29, word & 0xFFFFFF) for _, word in parts] == [(1, 4), (2, 0), (3, 2)]
    assert raw.count(MAGIC_BYTES) == 5  # four heads, and one that is not at a multiple of four
    assert RecordFile(file).read(np.array([3, 4])) == [content, b"x" + MAGIC_BYTES]


@pytest.mark.parametrize("size", [1 << 16, 200_001])
def test_long_records_and_long_pieces_come_back_whole(tmp_path, size):
    noise = np.random.default_rng(0).bytes(size)
    contents = {1: noise, 2: noise[: size // 4 * 4] + MAGIC_BYTES + noise, 3: b"end"}
    file = RecordFile(write(tmp_path, contents))
    assert file.read(np.array([3, 2, 1])) == [contents[3], contents[2], contents[1]]


def test_headers_have_one_label_or_many(packed):
    assert unpack(struct.pack("<IfQQ", 0, 5.0, 1, 0) + b"face", "x")[0].tolist() == [5]
    labels, rest = unpack(struct.pack("<IfQQ3f", 3, 0, 1, 0, 7, 8, 9) + b"face", "x")
    assert (labels.tolist(), rest) == ([7, 8, 9], b"face")
    assert RecordFile(packed).labels(np.array([0, 1, 6, 9]), 2)[[0, 3]].tolist() == [[7, 10], [4, 7]]


def test_a_training_file_gives_images_and_identities(packed):
    faces = RecordFaces(packed)
    assert faces.identity.tolist() == [0, 0, 1, 2, 2, 2]
    assert faces[np.array([5, 0, 2])][:, 3, 3, 0].tolist() == [60, 10, 30]
    assert faces.payloads([1]) == [encoded(20)]


def test_files_without_records_of_identities_are_read_by_the_label_of_each_image(tmp_path):
    labels = [4.0, 9.0, 4.0]
    pack = {k: struct.pack("<IfQQ", 0, label, k, 0) + encoded(k) for k, label in enumerate(labels)}
    assert RecordFaces(write(tmp_path, pack)).identity.tolist() == [0, 1, 0]
    many = {k: struct.pack("<IfQQ2f", 2, 0, k, 0, label, 77) + encoded(k) for k, label in enumerate(labels, 1)}
    assert RecordFaces(write(tmp_path, many)).identity.tolist() == [0, 1, 0]


def test_images_that_no_record_of_an_identity_covers_keep_their_own_label(tmp_path):
    pack = {0: struct.pack("<IfQQ2f", 2, 0, 0, 0, 4, 6)}
    pack |= {k: struct.pack("<IfQQ", 0, label, k, 0) + encoded(k) for k, label in ((1, 3), (2, 8), (3, 8))}
    pack |= {4: struct.pack("<IfQQ2f", 2, 0, 0, 0, 1, 2), 5: struct.pack("<IfQQ2f", 2, 0, 0, 0, 2, 3)}
    assert RecordFaces(write(tmp_path, pack)).identity.tolist() == [0, 1, 1]


def rows_read(faces: RecordFaces, seed: int) -> list[int]:
    rows = np.random.default_rng(seed).integers(len(faces), size=20)
    return [faces[[row]][0, 0, 0, 0] == 10 * (row + 1) for row in rows]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_open_the_file_for_themselves(packed, method):
    faces = RecordFaces(packed)
    faces[[0]]  # opened here before the workers start
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert all(map(all, pool.starmap(rows_read, [(faces, seed) for seed in range(4)])))


def test_a_forked_worker_does_not_move_the_position_in_its_parents_file(packed):
    faces = RecordFaces(packed)
    faces.payloads([0])
    before = faces.records._handle.tell()
    worker = multiprocessing.get_context("fork").Process(target=faces.payloads, args=([5],))
    worker.start()
    worker.join()
    assert worker.exitcode == 0
    assert faces.records._handle.tell() == before


def test_threads_share_a_file(packed):
    faces = RecordFaces(packed)
    with ThreadPoolExecutor(4) as pool:
        assert all(map(all, pool.map(lambda seed: rows_read(faces, seed), range(8))))
    assert RecordFaces(packed)[[0]].shape == pickle.loads(pickle.dumps(faces))[[0]].shape == (1, 112, 112, 3)


def test_a_training_set_is_found_where_it_lies(packed, tmp_path):
    for person in "ab":
        (tmp_path / "folders" / person).mkdir(parents=True)
        (tmp_path / "folders" / person / "1.png").write_bytes(encoded(1))
    assert isinstance(identity_faces(tmp_path / "folders"), IdentityFolder)
    assert isinstance(identity_faces(packed), RecordFaces)
    assert len(identity_faces(tmp_path)) == 6
    with pytest.raises(InputError, match=r"cannot read .*nowhere\.rec"):
        identity_faces(tmp_path / "nowhere.rec")


def change(path, old, new):
    path.write_bytes(path.read_bytes().replace(old, new, 1))


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (b"", "must have 'key offset' in each line"),
        (b"0\t0\n1\n", "must have 'key offset' in each line"),
        (b"0 0 1\n48 2 96\n1\n", "must have 'key offset' in each line"),
        (b"0\t-4\n", "must have 'key offset' in each line"),
        (b"0\t0\n1\t99999999999999999999999\n", "must have 'key offset' in each line"),
        (b"0\t0\n1\t999999999999999999\n", "is not the index of"),
        (b"0\t0\n1\t2\n", "is not the index of"),
        (b"0\t0\n0\t40\n", "is not the index of"),
        (b"0\t4\n1\t40\n", "is damaged at byte 4"),
        (b"0\t0\n1\t40\n", "has no record 7|is damaged|at least two identities"),
        (b"\x89PNG\r\n", "must have 'key offset' in each line"),
    ],
)
def test_what_is_no_index_is_named(packed, index, message):
    packed.with_suffix(".idx").write_bytes(index)
    with pytest.raises(InputError, match=message) as caught:
        RecordFaces(packed)
    assert "\n" not in str(caught.value)


def test_damaged_files_are_named(packed, tmp_path):
    faces = RecordFaces(packed)
    content = packed.read_bytes()
    offset = int(faces.records.offsets(np.array([2]))[0])
    for spoilt, row, message in (
        (content[:offset] + b"\0" + content[offset + 1 :], 1, f"is damaged at byte {offset}"),
        (content[: offset + 5] + b"\xff\xff\x1f" + content[offset + 8 :], 1, f"is damaged at byte {offset}"),
        (content[: offset + 7] + b"\x60" + content[offset + 8 :], 1, f"is damaged at byte {offset}"),  # last, not first
        (content[: offset + 7] + b"\x20" + content[offset + 8 :], 1, "is damaged"),  # first, and no more follow
        (content[: offset + 40] + bytes(50) + content[offset + 90 :], 1, r"record 2 of .* is"),
    ):
        packed.write_bytes(spoilt)
        with pytest.raises(InputError, match=message):
            RecordFaces(packed)[[row]]
    packed.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="is not the index of"):
        RecordFaces(packed)
    packed.with_suffix(".idx").unlink()
    with pytest.raises(InputError, match="must have 'key offset' in each line"):
        RecordFaces(packed)


def test_a_file_is_whole_or_not_there(tmp_path):
    with pytest.raises(InputError, match="3 images were announced and 2 came"):
        write_identity_records(tmp_path / "x.rec", [[b"a", b"b"]], 3)
    assert list(tmp_path.iterdir()) == []

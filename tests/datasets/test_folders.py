"""Identity folders and pair lists, and what they refuse."""

import numpy as np
import pytest
from PIL import Image

from facexai.datasets import IdentityFolder, PairList, load_faces
from facexai.errors import InputError


@pytest.fixture
def faces(tmp_path):
    for person in ("ada", "grace"):
        (tmp_path / person).mkdir()
        for number in range(2):
            value = 40 * number + (100 if person == "grace" else 0)
            Image.fromarray(np.full((112, 112, 3), value, np.uint8)).save(tmp_path / person / f"{number}.png")
    return tmp_path


def pair_list(folder, text):
    file = folder / "pairs.csv"
    file.write_text(text)
    return PairList.read(file, folder)


GOOD = "name1,name2,same,fold\nada/0.png,ada/1.png,1,0\nada/0.png,grace/0.png,0,1\n"


def test_identity_folder_labels_images_by_folder_in_order(faces):
    folder = IdentityFolder(faces)
    assert [path.parent.name for path in folder.paths] == ["ada", "ada", "grace", "grace"]
    assert folder.identity.tolist() == [0, 0, 1, 1]
    assert folder[[3, 0]][:, 0, 0, 0].tolist() == [140, 0]


def test_pair_list_reads_indices_labels_and_folds(faces):
    pairs = pair_list(faces, GOOD)
    assert [pairs.paths[i].name for i in pairs.gallery] == ["1.png", "0.png"]
    assert (pairs.genuine.tolist(), pairs.fold.tolist()) == ([True, False], [0, 1])
    assert len(pairs.paths) == 3


def test_without_folds_there_are_ten_in_the_files_order(faces):
    rows = "".join("ada/0.png,ada/1.png,1\n" for _ in range(20))
    assert pair_list(faces, "name1,name2,same\n" + rows).fold.tolist() == sorted([*range(10)] * 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name1,name2\na,b\n", r"lacks the column\(s\) same"),
        ("name1,name2,same\n", "has no pairs"),
        (GOOD.replace(",1,0", ",yes,0"), "line 2: 'same' must be 1 or 0; got 'yes'"),
        (GOOD.replace(",1,0", ",1,first"), "'fold' must be a whole number"),
        (GOOD.replace("0,1\n", "0,0\n"), "at least two folds"),
        (GOOD.replace("ada/0.png", "../secret.png"), r"must lie inside .*; got '\.\./secret\.png'"),
        (GOOD.replace("ada/0.png", "/etc/passwd"), "must lie inside"),
        (GOOD.replace("ada/1.png", "ada/9.png"), r"not there: .*9\.png"),
    ],
)
def test_bad_pair_lists_are_named(faces, text, message):
    with pytest.raises(InputError, match=message) as caught:
        pair_list(faces, text)
    assert "\n" not in str(caught.value)


def test_missing_and_binary_lists_are_named(faces):
    with pytest.raises(InputError, match="cannot read the pair list"):
        PairList.read(faces / "nowhere.csv", faces)
    (faces / "pairs.csv").write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match="not a CSV text file"):
        PairList.read(faces / "pairs.csv", faces)


def test_a_face_of_another_size_is_named(faces):
    Image.new("RGB", (100, 120)).save(faces / "ada" / "odd.png")
    with pytest.raises(InputError, match=r"odd\.png must be an aligned face of 112 x 112 pixels; it has 100 x 120"):
        load_faces([faces / "ada" / "odd.png"])


def test_folders_that_cannot_be_trained_on_are_named(tmp_path):
    with pytest.raises(InputError, match="no folder"):
        IdentityFolder(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="at least two folders with images"):
        IdentityFolder(tmp_path)

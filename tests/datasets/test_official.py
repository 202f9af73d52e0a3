"""Official folders: small ones are written here, as they are published, and read."""

import numpy as np
import pytest
from PIL import Image

from facexai.datasets.official import OFFICIAL
from facexai.errors import InputError


def face(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (112, 112)).save(path)


def lfw(root):
    for person in ("Ann_Lee", "Bo", "Cy", "Di"):
        for number in (1, 2, 12):
            face(root / "images" / person / f"{person}_{number:04d}.jpg")
    lines = ["2\t2", "Ann_Lee\t1\t2", "Bo\t2\t12", "Ann_Lee\t1\tBo\t2", "Ann_Lee\t2\tBo\t1"]
    lines += ["Cy\t1\t2", "Di\t2\t1", "Cy\t1\tDi\t2", "Cy\t2\tDi\t1"]
    (root / "pairs.txt").write_text("\n".join(lines) + "\n")


def cfp(root):
    numbers = [(person, image) for person in (1, 2, 3, 4) for image in (1, 2)]
    for kind, letter in (("frontal", "F"), ("profile", "P")):
        lines = []
        for row, (person, image) in enumerate(numbers, 1):
            face(root / "Data" / "Images" / f"{person:03d}" / kind / f"{image:02d}.jpg")
            lines.append(f"{row} ../Data/Images/{person:03d}/{kind}/{image:02d}.jpg\n")
        (root / "Protocol").mkdir(exist_ok=True)
        (root / "Protocol" / f"Pair_list_{letter}.txt").write_text("".join(lines))
    for kind in ("FP", "FF"):
        for fold in (1, 2):
            folder = root / "Protocol" / "Split" / kind / f"{fold:02d}"
            folder.mkdir(parents=True)
            first = 4 * (fold - 1) + 1
            (folder / "same.txt").write_text(f"{first},{first + 1}\n{first + 2},{first + 3}\n")
            (folder / "diff.txt").write_text(f"{first},{first + 2}\n{first + 3},{first + 1}\n")


def two_lines(root, file, folder, blocks):
    """20 genuine and 20 impostor pairs, the kinds in two blocks or tenth by tenth."""
    people = [f"Pat_{chr(97 + k)}" for k in range(20)]
    for person in people:
        for number in (1, 2):
            face(root / folder / f"{person}_{number}.jpg")
    genuine = [(f"{person}_1.jpg", f"{person}_2.jpg", 1) for person in people]
    impostor = [(f"{people[k]}_1.jpg", f"{people[k ^ 1]}_2.jpg", 0) for k in range(20)]
    tenths = [(genuine[k : k + 2] + impostor[k : k + 2]) for k in range(0, 20, 2)]
    rows = genuine + impostor if blocks else [row for tenth in tenths for row in tenth]
    (root / file).write_text("".join(f"{first} {label}\n{second} {label}\n" for first, second, label in rows))


def shown(pairs, row):
    return [pairs.paths[side[row]] for side in (pairs.probe, pairs.gallery)]


def test_lfw_has_its_folds_and_names(tmp_path):
    lfw(tmp_path)
    pairs = OFFICIAL["lfw"](tmp_path)
    assert pairs.genuine.tolist() == [True, True, False, False] * 2
    assert pairs.fold.tolist() == [0] * 4 + [1] * 4
    assert shown(pairs, 1) == [tmp_path / "images/Bo" / f"Bo_00{number}.jpg" for number in ("02", "12")]
    assert [path.name for path in shown(pairs, 2)] == ["Ann_Lee_0001.jpg", "Bo_0002.jpg"]
    assert pairs.identity is not None
    assert np.array_equal(pairs.identity[pairs.probe] == pairs.identity[pairs.gallery], pairs.genuine)


@pytest.mark.parametrize("folder", ["lfw", "lfw-deepfunneled", "."])
def test_lfw_images_may_lie_where_its_archives_put_them(tmp_path, folder):
    lfw(tmp_path)
    for person in (tmp_path / "images").iterdir():
        (tmp_path / folder).mkdir(exist_ok=True)
        person.rename(tmp_path / folder / person.name)
    assert shown(OFFICIAL["lfw"](tmp_path), 0)[0].parent.parent == tmp_path / folder


@pytest.mark.parametrize(("name", "second"), [("cfp-fp", "profile"), ("cfp-ff", "frontal")])
def test_cfp_pairs_go_through_both_lists(tmp_path, name, second):
    cfp(tmp_path)
    pairs = OFFICIAL[name](tmp_path)
    assert pairs.genuine.tolist() == [True, True, False, False] * 2
    assert pairs.fold.tolist() == [0] * 4 + [1] * 4
    relative = [[path.relative_to(tmp_path).as_posix() for path in shown(pairs, row)] for row in range(8)]
    assert relative[0] == ["Data/Images/001/frontal/01.jpg", f"Data/Images/001/{second}/02.jpg"]
    assert relative[7] == ["Data/Images/004/frontal/02.jpg", f"Data/Images/003/{second}/02.jpg"]
    assert pairs.identity is not None
    assert len(set(pairs.identity)) == 4
    assert len(pairs.files) == (6 if second == "profile" else 5)


@pytest.mark.parametrize(
    ("name", "file", "folder"),
    [("cplfw", "pairs_CPLFW.txt", "aligned images"), ("calfw", "pairs_CALFW.txt", "images")],
)
@pytest.mark.parametrize("blocks", [True, False])
def test_two_lines_a_pair_give_tenths_of_each_kind(tmp_path, name, file, folder, blocks):
    two_lines(tmp_path, file, folder, blocks)
    pairs = OFFICIAL[name](tmp_path)
    assert pairs.genuine.tolist() == [True, True, False, False] * 10
    assert pairs.fold.tolist() == sorted([*range(10)] * 4)
    assert [path.name for path in shown(pairs, 4)] == ["Pat_c_1.jpg", "Pat_c_2.jpg"]
    assert [path.name for path in shown(pairs, 7)] == ["Pat_d_1.jpg", "Pat_c_2.jpg"]
    assert pairs.identity is not None and len(set(pairs.identity)) == 20


def test_agedb_has_three_columns_and_the_person_in_the_name(tmp_path):
    people = [f"P{k}" for k in range(20)]
    lines = []
    for k, person in enumerate(people):
        face(tmp_path / f"{2 * k}_{person}_35_f.jpg")
        face(tmp_path / f"{2 * k + 1}_{person}_70_f.jpg")
        lines.append(f"{2 * k}_{person}_35_f.jpg {2 * k + 1}_{person}_70_f.jpg 1\n")
        lines.append(f"{2 * k}_{person}_35_f.jpg {2 * (k ^ 1) + 1}_{people[k ^ 1]}_70_f.jpg 0\n")
    (tmp_path / "agedb_30_pair.txt").write_text("".join(lines))
    pairs = OFFICIAL["agedb-30"](tmp_path)
    assert pairs.genuine.tolist() == [True, True, False, False] * 10
    assert [path.name for path in shown(pairs, 5)] == ["6_P3_35_f.jpg", "7_P3_70_f.jpg"]
    assert pairs.identity is not None and len(set(pairs.identity)) == 20


def damaged(root, name, file, change):
    {"lfw": lfw, "cfp-fp": cfp}.get(name, lambda root: two_lines(root, "pairs_CPLFW.txt", "images", True))(root)
    path = root / file
    path.write_text(change(path.read_text()))
    return OFFICIAL[name](root)


SPLIT = "Protocol/Split/FP/02/diff.txt"


@pytest.mark.parametrize(
    ("name", "file", "change", "message"),
    [
        (
            "lfw",
            "pairs.txt",
            lambda text: text.replace("2\t2\n", "2\t3\n", 1),
            "must be LFW's View 2.*got '2 3' and 8 lines",
        ),
        ("lfw", "pairs.txt", lambda text: "", r"must be LFW's View 2.*got '' and 0 lines"),
        ("lfw", "pairs.txt", lambda text: text.replace("Bo\t2\t12", "Bo\t2"), r"line 3: must be 'Name i j'"),
        ("lfw", "pairs.txt", lambda text: text.replace("Bo\t2\t12", "Bo\t2\tx"), r"line 3: 'x' must be a whole number"),
        ("lfw", "pairs.txt", lambda text: text.replace("Bo\t2\t12", "Bo\t2\t13"), r"not there: .*Bo_0013\.jpg"),
        ("lfw", "pairs.txt", lambda text: text.replace("Bo\t2\t12", "../Bo\t2\t12"), r"must lie inside .*'\.\./Bo"),
        ("cfp-fp", SPLIT, lambda text: "99,1\n", "line 1: the pair list has no image 99; it ends at 8"),
        ("cfp-fp", SPLIT, lambda text: "1;2\n", "line 1: must be two numbers 'i,j'; got '1;2'"),
        (
            "cfp-fp",
            "Protocol/Pair_list_P.txt",
            lambda text: text.replace("../Data/Images/003", "../../../x"),
            "lie inside",
        ),
        ("cplfw", "pairs_CPLFW.txt", lambda text: text[:-2] + "1\n", "the two lines of a pair must have one label"),
        (
            "cplfw",
            "pairs_CPLFW.txt",
            lambda text: text.replace(" 1\n", " 2\n", 1),
            "line 1: the label must be 1 or 0; got '2'",
        ),
        ("cplfw", "pairs_CPLFW.txt", lambda text: text.replace(" 1\n", "\n", 1), "line 1: must be 'image label'"),
        (
            "cplfw",
            "pairs_CPLFW.txt",
            lambda text: text.rpartition("Pat")[0],
            "the two lines of a pair must have one label",
        ),
        ("cplfw", "pairs_CPLFW.txt", lambda text: "", "has no pairs"),
    ],
)
def test_damaged_pair_files_are_named_with_their_line(tmp_path, name, file, change, message):
    with pytest.raises(InputError, match=message) as caught:
        damaged(tmp_path, name, file, change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", OFFICIAL)
def test_an_empty_folder_is_named(tmp_path, name):
    with pytest.raises(InputError, match=r"cannot read .*; give the official folder with --root"):
        OFFICIAL[name](tmp_path)

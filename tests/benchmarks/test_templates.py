"""Templates against a transcription of the field's script, and from official files as from memory."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_curve
from sklearn.preprocessing import normalize

from facexai.benchmarks import RenderedTemplates, pair_benchmark, protocols, verify_templates
from facexai.benchmarks.templates import FARS, fuse_templates, tar_at_nearest_far
from facexai.cli import main
from facexai.datasets.ijb import LooseCrops, read_ijb
from facexai.errors import InputError
from facexai.models import build
from facexai.rendering import render

TWIN = RenderedTemplates(identities=3)


def field_templates(features, templates, medias):
    """`image2template_feature` of insightface's script, from its steps."""
    known = np.unique(templates)
    fused = np.zeros((len(known), features.shape[1]))
    for row, number in enumerate(known):
        (inside,) = np.where(templates == number)
        own, own_medias = features[inside], medias[inside]
        parts = []
        for medium, count in zip(*np.unique(own_medias, return_counts=True), strict=True):
            (rows,) = np.where(own_medias == medium)
            parts += [own[rows]] if count == 1 else [np.mean(own[rows], axis=0, keepdims=True)]
        fused[row] = np.sum(np.concatenate(parts), axis=0)
    return normalize(fused)


def field_rates(label, score):
    """The table of insightface's script: TAR at the FAR that lies nearest to each wanted one."""
    fpr, tpr, _ = roc_curve(label, score)
    fpr, tpr = np.flipud(fpr), np.flipud(tpr)
    return [tpr[min(zip(abs(fpr - wanted), range(len(fpr)), strict=True))[1]] for wanted in FARS]


def test_templates_are_the_fields_media_means_summed():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 16)) * rng.uniform(0.1, 9, (200, 1))
    template = np.concatenate([np.arange(20), rng.integers(0, 20, 180)])
    media = rng.integers(0, 8, 200)  # media numbers recur in several templates
    assert fuse_templates(features, template, media) == pytest.approx(field_templates(features, template, media))
    by_hand = fuse_templates(np.array([[2.0, 0], [4, 0], [0, 4]]), np.zeros(3, int), np.array([7, 7, 8]))
    assert by_hand == pytest.approx(np.array([[0.6, 0.8]]))  # (3, 0) + (0, 4)


@pytest.mark.parametrize("decimals", [1, 2, 8])  # ties of scores, many and none
def test_rates_are_read_as_the_field_reads_them(decimals):
    rng = np.random.default_rng(1)
    genuine = rng.random(60_000) < 0.1
    scores = np.round(rng.normal(genuine * 0.5, 0.2), decimals)
    rates = tar_at_nearest_far(scores, genuine)
    field = dict(zip(FARS, field_rates(genuine, scores), strict=True))
    assert {far: rates[far] for far in FARS[2:]} == {far: field[far] for far in FARS[2:]}
    assert rates[1e-6] is rates[1e-5] is None  # 54,000 impostors cannot tell one in 100,000


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("FACEXAI_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield TWIN.load(progress=False)
    patch.undo()


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    return build("ddfv-iresnet", blocks=(1, 1, 1, 1), widths=(4, 4, 8, 16)).eval()


def test_the_twin_has_templates_of_photos_and_a_video_all_against_all(twin):
    assert np.bincount(twin.template).tolist() == [5] * 12
    assert [len(np.unique(twin.media[twin.template == t])) for t in range(12)] == [3] * 12
    assert len(np.unique(twin.media)) == 36
    assert (len(twin.probe), int(twin.genuine.sum())) == (36, 12)
    assert len(set(zip(twin.probe, twin.gallery, strict=True))) == 36
    assert not set(twin.probe) & set(twin.gallery)


def test_landmarks_lie_where_the_renderer_puts_them_and_faces_are_aligned_by_them(twin):
    look, nuisance, alignment = list(TWIN._jobs())[4]
    rendering = render(look, nuisance, alignment=alignment)
    assert twin.images.landmarks[4] == pytest.approx(rendering.landmarks)
    assert np.array_equal(twin.images.images[4], rendering.image)
    eyes = np.zeros((112, 112, 3), np.uint8)
    for x, y in (points := np.array([[30, 40], [60, 42], [45, 60], [33, 75], [58, 76]])):
        eyes[y - 1 : y + 2, x - 1 : x + 2] = 255
    (aligned,) = LooseCrops(eyes[None], points[None].astype(float))[np.array([0])]
    assert aligned[50:54, 36:41].mean() > 100 and aligned[50:54, 71:76].mean() > 100  # the template's eyes


def written(twin, root, release="ijbc"):
    """The twin in the official files, rows of both lists in different order."""
    (root / "meta").mkdir(parents=True)
    (root / "loose_crop").mkdir()
    names = [f"{number + 1}.png" for number in range(len(twin.template))]
    for name, pixels in zip(names, twin.images.images, strict=True):
        Image.fromarray(np.asarray(pixels)).save(root / "loose_crop" / name)
    rows = [f"{name} {t + 100} {m}\n" for name, t, m in zip(names, twin.template, twin.media, strict=True)]
    (root / "meta" / f"{release}_face_tid_mid.txt").write_text("".join(rows))
    points = [
        " ".join([name, *(repr(float(x)) for x in landmarks.reshape(-1)), repr(float(score))]) + "\n"
        for name, landmarks, score in zip(names, twin.images.landmarks, twin.quality, strict=True)
    ]
    (root / "meta" / f"{release}_name_5pts_score.txt").write_text("".join(reversed(points)))
    pairs = [f"{p + 100} {g + 100} {int(s)}\n" for p, g, s in zip(twin.probe, twin.gallery, twin.genuine, strict=True)]
    (root / "meta" / f"{release}_template_pair_label.txt").write_text("".join(pairs))
    return root


def test_official_files_give_what_the_twin_gives(twin, tiny, tmp_path):
    read = read_ijb(written(twin, tmp_path / "IJBC"), "ijbc")
    for name in ("template", "media", "quality", "probe", "gallery", "genuine"):
        assert np.array_equal(getattr(read, name), getattr(twin, name)), name
    reports = [verify_templates(tiny, data, progress=False) for data in (twin, read)]
    assert np.array_equal(reports[0].scores, reports[1].scores)
    assert len(read.source) == 3 and read.digests().keys() == twin.digests().keys()


def test_scores_are_those_of_the_fields_script(twin, tiny):
    report = verify_templates(tiny, twin, batch_size=7, progress=False)
    faces = torch.from_numpy(twin.images[np.arange(60)]).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        plain, mirrored = (tiny.pool(tiny.features(images)).double().numpy() for images in (faces, faces.flip(3)))
    features = (plain + mirrored) * twin.quality[:, None]
    templates = field_templates(features, twin.template, twin.media)
    expected = np.sum(templates[twin.probe] * templates[twin.gallery], -1)
    assert report.scores == pytest.approx(expected, abs=1e-5)
    unweighed = verify_templates(tiny, twin, detector_score=False, progress=False)
    assert np.abs(unweighed.scores - report.scores).max() > 1e-4


def test_the_command_measures_both(twin, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(protocols.BENCHMARKS._items, "synthetic-ijb", replace(TWIN))
    assert main(["benchmark", "synthetic-ijb", "--json", "-"]) == 0
    of_twin = json.loads(capsys.readouterr().out)
    assert main(["benchmark", "ijbb", "--root", str(written(twin, tmp_path / "b", "ijbb")), "--json", "-"]) == 0
    of_files = json.loads(capsys.readouterr().out)
    assert [of_files[key] for key in ("auc", "eer", "tar", "pairs")] == [
        of_twin[key] for key in ("auc", "eer", "tar", "pairs")
    ]
    assert (of_twin["rendered"], of_files["rendered"], of_files["benchmark"]) == (True, False, "ijbb")
    assert list(of_twin["tar"]) == ["1e-06", "1e-05", "0.0001", "0.001", "0.01", "0.1"]
    assert len(of_files["data"]["files"]) == 3
    assert main(["benchmark", "ijbc"]) == 2
    assert "give the folder of ijbc with --root DIR" in capsys.readouterr().err
    with pytest.raises(InputError, match="synthetic-ijb has pairs of templates"):
        pair_benchmark("synthetic-ijb")


FACES, POINTS, PAIRS = "ijbc_face_tid_mid.txt", "ijbc_name_5pts_score.txt", "ijbc_template_pair_label.txt"


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (FACES, "7.png 101", "7.png", "line 7: must be 'name template media'"),
        (FACES, "7.png 101", "7.png 1x1", "must be whole numbers; got '1x1"),
        (FACES, "7.png", "../7.png", r"has no landmarks of \.\./7\.png"),
        (POINTS, "57.png", "99.png", r"has no landmarks of 57\.png"),
        (POINTS, r"(\S+) \S+", r"\1 nan", "must be finite numbers"),
        (PAIRS, "100 102 1", "100 999 1", "names template 999, which has no images"),
        (PAIRS, "100 102 1", "100 102 2", "labels that are not 0 or 1"),
        (PAIRS, "100 102 1", "100 102", "must have 'template template label' in each line"),
    ],
)
def test_damaged_lists_are_named(twin, tmp_path, file, old, new, message):
    root = written(twin, tmp_path / "x")
    path = root / "meta" / file
    text = path.read_text()
    changed = re.sub(old, new, text, count=1)
    assert changed != text
    path.write_text(changed)
    with pytest.raises(InputError, match=message) as caught:
        read_ijb(root, "ijbc")
    assert "\n" not in str(caught.value)


def test_the_named_twins_people_are_in_no_training_set():
    assert RenderedTemplates().seed >= 1000

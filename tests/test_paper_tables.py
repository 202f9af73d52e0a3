"""The papers' tables beside our figures: numbers as printed, ours in the right cell, and what is missing is said."""

import json
from pathlib import Path

import pytest

from facexai.benchmarks import BENCHMARKS
from facexai.cli import main
from facexai.errors import InputError
from facexai.explainers import EXPLAINERS
from facexai.results import load_results, papers
from facexai.results.papers import TABLES, PaperTable, Row, load_paper_table, published
from facexai.views import paper_table

# As the papers print them, row by row; None for their dashes.
PRINTED = {
    "ddfv-1": [[99.78, 98.03, 96.71, 95.00, 96.45], [99.83, 98.07, 97.90, 94.49, 95.95]],
    "ddfv-2": [
        [84.14, 77.06, 75.47],
        [88.05, 83.00, 82.20],
        [89.68, 85.13, 84.24],
        [88.90, 83.73, 81.99],
        [90.39, 86.23, 85.26],
    ],
    "fspfm-1": [
        [92.75, 98.43, 99.75, 96.00, 97.95],
        [93.37, 98.48, 99.75, 96.00, 98.05],
        [93.58, 98.60, 99.82, 96.03, 98.13],
        [93.75, 98.64, 99.83, 96.05, 98.05],
        [93.83, 98.67, 99.83, 96.05, 98.13],
    ],
    "fspfm-2": [
        [92.65, 97.60, 99.82, 96.08, 98.05],
        [92.80, 97.89, 99.82, 96.05, 98.00],
        [None, 97.78, 99.77, None, None],
        [92.97, None, 99.82, 96.13, None],
        [91.23, 96.93, 99.60, 94.57, 95.00],
        [93.83, 98.67, 99.83, 96.05, 98.13],
    ],
    "fspfm-3": [
        [93.75, 98.64, 99.83, 96.05, 98.05],
        [93.80, 98.61, 99.78, 96.10, 98.10],
        [93.83, 98.67, 99.83, 96.05, 98.13],
    ],
}
HEADS = {
    "ddfv-1": ["LFW", "AgeDB", "CFP", "IJB-B", "IJB-C"],
    "ddfv-2": ["LFW", "AgeDB-30", "CFP-FP"],
    **{key: ["CPLFW", "CFP-FP", "LFW", "CALFW", "AgeDB-30"] for key in ("fspfm-1", "fspfm-2", "fspfm-3")},
}


@pytest.fixture
def bare(monkeypatch):
    """Nothing comes with the package."""
    monkeypatch.setattr(papers, "shipped", lambda: iter(()))


def share(mean: float) -> dict:
    return {"mean": mean, "ci95": [mean - 0.01, mean + 0.02]}


def game(benchmark: str, rendered: bool, **means: float) -> dict:
    methods = {name.replace("_", "-"): {"metrics": {"auc": share(mean)}} for name, mean in means.items()}
    facts = {"benchmark": benchmark, "judge": "hiding-game", "rendered": rendered, "model": "net", "pairs": 12}
    return {**facts, "methods": methods}


def comparison(kind: str, rendered: bool, rows: dict[str, dict[str, float]]) -> dict:
    lines = {
        row: {name: {"accuracy": share(mean), "auc": share(0.5)} for name, mean in means.items()}
        for row, means in rows.items()
    }
    return {
        "benchmark": kind,
        "asked": {"model": "net", "settings": ["epochs=2"]},
        "rendered": rendered,
        "data": "some faces",
        "rows": lines,
    }


def verified(benchmark: str, accuracy: float, rendered: bool = False) -> dict:
    tar = {"0.01": 0.9, "0.0001": None}
    return {
        "model": "net",
        "benchmark": benchmark,
        "rendered": rendered,
        "accuracy": accuracy,
        "tar": tar,
        "pairs": 6000,
    }


def write(folder: Path, **reports: object) -> Path:
    for name, report in reports.items():
        (folder / f"{name.replace('_', '-')}.json").write_text(json.dumps(report))
    return folder


def row_of(table: PaperTable, benchmark: str, method: str) -> Row:
    (row,) = [row for row in table.rows if (row.benchmark, row.method) == (benchmark, method)]
    return row


@pytest.mark.parametrize("name", TABLES)
def test_the_published_numbers_are_those_of_the_paper(name):
    table = published(name)
    assert [row["published"] for row in table["rows"]] == PRINTED[name]
    assert [column["title"] for column in table["columns"]] == HEADS[name]


@pytest.mark.parametrize("name", TABLES)
def test_benchmarks_methods_and_rows_are_ours(name):
    table = published(name)
    for column in table["columns"]:
        assert {column["photographs"], column["rendered"]} <= set(BENCHMARKS)
        assert column["rendered"].startswith("synthetic-") and not column["photographs"].startswith("synthetic-")
    if name == "ddfv-2":
        assert {row["ours"] for row in table["rows"]} | set(table["beside"]) <= set(EXPLAINERS)


def test_rows_of_the_stages_and_modules_are_those_of_the_scripts():
    scripts = Path(__file__).parents[1] / "benchmarks"
    for name, script in {"fspfm-1": "stages", "fspfm-2": "tables", "fspfm-3": "tables"}.items():
        text = (scripts / f"frontalization_{script}.py").read_text(encoding="utf8")
        ours = [row["ours"] for row in published(name)["rows"] if "ours" in row]
        assert ours and not [row for row in ours if f'    "{row}": [' not in text]


def test_every_published_row_stands_once_for_each_benchmark(bare):
    for name in TABLES:
        rows = load_paper_table(name).rows
        assert [row.published for row in rows] == [
            value for column in zip(*PRINTED[name], strict=True) for value in column
        ]
        assert not [row for row in rows if row.photographs or row.rendered]


def test_photographs_and_rendered_faces_have_columns_of_their_own(bare, tmp_path):
    reports = {
        "hiding_game_lfw": game("pairs", False, gradient=0.9, random=0.8, rise=0.7),  # told by its name
        "a": game("synthetic-lfw", True, gradient=0.6),
    }
    table = load_paper_table("ddfv-2", write(tmp_path, **reports))
    row = row_of(table, "LFW", "Gradient [10]")
    assert (row.published, row.photographs.value, row.rendered.value) == (89.68, pytest.approx(90), pytest.approx(60))
    assert row.photographs.ci95 == pytest.approx((89, 92)) and row.rendered.ci95 == pytest.approx((59, 62))
    assert f"photographs: {tmp_path / 'hiding-game-lfw.json'}, net, 12 pairs" in table.notes
    assert f"rendered faces: {tmp_path / 'a.json'}, net, 12 pairs" in table.notes
    baseline = row_of(table, "LFW", "random")
    assert baseline.published is None and baseline.photographs.value == pytest.approx(80) and baseline.rendered is None
    assert not [row for row in table.rows if row.method in ("rise", "edges")]


def test_modules_and_stages_go_into_their_tables(bare, tmp_path):
    modules = {"fspfm": {"cfp-fp": 0.5}, "fspfm, ADA": {"cfp-fp": 0.91}, "wccn": {"cfp-fp": 0.92, "cfp-ff": 0.99}}
    stages = {"+ FSPFM": {"synthetic-agedb": 0.83}}
    reports = {
        "photographs": comparison("frontalization", False, modules),
        "stages": comparison("frontalization-stages", True, stages),
    }
    write(tmp_path, **reports)
    second = load_paper_table("fspfm-2", tmp_path)
    ours = row_of(second, "CFP-FP", "Ours")
    assert (ours.published, ours.photographs.value, ours.rendered) == (98.67, pytest.approx(91), None)
    assert row_of(second, "CFP-FP", "wccn").photographs.value == pytest.approx(92)
    assert ours.photographs.source == f"{tmp_path / 'photographs.json'}, net, some faces, settings epochs=2"
    assert row_of(load_paper_table("fspfm-3", tmp_path), "CFP-FP", "Proposed ADA").photographs == ours.photographs
    first = load_paper_table("fspfm-1", tmp_path)
    measured = [(row.benchmark, row.method) for row in first.rows if row.photographs or row.rendered]
    assert measured == [("AgeDB-30", "MS1M+PoseSim, FSPFM")]
    assert row_of(first, *measured[0]).rendered.value == pytest.approx(83)


def test_a_benchmark_is_told_by_its_file(bare, tmp_path):
    reports = {
        "dream_cfp_fp": verified("cfp-fp", 0.95),
        "fspfm_no_ada_lfw": verified("my pairs", 0.96),
        "ddfv_synthetic_lfw": verified("synthetic-lfw", 0.97, rendered=True),
    }
    write(tmp_path, **reports)
    dream = row_of(load_paper_table("fspfm-2", tmp_path), "CFP-FP", "DREAM [7]")
    assert (dream.photographs.value, dream.photographs.ci95, dream.rendered) == (pytest.approx(95), None, None)
    third = load_paper_table("fspfm-3", tmp_path)
    assert row_of(third, "LFW", "No ADA").photographs.value == pytest.approx(96)
    assert not [note for note in third.notes if note.startswith("left out")]
    assert row_of(load_paper_table("ddfv-1", tmp_path), "LFW", "Ours").rendered.value == pytest.approx(97)


def test_ones_own_results_go_over_those_that_come_with_the_package(tmp_path):
    before = row_of(load_paper_table("ddfv-2"), "LFW", "Ours")
    assert before.photographs and before.rendered
    write(tmp_path, mine=game("synthetic-lfw", True, ddfv_paper=0.123))
    after = row_of(load_paper_table("ddfv-2", tmp_path), "LFW", "Ours")
    assert after.rendered.value == pytest.approx(12.3) and after.photographs == before.photographs


def test_what_comes_with_the_package_is_shown():
    second = load_paper_table("fspfm-2")
    dream = row_of(second, "CFP-FP", "DREAM [7]")
    for report in load_results("frontalization", "frontalization"):
        if "dream" not in report["rows"]:
            continue  # the stages of Table 1
        figure, name = (dream.rendered, "synthetic-cfp-fp") if report["rendered"] else (dream.photographs, "cfp-fp")
        assert figure.value == pytest.approx(100 * report["rows"]["dream"][name]["accuracy"]["mean"])
    assert dream.rendered
    card = json.loads((Path(papers.__file__).parents[1] / "checkpoints" / "tutorial" / "card.json").read_text())
    accuracy = card["benchmarks"]["synthetic-lfw"]["accuracy"]
    assert row_of(load_paper_table("ddfv-1"), "LFW", "Ours").rendered.value == pytest.approx(100 * accuracy)


def test_each_gap_has_its_reason_and_its_command(bare, tmp_path):
    lines = load_paper_table("ddfv-2", write(tmp_path, a=game("synthetic-lfw", True, gradient=0.6))).missing
    assert any(line.startswith("missing: photographs, AgeDB-30, all: photographs do not come with") for line in lines)
    (gap,) = [line for line in lines if line.startswith("missing: rendered faces, LFW, ")]
    assert (
        "GradCAM [14], GradCAM++ [15], Stylianou et al. [25], Ours: no full run" in gap and "Gradient [10]" not in gap
    )
    assert "; facexai hiding-game synthetic-lfw " in gap and gap.endswith("RESULTS/hiding-game-synthetic-lfw.json")
    lines = load_paper_table("fspfm-2").missing
    assert "missing: published, CFP-FP, PCTN [25]: the paper prints none" in lines
    assert "missing: published, CPLFW, CALFW, PAD [11]: the paper prints none" in lines
    assert [line for line in lines if "PCTN [25]: no description of the module was found" in line]
    (gap,) = [line for line in lines if line.startswith("missing: photographs, CFP-FP, DREAM")]
    assert gap.endswith("--json RESULTS/ROW-cfp-fp.json (ROW: dream, pam, pad, agpm, fspfm)")


@pytest.mark.parametrize("name", TABLES)
def test_the_commands_of_the_gaps_make_files_that_fill_them(bare, tmp_path, name):
    """Every name after RESULTS/ is one that the table reads, and none overwrites another."""
    lines = load_paper_table(name).missing
    names = [line.split("--json ")[1] for line in lines if "--json " in line]
    assert names and len(set(names)) == len(names)
    for line in lines:
        if "--json RESULTS/" not in line:
            continue
        stem = line.split("--json RESULTS/")[1].split(".json")[0]
        keys = line.split("(ROW: ")[1].rstrip(")").split(", ") if "ROW" in stem else [""]
        benchmark = line.split("; facexai ")[1].split()[1]
        rendered = benchmark.startswith("synthetic")
        folder = tmp_path / f"{name}-{benchmark}"
        folder.mkdir()
        for key in keys:
            report = verified(benchmark, 0.9, rendered)
            report["tar"]["0.0001"] = 0.9
            if name == "ddfv-2":
                report = game(benchmark, rendered, gradient=0.9)
            write(folder, **{stem.replace("ROW", key): report})
        table = load_paper_table(name, folder)
        filled = [row for row in table.rows if (row.rendered if rendered else row.photographs)]
        assert len(filled) == len(keys) * (2 if benchmark == "synthetic-ijb" else 1), line


BAD = {
    "words": ("these are words", "no result of facexai"),
    "list": ("[1, 2]", "no result of facexai"),
    "card": ('{"name": "net"}', "no result of facexai"),
    "broken": (json.dumps({**game("synthetic-lfw", True), "methods": {"gradient": {}}}), "no result of facexai"),
    "unsaid": (json.dumps({**game("synthetic-lfw", True), "rendered": None}), "no result of facexai"),
    "game": (json.dumps(game("pairs", False, gradient=0.9)), "must end with a benchmark of the table, as in game-lfw"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_result_is_left_out_and_named(bare, tmp_path, name):
    text, reason = BAD[name]
    (tmp_path / f"{name}.json").write_text(text)
    table = load_paper_table("ddfv-2", tmp_path)
    assert not [row for row in table.rows if row.photographs or row.rendered]
    (note,) = [note for note in table.notes if note.startswith(f"left out: {tmp_path / name}.json")]
    assert reason in note


@pytest.mark.parametrize(
    ("stem", "report", "reason"),
    [
        ("mine", verified("cplfw", 0.9), "must be ROW-cplfw.json, with ROW one of dream, pam, pad, agpm, fspfm"),
        ("mine_lfw", verified("lfw", 0.9), "must be ROW-lfw.json"),
        ("dream_lfw", verified("cplfw", 0.9), "must be ROW-cplfw.json"),
        ("dream_lfw", {**verified("lfw", 0.9), "limit": 300}, "of a part of the pairs, --limit 300"),
    ],
)
def test_a_benchmark_whose_row_is_not_told_is_left_out(bare, tmp_path, stem, report, reason):
    table = load_paper_table("fspfm-2", write(tmp_path, **{stem: report}))
    assert not [row for row in table.rows if row.photographs]
    assert [note for note in table.notes if note.startswith("left out") and reason in note]


def test_too_few_pairs_for_a_rate_are_said(bare, tmp_path):
    report = {key: value for key, value in verified("synthetic-ijb", 0, rendered=True).items() if key != "accuracy"}
    table = load_paper_table("ddfv-1", write(tmp_path, ddfv_synthetic_ijb=report))
    assert [note for note in table.notes if "no TAR at a FAR of 0.0001: too few impostor pairs" in note]


def test_two_files_for_one_cell_are_refused(tmp_path):
    write(tmp_path, a=game("synthetic-lfw", True, gradient=0.6), b=game("synthetic-lfw", True, gradient=0.7))
    with pytest.raises(InputError, match=r"b\.json and .*a\.json, .* both hold Gradient \[10\] on synthetic-lfw; keep"):
        load_paper_table("ddfv-2", tmp_path)


def test_the_command_prints_the_table_and_writes_it(bare, tmp_path, capsys):
    write(tmp_path, a=game("synthetic-lfw", True, gradient=0.6))
    out = tmp_path / "table.json"
    assert main(["table", "ddfv-2", "--results", str(tmp_path), "--json", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Table II of Xu, Lu, Ebrahimi")
    assert lines[2].split() == "LFW published photographs 95 % interval rendered 95 % interval".split()
    (line,) = [line for line in lines if "Gradient [10]" in line and "89.68" in line]
    assert line.split()[-5:] == ["89.68", "-", "60.00", "[59.00,", "62.00]"]
    assert [line for line in lines if line.startswith("missing: photographs, LFW, all: ")]
    row = next(row for row in json.loads(out.read_text())["rows"] if row["method"] == "Gradient [10]")
    assert row["photographs"] is None and row["rendered"]["ci95"] == pytest.approx([59, 62])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ddfv-3"], "unknown table 'ddfv-3'; choose one of ddfv-1, ddfv-2, fspfm-1, fspfm-2, fspfm-3"),
        (["ddfv-2", "--results", "/no/such/folder"], "--results takes a folder with JSON results; /no/such/folder is"),
    ],
)
def test_wrong_usage_is_one_line(capsys, arguments, words):
    assert main(["table", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and words in captured.err and captured.err.count("\n") == 1


def test_pages_show_the_same(bare, tmp_path):
    table = load_paper_table("ddfv-2", write(tmp_path, a=game("synthetic-lfw", True, gradient=0.6, random=0.5)))
    shown = paper_table(table)
    assert list(shown.rows[2]) == ["LFW: Gradient [10] (gradient)", "89.68", "-", "60.00 [59.00, 62.00]"]
    assert list(shown.rows[5]) == ["LFW: random", "-", "-", "50.00 [49.00, 52.00]"] and shown.baselines == {5}
    assert "missing: photographs, LFW, all" in shown.note

"""The table of modules: the right numbers in the right cells, and what is not in the report is said."""

import json
from pathlib import Path

import pytest

import facexai.results as results
from facexai.errors import InputError
from facexai.results import load_results
from facexai.views import frontalization_table


def figures(mean: float, gain: float | None) -> dict:
    entry: dict = {"mean": mean, "ci95": [mean - 0.01, mean + 0.01]}
    if gain is not None:
        entry["minus_raw"] = {"mean": gain, "ci95": [gain - 0.001, gain + 0.002]}
    return {metric: entry for metric in ("accuracy", "auc", "eer")}


REPORT = {
    "benchmark": "frontalization",
    "asked": {"model": "tutorial"},
    "rendered": True,
    "seeds": [42, 43, 44],
    "rows": {
        "raw": {"fp": figures(0.9, 0.0), "lfw": figures(0.99, 0.0)},
        "wccn": {"fp": figures(0.905, 0.005), "lfw": figures(0.989, -0.001)},
        "fspfm": {"fp": figures(0.92, 0.02), "lfw": figures(0.99, 0.0)},
    },
}


def test_each_cell_holds_the_mean_and_the_difference_with_its_interval():
    table = frontalization_table(REPORT)
    assert table.heads == ["module", "fp", "lfw"]
    assert list(table.rows[0]) == ["raw", "90.00", "99.00"]
    assert list(table.rows[2]) == ["fspfm", "92.00 [+2.00: +1.90 to +2.20]", "99.00 [+0.00: -0.10 to +0.20]"]
    assert table.baselines == {0, 1}
    assert "AUC ↑ in per cent" in table.note and "Rendered faces. Means over 3 runs" in table.note
    assert "[+2.00: +1.90 to +2.20]" in table._repr_html_()


def test_rows_columns_and_metric_can_be_chosen():
    table = frontalization_table(REPORT, ["lfw"], metric="eer", rows=["fspfm", "raw"])
    assert (list(table.heads), [row[0] for row in table.rows]) == (["module", "lfw"], ["fspfm", "raw"])
    assert table.note.startswith("EER ↓")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rows": ["dream"]}, "no row 'dream'; choose from raw, wccn, fspfm"),
        ({"protocols": ["cplfw"]}, "no protocol 'cplfw'; choose from fp, lfw"),
        ({"metric": "tar"}, "metric must be one of accuracy, auc, eer; got 'tar'"),
        ({"minus": "wccn"}, "compares no row with 'wccn'; choose from raw"),
    ],
)
def test_what_is_not_in_the_report_is_said(options, words):
    with pytest.raises(InputError, match=words):
        frontalization_table(REPORT, **options)


def test_shipped_reports_are_found_by_their_benchmark(tmp_path, monkeypatch):
    (tmp_path / "frontalization").mkdir()
    (tmp_path / "frontalization" / "rendered.json").write_text(json.dumps(REPORT))
    monkeypatch.setattr(results.resources, "files", lambda _: Path(tmp_path))
    assert load_results("frontalization", folder="frontalization") == [REPORT]
    assert load_results("sanity", folder="frontalization") == []


@pytest.mark.parametrize(
    "report", load_results(folder="frontalization"), ids=lambda report: f"{report['benchmark']}-{report['rendered']}"
)
def test_shipped_reports_make_tables(report):
    minus = "+ FSPFM" if report["benchmark"] == "frontalization-stages" else "raw"
    for metric in ("accuracy", "auc", "eer"):
        assert len(frontalization_table(report, metric=metric, minus=minus).rows) == len(report["rows"])

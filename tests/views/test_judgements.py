import numpy as np
import pytest
import torch

from facexai.errors import InputError
from facexai.pairs import FacePair, Saliency
from facexai.results import load_results
from facexai.results.__main__ import compact
from facexai.views import ranks_table, show_hiding, show_standings, show_truth, standings_table
from facexai.views.judgements import wilson
from facexai.views.truth import RIM, outline, without_specks


def entry(mean, low=None, high=None, difference=None):
    minus = None if difference is None else {"mean": difference, "ci95": [difference - 0.1, difference + 0.1]}
    return {"mean": mean, "ci95": [low, high], "minus_ddfv": minus}


def method(auc, baseline=False, error=None):
    difference = None if auc is None else auc - 0.8
    curve = {"fraction": [0, 0.5], "accuracy": [1.0, auc], "genuine": [1.0, auc], "impostor": [1.0, 1.0]}
    scores = {"auc": entry(auc, auc and auc - 0.05, auc and auc + 0.05, difference), "error": entry(error)}
    return {"auc": auc, "baseline": baseline, "seconds_per_pair": 0.5, "metrics": scores, "curve": curve}


@pytest.fixture
def report():
    return {
        "benchmark": "synthetic-lfw",
        "judge": "hiding-game",
        "model": "tutorial",
        "rendered": True,
        "pairs": 100,
        "metrics": [
            {"name": "auc", "better": "higher", "meaning": "right decisions"},
            {"name": "error", "better": "lower", "meaning": "something bad"},
        ],
        "methods": {
            "gradient": method(0.7, error=0.3),
            "centre": method(0.9, baseline=True, error=0.1),
            "ddfv": method(0.8, error=0.2),
        },
        "skipped": {"xcos": "no head"},
    }


def traces(figure):
    return {(trace.name, trace.xaxis): trace for trace in figure.data}


def test_standings_are_sorted_and_baselines_hollow(report):
    figure = show_standings(report)
    assert list(figure.layout.yaxis.categoryarray) == ["gradient", "ddfv", "centre"], "best on top"
    baselines = traces(figure)["baselines", "x"]
    assert baselines.marker.symbol == "circle-open" and list(baselines.y) == ["centre"]
    assert list(baselines.error_x.array) == pytest.approx([0.05])
    assert list(traces(figure)["methods", "x2"].x) == pytest.approx([-0.1])
    assert list(traces(figure)["ddfv", "x2"].x) == [], "a method is not compared with itself"
    assert "rendered faces" in figure.layout.meta["caption"]


def test_standings_by_a_metric_where_low_is_good_without_intervals(report):
    figure = show_standings(report, "error")
    assert list(figure.layout.yaxis.categoryarray) == ["gradient", "ddfv", "centre"]
    with pytest.raises(InputError, match="no metric 'mass'; choose from auc, error"):
        show_standings(report, "mass")


def test_a_method_without_a_value_is_left_out(report):
    report["methods"]["broken"] = method(None)
    assert "broken" not in show_standings(report).layout.yaxis.categoryarray
    assert "broken" not in str(standings_table(report))


def test_hiding_curves_always_show_the_baselines(report):
    names = [trace.name for trace in show_hiding(report, ["gradient"]).data if trace.name]
    assert names == ["gradient", "centre (baseline)"]
    names = [trace.name for trace in show_hiding(report).data if trace.name]
    assert names == ["ddfv", "gradient", "centre (baseline)"]
    with pytest.raises(InputError, match="no 'lime'"):
        show_hiding(report, ["lime"])
    with pytest.raises(InputError, match="no curve 'probe'"):
        show_hiding(report, kind="probe")


def test_wilson_interval_of_known_shares():
    low, high = wilson(np.array([0.0, 0.5, 1.0]), 100)
    assert low == pytest.approx([0.0, 0.4038, 0.9630], abs=1e-4)
    assert high == pytest.approx([0.0370, 0.5962, 1.0], abs=1e-4)


def test_tables_hold_all_methods_differences_and_the_command(report):
    table = str(standings_table(report))
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    assert rows[0] == "| method | auc ↑ | minus ddfv | error ↓ | s a pair |"
    assert rows[1].startswith("| centre (baseline) | 0.900 [0.850, 0.950] | +0.100 [+0.000, +0.200] | 0.100 | 0.5 |")
    assert rows[2].split("|")[3].strip() == ""
    assert "facexai hiding-game synthetic-lfw --model tutorial --limit 100" in table
    assert "Left out: xcos (no head)" in table
    assert standings_table(report, ["error"]).heads == ["method", "error ↓", "minus ddfv", "s a pair"]


def test_tables_in_pages_set_baselines_in_italics_and_escape_names(report):
    report["methods"]["<i>"] = method(0.5)
    page = standings_table(report)._repr_html_()
    assert "&lt;i&gt;" in page and "<i>" not in page
    assert next(row for row in page.split("<tr>") if "italic" in row).startswith('<th scope="row"')
    assert page.count("italic") == 1 and "0.900<br><small" in page


def test_ranks_of_several_judges(report):
    other = {**report, "judge": "localize regions", "benchmark": "regions"}
    other["metrics"] = report["metrics"][1:]
    other["methods"] = {
        name: {**line, "error": line["metrics"]["error"]["mean"]} for name, line in report["methods"].items()
    }
    lines = str(ranks_table([report, other])).splitlines()
    assert lines[0] == "| method | mean rank | hiding-game synthetic-lfw | localize regions |"
    assert lines[2] == "| centre (baseline) | 1.0 | 1 | 1 |"


@pytest.fixture
def uneven(report):
    """`gradient` was judged on 10 pairs; it made more of them than `ddfv` of all, and less than `ddfv` of the same."""
    report["methods"]["gradient"]["metrics"]["auc"] |= {"mean": 0.95, "ci95": [0.9, 1.0]}
    report["methods"]["gradient"]["pairs"] = 10
    return report


def test_tables_have_pairs_and_say_how_they_rank_where_methods_differ_in_pairs(uneven):
    table = standings_table(uneven)
    assert table.heads == ["method", "auc ↑", "minus ddfv", "error ↓", "pairs", "s a pair"]
    assert [row[0] for row in table.rows] == ["centre (baseline)", "ddfv", "gradient"]
    assert [row[-2:] for row in table.rows] == [["100", "0.5"], ["100", "0.5"], ["10", "0.5"]]
    assert "Not every method was judged on all pairs, so ranks follow the paired difference to ddfv" in table.note
    assert "--limit 100 --methods all,gradient@10." in table.note
    assert "paired difference" in show_standings(uneven).layout.meta["caption"]
    assert list(show_standings(uneven).layout.yaxis.categoryarray) == ["gradient", "ddfv", "centre"], "best on top"


def test_a_report_that_knows_what_was_asked_for_names_that_and_no_more(report):
    asked = {**report, "asked": {"methods": "ddfv,centre:sigma=0.3@5", "limit": None}}
    assert "facexai hiding-game synthetic-lfw --model tutorial --methods ddfv,centre:sigma=0.3@5." in (
        standings_table(asked).note
    )
    photographs = {**report, "rendered": False, "asked": {"methods": None, "limit": 80}}
    assert "synthetic-lfw --pairs CSV --images DIR --model tutorial --limit 80." in standings_table(photographs).note


def test_tables_say_nothing_of_pairs_where_all_methods_have_the_same(report):
    for line in report["methods"].values():
        line["pairs"] = 100
    assert "pairs" not in standings_table(report).heads
    assert "paired difference" not in standings_table(report).note + ranks_table([report]).note
    assert "paired difference" not in show_standings(report).layout.meta["caption"]


def test_ranks_say_once_that_they_follow_the_paired_difference(uneven):
    table = ranks_table([uneven, uneven])
    assert [row[0] for row in table.rows] == ["centre (baseline)", "ddfv", "gradient"]
    assert table.note.count("paired difference") == 1


def test_bands_of_the_hiding_game_are_those_of_the_methods_own_pairs(report):
    def width(report):
        band = show_hiding(report, ["gradient"]).data[0]
        return band.y[1] - band.y[2]

    narrow = width(report)
    report["methods"]["gradient"]["pairs"] = 10
    assert width(report) > 2 * narrow


def test_the_outline_runs_round_the_truth_and_nowhere_else():
    region = np.zeros((24, 24), dtype=bool)
    region[8:16, 8:16] = True
    image = np.full((48, 48, 3), 100, dtype=np.uint8)
    changed = (outline(image, region) != 100).any(-1)
    assert changed[16, 24] and changed[15, 24] and not changed[24, 24] and not changed[4, 4]
    assert (outline(image, region)[14, 24] == RIM).all()
    assert not (outline(image, np.zeros((24, 24), dtype=bool)) != 100).any()


def test_specks_are_not_outlined():
    region = np.zeros((40, 40), dtype=bool)
    region[10:30, 10:30] = True
    smooth = without_specks(region)
    region[2, 35] = True
    region[20, 20] = False
    assert (without_specks(region) == smooth).all() and abs(int(smooth.sum()) - 400) < 30


def test_truth_figure_has_one_picture_a_cell(pair: FacePair, saliency: Saliency):
    truth = torch.zeros(48, 48, dtype=torch.bool)
    truth[10:20, 10:20] = True
    figure = show_truth([pair, pair], [truth, truth], {"a": [saliency] * 2, "b": [saliency] * 2})
    assert len(figure.layout.images) == 2 * (2 + 2)
    assert "true difference outlined" in figure.layout.meta["alt"]


def test_shipped_results_say_what_they_are():
    for report in load_results():
        assert {"judge", "benchmark", "model", "pairs", "metrics", "methods", "rendered"} <= set(report)
        assert any(line["baseline"] for line in report["methods"].values()), "baselines are always shown"
    assert load_results("no such judge") == []


def test_compact_reports_keep_all_but_digits(report):
    import json

    report["methods"]["ddfv"]["seconds_per_pair"] = 1 / 3
    small = json.loads(compact(dict(report)))
    assert small["methods"]["ddfv"].pop("seconds_per_pair") == 0.33333
    report["methods"]["ddfv"].pop("seconds_per_pair")
    assert small["methods"].keys() == report["methods"].keys() and small["skipped"] == report["skipped"]


def test_a_map_without_a_sign_is_shown_beside_signed_ones(pair: FacePair, saliency: Saliency):
    truth = torch.zeros(48, 48, dtype=torch.bool)
    magnitude = Saliency(saliency.signed.abs(), 0.4, "magnitude()")
    empty = Saliency(torch.zeros(2, 48, 48), 0.4, "empty()")
    figure = show_truth([pair], [truth], {"magnitude": [magnitude], "empty": [empty]})
    assert figure.layout.images[2].source != figure.layout.images[3].source

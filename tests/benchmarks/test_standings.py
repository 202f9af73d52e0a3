"""Standings: differences on the same pairs, best first, ranks over judges, and a table that people can read."""

import json

import numpy as np
import pytest

from facexai.benchmarks import Metric, Results, combined_rank, table
from facexai.benchmarks.standings import Standing, compared, ranked
from facexai.benchmarks.statistics import paired_interval

ACCURACY = Metric("auc", meaning="right decisions")
DELETION = Metric("deletion", "lower", percent=False)
RNG = np.random.default_rng(0)
VALUES = {name: {"auc": RNG.random(50) + lead, "deletion": RNG.random(50)} for name, lead in
          (("ddfv", 0.0), ("gradient", 0.2), ("random", -0.2))}  # fmt: skip


def results(metrics=(ACCURACY, DELETION), values=VALUES, rendered=True, skipped=None) -> Results:
    lines = [
        Standing(name, f"{name}()", name == "random", 0.5, compared(values[name], values.get("ddfv")), {"curve": [1]})
        for name in values
    ]
    return Results("game", "Game()", metrics, "toy", rendered, 50, ranked(lines, metrics[0]), skipped or {})


def test_the_best_stands_first_whichever_end_is_good():
    by_deletion = sorted(VALUES, key=lambda name: VALUES[name]["deletion"].mean())
    assert [line.method for line in results().standings] == ["gradient", "ddfv", "random"]
    assert [line.method for line in results((DELETION, ACCURACY)).standings] == by_deletion


def test_differences_are_paired_and_in_json_as_the_design_has_them():
    report = json.loads(json.dumps(results().to_json()))
    gradient = report["methods"]["gradient"]
    assert gradient["auc"] == pytest.approx(VALUES["gradient"]["auc"].mean())
    difference = paired_interval(VALUES["gradient"]["auc"], VALUES["ddfv"]["auc"])
    assert gradient["minus_ddfv"] == {"mean": difference.mean, "ci95": difference.ci95}
    assert gradient["metrics"]["auc"]["ci95"] == gradient["ci95"]
    assert gradient["metrics"]["deletion"]["minus_ddfv"]["ci95"][0] < 0
    assert (gradient["seconds_per_pair"], gradient["curve"], gradient["baseline"]) == (0.5, [1], False)
    assert report["methods"]["ddfv"]["minus_ddfv"]["mean"] == 0


def test_without_the_reference_there_are_no_differences():
    few = {name: VALUES[name] for name in ("gradient", "random")}
    assert results(values=few).to_json()["methods"]["random"]["minus_ddfv"] is None
    assert "+" not in table(results(values=few))


def test_where_nothing_counts_json_has_null_and_the_method_stands_last():
    empty = {**VALUES, "gradient": {"auc": np.full(50, np.nan), "deletion": np.full(50, np.nan)}}
    report = results(values=empty).to_json()["methods"]
    assert list(report)[-1] == "gradient"
    assert (report["gradient"]["auc"], report["gradient"]["ci95"]) == (None, [None, None])
    assert combined_rank([results(values=empty).to_json()])[-1]["method"] == "gradient"


def test_the_table_marks_baselines_and_names_what_was_left_out():
    lines = table(results(skipped={"xcos": "needs a head"})).splitlines()
    assert lines[0].split() == "method auc 95 % interval minus ddfv 95 % interval s/pair deletion".split()
    assert [line.split()[0] for line in lines[1:4]] == ["gradient", "ddfv", "random"]
    assert "random *" in lines[3]
    assert len({len(line) for line in lines[:4]}) == 1
    assert "left out: xcos (needs a head)" in lines
    assert any("rendered faces; not to be compared with photos" in line for line in lines)


def test_a_narrow_table_keeps_the_ranking_metric():
    lines = table(results(), width=20).splitlines()
    assert "deletion" not in lines[0]
    assert "auc" in lines[0]


def test_the_combined_rank_is_the_mean_of_the_ranks_over_judges():
    reports = [results(metrics).to_json() for metrics in ((ACCURACY,), (DELETION,))]
    by_deletion = sorted(VALUES, key=lambda name: VALUES[name]["deletion"].mean())
    lines = {line["method"]: line for line in combined_rank(reports)}
    for place, name in enumerate(["gradient", "ddfv", "random"], start=1):
        assert lines[name]["ranks"] == [place, by_deletion.index(name) + 1]
        assert lines[name]["rank"] == np.mean(lines[name]["ranks"])
    assert lines["random"]["baseline"]
    assert [line["rank"] for line in combined_rank(reports)] == sorted(line["rank"] for line in lines.values())


def test_the_combined_rank_leaves_out_what_one_judge_has_not_seen_and_shares_ranks():
    tied = {**VALUES, "gradient": VALUES["ddfv"]}
    reports = [results(values=tied).to_json(), results(values={n: VALUES[n] for n in ("ddfv", "gradient")}).to_json()]
    assert [(line["method"], line["ranks"]) for line in combined_rank(reports)] == [
        ("gradient", [1.5, 1]),
        ("ddfv", [1.5, 2]),
    ]

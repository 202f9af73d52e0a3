"""Standings: differences on the same pairs, best first, ranks over judges, and a table that people can read."""

import json
from dataclasses import replace

import numpy as np
import pytest

from facexai.benchmarks import Metric, Results, combined_rank, table
from facexai.benchmarks.standings import Standing, compared, losing, ranked
from facexai.benchmarks.statistics import paired_interval

ACCURACY = Metric("auc", meaning="right decisions")
DELETION = Metric("deletion", "lower", percent=False)
RNG = np.random.default_rng(0)
VALUES = {name: {"auc": RNG.random(50) + lead, "deletion": RNG.random(50)} for name, lead in
          (("ddfv", 0.0), ("gradient", 0.2), ("random", -0.2))}  # fmt: skip


def results(metrics=(ACCURACY, DELETION), values=VALUES, rendered=True, skipped=None) -> Results:
    lines = [
        Standing(
            name, f"{name}()", name == "random", 50, 0.5, compared(values[name], values.get("ddfv")), {"curve": [1]}
        )
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


EASY = np.arange(50) < 10  # pairs on which everybody does better


def on_the_easy_pairs(reference: bool = True) -> Results:
    """`gradient` is 0.1 worse than `ddfv` on every pair, and was judged on the easy ones alone."""
    ddfv = {"auc": np.where(EASY, 0.9, 0.5)}
    gradient, easy = {"auc": ddfv["auc"][EASY] - 0.1}, {"auc": ddfv["auc"][EASY]}
    better = {"auc": ddfv["auc"] + 0.1}
    lines = [
        Standing("gradient", "", False, 10, 0.5, compared(gradient, easy if reference else None), {}),
        Standing("rise", "", False, 50, 0.5, compared(better, ddfv if reference else None), {}),
        *([Standing("ddfv", "", False, 50, 0.5, compared(ddfv, ddfv), {})] if reference else []),
    ]
    return Results("game", "Game()", (ACCURACY,), "toy", True, 50, ranked(lines, ACCURACY), {})


def test_ranks_follow_the_paired_difference_not_the_mean_over_other_pairs():
    results = on_the_easy_pairs()
    means = {line.method: line.scores["auc"].interval.mean for line in results.standings}
    assert means["gradient"] > means["rise"] > means["ddfv"]
    assert list(means) == ["rise", "ddfv", "gradient"]
    assert {line["method"]: line["ranks"] for line in combined_rank([results.to_json()])} == {
        "rise": [1],
        "ddfv": [2],
        "gradient": [3],
    }


def test_without_the_reference_ranks_follow_the_mean():
    results = on_the_easy_pairs(reference=False)
    assert [line.method for line in results.standings] == ["gradient", "rise"]
    assert [line["method"] for line in combined_rank([results.to_json()])] == ["gradient", "rise"]
    assert "without ddfv their means hardly compare" in table(results)


def test_where_low_is_good_the_lowest_difference_leads_and_equal_ones_share_a_rank():
    scores = {name: {"mean": 0.5, "minus_ddfv": {"mean": lead}} for name, lead in (("a", 0.1), ("b", -0.1))}
    scores |= {"c": {"mean": 0.1, "minus_ddfv": {"mean": 0.3 - 0.2}}, "d": {"mean": None, "minus_ddfv": None}}
    scores |= {"ddfv": {"mean": 0.4, "minus_ddfv": {"mean": 0.0}}, "e": {"mean": 0.2, "minus_ddfv": {"mean": None}}}
    assert 0.3 - 0.2 != 0.1
    assert losing(scores, "lower") == {"a": 0.1, "b": -0.1, "c": 0.1, "d": np.inf, "ddfv": 0, "e": -0.2}
    assert losing(scores, "higher") == {"a": -0.1, "b": 0.1, "c": -0.1, "d": np.inf, "ddfv": 0, "e": 0.2}


def test_the_table_has_a_column_of_pairs_where_methods_differ_in_them_and_only_there():
    lines = table(on_the_easy_pairs()).splitlines()
    assert lines[0].split()[-2:] == ["pairs", "s/pair"]
    assert {line.split()[0]: line.split()[-2] for line in lines[1:4]} == {"rise": "50", "ddfv": "50", "gradient": "10"}
    assert "not every method was judged on all pairs, so ranks follow the paired difference to ddfv" in "".join(lines)
    same = replace(on_the_easy_pairs(), standings=[replace(line, pairs=10) for line in on_the_easy_pairs().standings])
    assert "pairs" not in table(same).splitlines()[0]
    assert "paired difference" not in table(same)


def test_json_has_the_pairs_of_each_method_and_reports_without_them_are_ranked_as_ever():
    report = on_the_easy_pairs().to_json()
    assert {name: line["pairs"] for name, line in report["methods"].items()} == {"rise": 50, "ddfv": 50, "gradient": 10}
    old = results().to_json()
    for line in old["methods"].values():
        del line["pairs"]
    assert combined_rank([old]) == combined_rank([results().to_json()])

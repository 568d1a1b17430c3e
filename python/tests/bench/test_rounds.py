"""What the benchmarks make of measured times; the measuring itself is `make bench-compute`."""

from __future__ import annotations

import json
import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.compute.rounds import Ratio, Report, compare, difference, order, summary

TIMES = {
    "ours": {0: 2.0, 1: 9.0, 2: 4.0},
    "fast": {0: 4.0, 1: 8.0, 2: 2.0},
    "slow": {0: 40.0},
}


@given(st.lists(st.floats(min_value=1e-6, max_value=1e6), min_size=1))
def test_median_lies_between_least_and_most(ms: list[float]) -> None:
    median, least, most = summary(ms)

    assert least == min(ms)
    assert most == max(ms)
    assert least <= median <= most


def test_ratio_is_that_of_the_medians_with_the_spread_of_the_rounds() -> None:
    one = compare(Ratio("r", "ours", ("fast",)), TIMES)

    assert one is not None
    assert (one.ratio, one.least, one.most, one.rounds) == (1.0, 0.5, 2.0, 3)


def test_ratio_is_to_the_fastest_peer() -> None:
    one = compare(Ratio("r", "ours", ("slow", "fast")), TIMES)

    assert one is not None
    assert one.peer == "fast"


def test_ratio_takes_only_the_rounds_that_both_ran_in() -> None:
    one = compare(Ratio("r", "ours", ("slow",)), TIMES)

    assert one is not None
    assert (one.ratio, one.rounds) == (0.05, 1)


def test_no_ratio_where_ours_or_the_peer_did_not_run() -> None:
    assert compare(Ratio("r", "ours", ("absent",)), TIMES) is None
    assert compare(Ratio("r", "absent", ("fast",)), TIMES) is None


@given(st.lists(st.text(min_size=1), min_size=1, max_size=6, unique=True))
def test_each_lane_is_first_and_last_equally_often(lanes: list[str]) -> None:
    turns = [order(lanes, number) for number in range(2 * len(lanes))]

    assert all(sorted(turn) == sorted(lanes) for turn in turns)
    for place in (0, -1):
        assert set(Counter(turn[place] for turn in turns).values()) == {2}


def test_difference_of_a_number_is_relative_and_of_a_list_absolute() -> None:
    far = difference({"cost": -7.0, "voltage": [1.0, 1.5]}, {"cost": -7.7, "voltage": [1.0, 1.25]})

    assert far["cost"] == pytest.approx(1 / 11)
    assert far["voltage"] == 0.25


@pytest.mark.parametrize("found", [{}, {"v": 1.0}, {"v": [1.0]}, {"v": [1.0, math.nan]}])
def test_an_answer_of_another_form_is_never_equal(found: dict[str, float | list[float]]) -> None:
    far = difference(found, {"v": [1.0, 2.0]})["v"]

    assert not far <= 1e300


def test_report_has_the_form_that_readers_of_the_results_expect() -> None:
    report = Report({"cpu": "x"}, {"python": "3"}, "make bench-compute")
    report.times = {"ours": TIMES["ours"], "fast": TIMES["fast"]}
    report.peak_memory_mib = {"ours": 123.456}
    report.ratios = [Ratio("ours_vs_fast", "ours", ("fast",)), Ratio("no", "ours", ("absent",))]

    written = json.loads(json.dumps(report.as_json()))

    assert written["machine"] == {"cpu": "x"}
    assert written["versions"] == {"python": "3"}
    assert written["cases"] == {
        "ours": {"ms": [4.0, 2.0, 9.0], "rounds": 3, "peak_memory_mib": 123.5},
        "fast": {"ms": [4.0, 2.0, 8.0], "rounds": 3},
    }
    assert written["ratios"] == {"ours_vs_fast": 1.0}
    details = {"peer": "fast", "rounds": 3, "least": 0.5, "most": 2.0}
    assert written["ratio_details"] == {"ours_vs_fast": details}

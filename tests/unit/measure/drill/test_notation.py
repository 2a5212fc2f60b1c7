# SPDX-License-Identifier: Apache-2.0
"""promtool's notation of series, and when each of their samples is due."""

from __future__ import annotations

import math

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.measure.drill.notation import (
    SeriesNotationError,
    labels_of,
    values_of,
)
from ansible_collections.k2.hardening.plugins.module_utils.measure.drill.plan import Synthetic, read_plans
from ansible_collections.k2.hardening.plugins.module_utils.measure.drill.synthetic import _Feed, batches, left_side


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1 2 3", [1, 2, 3]),
        ("0+10x3", [0, 10, 20, 30]),
        ("5-1x2", [5, 4, 3]),
        ("7x2", [7, 7, 7]),
        ("1x1 0x1", [1, 1, 0, 0]),
        ("0+0x1", [0, 0]),
        ("_ 1 _x2 2", [None, 1, None, None, 2]),
        ("-1.5e1", [-15]),
    ],
)
def test_values(text: str, values: list[float | None]) -> None:
    assert values_of(text) == values


def test_a_series_may_end() -> None:
    (value,) = values_of("stale")
    assert value is not None
    assert math.isnan(value)


@pytest.mark.parametrize("text", ["x", "1+x2", "1..2", "a+bxc"])
def test_no_values(text: str) -> None:
    with pytest.raises(SeriesNotationError):
        values_of(text)


def test_labels() -> None:
    assert labels_of('up{job="a", path="x\\"y"}') == {"__name__": "up", "job": "a", "path": 'x"y'}
    assert labels_of("up") == {"__name__": "up"}


@pytest.mark.parametrize("text", ["", "{}", "up{job}", "up{job=a}", "1up"])
def test_no_labels(text: str) -> None:
    with pytest.raises(SeriesNotationError):
        labels_of(text)


def test_the_moment_at_which_it_fires_is_now_and_what_comes_later_waits() -> None:
    feed = _Feed(Synthetic("x", 10, {"m": "0+1x5"}, 30, {}), 100_000_000, {"m": "0+1x5"})
    ((labels, samples),) = feed.due(100_000)
    assert labels == {"__name__": "m"}
    assert samples == [(70_000, 0), (80_000, 1), (90_000, 2), (100_000, 3)]
    assert feed.due(109_999) == []
    assert feed.due(110_000) == [({"__name__": "m"}, [(110_000, 4)])]


def test_unix_times_count_from_the_beginning_of_the_case() -> None:
    feed = _Feed(Synthetic("x", 10, {"m": "5x9"}, 30, {}, epoch=("m",)), 100_000_000, {"m": "5x9"})
    assert feed.due(100_000)[0][1][0] == (70_000, 75.0)


def test_series_that_are_held_go_on_with_their_last_value() -> None:
    feed = _Feed(Synthetic("x", 10, {}, 30, {"m": "60x3"}), 100_000_000, {"m": "60x3"}, hold=True)
    assert feed.due(101_000) == [({"__name__": "m"}, [(101_000, 60.0)])]
    assert feed.due(102_000) == [({"__name__": "m"}, [(102_000, 60.0)])]


def test_alerts_with_a_metric_in_common_are_not_fed_at_once() -> None:
    def plan(name: str, series: dict[str, str], quiet: dict[str, str]) -> dict[str, object]:
        return {"name": name, "synthetic": {"why": "x", "interval_s": 15, "at_s": 60, "series": series, "quiet": quiet}}

    plans = read_plans([plan("A", {"m": "1"}, {}), plan("B", {}, {"m": "1"}), plan("C", {"n": "1"}, {})])
    assert [[each.name for each in batch] for batch in batches(plans)] == [["A", "C"], ["B"]]


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("up < 1", "up"),
        ("sum(a) / sum(b) > 0.05", "sum(a) / sum(b)"),
        ("absent(up)", None),
        ("sum(x > 5)", None),
        ("a > b", None),
    ],
)
def test_the_value_of_an_evaluation_is_its_left_side(query: str, left: str | None) -> None:
    assert left_side(query) == left

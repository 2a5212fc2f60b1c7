# SPDX-License-Identifier: Apache-2.0
"""Charts: round ticks, nothing drawn outside the frame, names escaped, well-formed markup."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.report.svg import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Axis,
    Condition,
    Mark,
    Series,
    Stretch,
    line_chart,
    linear_axis,
    log_axis,
    percentile_axis,
    stacked_bars,
    timeline,
)


def labels(axis: Axis) -> list[str]:
    return [label for _, label in axis.ticks]


def tree(chart: str) -> ET.Element:
    return ET.fromstring(chart)


def points(figure: ET.Element) -> list[tuple[float, float]]:
    return [
        (float(x), float(y))
        for line in figure.iter("polyline")
        for x, _, y in (pair.partition(",") for pair in line.attrib["points"].split())
    ]


def inside(x: float, y: float) -> bool:
    return LEFT <= x <= WIDTH - RIGHT and TOP <= y <= HEIGHT - BOTTOM


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 60, ["0", "10", "20", "30", "40", "50", "60"]),
        (0, 1100, ["0", "200", "400", "600", "800", "1000"]),
        (0, 0.3, ["0", "0.05", "0.1", "0.15", "0.2", "0.25", "0.3"]),
        (3, 3, ["3", "3.2", "3.4", "3.6", "3.8", "4"]),
    ],
)
def test_a_linear_axis_has_round_ticks_and_none_beyond_its_ends(low: float, high: float, ticks: list[str]) -> None:
    axis = linear_axis("x", low, high)
    assert labels(axis) == ticks
    assert all(-1e-9 <= axis.place(value) <= 1 + 1e-9 for value, _ in axis.ticks)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (9, 1200, ["10", "20", "50", "100", "200", "500", "1000"]),
        (1, 1, ["1"]),
        (0.05, 0.5, ["0.05", "0.1", "0.2", "0.5"]),
    ],
)
def test_a_log_axis_has_ticks_at_1_2_and_5(low: float, high: float, ticks: list[str]) -> None:
    axis = log_axis("y", low, high)
    assert labels(axis) == ticks
    places = [axis.place(value) for value, _ in axis.ticks]
    assert places == sorted(places)
    assert axis.place(0.0) == axis.place(low) == 0.0


def test_each_nine_takes_the_same_space() -> None:
    axis = percentile_axis("percentile", nines=3)
    assert labels(axis) == ["p0", "p50", "p90", "p95", "p99", "p99.5", "p99.9"]
    assert [axis.place(share) for share in (0.0, 0.9, 0.99, 0.999)] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert axis.place(1.0) == axis.place(0.99999) == 1.0


def test_lines_stay_inside_the_frame_whatever_their_values() -> None:
    wild = Series("wild", [(-5, -5), (0, 0), (5, 50), (1e9, 1e9)], 0)
    chart = tree(line_chart("t", [wild], linear_axis("x", 0, 10), linear_axis("y", 0, 100)))
    drawn = points(chart)
    assert len(drawn) == 4
    assert all(inside(x, y) for x, y in drawn)
    assert drawn[2] == (LEFT + (WIDTH - LEFT - RIGHT) / 2, TOP + (HEIGHT - TOP - BOTTOM) / 2)


def test_a_limit_is_drawn_where_it_lies_and_only_where_there_is_one() -> None:
    axes = linear_axis("x", 0, 10), linear_axis("y", 0, 100)
    chart = tree(line_chart("t", [], *axes, limit=100, limit_label="target <100"))
    (line,) = [each for each in chart.iter("line") if each.attrib["class"] == "limit"]
    assert float(line.attrib["y1"]) == float(line.attrib["y2"]) == TOP
    assert "target <100" in [text.text for text in chart.iter("text")]
    without = tree(line_chart("t", [], *axes))
    assert not [each for each in without.iter() if each.attrib.get("class") == "limit"]


def test_the_legend_names_every_line_and_colours_repeat() -> None:
    series = [Series(f"n{at}", [(0, 0)], at, dashed=at == 1) for at in range(9)]
    chart = tree(line_chart("t", series, linear_axis("x", 0, 1), linear_axis("y", 0, 1)))
    assert ["".join(key.itertext()) for key in chart.iter("span")] == [one.name for one in series]
    assert [key.attrib["class"] for key in chart.iter("i")] == [
        "s0",
        "s1 dashed",
        *(f"s{n}" for n in range(2, 8)),
        "s0",
    ]
    assert ["stroke-dasharray" in line.attrib for line in chart.iter("polyline")] == [at == 1 for at in range(9)]


def test_bars_follow_each_other_and_names_keep_their_colour() -> None:
    rows = [("p50", [("in", 10.0), ("out", 30.0)]), ("p99", [("out", 60.0)])]
    chart = tree(stacked_bars("t", rows, linear_axis("ms", 0, 100), limit=50))
    bars = [each.attrib for each in chart.iter("rect")]
    left = [float(bar["x"]) for bar in bars]
    right = [float(bar["x"]) + float(bar["width"]) for bar in bars]
    assert left[1] == pytest.approx(right[0], abs=0.11)
    assert left[2] == LEFT
    assert [bar["class"] for bar in bars] == ["bar s0", "bar s1", "bar s1"]
    assert all(x <= WIDTH - RIGHT + 0.1 for x in right)
    (limit,) = [each for each in chart.iter("line") if each.attrib["class"] == "limit"]
    assert float(limit.attrib["x1"]) == LEFT + (WIDTH - LEFT - RIGHT) / 2


def test_a_timeline_clips_what_is_outside_and_tells_conditions_by_height_too() -> None:
    row = [
        Stretch(-50, -5, Condition.FAIL),
        Stretch(-5, 4, Condition.OK),
        Stretch(4, 5, Condition.UNKNOWN),
        Stretch(5, 60, Condition.FAIL),
    ]
    chart = tree(timeline("t", [("db", row)], linear_axis("s", 0, 10)))
    bars = [each.attrib for each in chart.iter("rect")]
    assert [bar["class"] for bar in bars] == ["bar t-ok", "bar t-unknown", "bar t-fail"]
    assert len({bar["height"] for bar in bars}) == 3
    assert all(float(bar["x"]) + float(bar["width"]) <= WIDTH - RIGHT + 0.1 for bar in bars)


def test_a_short_failure_is_not_too_thin_to_see() -> None:
    chart = tree(timeline("t", [("db", [Stretch(5, 5.0001, Condition.FAIL)])], linear_axis("s", 0, 3600)))
    (bar,) = chart.iter("rect")
    assert float(bar.attrib["width"]) >= 1


@pytest.mark.parametrize("at", [0.0, 5.0, 9.9, 10.0])
def test_labels_of_a_timeline_stay_inside_and_each_on_a_line_of_its_own(at: float) -> None:
    marks = [Mark(f"T{n} {at} .. {at} s", at, at, n, f"m{n}") for n in range(3)]
    row = [Stretch(0, 10, Condition.OK)]
    chart = tree(timeline("t", [("db", row)], linear_axis("s", 0, 10), (2, 3), marks, (at, "target")))
    labels = [each for each in chart.iter("text") if each.attrib.get("class") == "mark"]
    assert len({each.attrib["y"] for each in labels}) == len(labels) == 4
    for each in labels:
        width = 7 * len(each.text or "")
        left = float(each.attrib["x"]) - (width if each.attrib["text-anchor"] == "end" else 0)
        assert left >= 0
        assert left + width <= WIDTH
    keys = ["".join(key.itertext()) for key in chart.iter("span")]
    assert keys == ["answers", "fails", "no sample", "fault", "m0", "m1", "m2"]


def test_a_long_name_keeps_its_ends_and_is_whole_on_hovering() -> None:
    name = "a-service-with-a-very-long-name-of-its-own in the second region"
    chart = tree(timeline("t", [(name, [])], linear_axis("s", 0, 10)))
    (text,) = [each for each in chart.iter("text") if each.find("title") is not None]
    assert text.findtext("title") == name
    assert (text.text or "").startswith("a-service-with")
    assert (text.text or "").endswith("second region")
    assert len(text.text or "") <= 34


def test_what_a_platform_calls_itself_is_text() -> None:
    bad = '<b "x">&'
    line = line_chart(bad, [Series(bad, [(0, 0)], 0)], linear_axis(bad, 0, 1), linear_axis(bad, 0, 1), 1, bad)
    bars = stacked_bars(bad, [(bad, [(bad, 1.0)])], linear_axis(bad, 0, 1))
    mark = Mark(bad, 0, 1, 0, bad)
    row = [Stretch(0, 1, Condition.FAIL, bad)]
    times = timeline(bad, [(bad, row)], linear_axis(bad, 0, 1), (0, 1), [mark], (1, bad))
    for chart in (line, bars, times):
        assert "<b" not in chart
        svg = tree(chart).find("svg")
        assert svg is not None
        assert svg.attrib["aria-label"] == bad
        assert bad in [each.text for each in svg.iter("title")]

# SPDX-License-Identifier: Apache-2.0
"""Panels wherever they are nested, variables as a browser writes them, and what makes a panel well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.measure.dashboards.look import (
    Look,
    UnknownAllowed,
    look_at,
    look_until_well,
)
from ansible_collections.k2.hardening.plugins.module_utils.measure.dashboards.model import Allowed, PanelClass
from ansible_collections.k2.hardening.plugins.module_utils.measure.dashboards.variables import (
    UnresolvedVariable,
    Values,
    intervals,
    resolve_all,
    substitute,
)
from ansible_collections.k2.hardening.plugins.module_utils.platform.grafana import (
    Answer,
    DataSource,
    Frame,
    NoSuchThing,
    Stored,
)
from ansible_collections.k2.hardening.plugins.module_utils.platform.grafana_model import BadDashboard, panels

SOURCE = DataSource("prom", "Prom", "prometheus", is_default=True, interval="15s")
OTHER = DataSource("loki", "Loki", "loki")
DATA = Answer((Frame(1, 5, 5),))
NULL = Answer((Frame(1, 5, 0),))
EMPTY = Answer((Frame(1, 0, 0),))
BROKEN = Answer((), "parse error")


class Grafana:
    """Answers by the query's expression; keeps what was asked."""

    def __init__(self, model: Mapping[str, Any], answers: Mapping[str, Answer]) -> None:
        self.model, self.answers = model, dict(answers)
        self.asked: list[Mapping[str, Any]] = []

    def data_sources(self) -> tuple[DataSource, ...]:
        return (SOURCE, OTHER)

    def dashboard(self, uid: str) -> Stored:
        if uid != "d":
            raise NoSuchThing(f"there is no dashboard {uid!r}")
        return Stored(self.model, "", provisioned=False)

    def label_values(self, uid: str, label: str, selector: str, window_s: float) -> tuple[str, ...]:
        assert (uid, window_s) == ("prom", 900)
        return {("exchange", "trades"): ("kraken", "binance")}.get((label, selector), ())

    def query(self, queries: Sequence[Mapping[str, Any]], window_s: float) -> Mapping[str, Answer]:
        assert window_s == 900
        self.asked += queries
        return {query["refId"]: self.answers[query["expr"]] for query in queries if query["expr"] in self.answers}


def panel(title: str, *expressions: str, number: int = 1, **more: Any) -> dict[str, Any]:
    targets = [{"refId": chr(65 + at), "expr": each} for at, each in enumerate(expressions)]
    source = {"uid": "${datasource}"}
    return {"id": number, "title": title, "type": "timeseries", "datasource": source, "targets": targets, **more}


def dashboard(*entries: Mapping[str, Any], variables: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    source = {"name": "datasource", "type": "datasource", "query": "prometheus", "current": {"value": "prom"}}
    return {"uid": "d", "title": "D", "panels": list(entries), "templating": {"list": [source, *variables]}}


def look(model: Mapping[str, Any], answers: Mapping[str, Answer], *allowed: Allowed) -> Any:
    grafana = Grafana(model, answers)
    (result,) = look_at(grafana, Look(("d",), 900, allowed))  # type: ignore[arg-type]
    return result, grafana


def test_panels_of_rows_of_collapsed_rows_and_of_old_models_are_found() -> None:
    open_row = {"type": "row", "title": "Open", "panels": []}
    collapsed = {"type": "row", "title": "Closed", "panels": [panel("c"), panel("d")]}
    old = {"title": "Old", "panels": [panel("e")]}
    found = panels({"panels": [panel("a"), open_row, panel("b"), collapsed], "rows": [old]})
    assert [each.name for each in found] == ["a", "Open / b", "Closed / c", "Closed / d", "Old / e"]


@pytest.mark.parametrize("model", [{"panels": {}}, {"panels": ["x"]}, {"panels": [{"targets": 1}]}])
def test_a_model_of_another_shape_is_refused(model: Mapping[str, Any]) -> None:
    with pytest.raises(BadDashboard):
        panels(model)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([DATA, DATA], PanelClass.DATA),
        ([DATA, NULL], PanelClass.ALL_NULL),
        ([NULL, EMPTY], PanelClass.NO_FRAMES),
        ([DATA, BROKEN], PanelClass.ERROR),
        ([DATA, None], PanelClass.NO_FRAMES),
    ],
)
def test_a_panel_is_as_its_worst_query(answers: list[Answer | None], expected: PanelClass) -> None:
    known = {name: answer for name, answer in zip("ab", answers, strict=True) if answer is not None}
    result, _ = look(dashboard(panel("p", "a", "b")), known)
    assert result.panels[0].result is expected
    assert result.is_well is (expected is PanelClass.DATA)


def test_a_panel_may_be_empty_with_a_reason_but_never_fail() -> None:
    entry = Allowed("d", "p", "nothing was ever rejected")
    result, _ = look(dashboard(panel("p", "a")), {"a": EMPTY}, entry)
    assert (result.is_well, result.panels[0].allowed) == (True, "nothing was ever rejected")
    result, _ = look(dashboard(panel("p", "a")), {"a": BROKEN}, entry)
    assert not result.is_well


def test_one_query_may_be_empty_and_the_others_may_not() -> None:
    entry = Allowed("d", "p", "no second one here", ref="B")
    assert look(dashboard(panel("p", "a", "b")), {"a": DATA, "b": EMPTY}, entry)[0].is_well
    result, _ = look(dashboard(panel("p", "a", "b")), {"a": EMPTY, "b": EMPTY}, entry)
    assert result.panels[0].result is PanelClass.NO_FRAMES


def test_an_entry_that_is_not_needed_is_told_and_one_about_nothing_refused() -> None:
    result, _ = look(dashboard(panel("p", "a")), {"a": DATA}, Allowed("d", "p", "why"))
    assert result.unneeded == ("p: returns data, so it needs no entry in the allow-list",)
    with pytest.raises(UnknownAllowed, match="did you mean 'Lag by topic'"):
        look(dashboard(panel("Lag by topic", "a")), {"a": DATA}, Allowed("d", "Lag by topik", "why"))


def test_a_text_asks_nothing_and_a_dashboard_that_is_not_there_is_an_error() -> None:
    result, grafana = look(dashboard({"type": "text", "title": "t", "id": 1}), {})
    assert (result.panels[0].result, result.is_well, grafana.asked) == (PanelClass.STATIC, True, [])
    (gone,) = look_at(grafana, Look(("e",), 900))  # type: ignore[arg-type]
    assert gone.error == "there is no dashboard 'e'"
    assert not gone.is_well


def test_a_variable_that_has_no_definition_is_an_error_of_its_query() -> None:
    result, grafana = look(dashboard(panel("p", "up{a='$nothing'}", "b")), {"b": DATA})
    assert result.panels[0].result is PanelClass.ERROR
    assert "variable $nothing has no definition" in str(result.panels[0].queries[0].error)
    assert [query["expr"] for query in grafana.asked] == ["b"]


def test_a_panel_that_is_repeated_asks_once_for_each_value() -> None:
    variable = {
        "name": "exchange",
        "type": "query",
        "datasource": {"uid": "${datasource}"},
        "query": {"query": "label_values(trades, exchange)"},
        "current": {"value": ["$__all"]},
        "includeAll": True,
        "multi": True,
    }
    model = dashboard(panel("p", 'x{e="$exchange"}', repeat="exchange"), variables=[variable])
    _, grafana = look(model, {})
    assert [query["expr"] for query in grafana.asked] == ['x{e="binance"}', 'x{e="kraken"}']
    _, grafana = look(dashboard(panel("p", 'x{e=~"$exchange"}'), variables=[variable]), {})
    assert [query["expr"] for query in grafana.asked] == ['x{e=~"(binance|kraken)"}']


def test_data_that_come_late_are_waited_for() -> None:
    grafana = Grafana(dashboard(panel("p", "a")), {"a": EMPTY})
    asked = grafana.query

    def later(queries: Sequence[Mapping[str, Any]], window_s: float) -> Mapping[str, Answer]:
        answers = asked(queries, window_s)
        grafana.answers["a"] = DATA
        return answers

    grafana.query = later  # type: ignore[method-assign]
    assert look_until_well(grafana, Look(("d",), 900), 10)[0].is_well  # type: ignore[arg-type]
    assert len(grafana.asked) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$one ${one} [[one]] ${one:raw}", "a.b a.b a.b a.b"),
        ("${one:regex}", r"a\\.b"),
        ("$many", r"(x|y\\.z)"),
        ("${many:pipe} ${many:csv}", "x|y.z x,y.z"),
        ("$all", ".*"),
        ("$__interval $__rate_interval", "5s 60s"),
        ('label_replace(a, "b", "$1", "c", "(.+)$")', 'label_replace(a, "b", "$1", "c", "(.+)$")'),
    ],
)
def test_a_variable_is_written_as_a_browser_writes_it(text: str, expected: str) -> None:
    variables = {
        "one": Values(("a.b",)),
        "many": Values(("x", "y.z"), multiple=True),
        "all": Values(("x", "y"), multiple=True, all_value=".*"),
    }
    assert substitute(text, variables, {"__interval": "5s", "__rate_interval": "60s"}) == expected


@pytest.mark.parametrize(
    ("window_s", "minimum", "source", "rate", "interval"),
    [
        (900, "", SOURCE, "60s", "15s"),
        (900, "1m", SOURCE, "240s", "60s"),
        (86400, "", SOURCE, "231s", "216s"),
        (900, "", DataSource("u", "n", "prometheus"), "60s", "2250ms"),
    ],
    ids=["four scrapes", "scraped seldom", "far back", "nobody said how often"],
)
def test_intervals_are_grafanas(window_s: float, minimum: str, source: DataSource, rate: str, interval: str) -> None:
    found, _ = intervals(window_s, 400, minimum, source)
    assert (found["__rate_interval"], found["__interval"]) == (rate, interval)


@pytest.mark.parametrize(
    ("entry", "seen"),
    [
        ({"name": "v", "type": "query", "query": "metrics(.*)", "datasource": "Prom"}, "no label_values"),
        (
            {"name": "v", "type": "query", "query": "label_values(up, nothing)", "datasource": "Prom"},
            "no value of label",
        ),
        ({"name": "v", "type": "datasource", "query": "tempo"}, "no data source of type 'tempo'"),
        (
            {"name": "v", "type": "datasource", "query": "prometheus", "current": {"value": "gone"}},
            "'gone', which is not",
        ),
        ({"name": "v", "type": "new"}, "a variable of type 'new'"),
    ],
)
def test_a_variable_that_cannot_be_resolved_says_why(entry: Mapping[str, Any], seen: str) -> None:
    with pytest.raises(UnresolvedVariable, match=seen):
        resolve_all({"templating": {"list": [entry]}}, (SOURCE, OTHER), lambda *_: ())

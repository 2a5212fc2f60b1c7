# SPDX-License-Identifier: Apache-2.0
"""The report's section on dashboards, made of the evidence of the gates alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.k2.hardening.plugins.module_utils.report.dashboards import dashboard_rows
from ansible_collections.k2.hardening.plugins.module_utils.report.render import environment

TEMPLATES = Path(__file__).resolve().parents[3] / "roles" / "report" / "templates"


def panel(title: str, kind: str, **more: Any) -> dict[str, Any]:
    query = {"ref": "A", "expression": f"rate({title})", "numbers": 3 if kind == "data" else 0, "error": None}
    return {"title": title, "class": kind, "allowed": None, "queries": [query], **more}


def rows() -> Any:
    gate = {"id": "S4.dashboard.d", "verdict": "FAIL", "reason": "b: query A returned nothing"}
    found = {
        "title": "D <1>",
        "panels": [
            panel("a", "data"),
            panel("b", "no_frames"),
            panel("c", "all_null", allowed="never any"),
            panel("e", "error", queries=[{"ref": "A", "expression": "x", "numbers": 0, "error": "parse error"}]),
            panel("text", "static", queries=[]),
        ],
    }
    detail = {"dashboard": found, "left_out": [{"panel": "f", "reason": "no metric"}]}
    gates = [gate, {"id": "S4.dashboard.other"}, {"id": "S4.rules"}]
    return dashboard_rows(gates, {"S4.dashboard.d": {"detail": detail}, "S4.rules": {"detail": {}}})


def test_each_panel_that_shows_nothing_is_listed_with_the_reason() -> None:
    (row,) = rows()
    assert (row.uid, row.queries, dict(row.classes)) == (
        "d",
        4,
        {"data": 1, "no_frames": 1, "all_null": 1, "error": 1},
    )
    assert [(each.panel, each.state, each.why) for each in row.panels] == [
        ("b", "no frames", "rate(b)"),
        ("c", "all null", "may be empty: never any"),
        ("e", "error", "parse error"),
        ("f", "left out", "no metric"),
    ]


def test_a_dashboard_that_could_not_be_seen_is_a_row_without_panels() -> None:
    gate = {"id": "S4.dashboard.d", "verdict": "INCONCLUSIVE", "reason": "Grafana did not answer"}
    (row,) = dashboard_rows([gate], {"S4.dashboard.d": {"detail": {"dashboard": None, "left_out": []}}})
    assert (row.title, row.queries, row.panels) == ("d", 0, ())


def test_it_is_rendered_in_both_pages() -> None:
    made = environment(TEMPLATES)
    page = made.get_template("sections/dashboards.html.j2").render(dashboards=rows())
    assert "D &lt;1&gt;" in page
    assert "may be empty: never any" in page
    text = made.get_template("sections/dashboards.md.j2").render(dashboards=rows())
    assert "| D <1> (`d`) | **FAIL** | 1 | 2 | 1 | 4 | b: query A returned nothing |" in text

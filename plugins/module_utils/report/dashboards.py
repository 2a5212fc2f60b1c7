# SPDX-License-Identifier: Apache-2.0
"""What the report shows of Grafana: each dashboard, and each panel that is not as it should be, from evidence alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

_PREFIX = "S4.dashboard."


@dataclass(frozen=True)
class PanelRow:
    """A panel that shows no data or is left out, and why."""

    panel: str
    state: str
    why: str


@dataclass(frozen=True)
class DashboardRow:
    """A dashboard: its verdict, how many panels there are of each class, and those that are not data."""

    uid: str
    title: str
    verdict: str
    reason: str
    queries: int
    classes: Mapping[str, int]
    panels: tuple[PanelRow, ...]


def dashboard_rows(gates: Sequence[Mapping[str, Any]], evidence: Mapping[str, Mapping[str, Any]]) -> list[DashboardRow]:
    """A row per dashboard that was looked at."""
    return [
        _row(gate, evidence[gate["id"]]["detail"])
        for gate in gates
        if gate["id"].startswith(_PREFIX) and gate["id"] in evidence
    ]


def _row(gate: Mapping[str, Any], detail: Mapping[str, Any]) -> DashboardRow:
    found: Optional[Mapping[str, Any]] = detail["dashboard"]
    panels = [panel for panel in (found["panels"] if found else ()) if panel["queries"]]
    wrong = [
        PanelRow(panel["title"], panel["class"].replace("_", " "), _why(panel))
        for panel in panels
        if panel["class"] != "data" or panel["allowed"]
    ]
    left_out = [PanelRow(entry["panel"], "left out", entry["reason"]) for entry in detail["left_out"]]
    return DashboardRow(
        uid=gate["id"][len(_PREFIX) :],
        title=found["title"] if found and found["title"] else gate["id"][len(_PREFIX) :],
        verdict=gate["verdict"],
        reason=gate["reason"],
        queries=sum(len(panel["queries"]) for panel in panels),
        classes=Counter(panel["class"] for panel in panels),
        panels=(*wrong, *left_out),
    )


def _why(panel: Mapping[str, Any]) -> str:
    errors = [query["error"] for query in panel["queries"] if query["error"]]
    if errors:
        return str(errors[0])
    if panel["allowed"]:
        return f"may be empty: {panel['allowed']}"
    return "; ".join(query["expression"] for query in panel["queries"] if not query["numbers"])

# SPDX-License-Identifier: Apache-2.0
"""Panels in Grafana's classic JSON model: one small template each, so that all of a kind look and behave alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .dashboard import Kind, PanelSpec

# What is named "cores" is a number with a suffix; Grafana knows no such unit.
_SUFFIXED = {"cores": "suffix: cores"}
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True)
class Built:
    """A panel with its platform's names and numbers in place: queries as (expression, legend), steps as numbers."""

    spec: PanelSpec
    queries: tuple[tuple[str, str], ...]
    steps: tuple[tuple[float | None, str], ...]
    text: str


def panel_json(built: Built, number: int, grid: Mapping[str, int]) -> dict[str, Any]:
    """The panel with its id, at its place."""
    spec = built.spec
    panel: dict[str, Any] = {
        "id": number,
        "title": spec.title,
        "description": spec.description,
        "gridPos": dict(grid),
        "type": {Kind.BARS: "bargauge"}.get(spec.kind, spec.kind.value),
    }
    if spec.kind is Kind.TEXT:
        return {**panel, "options": {"mode": "markdown", "content": built.text}}
    panel["datasource"] = SOURCE
    panel["targets"] = [_target(spec, ref, query) for ref, query in zip(_refs(), built.queries)]
    if spec.min_step:
        panel["interval"] = spec.min_step
    panel |= {
        Kind.TIMESERIES: _timeseries,
        Kind.STAT: _stat,
        Kind.BARS: _bars,
        Kind.TABLE: _table,
    }[spec.kind](built)
    return panel


def row_json(title: str, number: int, y: int, collapsed: bool, inner: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A row; a collapsed one holds its panels."""
    return {
        "id": number,
        "title": title,
        "type": "row",
        "collapsed": collapsed,
        "gridPos": {"h": 1, "w": 24, "x": 0, "y": y},
        "panels": list(inner) if collapsed else [],
    }


def _refs() -> list[str]:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return [*letters, *(first + second for first in letters for second in letters)]


def _target(spec: PanelSpec, ref: str, query: tuple[str, str]) -> dict[str, Any]:
    expression, legend = query
    instant = spec.kind is not Kind.TIMESERIES
    target: dict[str, Any] = {
        "refId": ref,
        "datasource": SOURCE,
        "editorMode": "code",
        "expr": expression,
        "legendFormat": legend or "__auto",
        "instant": instant,
        "range": not instant,
    }
    if spec.kind is Kind.TABLE:
        target["format"] = "table"
    return target


def _field(built: Built, color: str) -> dict[str, Any]:
    spec = built.spec
    defaults: dict[str, Any] = {
        "unit": _SUFFIXED.get(spec.unit, spec.unit),
        "color": {"mode": color},
        "thresholds": {
            "mode": "absolute",
            "steps": [{"value": start, "color": shade} for start, shade in built.steps]
            or [{"value": None, "color": "green"}],
        },
        "mappings": _mappings(spec),
        "noValue": "no data",
    }
    bounds = {"decimals": spec.decimals, "min": spec.floor, "max": spec.ceiling}
    return defaults | {key: value for key, value in bounds.items() if value is not None}


def _mappings(spec: PanelSpec) -> list[dict[str, Any]]:
    if not spec.mapped:
        return []
    options = {value: {"text": text, "index": at} for at, (value, text) in enumerate(spec.mapped.items())}
    return [{"type": "value", "options": options}]


def _timeseries(built: Built) -> dict[str, Any]:
    spec = built.spec
    custom: dict[str, Any] = {
        "drawStyle": "line",
        "lineInterpolation": "linear",
        "lineWidth": 1,
        "fillOpacity": 30 if spec.stacked else 8,
        "showPoints": "never",
        # A gap is a gap; one missing scrape is none.
        "spanNulls": 120000,
        "stacking": {"mode": "normal" if spec.stacked else "none", "group": "A"},
        "axisPlacement": "auto",
        "thresholdsStyle": {"mode": "line" if spec.threshold_line else "off"},
    }
    if spec.threshold_line and built.steps[-1][0] is not None:
        # A line that is far above all values would not be on the page.
        custom["axisSoftMax"] = built.steps[-1][0]
    return {
        "fieldConfig": {"defaults": {**_field(built, "palette-classic"), "custom": custom}, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }


def _stat(built: Built) -> dict[str, Any]:
    return {
        "fieldConfig": {"defaults": _field(built, "thresholds"), "overrides": []},
        "options": {
            "colorMode": "background" if built.steps else "value",
            "graphMode": "none",
            "justifyMode": "center",
            "orientation": "auto",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "textMode": "auto",
        },
    }


def _bars(built: Built) -> dict[str, Any]:
    return {
        "fieldConfig": {"defaults": _field(built, "thresholds"), "overrides": []},
        "options": {
            "displayMode": "basic",
            "orientation": "horizontal",
            "showUnfilled": True,
            "minVizHeight": 10,
            "minVizWidth": 0,
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        },
    }


def _table(built: Built) -> dict[str, Any]:
    """A table of labels and values: columns by their names, in their order, the others not shown."""
    columns = built.spec.columns
    keep = [*columns, "Value"] if "Value" not in columns else [*columns]
    return {
        "fieldConfig": {
            "defaults": {**_field(built, "thresholds"), "custom": {"align": "auto", "filterable": False}},
            "overrides": [],
        },
        "options": {"showHeader": True, "cellHeight": "sm", "footer": {"show": False}},
        "transformations": [
            {"id": "filterFieldsByName", "options": {"include": {"names": keep}}},
            {
                "id": "organize",
                "options": {
                    "excludeByName": {},
                    "indexByName": {name: at for at, name in enumerate(keep)},
                    "renameByName": {name: shown for name, shown in columns.items() if shown},
                },
            },
        ],
    }

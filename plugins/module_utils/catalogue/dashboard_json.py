# SPDX-License-Identifier: Apache-2.0
"""From a dashboard's file and a platform's names and numbers to Grafana's classic JSON model.

A panel whose metric the platform does not have is left out, and so is a dashboard without panels: both are told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from ..core.errors import K2Error
from ..core.suggest import did_you_mean
from .dashboard import PLACEHOLDER, DashboardFile, Kind, PanelSpec, Query
from .panel_json import SOURCE, Built, panel_json, row_json
from .platform_names import Names

_COLUMNS = 24
_SCHEMA = 38  # of Grafana 10.0; later ones migrate it as they read it
_TAG = "k2-hardening"


class UnknownName(K2Error):  # noqa: N818 - see core.errors
    """A dashboard's file names a metric or a number that nothing gives."""


@dataclass(frozen=True)
class LeftOut:
    """A panel that the platform cannot have, and why."""

    panel: str
    reason: str


@dataclass(frozen=True)
class BuiltDashboard:
    """A dashboard for one platform.

    ``panels`` counts those that ask something; ``may_be_empty`` has titles of panels and why each may show nothing.
    """

    uid: str
    title: str
    model: Mapping[str, Any]
    panels: int
    may_be_empty: tuple[tuple[str, str], ...]
    left_out: tuple[LeftOut, ...]


def build(file: DashboardFile, names: Names, links: Sequence[tuple[str, str]]) -> BuiltDashboard:
    """The dashboard; ``links`` are (uid, title) of all, for one to lead to the others.

    :raises UnknownName: a placeholder stands for nothing.
    """
    left_out: list[LeftOut] = []
    rows = []
    for row in file.rows:
        panels = [built for spec in row.panels if (built := _built(file, spec, names, left_out)) is not None]
        if panels:
            rows.append((row, panels))
    shown = [built for _, panels in rows for built in panels]
    asking = [built for built in shown if built.spec.kind is not Kind.TEXT]
    return BuiltDashboard(
        uid=file.uid,
        title=file.title,
        model=_model(file, names, [*_placed(rows)], links),
        panels=len(asking),
        may_be_empty=tuple((each.spec.title, each.spec.empty) for each in asking if each.spec.empty),
        left_out=tuple(left_out),
    )


def _built(file: DashboardFile, spec: PanelSpec, names: Names, left_out: list[LeftOut]) -> Optional[Built]:
    reasons = {names.absent[name]: None for name in _placeholders(spec) if name in names.absent}
    if reasons:
        left_out.append(LeftOut(spec.title, "; ".join(reasons)))
        return None
    where = f"dashboard {file.uid}, panel {spec.title!r}"
    queries = [pair for query in spec.queries for pair in _asked(query, names, where)]
    if spec.queries and not queries:
        left_out.append(LeftOut(spec.title, "no service of the profile has a budget"))
        return None
    # Without the number there is no line to draw; the panel is as good without.
    drawn = [step for step in spec.steps if not isinstance(step.start, str) or step.start[2:-2] not in names.absent]
    if len(drawn) < len(spec.steps):
        spec = replace(spec, threshold_line=spec.threshold_line and len(drawn) > 1)
    steps = [
        (float(_put(step.start, names.values, where)) if isinstance(step.start, str) else step.start, step.color)
        for step in drawn
    ]
    return Built(spec, tuple(queries), tuple(steps), _put(spec.text, names.values, where))


def _placeholders(spec: PanelSpec) -> list[str]:
    return [name for query in spec.queries for name in PLACEHOLDER.findall(query.expr)]


def _asked(query: Query, names: Names, where: str) -> Iterator[tuple[str, str]]:
    given: Iterable[Mapping[str, str]] = [{}] if query.each is None else names.services.values()
    for own in given:
        values = {**names.values, **own}
        # A service whose budget does not speak of this is not held against it.
        if query.each is not None and any(key not in values for key in PLACEHOLDER.findall(query.expr)):
            continue
        yield _put(query.expr, values, where), _put(query.legend, values, where)


def _put(text: str, values: Mapping[str, str], where: str) -> str:
    for name in PLACEHOLDER.findall(text):
        if name not in values:
            raise UnknownName(f"{where}: [[{name}]] stands for nothing", seen=did_you_mean(name, values))
    return PLACEHOLDER.sub(lambda found: values[found.group(1)], text)


def _placed(rows: Sequence[tuple[Any, Sequence[Built]]]) -> Iterator[dict[str, Any]]:
    """Rows and panels with ids and places: from left to right, and on a new line where the page ends."""
    number, y = 1, 0
    for row, panels in rows:
        x = height = 0
        title_number, title_y = number, y
        number, y = number + 1, y + 1
        placed = []
        for built in panels:
            width = built.spec.width
            if x + width > _COLUMNS:
                x, y, height = 0, y + height, 0
            placed.append(panel_json(built, number, {"h": built.spec.height, "w": width, "x": x, "y": y}))
            number, x, height = number + 1, x + width, max(height, built.spec.height)
        yield row_json(row.title, title_number, title_y, row.collapsed, placed)
        if row.collapsed:
            y = title_y + 1
        else:
            yield from placed
            y += height


def _model(
    file: DashboardFile, names: Names, panels: list[dict[str, Any]], links: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    return {
        "uid": file.uid,
        "title": file.title,
        "description": file.description,
        "tags": [_TAG],
        "schemaVersion": _SCHEMA,
        "editable": False,
        "graphTooltip": 1,
        "time": {"from": f"now-{file.window}", "to": "now"},
        "timezone": "utc",
        "refresh": file.refresh,
        "links": [
            {"type": "link", "title": title, "url": f"/d/{uid}", "keepTime": True, "targetBlank": False}
            for uid, title in links
            if uid != file.uid
        ],
        "annotations": {"list": []},
        "templating": {"list": _variables(file, names)},
        "panels": panels,
    }


def _variables(file: DashboardFile, names: Names) -> list[dict[str, Any]]:
    """The data source, and the exchanges where panels ask by them."""
    source = {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "current": {"selected": True, "text": names.source_uid, "value": names.source_uid},
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "refresh": 1,
        "regex": "",
    }
    metric = names.values.get("trades_received")
    if not file.by_exchange or metric is None:
        return [source]
    query = f"label_values({metric}, exchange)"
    exchange = {
        "name": "exchange",
        "label": "Exchange",
        "type": "query",
        "datasource": SOURCE,
        "definition": query,
        "query": {"query": query, "refId": "exchange"},
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "includeAll": True,
        "multi": True,
        "hide": 0,
        "refresh": 2,
        "regex": "",
        "sort": 1,
    }
    return [source, exchange]

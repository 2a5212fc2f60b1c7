# SPDX-License-Identifier: Apache-2.0
"""A dashboard as its file describes it: rows of panels, each one query or a few; no positions, no ids, no JSON.

``[[name]]`` in an expression stands for a metric by the engine's name, ``[[Alert.threshold]]`` for an alert's number,
and ``[[key]]`` for what ``each`` gives.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Optional, Union

from ..core.errors import K2Error
from ..profile.reader import Node, Problem

PLACEHOLDER = re.compile(r"\[\[([A-Za-z_][\w.]*)\]\]")
_COLUMNS = 24
# Grafana's own names of units; a panel whose numbers are of no unit says ``short``.
UNITS = (
    "short",
    "none",
    "s",
    "ms",
    "dtdurations",
    "bytes",
    "Bps",
    "percentunit",
    "cps",
    "ops",
    "rowsps",
    "cores",
    "dateTimeAsIso",
    "dateTimeFromNow",
    "string",
)
COLORS = ("green", "yellow", "orange", "red", "blue", "text", "transparent")


class DashboardError(K2Error):
    """A dashboard's file cannot be used; ``problems`` holds every reason."""

    def __init__(self, name: str, problems: list[Problem]) -> None:
        self.problems = tuple(problems)
        listing = "".join(f"\n  - {problem}" for problem in problems)
        super().__init__(f"dashboard {name} has {len(problems)} problem(s):{listing}")


class Kind(enum.Enum):
    """A panel's template."""

    TIMESERIES = "timeseries"
    STAT = "stat"
    BARS = "bars"
    TABLE = "table"
    TEXT = "text"


class Each(enum.Enum):
    """What a query is asked once for each of: services, with service, cpus and memory_bytes of their budget."""

    SERVICE = "service"


@dataclass(frozen=True)
class Query:
    """One query; ``legend`` is how its series are called, in Grafana's notation."""

    expr: str
    legend: str
    each: Optional[Each]


@dataclass(frozen=True)
class Step:
    """From ``start`` on (None: from the lowest) values have this colour; a text is a placeholder."""

    start: Union[float, str, None]
    color: str


@dataclass(frozen=True)
class PanelSpec:
    """A panel. ``min_step``: how often its data are scraped where that is seldom; ``empty``: why it may be empty."""

    title: str
    kind: Kind
    description: str
    unit: str
    width: int
    height: int
    queries: tuple[Query, ...]
    steps: tuple[Step, ...]
    threshold_line: bool
    min_step: str
    decimals: Optional[int]
    floor: Optional[float]
    ceiling: Optional[float]
    stacked: bool
    text: str
    columns: Mapping[str, str]
    mapped: Mapping[str, str]
    empty: str


@dataclass(frozen=True)
class RowSpec:
    """A row of panels; a collapsed one asks nothing before it is opened."""

    title: str
    collapsed: bool
    panels: tuple[PanelSpec, ...]


@dataclass(frozen=True)
class DashboardFile:
    """A whole dashboard; ``uid`` is its file's name."""

    uid: str
    title: str
    description: str
    window: str
    refresh: str
    by_exchange: bool
    rows: tuple[RowSpec, ...]

    def panels(self) -> Iterator[PanelSpec]:
        """All panels, in their order."""
        for row in self.rows:
            yield from row.panels


def parse_dashboard(uid: str, data: Mapping[str, Any]) -> DashboardFile:
    """Read a dashboard; raises DashboardError with every problem found."""
    root = Node.root(data)
    found = DashboardFile(
        uid=uid,
        title=root.text("title"),
        description=root.text("description"),
        window=root.opt_text("window") or "30m",
        refresh=root.opt_text("refresh") or "15s",
        by_exchange=root.boolean("by_exchange", default=False),
        rows=tuple(_row(each) for each in root.each("rows")),
    )
    root.finish()
    titles = [panel.title for panel in found.panels()]
    for title in sorted({title for title in titles if titles.count(title) > 1}):
        root.reject("rows", "distinct titles of panels", f"{title!r} more than once")
    if not titles and not root.problems:
        root.reject("rows", "at least one panel", "none")
    if root.problems:
        raise DashboardError(uid, root.problems)
    return found


def _row(node: Node) -> RowSpec:
    row = RowSpec(
        title=node.text("title"),
        collapsed=node.boolean("collapsed", default=False),
        panels=tuple(_panel(each) for each in node.each("panels")),
    )
    node.finish()
    return row


def _panel(node: Node) -> PanelSpec:
    kind = node.choice("kind", Kind, default=Kind.TIMESERIES)
    panel = PanelSpec(
        title=node.text("title"),
        kind=kind,
        description=node.opt_text("description") or "",
        unit=node.opt_text("unit") or "",
        width=int(node.opt_number("width", low=1) or 8),
        height=int(node.opt_number("height", low=1) or (4 if kind is Kind.STAT else 8)),
        queries=tuple(_query(each) for each in node.each("queries")),
        steps=tuple(_step(each) for each in node.each("steps")),
        threshold_line=node.boolean("threshold_line", default=False),
        min_step=node.opt_text("min_step") or "",
        decimals=None if (decimals := node.opt_number("decimals", low=0)) is None else int(decimals),
        floor=node.opt_number("floor"),
        ceiling=node.opt_number("ceiling"),
        stacked=node.boolean("stacked", default=False),
        text=node.opt_text("text") or "",
        columns=node.text_map("columns"),
        mapped=node.text_map("mapped"),
        empty=node.opt_text("empty") or "",
    )
    node.finish()
    if panel.width > _COLUMNS:
        node.reject("width", f"at most {_COLUMNS}", str(panel.width))
    if kind is Kind.TEXT:
        if not panel.text or panel.queries:
            node.reject("text", "a text and no queries", "another thing")
    elif not panel.queries:
        node.reject("queries", "at least one query", "none")
    elif panel.unit not in UNITS:
        node.reject("unit", f"one of {', '.join(UNITS)}", repr(panel.unit) if panel.unit else "nothing")
    if panel.steps and panel.steps[0].start is not None:
        node.reject("steps", "a first step without start: the colour of the lowest values", "another")
    if panel.threshold_line and len(panel.steps) < 2:
        node.reject("threshold_line", "a step to draw a line at", "none")
    return panel


def _query(node: Node) -> Query:
    query = Query(
        expr=" ".join(node.text("expr").split()),
        legend=node.opt_text("legend") or "",
        each=node.choice("each", Each) if node.has("each") else None,
    )
    node.finish()
    return query


def _step(node: Node) -> Step:
    start: Union[float, str, None] = None
    if node.has("start"):
        value = node.data["start"]
        start = value if isinstance(value, str) and PLACEHOLDER.fullmatch(value) else node.number("start")
    color = node.text("color")
    node.finish()
    if color not in COLORS:
        node.reject("color", f"one of {', '.join(COLORS)}", repr(color))
    return Step(start, color)

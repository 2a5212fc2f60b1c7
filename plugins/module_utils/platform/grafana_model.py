# SPDX-License-Identifier: Apache-2.0
"""A dashboard's classic JSON model: its panels, wherever they are nested, and what identifies its content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ..core.errors import K2Error


class BadDashboard(K2Error):  # noqa: N818 - see core.errors
    """A dashboard's model has another shape than Grafana's."""


@dataclass(frozen=True)
class Panel:
    """A panel as its dashboard's model has it, wherever it is nested; ``row`` is the title of the row it lies in."""

    id: int
    title: str
    type: str
    row: str
    datasource: object
    targets: tuple[Mapping[str, Any], ...]
    interval: str
    max_points: Optional[int]
    repeat: str

    @property
    def name(self) -> str:
        """How people call it: its title, within its row where it has one."""
        own = self.title or f"panel {self.id}"
        return f"{self.row} / {own}" if self.row else own


def panels(model: Mapping[str, Any]) -> tuple[Panel, ...]:
    """All panels but the rows themselves, in the order of the model.

    A collapsed row keeps its panels inside; an open one stands before them; models before schema 16 have ``rows`` that
    hold panels.

    :raises BadDashboard: where a list or a mapping belongs and something else is.
    """
    found = list(_walk(_listed(model, "panels"), ""))
    for row in _listed(model, "rows"):
        found += _walk(_listed(row, "panels"), str(row.get("title") or ""))
    return tuple(found)


def _walk(entries: Sequence[Mapping[str, Any]], row: str) -> Iterator[Panel]:
    current = row
    for entry in entries:
        inner = _listed(entry, "panels")
        if entry.get("type") == "row":
            current = str(entry.get("title") or "")
        else:
            yield _panel(entry, current)
        yield from _walk(inner, current)


def _panel(entry: Mapping[str, Any], row: str) -> Panel:
    number = entry.get("id")
    points = entry.get("maxDataPoints")
    return Panel(
        id=number if isinstance(number, int) else 0,
        title=str(entry.get("title") or ""),
        type=str(entry.get("type") or ""),
        row=row,
        datasource=entry.get("datasource"),
        targets=tuple(_listed(entry, "targets")),
        interval=str(entry.get("interval") or ""),
        max_points=points if isinstance(points, int) else None,
        repeat=str(entry.get("repeat") or ""),
    )


def _listed(entry: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    value: Optional[object] = entry.get(key)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
        raise BadDashboard(
            f"{key} of {entry.get('title') or entry.get('uid') or 'a dashboard'!r} cannot be read",
            expected="a list of mappings",
            seen=type(value).__name__,
        )
    return value


def digest(model: Mapping[str, Any]) -> str:
    """What identifies a dashboard's content; not what a server adds when it takes one (id and version)."""
    bare = {key: value for key, value in model.items() if key not in ("id", "version", "iteration")}
    return hashlib.sha256(json.dumps(bare, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

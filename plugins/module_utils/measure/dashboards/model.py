# SPDX-License-Identifier: Apache-2.0
"""What a dashboard's panels ask, and what came of it, as data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Optional

from ...platform.grafana_model import Panel


class PanelClass(str, Enum):
    """What a query, or a panel by the worst of its queries, returned."""

    DATA = "data"
    ALL_NULL = "all_null"
    NO_FRAMES = "no_frames"
    ERROR = "error"
    STATIC = "static"  # a panel that asks nothing, such as a text

    def __str__(self) -> str:
        return self.value


# From best to worst: a panel is as its worst query.
SEVERITY = (PanelClass.DATA, PanelClass.ALL_NULL, PanelClass.NO_FRAMES, PanelClass.ERROR)


@dataclass(frozen=True)
class QueryResult:
    """One query as it was asked, and what it returned; counts are those of frames, rows and numbers in them."""

    ref: str
    expression: str
    result: PanelClass
    frames: int
    rows: int
    numbers: int
    error: Optional[str]


@dataclass(frozen=True)
class Allowed:
    """A panel that may be empty, and why; ``dashboard`` is a uid, ``panel`` a title or an id, ``ref`` a query."""

    dashboard: str
    panel: str
    reason: str
    ref: str = ""

    def covers(self, dashboard: str, panel: Panel) -> bool:
        """Whether this entry is about ``panel``."""
        return self.dashboard == dashboard and self.panel in (panel.title, panel.name, str(panel.id))


@dataclass(frozen=True)
class PanelResult:
    """A panel and what its queries returned; ``allowed`` is the reason why it may be empty."""

    id: int
    title: str
    row: str
    type: str
    result: PanelClass
    allowed: Optional[str]
    queries: tuple[QueryResult, ...]

    @property
    def is_well(self) -> bool:
        """Whether it shows data, asks nothing, or may be empty; an error is never allowed."""
        return self.result in (PanelClass.DATA, PanelClass.STATIC) or (
            self.allowed is not None and self.result is not PanelClass.ERROR
        )


@dataclass(frozen=True)
class DashboardResult:
    """A dashboard and its panels; ``error`` says why it could not be looked at, and then there are no panels."""

    uid: str
    title: str
    version: Optional[int]
    digest: str
    error: Optional[str]
    panels: tuple[PanelResult, ...]
    unneeded: tuple[str, ...]

    @property
    def is_well(self) -> bool:
        """Whether it is there and all its panels are well."""
        return self.error is None and all(panel.is_well for panel in self.panels)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as a module returns it and a verdict reads it."""
        return {
            "uid": self.uid,
            "title": self.title,
            "version": self.version,
            "digest": self.digest,
            "error": self.error,
            "unneeded": list(self.unneeded),
            "panels": [
                {
                    "id": panel.id,
                    "title": panel.title,
                    "row": panel.row,
                    "type": panel.type,
                    "class": str(panel.result),
                    "well": panel.is_well,
                    "allowed": panel.allowed,
                    "queries": [
                        {
                            "ref": query.ref,
                            "expression": query.expression,
                            "class": str(query.result),
                            "frames": query.frames,
                            "rows": query.rows,
                            "numbers": query.numbers,
                            "error": query.error,
                        }
                        for query in panel.queries
                    ],
                }
                for panel in self.panels
            ],
        }

# SPDX-License-Identifier: Apache-2.0
"""What is to be in Grafana, checked as a whole before anything is touched; each problem names its entry."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ...core.errors import K2Error
from ...platform.grafana_model import BadDashboard, digest, panels

# By which people, and this tool where its manifest is lost, know what it put there.
TAG = "k2-hardening"
_UID = re.compile(r"^[A-Za-z0-9_-]{1,40}$")


class BadContent(K2Error):  # noqa: N818 - see core.errors
    """Something of what is to be deployed cannot be; nothing was changed. ``problems`` holds every reason."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        listing = "".join(f"\n  - {problem}" for problem in problems)
        super().__init__(f"refused before anything was changed, {len(problems)} problem(s):{listing}")


@dataclass(frozen=True)
class Folder:
    """The folder of all dashboards."""

    uid: str
    title: str


@dataclass(frozen=True)
class SourceSpec:
    """A data source that is to be there; ``interval`` is how often its data are scraped."""

    uid: str
    name: str
    type: str
    url: str
    access: str = "proxy"
    is_default: bool = False
    interval: str = ""
    basic_auth_user: str = ""
    basic_auth_password: str = field(default="", repr=False)

    def settings(self) -> dict[str, Any]:
        """What is told to Grafana beside the names; the keys are those of its API, and of its files."""
        return {"httpMethod": "POST", **({"timeInterval": self.interval} if self.interval else {})}

    def differs_from(self, entry: Mapping[str, Any]) -> Optional[str]:
        """What is otherwise in Grafana's own ``entry``, None where nothing is; a password cannot be read back."""
        expected = {
            "name": self.name,
            "type": self.type,
            "url": self.url,
            "access": self.access,
            "isDefault": self.is_default,
            "basicAuth": bool(self.basic_auth_user),
            "basicAuthUser": self.basic_auth_user,
        }
        for key, value in expected.items():
            seen = entry.get(key) or type(value)()
            if seen != value:
                return f"{key}: expected {value!r}, seen {seen!r}"
        kept = entry.get("jsonData") or {}
        for key, value in self.settings().items():
            if kept.get(key) != value:
                return f"jsonData.{key}: expected {value!r}, seen {kept.get(key)!r}"
        return None


@dataclass(frozen=True)
class DashboardSpec:
    """A dashboard that is to be there; ``name`` is how messages call where it comes from."""

    name: str
    uid: str
    title: str
    model: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """What identifies its content."""
        return digest(self.model)


@dataclass(frozen=True)
class Content:
    """All that is to be there."""

    folder: Folder
    sources: tuple[SourceSpec, ...]
    dashboards: tuple[DashboardSpec, ...]


def read_content(folder: Folder, sources: Sequence[SourceSpec], dashboards: Sequence[tuple[str, str]]) -> Content:
    """The content from dashboards as JSON texts, each with its name.

    :raises BadContent: with every problem: JSON that cannot be read, uids and titles that are missing, badly formed or
        taken twice, panels that share an id or lie over each other.
    """
    problems: list[str] = []
    specs = [spec for name, text in dashboards if (spec := _dashboard(name, text, problems)) is not None]
    if not _UID.match(folder.uid):
        problems.append(f"folder {folder.title!r}: uid {folder.uid!r} is not 1 to 40 letters, digits, - and _")
    problems += _twice("dashboards", "uid", ((spec.name, spec.uid) for spec in specs))
    problems += _twice("dashboards", "title", ((spec.name, spec.title.strip().lower()) for spec in specs))
    problems += _twice("data sources", "uid", ((source.name, source.uid) for source in sources))
    problems += _twice("data sources", "name", ((source.uid, source.name) for source in sources))
    problems += [
        f"data source {source.name!r}: uid {source.uid!r} is not 1 to 40 letters, digits, - and _"
        for source in sources
        if not _UID.match(source.uid)
    ]
    defaults = [source.name for source in sources if source.is_default]
    if len(defaults) > 1:
        problems.append(f"data sources {', '.join(defaults)}: only one can be the default")
    if problems:
        raise BadContent(problems)
    return Content(folder, tuple(sources), tuple(specs))


def _dashboard(name: str, text: str, problems: list[str]) -> Optional[DashboardSpec]:
    try:
        model = json.loads(text)
    except ValueError as error:
        problems.append(f"dashboard {name}: no JSON: {error}")
        return None
    if not isinstance(model, dict):
        problems.append(f"dashboard {name}: a {type(model).__name__} where a mapping belongs")
        return None
    uid, title = model.get("uid"), model.get("title")
    if not isinstance(title, str) or not title.strip():
        problems.append(f"dashboard {name}: no title")
        return None
    if not isinstance(uid, str) or not _UID.match(uid):
        problems.append(f"dashboard {name}: uid {uid!r} is not 1 to 40 letters, digits, - and _")
        return None
    tags = model.get("tags") or []
    if not isinstance(tags, list):
        problems.append(f"dashboard {name}: tags is no list")
        return None
    try:
        found = panels(model)
    except BadDashboard as error:
        problems.append(f"dashboard {name}: {error}")
        return None
    problems += [
        f"dashboard {name}: {problem}"
        for problem in (
            *_twice("panels", "id", ((panel.title, str(panel.id)) for panel in found)),
            *_overlaps(model.get("panels") or []),
        )
    ]
    kept = {key: value for key, value in model.items() if key not in ("id", "version", "iteration")}
    return DashboardSpec(name, uid, title, {**kept, "tags": sorted({*map(str, tags), TAG})})


def _twice(what: str, key: str, pairs: Iterable[tuple[str, str]]) -> list[str]:
    owners: dict[str, list[str]] = {}
    for name, value in pairs:
        owners.setdefault(value, []).append(name)
    return [f"{what} {' and '.join(names)}: {key} {value!r} twice" for value, names in owners.items() if len(names) > 1]


def _overlaps(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Panels that lie over each other; those of a collapsed row are not among those of the page."""
    placed: list[tuple[str, int, int, int, int]] = []
    found = []
    for entry in entries:
        at = entry.get("gridPos")
        if not isinstance(at, Mapping):
            continue
        x, y, w, h = (int(at.get(key) or 0) for key in ("x", "y", "w", "h"))
        title = str(entry.get("title") or entry.get("id"))
        found += [
            f"panels {other!r} and {title!r} lie over each other"
            for other, ox, oy, ow, oh in placed
            if x < ox + ow and ox < x + w and y < oy + oh and oy < y + h
        ]
        placed.append((title, x, y, w, h))
    return found

# SPDX-License-Identifier: Apache-2.0
"""What would have to be done so that Grafana is as it should be: data, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .content import Content, SourceSpec
from .live import Live, owned_dashboards
from .manifest import Manifest


@dataclass(frozen=True)
class Change:
    """One thing to create, update or delete; ``before`` and ``after`` are texts for a diff, empty for nothing."""

    action: str
    kind: str
    name: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.action} {self.kind} {self.name}"


def plan(content: Content, live: Live, manifest: Manifest) -> tuple[Change, ...]:
    """What differs between what is to be there and what is."""
    changes = []
    title = live.folders.get(content.folder.uid)
    if content.dashboards and title != content.folder.title:
        changes.append(_change("folder", content.folder.uid, title or "", content.folder.title))
    for source in content.sources:
        entry = live.sources.get(source.uid)
        if entry is None or source.differs_from(entry) is not None:
            changes.append(_change("data source", source.uid, shown_source(entry) if entry else "", wanted(source)))
    for spec in content.dashboards:
        stored = live.stored.get(spec.uid)
        if stored is None or live.digest(spec.uid) != spec.digest or stored.folder_uid != content.folder.uid:
            before = "" if stored is None else shown(stored.model, stored.folder_uid)
            changes.append(_change("dashboard", spec.uid, before, shown(spec.model, content.folder.uid)))
    return (*changes, *_pruned(content, live, manifest))


def _pruned(content: Content, live: Live, manifest: Manifest) -> list[Change]:
    kept = {spec.uid for spec in content.dashboards}
    ours = owned_dashboards(live.listed, content, manifest) - kept
    changes = [
        _change("dashboard", uid, shown(live.stored[uid].model, live.stored[uid].folder_uid), "")
        for uid in sorted(ours)
        if uid in live.stored
    ]
    wanted_sources = {source.uid for source in content.sources}
    return changes + [
        _change("data source", uid, shown_source(live.sources[uid]), "")
        for uid, _ in manifest.sources
        if uid not in wanted_sources and uid in live.sources
    ]


def removal(content: Content, live: Live, manifest: Manifest) -> tuple[Change, ...]:
    """What has to be taken away so that nothing of ours is left; the folder only where it would be empty."""
    nothing = Content(content.folder, (), ())
    changes = _pruned(nothing, live, manifest)
    ours = {change.name for change in changes if change.kind == "dashboard"}
    folder = manifest.folder
    if (
        folder
        and folder in live.folders
        and not [f for f in live.listed if f.folder_uid == folder and f.uid not in ours]
    ):
        changes.append(_change("folder", folder, live.folders[folder], ""))
    return tuple(changes)


def _change(kind: str, name: str, before: str, after: str) -> Change:
    action = "create" if not before else "delete" if not after else "update"
    return Change(action, kind, name, before, after)


def shown(model: Mapping[str, Any], folder_uid: str) -> str:
    """A dashboard as a diff shows it: sorted, without what a server adds."""
    bare = {key: value for key, value in model.items() if key not in ("id", "version", "iteration")}
    return f"folder: {folder_uid or 'General'}\n{json.dumps(bare, indent=2, sort_keys=True)}\n"


_SHOWN = ("uid", "name", "type", "url", "access", "isDefault", "basicAuth", "basicAuthUser", "jsonData")


def shown_source(entry: Mapping[str, Any]) -> str:
    """A data source as a diff shows it, without secrets."""
    return json.dumps({key: entry.get(key) for key in _SHOWN}, indent=2, sort_keys=True) + "\n"


def wanted(source: SourceSpec) -> str:
    """The same of one that is to be there."""
    return shown_source({**api_entry(source), "basicAuth": bool(source.basic_auth_user)})


def api_entry(source: SourceSpec) -> dict[str, Any]:
    """A data source as Grafana's API takes it."""
    entry: dict[str, Any] = {
        "uid": source.uid,
        "name": source.name,
        "type": source.type,
        "access": source.access,
        "url": source.url,
        "isDefault": source.is_default,
        "basicAuth": bool(source.basic_auth_user),
        "basicAuthUser": source.basic_auth_user,
        "jsonData": source.settings(),
    }
    if source.basic_auth_password:
        entry["secureJsonData"] = {"basicAuthPassword": source.basic_auth_password}
    return entry

# SPDX-License-Identifier: Apache-2.0
"""What is in Grafana now, as far as it concerns what is to be there, and what of it is another's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...platform.grafana import Found, GrafanaClient, NoSuchThing, Stored
from ...platform.grafana_model import digest
from .content import TAG, BadContent, Content
from .manifest import Manifest


@dataclass(frozen=True)
class Live:
    """Dashboards (all of them as listed; ours and those of our uids as stored), data sources and folders by uid."""

    version: str
    listed: tuple[Found, ...]
    stored: Mapping[str, Stored]
    sources: Mapping[str, Mapping[str, Any]]
    folders: Mapping[str, str]

    def digest(self, uid: str) -> str:
        """What identifies a dashboard's content, empty where there is none."""
        return digest(self.stored[uid].model) if uid in self.stored else ""


def look(client: GrafanaClient, content: Content, manifest: Manifest) -> Live:
    """Ask Grafana; changes nothing. Raises GrafanaError."""
    version = client.version()
    listed = client.search()
    concerned = {spec.uid for spec in content.dashboards} | owned_dashboards(listed, content, manifest)
    stored = {}
    for uid in sorted(concerned & {found.uid for found in listed}):
        try:
            stored[uid] = client.dashboard(uid)
        except NoSuchThing:
            continue  # taken away since it was listed
    sources = {source.uid: client.data_source(source.uid) for source in client.data_sources()}
    return Live(version, listed, stored, sources, client.folders())


def owned_dashboards(listed: tuple[Found, ...], content: Content, manifest: Manifest) -> set[str]:
    """Uids of dashboards that this tool put there: by its manifest, or by its tag within its own folder."""
    tagged = {found.uid for found in listed if TAG in found.tags and found.folder_uid == content.folder.uid}
    return set(manifest.dashboards) | tagged


def check_foreign(content: Content, live: Live, manifest: Manifest) -> None:
    """Refuse to take the place of what is another's.

    :raises BadContent: with each uid or title that is taken.
    """
    ours = owned_dashboards(live.listed, content, manifest)
    our_sources = {uid for uid, _ in manifest.sources}
    problems = []
    for spec in content.dashboards:
        for found in live.listed:
            if found.uid in ours:
                continue
            place = f"in folder {found.folder_title or 'General'!r}"
            if found.uid == spec.uid:
                problems.append(
                    f"dashboard {spec.name}: uid {spec.uid!r} is that of {found.title!r} {place}, which is not ours"
                )
            elif found.folder_uid == content.folder.uid and found.title.strip().lower() == spec.title.strip().lower():
                problems.append(f"dashboard {spec.name}: title {spec.title!r} is taken {place} by {found.uid!r}")
    for source in content.sources:
        for uid, entry in live.sources.items():
            if uid in our_sources:
                continue
            if uid == source.uid and source.differs_from(entry) is not None:
                problems.append(
                    f"data source {source.name!r}: uid {uid!r} is taken by {entry.get('name')!r}, which is "
                    f"not ours ({source.differs_from(entry)})"
                )
            elif uid != source.uid and entry.get("name") == source.name:
                problems.append(f"data source {source.name!r}: its name is taken by uid {uid!r}")
    problems += [
        f"folder {content.folder.title!r}: its title is taken by uid {uid!r}"
        for uid, title in live.folders.items()
        if uid != content.folder.uid and title == content.folder.title
    ]
    if problems:
        raise BadContent(problems)

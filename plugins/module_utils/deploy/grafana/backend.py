# SPDX-License-Identifier: Apache-2.0
"""What both ways of putting things into Grafana can do: through its API, and through its provisioning files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from ...core.errors import K2Error
from ...platform.grafana import GrafanaClient, NoSuchThing
from .content import Content
from .live import Live
from .manifest import Manifest
from .plan import Change, api_entry


class OtherWay(K2Error):  # noqa: N818 - see core.errors
    """It was deployed by files, and is to be changed through the API."""


@dataclass(frozen=True)
class Work:
    """What a backend has to know: what is to be there, what is, what of it is ours, and what differs."""

    content: Content
    live: Live
    manifest: Manifest
    changes: tuple[Change, ...]


class Backend(ABC):
    """One way. ``present`` and ``absent`` may end with any error in their middle; ``restore`` undoes either."""

    def __init__(self, client: GrafanaClient) -> None:
        self._client = client

    @abstractmethod
    def check(self, manifest: Manifest) -> None:
        """Refuse before anything is touched what cannot work; raises K2Error."""

    @abstractmethod
    def pending(self, content: Content, manifest: Manifest) -> tuple[Change, ...]:
        """What differs on this side of Grafana (files); nothing where there is no such side."""

    @abstractmethod
    def files(self, content: Content) -> tuple[str, ...]:
        """The files that are ours once ``content`` is there."""

    @abstractmethod
    def present(self, work: Work) -> None:
        """Make Grafana as ``work.content`` says."""

    @abstractmethod
    def absent(self, work: Work) -> None:
        """Take away what ``work.changes`` lists."""

    @abstractmethod
    def restore(self, work: Work) -> None:
        """Put back what was there when ``work.live`` was seen."""


class ApiBackend(Backend):
    """Through Grafana's API: what it keeps is in its own database."""

    def check(self, manifest: Manifest) -> None:
        """Who may not write is refused by Grafana itself; what a file provides cannot be changed past it."""
        if manifest.files:
            raise OtherWay(
                "what is there came by provisioning files; nothing was changed",
                expected="the way by which it was deployed, or nothing deployed",
                seen=", ".join(manifest.files[:3]),
                action="give k2_grafana_provisioning_dir, with k2_grafana_state: absent to take it away first",
            )

    def pending(self, content: Content, manifest: Manifest) -> tuple[Change, ...]:  # noqa: ARG002 no files
        """There is no other side."""
        return ()

    def files(self, content: Content) -> tuple[str, ...]:  # noqa: ARG002 no files
        """No files."""
        return ()

    def present(self, work: Work) -> None:
        """Folder, then data sources, then dashboards, then what is no longer wanted."""
        sources = {source.uid: source for source in work.content.sources}
        dashboards = {spec.uid: spec for spec in work.content.dashboards}
        for change in work.changes:
            if change.action == "delete":
                self._delete(change)
            elif change.kind == "folder":
                self._client.save_folder(work.content.folder.uid, work.content.folder.title)
            elif change.kind == "data source":
                self._client.save_data_source(api_entry(sources[change.name]))
            elif change.kind == "dashboard":
                self._client.save_dashboard(dashboards[change.name].model, work.content.folder.uid, "k2.hardening")

    def absent(self, work: Work) -> None:
        """Dashboards and data sources, the folder last."""
        for change in work.changes:
            self._delete(change)

    def restore(self, work: Work) -> None:
        """What was there comes back, what was not goes. A data source's password cannot be read back."""
        for change in reversed(work.changes):
            if change.action == "create":
                self._delete(change)
            elif change.kind == "folder":
                self._client.save_folder(change.name, work.live.folders[change.name])
            elif change.kind == "data source":
                self._client.save_data_source(work.live.sources[change.name])
            elif change.kind == "dashboard":
                stored = work.live.stored[change.name]
                self._client.save_dashboard(stored.model, stored.folder_uid, "k2.hardening: put back")

    def _delete(self, change: Change) -> None:
        remove = {
            "folder": self._client.delete_folder,
            "data source": self._client.delete_data_source,
            "dashboard": self._client.delete_dashboard,
        }[change.kind]
        try:
            remove(change.name)
        except NoSuchThing:
            return  # gone already: what was wanted

# SPDX-License-Identifier: Apache-2.0
"""Through Grafana's provisioning files: what they say survives a new container, and no page can change it.

Each file is replaced by a rename within its directory. The directory itself is never replaced: where it is mounted into
a container, that would leave the container with the old one.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional

from ...core.errors import K2Error
from ...platform.grafana import GrafanaClient
from .backend import ApiBackend, Backend, Work
from .content import Content
from .manifest import Manifest
from .plan import Change, api_entry

_NAME = "k2-hardening"
_HEAD = "# Written by k2.hardening, which replaces and removes it as a whole. (JSON is YAML.)\n"


class ReadOnlyDirectory(K2Error):  # noqa: N818 - see core.errors
    """A directory that files belong into cannot be written."""


@dataclass(frozen=True)
class Places:
    """Directories on the target, and how Grafana itself calls the one of the dashboards."""

    provisioning: Path
    dashboards: Path
    dashboards_seen: str

    @property
    def provider(self) -> Path:
        """The file that tells Grafana of the directory of dashboards."""
        return self.provisioning / "dashboards" / f"{_NAME}.yml"

    @property
    def sources(self) -> Path:
        """The file of data sources."""
        return self.provisioning / "datasources" / f"{_NAME}.yml"


class FilesBackend(Backend):
    """Files, a reload, and the API to look whether it worked."""

    def __init__(self, client: GrafanaClient, places: Places) -> None:
        super().__init__(client)
        self._places = places
        self._before: dict[Path, Optional[bytes]] = {}

    def check(self, manifest: Manifest) -> None:  # noqa: ARG002 files take over what came through the API
        """Whether a file can be made in each directory, by making one."""
        directories = (self._places.provider.parent, self._places.sources.parent, self._places.dashboards)
        for directory in directories:
            nearest = next((each for each in (directory, *directory.parents) if each.exists()), Path("/"))
            try:
                with tempfile.TemporaryFile(dir=nearest):
                    pass
            except OSError as error:
                raise ReadOnlyDirectory(
                    "provisioning files cannot be written; nothing was changed",
                    expected=f"to write in {directory}",
                    seen=f"{nearest}: {error.strerror}",
                    action="mount it writable, run with the rights to write there, or leave out "
                    "k2_grafana_provisioning_dir to go through the API",
                ) from error

    def files(self, content: Content) -> tuple[str, ...]:
        """All files of ``content``."""
        return tuple(sorted(str(path) for path in self._wanted(content)))

    def pending(self, content: Content, manifest: Manifest) -> tuple[Change, ...]:
        """Files that are not as they should be, and files of ours that are no longer wanted."""
        wanted = self._wanted(content)
        changes = []
        for path, data in sorted(wanted.items()):
            before = _read(path)
            if before != data:
                secret = path == self._places.sources
                changes.append(
                    Change(
                        "update" if before is not None else "create",
                        "file",
                        str(path),
                        "" if secret else (before or b"").decode("utf-8", "replace"),
                        "" if secret else data.decode(),
                    )
                )
        stale = [(name, _read(Path(name))) for name in manifest.files if Path(name) not in wanted]
        gone = [Change("delete", "file", name, data.decode("utf-8", "replace"), "") for name, data in stale if data]
        return (*changes, *gone)

    def present(self, work: Work) -> None:
        """Write, reload; data sources first, for dashboards name them."""
        wanted = self._wanted(work.content)
        stale = [Path(name) for name in work.manifest.files if Path(name) not in wanted]
        self._keep([*wanted, *stale])
        self._let_go(work)
        # What went through the API before is not taken away by a file that is no longer there.
        deleted = [each for each in work.changes if each.action == "delete" and each.kind == "dashboard"]
        self._by_api(work, [each for each in deleted if not _is_provisioned(work, each)])
        for path, data in wanted.items():
            self._write(path, data)
        for path in stale:
            path.unlink(missing_ok=True)
        self._client.reload("datasources")
        self._client.reload("dashboards")

    def absent(self, work: Work) -> None:
        """The dashboards' files first, while their provider still looks after them; then all else."""
        files = [Path(name) for name in work.manifest.files]
        self._keep(files)
        self._let_go(work)
        for path in files:
            if path != self._places.provider:
                path.unlink(missing_ok=True)
        self._client.reload("dashboards")
        self._places.provider.unlink(missing_ok=True)
        self._client.reload("dashboards")
        left = [each for each in work.changes if each.kind in ("dashboard", "folder")]
        self._by_api(work, [each for each in left if not _is_provisioned(work, each)])
        # Only where nobody has put something else there.
        with suppress(OSError):
            self._places.dashboards.rmdir()

    def restore(self, work: Work) -> None:
        """Every file as it was; data sources that were not there are told to go."""
        new = [each for each in work.changes if each.kind == "data source" and each.action == "create"]
        if new:
            named = [str(json.loads(each.after)["name"]) for each in new]
            self._write(self._places.sources, _document({"apiVersion": 1, "deleteDatasources": _named(named)}))
            self._client.reload("datasources")
        for path, data in self._before.items():
            if data is None:
                path.unlink(missing_ok=True)
            else:
                self._write(path, data)
        self._client.reload("datasources")
        self._client.reload("dashboards")
        made = [each for each in work.changes if each.kind == "folder" and each.action == "create"]
        ApiBackend(self._client).restore(replace(work, changes=tuple(made)))

    def _let_go(self, work: Work) -> None:
        """A data source that no file speaks of any more stays; one has to say that it shall go, once."""
        doomed = [each for each in work.changes if each.kind == "data source" and each.action == "delete"]
        if doomed:
            names = [str(work.live.sources[each.name]["name"]) for each in doomed]
            self._write(self._places.sources, _sources(work.content, names))
            self._client.reload("datasources")

    def _by_api(self, work: Work, changes: list[Change]) -> None:
        ApiBackend(self._client).absent(replace(work, changes=tuple(changes)))

    # -- files ------------------------------------------------------------------------------------------------------

    def _wanted(self, content: Content) -> dict[Path, bytes]:
        wanted: dict[Path, bytes] = {}
        if content.sources:
            wanted[self._places.sources] = _sources(content, ())
        if content.dashboards:
            wanted[self._places.provider] = _document(
                {
                    "apiVersion": 1,
                    "providers": [
                        {
                            "name": _NAME,
                            "orgId": 1,
                            "folder": content.folder.title,
                            "folderUid": content.folder.uid,
                            "type": "file",
                            "disableDeletion": False,
                            "allowUiUpdates": False,
                            "updateIntervalSeconds": 30,
                            "options": {"path": self._places.dashboards_seen},
                        }
                    ],
                }
            )
        for spec in content.dashboards:
            text = json.dumps(spec.model, indent=2, sort_keys=True) + "\n"
            wanted[self._places.dashboards / f"{spec.uid}.json"] = text.encode()
        return wanted

    def _keep(self, paths: list[Path]) -> None:
        """Remember each file as it is, so that it can be put back."""
        self._before = {path: _read(path) for path in (*paths, self._places.sources, self._places.provider)}

    def _write(self, path: Path, data: bytes) -> None:
        """Replace a file in one step; it belongs to whom its directory belongs, so that Grafana can read it."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=".k2-", suffix=".new")
            with os.fdopen(handle, "wb") as fresh:
                fresh.write(data)
                os.fchmod(fresh.fileno(), 0o640 if b"secureJsonData" in data else 0o644)
                owner = path.parent.stat()
                if os.geteuid() == 0:
                    os.fchown(fresh.fileno(), owner.st_uid, owner.st_gid)
                os.fsync(fresh.fileno())
            Path(name).replace(path)
        except OSError as error:
            raise ReadOnlyDirectory("a provisioning file cannot be written", seen=f"{path}: {error}") from error


def _is_provisioned(work: Work, change: Change) -> bool:
    return change.kind == "dashboard" and change.name in work.live.stored and work.live.stored[change.name].provisioned


def _sources(content: Content, doomed: Sequence[str]) -> bytes:
    document: dict[str, Any] = {"apiVersion": 1}
    if doomed:
        document["deleteDatasources"] = _named(doomed)
    document["datasources"] = [_escaped({**api_entry(source), "orgId": 1}) for source in content.sources]
    return _document(document)


def _named(names: Sequence[str]) -> list[dict[str, object]]:
    return [{"name": name, "orgId": 1} for name in names]


def _escaped(value: Any) -> Any:
    """Grafana puts the environment into what these files say: a dollar sign is written twice."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, Mapping):
        return {key: _escaped(each) for key, each in value.items()}
    return value


def _document(data: Mapping[str, Any]) -> bytes:
    return (_HEAD + json.dumps(data, indent=2) + "\n").encode()


def _read(path: Path) -> Optional[bytes]:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ReadOnlyDirectory("a provisioning file cannot be read", seen=f"{path}: {error}") from error

# SPDX-License-Identifier: Apache-2.0
"""What this tool has put into a Grafana, kept beside the undo journal: it never takes away what is another's."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ...core.errors import K2Error

_SCHEMA = 1


class BadManifest(K2Error):  # noqa: N818 - see core.errors
    """The record of what is ours cannot be read or written."""


@dataclass(frozen=True)
class Manifest:
    """Uids of dashboards and data sources, names of the latter by uid, the folder's uid where it was made, files."""

    dashboards: tuple[str, ...] = ()
    sources: tuple[tuple[str, str], ...] = ()
    folder: str = ""
    files: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is ours."""
        return not (self.dashboards or self.sources or self.folder or self.files)


def read_manifest(path: Path) -> Manifest:
    """The manifest at ``path``, an empty one where there is none; raises BadManifest."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Manifest()
    except OSError as error:
        raise BadManifest("the manifest cannot be read", seen=f"{path}: {error}") from error
    try:
        found = json.loads(text)
        if found["schema"] != _SCHEMA:
            raise ValueError(f"schema {found['schema']}")
        return Manifest(
            dashboards=tuple(str(uid) for uid in found["dashboards"]),
            sources=tuple((str(uid), str(name)) for uid, name in found["sources"]),
            folder=str(found["folder"]),
            files=tuple(str(name) for name in found["files"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise BadManifest(
            "the manifest cannot be understood",
            expected=f"what this tool wrote to {path}",
            seen=f"{type(error).__name__}: {error}",
            action="move it away: dashboards that carry the tag k2-hardening are still known to be ours",
        ) from error


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Replace the manifest at ``path`` in one step; an empty one is removed. Raises BadManifest."""
    try:
        if manifest.is_empty:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(path.name + ".new")
        fresh.write_text(json.dumps({"schema": _SCHEMA, **asdict(manifest)}, indent=2) + "\n", encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        raise BadManifest(
            "the manifest cannot be written", seen=f"{path}: {error}", action="make its directory writable"
        ) from error

# SPDX-License-Identifier: Apache-2.0
"""The undo journal: what was changed on a target and how to put it back, on disk before the change is made.

One file per entry, ``<id>.json``, written beside, fsynced, renamed, and the directory fsynced, so an entry either
exists whole or not at all. Closing an entry moves it to ``closed/``; what lies in the journal itself is open:
something on this platform is not as it was.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ..core.clock import boot_id, now_rfc3339
from ..core.errors import K2Error

CLOSED = "closed"


class JournalError(K2Error):
    """The journal cannot be read or written; no fault may be injected then."""


@dataclass(frozen=True)
class Entry:
    """One change and its undo. ``undo`` names the undo action and ``parameters`` what it needs; ``opened`` is UTC."""

    id: str
    run_id: str
    target: str
    action: str
    undo: str
    parameters: Mapping[str, str]
    opened: str
    boot_id: str


class Journal:
    """The journal of one platform, in the directory ``path`` on the target."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self, run_id: str, target: str, action: str, undo: str, parameters: Mapping[str, str]) -> Entry:
        """Write an entry for a change that is about to be made; when this returns the entry is on disk.

        Raises JournalError when it cannot be written.
        """
        entry = Entry(secrets.token_hex(8), run_id, target, action, undo, dict(parameters), now_rfc3339(), boot_id())
        beside = self.path / f".{entry.id}"
        try:
            (self.path / CLOSED).mkdir(parents=True, exist_ok=True)
            with beside.open("w", encoding="utf-8") as handle:
                json.dump(asdict(entry), handle)
                handle.flush()
                os.fsync(handle.fileno())
            beside.replace(self._file(entry.id))
            _sync_directory(self.path)
        except OSError as error:
            raise JournalError(
                f"cannot write the undo journal {self.path}",
                expected="a writable directory with free space",
                seen=str(error),
            ) from error
        return entry

    def close(self, entry_id: str) -> None:
        """Mark the entry as undone; closing twice is no error, because an undo may be repeated.

        Raises JournalError when there is no such entry.
        """
        closed = self.path / CLOSED / f"{entry_id}.json"
        try:
            self._file(entry_id).replace(closed)
        except FileNotFoundError as error:
            if not closed.exists():
                raise JournalError(f"no entry {entry_id} in the undo journal {self.path}") from error
        _sync_directory(self.path)

    def open_entries(self) -> list[Entry]:
        """What is still to be undone, oldest first; empty when nothing was ever journalled.

        Raises JournalError on a journal or an entry that cannot be read: an unknown change is worse than a known one.
        """
        try:
            # Not glob: it takes a directory that may not be read for an empty one.
            paths = [path for path in self.path.iterdir() if path.suffix == ".json"]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise JournalError(
                f"the undo journal {self.path} cannot be searched",
                expected="a readable directory, or none",
                seen=str(error),
                action="run as a user who may read it, or correct k2_state_dir",
            ) from error
        try:
            entries = [Entry(**json.loads(path.read_text(encoding="utf-8"))) for path in paths]
        except (OSError, ValueError, TypeError) as error:
            raise JournalError(
                f"unreadable entry in the undo journal {self.path}",
                expected="a journal entry",
                seen=str(error),
                action="look at the file, undo by hand what it names, then remove it",
            ) from error
        return sorted(entries, key=lambda entry: entry.opened)

    def _file(self, entry_id: str) -> Path:
        return self.path / f"{entry_id}.json"


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Optional

from ..core.clock import boot_id, now_rfc3339
from ..core.errors import K2Error
from .steps import CLOSED, FAILED_SUFFIX, problems, start_ticks, sync_directory, write_durably


class JournalError(K2Error):
    """The journal cannot be read or written; no fault may be injected then."""


@dataclass(frozen=True)
class Entry:
    """One change and its undo. ``undo`` names the undo action and ``parameters`` what it needs; ``opened`` is UTC.

    A fault states ``steps`` (see ``steps.py``) and ``deadline_ns``, the CLOCK_MONOTONIC after which a watchdog undoes
    it. ``pid`` and ``pid_start`` (clock ticks since boot) name the process that made the change. Entries of releases
    before these have none of them.
    """

    id: str
    run_id: str
    target: str
    action: str
    undo: str
    parameters: Mapping[str, str]
    opened: str
    boot_id: str
    steps: tuple[Mapping[str, Any], ...] = ()
    deadline_ns: Optional[int] = None
    pid: Optional[int] = None
    pid_start: Optional[int] = None

    @property
    def maker_lives(self) -> bool:
        """Whether the process that made the change is there; none outlives its boot."""
        if self.pid is None or self.boot_id != boot_id():
            return False
        started = start_ticks(self.pid)
        return started is not None and self.pid_start in (None, started)


class Journal:
    """The journal of one platform, in the directory ``path`` on the target."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(
        self,
        run_id: str,
        target: str,
        action: str,
        undo: str,
        parameters: Mapping[str, str],
        *,
        steps: Sequence[Mapping[str, Any]] = (),
        deadline_ns: Optional[int] = None,
        pid: Optional[int] = None,
    ) -> Entry:
        """Write an entry for a change that is about to be made; when this returns the entry is on disk.

        ``pid`` is this process unless told. Raises JournalError when the entry cannot be written, or when one of its
        steps could never be carried out.
        """
        wrong = problems(steps)
        if wrong:
            raise JournalError(
                "the undo could never be carried out", expected="steps as in steps.py", seen="; ".join(wrong)
            )
        maker = os.getpid() if pid is None else pid
        entry = Entry(
            id=secrets.token_hex(8),
            run_id=run_id,
            target=target,
            action=action,
            undo=undo,
            parameters=dict(parameters),
            opened=now_rfc3339(),
            boot_id=boot_id(),
            steps=tuple(steps),
            deadline_ns=deadline_ns,
            pid=maker,
            pid_start=start_ticks(maker),
        )
        try:
            (self.path / CLOSED).mkdir(parents=True, exist_ok=True)
            write_durably(self.file(entry.id), json.dumps(asdict(entry)))
        except (OSError, TypeError, ValueError) as error:
            raise JournalError(
                f"cannot write the undo journal {self.path}",
                expected="a writable directory with free space, and steps that survive JSON",
                seen=str(error),
            ) from error
        return entry

    def close(self, entry_id: str) -> None:
        """Mark the entry as undone; closing twice is no error, because an undo may be repeated.

        Raises JournalError when there is no such entry, or the file system refuses.
        """
        closed = self.path / CLOSED / f"{entry_id}.json"
        try:
            self.file(entry_id).replace(closed)
        except FileNotFoundError as error:
            if not closed.exists():
                raise JournalError(f"no entry {entry_id} in the undo journal {self.path}") from error
        except OSError as error:
            raise JournalError(f"entry {entry_id} cannot be closed in {self.path}", seen=str(error)) from error
        try:
            self.file(entry_id).with_suffix(FAILED_SUFFIX).unlink(missing_ok=True)
            sync_directory(self.path)
        except OSError as error:
            raise JournalError(f"the undo journal {self.path} cannot be written", seen=str(error)) from error

    def closed_by(self, entry_id: str) -> Optional[str]:
        """Who closed the entry: ``tool`` (its maker), ``watchdog`` or ``undo``; None while it is open."""
        try:
            closed = json.loads((self.path / CLOSED / f"{entry_id}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise JournalError(f"closed entry {entry_id} cannot be read", seen=str(error)) from error
        return str(closed.get("undone_by", "tool"))

    def last_failure(self, entry_id: str) -> str:
        """Why the last attempt to undo the entry failed; empty when there was none."""
        try:
            note = json.loads(self.file(entry_id).with_suffix(FAILED_SUFFIX).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return ""
        except (OSError, ValueError) as error:
            return f"cannot be read: {error}"
        return f"{note['undone_by']} at {note['undone_at']}: {note['why']}"

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
            entries = [entry for entry in map(_read, paths) if entry is not None]
        except (OSError, ValueError, TypeError) as error:
            raise JournalError(
                f"unreadable entry in the undo journal {self.path}",
                expected="a journal entry",
                seen=str(error),
                action="look at the file, undo by hand what it names, then remove it",
            ) from error
        return sorted(entries, key=lambda entry: entry.opened)

    def file(self, entry_id: str) -> Path:
        """Where the entry lies while it is open."""
        return self.path / f"{entry_id}.json"


def _read(path: Path) -> Optional[Entry]:
    """The entry in ``path``; None where a watchdog closed it since the directory was read."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return Entry(**{**fields, "steps": tuple(fields.get("steps", ()))})

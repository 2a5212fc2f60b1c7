# SPDX-License-Identifier: Apache-2.0
"""Planned faults of a window, from the undo journal: what was broken on purpose, from when until when.

A journal of this tool is the only witness that counts. An entry that its maker closed is moved and not written again:
the time of that is the file's change time, which also a backup can move. So that no fault seems longer than it was, the
deadline by which its watchdog undid it is told, too, for whoever judges.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Optional

from ...core.errors import K2Error
from ...fault.steps import CLOSED
from .axis import wall_us

_FAULT = "fault"


@dataclass(frozen=True)
class Planned:
    """One fault. ``closed_us`` is None while it is open; ``deadline_ns`` is monotonic time of the boot ``boot_id``."""

    target: str
    action: str
    run_id: str
    opened_us: int
    closed_us: Optional[int]
    deadline_ns: Optional[int]
    boot_id: str

    def to_plain(self) -> dict[str, Any]:
        """As data."""
        return asdict(self)


def planned_faults(journal: Path, since_us: int) -> tuple[Planned, ...]:
    """The faults in ``journal`` that were open at ``since_us`` or later, oldest first; none where there is no journal.

    Raises K2Error for an entry that cannot be read: what nobody can tell excuses nothing.
    """
    found = []
    for folder, closed in ((journal, False), (journal / CLOSED, True)):
        try:
            paths = [path for path in folder.iterdir() if path.suffix == ".json"]
        except FileNotFoundError:
            continue
        except OSError as error:
            raise K2Error(f"the undo journal {folder} cannot be searched", seen=str(error)) from error
        for path in paths:
            planned = _read(path, closed)
            if planned is not None and (planned.closed_us is None or planned.closed_us >= since_us):
                found.append(planned)
    return tuple(sorted(found, key=lambda each: each.opened_us))


def _read(path: Path, closed: bool) -> Optional[Planned]:
    try:
        entry: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        changed_us = path.stat().st_ctime_ns // 1000
        if entry["parameters"].get("kind") != _FAULT:
            return None
        undone = entry.get("undone_at")
        return Planned(
            str(entry["target"]),
            str(entry["action"]),
            str(entry["run_id"]),
            wall_us(entry["opened"]),
            (wall_us(undone) if undone else changed_us) if closed else None,
            entry.get("deadline_ns"),
            str(entry["boot_id"]),
        )
    except FileNotFoundError:
        # Closed since the directory was listed: it is found where closed ones lie.
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise K2Error(f"unreadable entry {path}", expected="an entry of this tool", seen=str(error)) from error

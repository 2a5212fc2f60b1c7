# SPDX-License-Identifier: Apache-2.0
"""Processes of this host, read from /proc. Every read may find the process gone: that is None, not an error."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

_PROC = Path("/proc")


@dataclass(frozen=True)
class ProcessStat:
    """What /proc/<pid>/stat says. ``start_ticks`` with the pid identifies a process for good: pids are used again."""

    pid: int
    parent: int
    state: str
    cpu_seconds: float
    start_ticks: int

    @property
    def ended(self) -> bool:
        """Whether it has ended, and only waits for its parent to ask for its exit code."""
        return self.state in ("Z", "X")


def read_stat(pid: int) -> Optional[ProcessStat]:
    """The process with ``pid``, or None if there is none."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name stands in brackets and may hold spaces and brackets: count from the last one.
    rest = text.rpartition(")")[2].split()
    # utime stime cutime cstime: children that ended and were waited for are part of what the service used.
    ticks = sum(int(rest[i]) for i in (11, 12, 13, 14))
    return ProcessStat(
        pid=pid,
        parent=int(rest[1]),
        state=rest[0],
        cpu_seconds=ticks / os.sysconf("SC_CLK_TCK"),
        start_ticks=int(rest[19]),
    )


def is_stopped(stat: ProcessStat) -> bool:
    """Whether a SIGSTOP holds the process.

    A parent that waits inside vfork (state D) takes the signal only when its child goes on, and the child is stopped
    too: it stands still with the SIGSTOP pending.
    """
    return stat.state in "Tt" or (stat.state == "D" and _stop_pending(stat.pid))


def _stop_pending(pid: int) -> bool:
    try:
        text = (_PROC / str(pid) / "status").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    pending = next(line.split()[1] for line in text.splitlines() if line.startswith("ShdPnd:"))
    return bool(int(pending, 16) >> (signal.SIGSTOP - 1) & 1)


def _all_pids() -> Iterable[int]:
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]


def process_tree(root: int) -> list[ProcessStat]:
    """The process ``root`` and its descendants, parents before children; empty if it is gone."""
    stats = [stat for stat in map(read_stat, _all_pids()) if stat is not None]
    children: dict[int, list[ProcessStat]] = {}
    for stat in stats:
        children.setdefault(stat.parent, []).append(stat)
    found = [stat for stat in stats if stat.pid == root]
    for stat in found:  # grows while it is walked
        found.extend(children.get(stat.pid, ()))
    return found


def pss_bytes(pid: int) -> Optional[int]:
    """Proportional set size: shared pages counted by share, so that the sum over processes is true. None if gone.

    :raises PermissionError: without root this works only for the user's own processes.
    """
    try:
        text = (_PROC / str(pid) / "smaps_rollup").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return None
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0

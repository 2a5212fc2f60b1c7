# SPDX-License-Identifier: Apache-2.0
"""Processes of this host, read from /proc. Every read may find the process gone: that is None, not an error."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

# Programs that only start the one that matters: the init of a container, a shell that waits for its last command.
WRAPPERS = frozenset({"tini", "docker-init", "dumb-init", "catatonit", "sh", "bash", "dash"})
_PROC = Path("/proc")


@dataclass(frozen=True)
class ProcessStat:
    """What /proc/<pid>/stat says. ``start_ticks`` with the pid identifies a process for good: pids are used again."""

    pid: int
    parent: int
    state: str
    cpu_seconds: float
    start_ticks: int
    threads: int = 1

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
        threads=int(rest[17]),
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


class ProcessTable:
    """All processes of this host at one moment, read once for any number of trees."""

    def __init__(self, stats: Iterable[ProcessStat]) -> None:
        self._stats = {stat.pid: stat for stat in stats}
        self._children: dict[int, list[ProcessStat]] = {}
        for stat in self._stats.values():
            self._children.setdefault(stat.parent, []).append(stat)

    @classmethod
    def read(cls) -> ProcessTable:
        """Look at every process that is there."""
        return cls(stat for stat in map(read_stat, _all_pids()) if stat is not None)

    def get(self, pid: int) -> Optional[ProcessStat]:
        """The process with ``pid``, or None if there was none."""
        return self._stats.get(pid)

    def tree(self, root: int) -> list[ProcessStat]:
        """The process ``root`` and its descendants, parents before children; empty if it is gone."""
        found = [self._stats[root]] if root in self._stats else []
        for stat in found:  # grows while it is walked
            found.extend(self._children.get(stat.pid, ()))
        return found


def process_tree(root: int) -> list[ProcessStat]:
    """As ``ProcessTable.tree``, of this moment."""
    return ProcessTable.read().tree(root)


def open_files(pid: int) -> Optional[int]:
    """How many file descriptors the process holds. None if gone.

    :raises PermissionError: without root this works only for the user's own processes.
    """
    try:
        return len(os.listdir(_PROC / str(pid) / "fd"))  # noqa: PTH208 - names are enough, and there may be thousands
    except (FileNotFoundError, ProcessLookupError):
        return None


def command_of(pid: int) -> str:
    """The name of the process's program, cut to 15 characters by the kernel; empty of one that is gone."""
    try:
        return (_PROC / str(pid) / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def environment(pid: int) -> Mapping[str, str]:
    """What the process was started with in its environment; nothing of one that is gone or ended.

    :raises PermissionError: without root this works only for the user's own processes.
    """
    try:
        raw = (_PROC / str(pid) / "environ").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    entries = (entry.decode("utf-8", errors="replace") for entry in raw.split(b"\0") if b"=" in entry)
    return dict(entry.split("=", 1) for entry in entries)


def oom_kills() -> Optional[int]:
    """How many processes of this host the kernel has killed for want of memory since it booted. None if it tells not
    (before Linux 4.13).
    """
    for line in (_PROC / "vmstat").read_text(encoding="ascii").splitlines():
        if line.startswith("oom_kill "):
            return int(line.split()[1])
    return None


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

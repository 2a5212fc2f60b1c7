# SPDX-License-Identifier: Apache-2.0
"""What a cgroup has used, from its files: milliseconds, where the engine's statistics take a second."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import UnsupportedOperation
from .base import NotRunning, ResourceReading, RuntimeFailure

_ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class CgroupPaths:
    """Where the CPU and memory files of a process's cgroup lie (one folder in version 2)."""

    version: int
    cpu: Path
    memory: Path


def membership(pid: int) -> str:
    """/proc/<pid>/cgroup as text; empty if the process is gone."""
    try:
        return Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def locate(text: str, root: Path = _ROOT) -> CgroupPaths:
    """The folders named by the text of /proc/<pid>/cgroup.

    :raises UnsupportedOperation: this host's cgroup files are not where they are expected.
    """
    groups: dict[str, str] = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            groups[controller] = path.lstrip("/")
    if "cpuacct" in groups and "memory" in groups:
        paths = CgroupPaths(1, _mounted(root, "cpuacct") / groups["cpuacct"], root / "memory" / groups["memory"])
    else:
        unified = root / groups.get("", "")
        paths = CgroupPaths(2, unified, unified)
    return _checked(paths)


def locate_group(path: str, root: Path = _ROOT) -> CgroupPaths:
    """The folders of the control group ``path``, as systemd names it (``/system.slice/broker.service``).

    :raises UnsupportedOperation: this host's cgroup files are not where they are expected.
    """
    name = path.lstrip("/")
    if (root / "memory").is_dir():
        return _checked(CgroupPaths(1, _mounted(root, "cpuacct") / name, root / "memory" / name))
    return _checked(CgroupPaths(2, root / name, root / name))


def _checked(paths: CgroupPaths) -> CgroupPaths:
    if not paths.cpu.is_dir() or not paths.memory.is_dir():
        raise UnsupportedOperation(
            "the cgroup files are not visible here",
            expected=f"folders {paths.cpu} and {paths.memory}",
            seen="at least one is missing",
            action="run this on the unit's own host, with /sys/fs/cgroup mounted and CPU and memory accounted for",
        )
    return paths


def _mounted(root: Path, controller: str) -> Path:
    """Version 1 mounts cpu and cpuacct together under either name."""
    direct = root / controller
    return direct if direct.is_dir() else root / f"cpu,{controller}"


def read(paths: CgroupPaths) -> ResourceReading:
    """CPU counter, working set (usage minus inactive page cache) and OOM kills.

    :raises NotRunning: the cgroup went away. :raises RuntimeFailure: not permitted.
    """
    try:
        taken_ns = time.monotonic_ns()
        stat = _pairs(paths.memory / "memory.stat")
        if paths.version == 1:
            cpu = int((paths.cpu / "cpuacct.usage").read_text()) / 1e9
            usage = int((paths.memory / "memory.usage_in_bytes").read_text())
            inactive = stat["total_inactive_file"]
            kills = _pairs(paths.memory / "memory.oom_control").get("oom_kill")
        else:
            cpu = _pairs(paths.cpu / "cpu.stat")["usage_usec"] / 1e6
            usage = int((paths.memory / "memory.current").read_text())
            inactive = stat["inactive_file"]
            kills = _pairs(paths.memory / "memory.events").get("oom_kill")
    except OSError as error:
        if isinstance(error, PermissionError):
            raise RuntimeFailure(
                "the cgroup files may not be read", seen=str(error), action="run with become: true"
            ) from error
        raise NotRunning("the unit ended while it was measured", seen=str(error)) from error
    return ResourceReading(taken_ns, cpu, max(0, usage - inactive), "working_set", kills)


def _pairs(path: Path) -> dict[str, int]:
    return {key: int(value) for key, value in (line.split() for line in path.read_text().splitlines())}

# SPDX-License-Identifier: Apache-2.0
"""The size of directories over time. A walk takes a hundredth of the time at most, however many files there are."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Optional

from ...core.clock import NS_PER_S
from .samples import DiskRow

EVERY_S = 60.0
_PAUSES = 100


class DiskWatch:
    """Measures directories, each when it is due."""

    def __init__(self, disks: Mapping[str, str]) -> None:
        self._disks = disks
        self._due_ns = dict.fromkeys(disks, 0)

    def look(self, tick: int, now: str) -> list[DiskRow]:
        """Rows of the directories that are due at this tick."""
        rows = []
        for name, path in self._disks.items():
            began_ns = time.monotonic_ns()
            if began_ns < self._due_ns[name]:
                continue
            try:
                room = os.statvfs(path)
                rows.append(DiskRow(tick, now, name, directory_bytes(path), room.f_bavail * room.f_frsize))
            except OSError as error:
                rows.append(DiskRow(tick, now, name, None, None, str(error)))
            took_ns = time.monotonic_ns() - began_ns
            self._due_ns[name] = began_ns + max(int(EVERY_S * NS_PER_S), _PAUSES * took_ns)
        return rows


def directory_bytes(path: str) -> int:
    """What the files below ``path`` occupy, each counted once; what vanishes meanwhile or may not be read is left out.

    Raises OSError where ``path`` itself cannot be read.
    """
    total = 0
    seen: set[tuple[int, int]] = set()
    left = [path]
    first: Optional[str] = path
    while left:
        directory = left.pop()
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    try:
                        stat = entry.stat(follow_symlinks=False)
                        if entry.is_dir(follow_symlinks=False):
                            left.append(entry.path)
                    except OSError:
                        continue
                    # Stores share parts by hard links.
                    if stat.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
                        if (stat.st_dev, stat.st_ino) in seen:
                            continue
                        seen.add((stat.st_dev, stat.st_ino))
                    total += stat.st_blocks * 512
        except OSError:
            if directory == first:
                raise
        first = None
    return total

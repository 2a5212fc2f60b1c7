# SPDX-License-Identifier: Apache-2.0
"""Which processes the kernel killed for want of memory, from its own log (/dev/kmsg, which takes root)."""

from __future__ import annotations

import os
import re
from typing import Optional

# From mm/oom_kill.c: the same words whether the host or a control group had no memory left.
_KILLED = re.compile(r"[Oo]ut of memory: Killed process (\d+)|OOM.*Killed process (\d+)")
_RECORD_BYTES = 8192


class KernelLog:
    """Reads what the log has had since the last time."""

    def __init__(self, path: str = "/dev/kmsg") -> None:
        self._path = path
        self._seen = -1

    def killed(self) -> Optional[frozenset[int]]:
        """Pids of processes killed since the last call; None where the log may not be read, or is none."""
        try:
            handle = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        found = set()
        try:
            while True:
                try:
                    record = os.read(handle, _RECORD_BYTES).decode("utf-8", "replace")
                except BrokenPipeError:
                    continue  # overwritten before it was read: the next one is there
                except (BlockingIOError, OSError):
                    break
                if not record:
                    break
                # "priority,sequence,microseconds,flags;text": the sequence tells what is new.
                prefix, _, text = record.partition(";")
                sequence = int(prefix.split(",")[1])
                if sequence > self._seen:
                    self._seen = sequence
                    match = _KILLED.search(text)
                    if match:
                        found.add(int(match.group(1) or match.group(2)))
        finally:
            os.close(handle)
        return frozenset(found)

# SPDX-License-Identifier: Apache-2.0
"""Tells whoever follows how far the lab is: a line on stderr, and an event in the file K2_PROGRESS_FILE names."""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
from collections.abc import Iterable

from k2lab.common.clock import rfc3339

FILE = "K2_PROGRESS_FILE"


class StepProgress:
    """Counts the steps of one task. Without a file to write to, it only speaks on stderr."""

    def __init__(self, task: str) -> None:
        self._task = task
        self._total = 0
        self._done = 0

    def begin(self, total: int) -> None:
        """The task begins; it has this many steps."""
        self._total = total
        self._emit("started", "")

    def step(self, name: str, seconds: float, waiting_for: Iterable[str]) -> None:
        """One step is done; others are still at work."""
        self._done += 1
        print(f"{name}: ready after {seconds:.1f} s", file=sys.stderr, flush=True)
        self._emit("running", "waiting for " + ", ".join(sorted(waiting_for)))

    def end(self, *, failed: bool) -> None:
        """The task is over."""
        self._emit("failed" if failed else "finished", "")

    def _emit(self, state: str, message: str) -> None:
        path = os.environ.get(FILE)
        if not path:
            return
        now = rfc3339(dt.datetime.now(dt.UTC))
        event = {"time": now, "task": self._task, "state": state, "done": self._done, "total": self._total}
        line = json.dumps({**event, "unit": "steps", "message": message}) + "\n"
        try:
            handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                os.write(handle, line.encode())  # one write: lines of several writers never mix
            finally:
                os.close(handle)
        except OSError as error:
            # Nobody can follow, which is no reason not to start the lab.
            print(f"progress is not shown: cannot write {path}: {error}", file=sys.stderr)

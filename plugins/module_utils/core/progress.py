# SPDX-License-Identifier: Apache-2.0
"""How long work tells how far it is: one JSON object per line, appended to a file that somebody may be following.

Event: ``{"time": RFC 3339 UTC, "task": str, "state": "started" | "running" | "finished" | "failed",
"done": float | null, "total": float | null, "unit": str, "message": str}``. A task is known by its text; ``done``
counts up to ``total`` in ``unit``.

Local programs find the file in the environment variable ``K2_PROGRESS_FILE``; the callback plugin ``k2_progress`` sets
it for everything that Ansible starts and follows it. A module gets the path as an argument, its target being another
machine perhaps.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Optional

from ansible_collections.k2.hardening.plugins.module_utils.core.clock import monotonic_ns, now_rfc3339

ENVIRONMENT = "K2_PROGRESS_FILE"
MIN_INTERVAL_NS = 200_000_000


class State(str, Enum):
    """Where a task is in its life."""

    STARTED = "started"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Event:
    """One line of a progress file."""

    time: str
    task: str
    state: State
    done: Optional[float] = None
    total: Optional[float] = None
    unit: str = ""
    message: str = ""

    def to_line(self) -> bytes:
        """The event as it stands in the file."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":")).encode("utf-8") + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Event:
        """Read a line back.

        Raises ValueError when it is not an event.
        """
        try:
            fields = json.loads(line)
            return cls(
                time=str(fields["time"]),
                task=str(fields["task"]),
                state=State(fields["state"]),
                done=_number(fields.get("done")),
                total=_number(fields.get("total")),
                unit=str(fields.get("unit") or ""),
                message=str(fields.get("message") or ""),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"not a progress event: {line[:120]!r}") from error


def _number(value: object) -> Optional[float]:
    return None if value is None else float(str(value))


def append(path: Path, event: Event) -> None:
    """Append ``event`` in one write, so that lines of several writers never mix.

    Raises OSError.
    """
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.write(handle, event.to_line())
    finally:
        os.close(handle)


def _to_stderr(message: str) -> None:
    sys.stderr.write(message + "\n")


class Progress:
    """One task's events; without a file it does nothing.

    As a context manager it says ``finished`` or, on an exception, ``failed``. Progress never ends the work it tells of:
    when the file cannot be written that is told once, to ``warn``, and nothing more is written.
    """

    def __init__(
        self,
        path: Optional[Path],
        task: str,
        unit: str = "",
        total: Optional[float] = None,
        warn: Callable[[str], None] = _to_stderr,
    ) -> None:
        self._path = path
        self._task = task
        self._unit = unit
        self._warn = warn
        self._done: Optional[float] = None
        self._total = total
        self._written_ns = 0
        self._emit(State.STARTED, "")

    @classmethod
    def from_environment(cls, task: str, unit: str = "", total: Optional[float] = None) -> Progress:
        """Write to the file that ``K2_PROGRESS_FILE`` names, if it does."""
        path = os.environ.get(ENVIRONMENT)
        return cls(Path(path) if path else None, task, unit, total)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if error is None:
            self.finish()
        else:
            self.fail(str(error) or type(error).__name__)

    def update(self, done: Optional[float] = None, total: Optional[float] = None, message: str = "") -> None:
        """Tell how far the task is; more than five times a second only the last state is kept, for the next event."""
        self._done = self._done if done is None else done
        self._total = self._total if total is None else total
        if monotonic_ns() - self._written_ns >= MIN_INTERVAL_NS:
            self._emit(State.RUNNING, message)

    def finish(self, message: str = "") -> None:
        """The task is done."""
        self._emit(State.FINISHED, message)

    def fail(self, message: str) -> None:
        """The task ended without being done."""
        self._emit(State.FAILED, message)

    def _emit(self, state: State, message: str) -> None:
        if self._path is None:
            return
        self._written_ns = monotonic_ns()
        try:
            append(self._path, Event(now_rfc3339(), self._task, state, self._done, self._total, self._unit, message))
        except OSError as error:
            self._warn(f"progress of {self._task!r} is not shown: cannot write {self._path}: {error}")
            self._path = None

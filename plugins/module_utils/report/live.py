# SPDX-License-Identifier: Apache-2.0
"""Progress on a screen: follow progress files, know what runs, show it on one line.

Three parts, each usable alone: ``Tail`` reads new events of a file, ``Board`` knows which tasks run, ``LiveLine`` and
``PlainLines`` show a board on a terminal and elsewhere. Times on the board are seconds of this process' own monotonic
clock: the writers' clocks may be other hosts'.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, TextIO

from ansible_collections.k2.hardening.plugins.module_utils.core.progress import Event, State

CLEAR_LINE = "\r\x1b[2K"
CYAN, RESET = "\x1b[36m", "\x1b[0m"
BAR_CELLS = 20
READ_LIMIT = 1 << 20


class Tail:
    """New events of a file that may not exist yet, may be replaced, and whose last line may be half written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.complaint = ""
        self._complained = False
        self._inode = 0
        self._offset = 0
        self._rest = b""

    def read(self) -> list[Event]:
        """Events appended since the last call; a line that is none is told once, in ``complaint``."""
        events = []
        *lines, self._rest = (self._rest + self._new_bytes()).split(b"\n")
        for line in filter(None, lines):
            try:
                events.append(Event.from_line(line))
            except ValueError as error:
                self._complain(f"{self.path}: {error}")
        return events

    def _new_bytes(self) -> bytes:
        try:
            with self.path.open("rb") as handle:
                status = os.fstat(handle.fileno())
                if status.st_ino != self._inode or status.st_size < self._offset:
                    self._inode, self._offset, self._rest = status.st_ino, 0, b""
                handle.seek(self._offset)
                content = handle.read(READ_LIMIT)
        except FileNotFoundError:
            return b""
        except OSError as error:
            self._complain(f"progress file {self.path} cannot be read: {error}")
            return b""
        self._offset += len(content)
        return content

    def _complain(self, text: str) -> None:
        if not self._complained:
            self._complained, self.complaint = True, text


@dataclass
class Task:
    """What is known of a running task; ``begun`` is when this process first heard of it."""

    name: str
    begun: float
    done: Optional[float] = None
    total: Optional[float] = None
    unit: str = ""
    message: str = ""

    def elapsed_s(self, now: float) -> float:
        """Seconds since it began."""
        return max(0.0, now - self.begun)

    def fraction(self) -> Optional[float]:
        """How much of it is done, 0 to 1; None when it does not say."""
        if self.done is None or not self.total or self.total < 0:
            return None
        return min(1.0, max(0.0, self.done / self.total))

    def left_s(self, now: float) -> Optional[float]:
        """Seconds it needs still, if it goes on as so far; None when that cannot be told yet."""
        fraction = self.fraction()
        if not fraction:
            return None
        return self.elapsed_s(now) * (1 - fraction) / fraction


class Board:
    """What runs now: the task of the playbook and, in it, the tasks that tell of themselves."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._play_task: Optional[Task] = None
        self._told: dict[str, Task] = {}
        self._begun: dict[str, float] = {}

    def task_started(self, name: str) -> None:
        """The playbook goes on to its next task. What told of itself is shown again once it tells more."""
        self._play_task = Task(name, self.clock())
        self._told = {}

    def event(self, event: Event) -> None:
        """Take in one event."""
        now = self.clock()
        if event.state is State.STARTED:
            self._begun[event.task] = now
        if event.state in (State.FINISHED, State.FAILED):
            self._begun.pop(event.task, None)
            self._told.pop(event.task, None)
            return
        begun = self._begun.setdefault(event.task, now)
        self._told[event.task] = Task(event.task, begun, event.done, event.total, event.unit, event.message)

    def running(self) -> list[Task]:
        """What to show, the longest running first: the tasks that tell of themselves, else the playbook's."""
        told = sorted(self._told.copy().values(), key=lambda task: task.begun)
        if told:
            return told
        return [self._play_task] if self._play_task else []


def duration(seconds: float) -> str:
    """``seconds`` for a reader: 7 s, 2:05, 1:02:05."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def progress_bar(fraction: float, cells: int = BAR_CELLS) -> str:
    """A bar of ``cells`` characters between brackets."""
    filled = int(fraction * cells)
    return "[" + "#" * filled + "-" * (cells - filled) + "]"


def describe(task: Task, now: float) -> str:
    """One task in words: name, count, elapsed and remaining time."""
    parts = [task.name]
    fraction = task.fraction()
    if fraction is not None and task.done is not None and task.total is not None:
        parts.append(f"{fraction:.0%} ({task.done:g}/{task.total:g}{' ' + task.unit if task.unit else ''})")
    elif task.done is not None:
        parts.append(f"{task.done:g}{' ' + task.unit if task.unit else ''}")
    parts.append(duration(task.elapsed_s(now)))
    left = task.left_s(now)
    if left is not None and fraction is not None and fraction < 1:
        parts.append(f"about {duration(left)} left")
    if task.message:
        parts.append(task.message)
    return ", ".join(parts)


def one_line(tasks: list[Task], now: float, width: int) -> str:
    """``tasks`` on one line of at most ``width`` characters.

    The first one's bar leads, so the eye has one place to look at.
    """
    if not tasks:
        return ""
    fraction = next((task.fraction() for task in tasks if task.fraction() is not None), None)
    lead = progress_bar(fraction) + " " if fraction is not None else ""
    text = " ".join((lead + " | ".join(describe(task, now) for task in tasks)).split())
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


class LiveLine:
    """One line of a terminal, refreshed in place.

    The line is the screen's last; whatever else writes to the terminal does so through ``guard``, which takes the line
    away first.
    """

    def __init__(self, stream: TextIO, lock: AbstractContextManager[Any], quiet_for_s: float, *, colour: bool) -> None:
        self._stream = stream
        self._lock = lock
        self._quiet_for_s = quiet_for_s
        self._colour = colour
        self._drawn = ""
        self._at_line_start = True

    def show(self, board: Board) -> None:
        """Draw what runs, if it has been running for long enough to be worth a look."""
        now = board.clock()
        tasks = [task for task in board.running() if task.elapsed_s(now) >= self._quiet_for_s]
        text = one_line(tasks, now, shutil.get_terminal_size().columns - 1)
        with self._lock:
            # A line that somebody has not finished is not ours to overwrite.
            if not self._at_line_start or text == self._drawn:
                return
            if text:
                lead = text.find("]") + 1 if text.startswith("[") and self._colour else 0
                shown = f"{CYAN}{text[:lead]}{RESET}{text[lead:]}" if lead else text
                self._stream.write(CLEAR_LINE + shown)
                self._stream.flush()
                self._drawn = text
            else:
                self.clear()

    def clear(self) -> None:
        """Take the line away."""
        with self._lock:
            if self._drawn:
                self._drawn = ""
                self._stream.write(CLEAR_LINE)
                self._stream.flush()

    def close(self) -> None:
        """Take the line away for good."""
        self.clear()

    def written(self, text: str) -> None:
        """Somebody wrote ``text`` to the terminal."""
        if text:
            self._at_line_start = text.endswith("\n")

    def guard(self, stream: TextIO) -> Any:
        """``stream``, made to take the live line away before each write; unchanged when it is no terminal."""
        if not stream.isatty():
            return stream
        return Guard(stream, self, self._lock)

    @staticmethod
    def unguarded(stream: Any) -> Any:
        """The stream that was guarded; any other as it is."""
        return stream.guarded if isinstance(stream, Guard) else stream


class Guard:
    """Stands for a text stream; all but writing is the stream's own."""

    def __init__(self, stream: TextIO, line: LiveLine, lock: AbstractContextManager[Any]) -> None:
        self.guarded = stream
        self._line = line
        self._lock = lock

    def write(self, text: str) -> int:
        """Write ``text`` where the live line stood."""
        with self._lock:
            if text:
                self._line.clear()
            self._line.written(text)
            return self.guarded.write(text)

    def writelines(self, lines: list[str]) -> None:
        """Write each of ``lines``."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.guarded, name)


class PlainLines:
    """Where there is no terminal: a line for what has been running for ``interval_s``, and again after each of them."""

    def __init__(self, stream: TextIO, before: TextIO, lock: AbstractContextManager[Any], interval_s: float) -> None:
        self._stream = stream
        self._before = before
        self._lock = lock
        self._interval_s = interval_s
        self._last: Optional[float] = None

    def show(self, board: Board) -> None:
        """Write a line if it is time to."""
        now = board.clock()
        tasks = [task for task in board.running() if task.elapsed_s(now) >= self._interval_s]
        if not tasks or (self._last is not None and now - self._last < self._interval_s):
            return
        self._last = now
        with self._lock:
            # Both may go to the same file: the header of a task belongs before its progress.
            self._before.flush()
            self._stream.write(f"... {one_line(tasks, now, 400)}\n")
            self._stream.flush()

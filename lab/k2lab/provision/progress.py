# SPDX-License-Identifier: Apache-2.0
"""Live progress of parts that run side by side: one moving line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import dataclass
from typing import TextIO

REDRAW_S = 0.2
HEARTBEAT_S = 15.0


@dataclass
class _Running:
    started: float
    doing: str


class Progress:
    """Thread-safe. Use as a context manager; parts report with start, doing, done and failed."""

    def __init__(self, stream: TextIO, parts: int) -> None:
        self._stream = stream
        self._tty = stream.isatty()
        self._parts = parts
        self._finished = 0
        self._running: dict[str, _Running] = {}
        self._begun = time.monotonic()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="progress", daemon=True)

    def __enter__(self) -> Progress:
        self._ticker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._ticker.join()
        with self._lock:
            self._clear()

    def start(self, part: str, doing: str) -> None:
        """A part begins."""
        with self._lock:
            self._running[part] = _Running(time.monotonic(), doing)
            if not self._tty:
                self._line(f"  ...  {part}: {doing}")

    def doing(self, part: str, doing: str) -> None:
        """A part goes on to something else."""
        with self._lock:
            self._running[part].doing = doing

    def done(self, part: str, detail: str) -> float:
        """Print the part's outcome; returns the seconds it took."""
        return self._end(part, " ok  ", detail)

    def failed(self, part: str, detail: str) -> float:
        """Print the failure; returns the seconds it took."""
        return self._end(part, "FAIL ", detail)

    def stopped(self, part: str) -> float:
        """Print that the part was stopped from outside; returns the seconds it took."""
        return self._end(part, "stop ", "stopped before its end")

    def _end(self, part: str, mark: str, detail: str) -> float:
        with self._lock:
            seconds = time.monotonic() - self._running.pop(part).started
            self._finished += 1
            self._clear()
            self._line(f"{mark} {part:<14} {seconds:6.1f} s  {detail}")
            return seconds

    def _tick(self) -> None:
        interval = REDRAW_S if self._tty else HEARTBEAT_S
        while not self._stop.wait(interval):
            with self._lock:
                self._redraw() if self._tty else self._heartbeat()

    def _redraw(self) -> None:
        width = shutil.get_terminal_size().columns
        filled = round(10 * self._finished / self._parts)
        bar = "#" * filled + "-" * (10 - filled)
        now = time.monotonic()
        parts = "; ".join(f"{name} {now - r.started:.0f} s: {r.doing}" for name, r in self._running.items())
        text = f"[{bar}] {self._finished}/{self._parts} {now - self._begun:5.1f} s  {parts}"
        self._stream.write("\r" + text[: width - 1].ljust(width - 1))
        self._stream.flush()

    def _heartbeat(self) -> None:
        now = time.monotonic()
        for name, running in self._running.items():
            self._line(f"  ...  {name}: {running.doing} ({now - running.started:.0f} s so far)")

    def _clear(self) -> None:
        if self._tty:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _line(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()

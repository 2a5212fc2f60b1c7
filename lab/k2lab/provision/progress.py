# SPDX-License-Identifier: Apache-2.0
"""Live progress of parts that run side by side: one moving line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

REDRAW_S = 0.2
HEARTBEAT_S = 15.0


@dataclass
class _Running:
    started: float
    doing: str


class Progress:
    """Thread-safe. Use as a context manager; parts report with start, doing, and one of the words for an end."""

    def __init__(self, stream: TextIO, parts: Sequence[str]) -> None:
        """Show the progress of the named parts, in the order in which they wait for their turn."""
        self._stream = stream
        self._tty = stream.isatty()
        self._parts = len(parts)
        self._width = max(map(len, parts))
        self._waiting = list(parts)
        self._running: dict[str, _Running] = {}
        self._asides: list[str] = []
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

    def start(self, part: str) -> None:
        """A part begins, with a look at what is there."""
        with self._lock:
            self._waiting.remove(part)
            self._running[part] = _Running(time.monotonic(), "checking")

    def doing(self, part: str, doing: str) -> None:
        """A part goes on to something else."""
        with self._lock:
            self._running[part].doing = doing
            if not self._tty:
                self._line(f"  ...  {part}: {doing}")

    def built(self, part: str, detail: str) -> float:
        """Print what was built or fetched; returns the seconds it took."""
        return self._end(part, " ok  ", detail)

    def reused(self, part: str) -> float:
        """All was there, which is not worth a line; returns the seconds it took to see that."""
        with self._lock:
            return time.monotonic() - self._running.pop(part).started

    def unavailable(self, part: str, reason: str) -> float:
        """Print why the part cannot be had; returns the seconds it took to find out."""
        return self._end(part, "none ", f"not available: {reason}")

    def failed(self, part: str, detail: str) -> float:
        """Print the failure; returns the seconds it took."""
        return self._end(part, "FAIL ", detail)

    def stopped(self, part: str) -> float:
        """Print that the part was stopped from outside; returns the seconds it took."""
        return self._end(part, "stop ", "stopped before its end")

    @contextmanager
    def aside(self, doing: str) -> Iterator[None]:
        """Show that something is done that belongs to no part."""
        with self._lock:
            self._asides.append(doing)
        try:
            yield
        finally:
            with self._lock:
                self._asides.remove(doing)

    def _end(self, part: str, mark: str, detail: str) -> float:
        with self._lock:
            seconds = time.monotonic() - self._running.pop(part).started
            self._clear()
            self._line(f"{mark} {part:<{self._width}} {seconds:6.1f} s  {detail}")
            return seconds

    def _tick(self) -> None:
        interval = REDRAW_S if self._tty else HEARTBEAT_S
        while not self._stop.wait(interval):
            with self._lock:
                self._redraw() if self._tty else self._heartbeat()

    def _redraw(self) -> None:
        width = shutil.get_terminal_size().columns
        finished = self._finished()
        filled = round(10 * finished / self._parts)
        bar = "#" * filled + "-" * (10 - filled)
        elapsed = time.monotonic() - self._begun
        text = f"[{bar}] {finished}/{self._parts} {elapsed:5.1f} s  {self._activity()}"
        self._stream.write("\r" + text[: width - 1].ljust(width - 1))
        self._stream.flush()

    def _heartbeat(self) -> None:
        elapsed = time.monotonic() - self._begun
        self._line(f"  ...  {self._finished()}/{self._parts} after {elapsed:.0f} s; {self._activity()}")

    def _finished(self) -> int:
        return self._parts - len(self._waiting) - len(self._running)

    def _activity(self) -> str:
        """Who is at work on what and for how long, the latest first; who waits."""
        now = time.monotonic()
        latest = sorted(self._running.items(), key=lambda each: each[1].started, reverse=True)
        words = [f"{name} {now - running.started:.0f} s: {running.doing}" for name, running in latest]
        words += self._asides
        if self._waiting:
            words.append(f"waiting: {', '.join(self._waiting)}")
        return "; ".join(words)

    def _clear(self) -> None:
        if self._tty:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _line(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()

# SPDX-License-Identifier: Apache-2.0
"""Received notifications on disk: one JSON line each, on disk before it counts as received, bounded by rotation."""

from __future__ import annotations

import datetime as dt
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from k2lab.common.clock import rfc3339

NAME = "notifications.jsonl"


@dataclass(frozen=True)
class Received:
    """One notification. `received_at` is RFC 3339 in UTC with microseconds, `monotonic_ns` this machine's own clock."""

    received_at: str
    monotonic_ns: int
    remote: str
    notification: Mapping[str, object]


class NotificationLog:
    """Appends and reads; may be used from several threads.

    A file is set aside when it has reached max_bytes, and the oldest of more than `backups` such files goes.
    """

    def __init__(self, directory: Path, max_bytes: int, backups: int) -> None:
        self._path = directory / NAME
        self._max_bytes = max_bytes
        self._backups = backups
        self._lock = threading.Lock()
        directory.mkdir(parents=True, exist_ok=True)
        self._end_broken_line()

    def append(self, notification: Mapping[str, object], remote: str) -> Received:
        """Keep one notification; on return it is on disk. Raises OSError when it could not be."""
        with self._lock:
            received = Received(rfc3339(dt.datetime.now(dt.UTC)), time.monotonic_ns(), remote, notification)
            self._rotate_when_full()
            self._write(json.dumps(asdict(received), separators=(",", ":")) + "\n")
        return received

    def since(self, moment: dt.datetime | None) -> list[Received]:
        """What was received at that moment or later, oldest first; all that is kept when None."""
        first = "" if moment is None else rfc3339(moment)
        with self._lock:
            return [received for received in self._all() if received.received_at >= first]

    def _all(self) -> Iterator[Received]:
        for path in [*(self._backup(number) for number in range(self._backups, 0, -1)), self._path]:
            if not path.exists():
                continue
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    yield Received(**json.loads(line))
                except ValueError:
                    continue  # cut off by a kill or a full disk: it was never acknowledged, so its sender repeats it

    def _write(self, text: str) -> None:
        new = not self._path.exists()
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            left = memoryview(text.encode())
            while left:
                left = left[os.write(handle, left) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        if new:
            self._sync_directory()

    def _end_broken_line(self) -> None:
        """After a kill in the middle of a line, the next one must begin a line of its own."""
        if self._path.exists() and (content := self._path.read_bytes()) and not content.endswith(b"\n"):
            self._write("\n")

    def _rotate_when_full(self) -> None:
        if not self._path.exists() or self._path.stat().st_size < self._max_bytes:
            return
        for number in range(self._backups, 0, -1):
            younger = self._backup(number - 1) if number > 1 else self._path
            if younger.exists():
                younger.replace(self._backup(number))
        if self._backups == 0:
            self._path.unlink()
        self._sync_directory()

    def _backup(self, number: int) -> Path:
        return self._path.with_name(f"{NAME}.{number}")

    def _sync_directory(self) -> None:
        handle = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

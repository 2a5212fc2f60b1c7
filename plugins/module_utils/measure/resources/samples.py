# SPDX-License-Identifier: Apache-2.0
"""Samples on disk: CSV files with a header, one set per UTC day, only ever appended to and synced at each tick.

A tick is one look at everything. ``services-<day>.csv`` has a row per tick and service, ``disks-<day>.csv`` one per
tick at which directories were measured, and ``ticks-<day>.csv`` one per tick, written last: a tick without that row
does not count. ``tick`` joins the three, and grows over restarts of the sampler. Counters are told as they stand;
whoever reads takes differences. Nothing is rounded, summed up or thinned out.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Optional, Union

from ...core.clock import rfc3339

Cell = Union[str, int, float, None]
KINDS = ("services", "disks", "ticks")


@dataclass(frozen=True)
class ServiceRow:
    """One service at one tick. ``pid`` and ``started`` (clock ticks since boot) tell its main process from any other.

    ``cpu_s`` is a counter, of the cgroup or of the process tree. ``restarts`` is the runtime's own counter.
    ``oom_kills`` counts since the window began. What could not be read is None, and ``why`` says so.
    """

    tick: int
    time: str
    service: str
    state: str
    pid: Optional[int] = None
    started: Optional[int] = None
    cpu_s: Optional[float] = None
    memory_bytes: Optional[int] = None
    memory_kind: Optional[str] = None
    processes: Optional[int] = None
    threads: Optional[int] = None
    fds: Optional[int] = None
    restarts: Optional[int] = None
    oom_kills: int = 0
    why: str = ""


@dataclass(frozen=True)
class DiskRow:
    """The size of a directory, and what is left of its file system, in bytes."""

    tick: int
    time: str
    disk: str
    used_bytes: Optional[int]
    free_bytes: Optional[int]
    why: str = ""


@dataclass(frozen=True)
class TickRow:
    """One look: when, by both clocks, and its cost. ``sampler_cpu_s`` counts since process ``sampler_pid`` began."""

    tick: int
    time: str
    monotonic_ns: int
    boot_id: str
    took_ms: float
    sampler_pid: int
    sampler_cpu_s: float
    sampler_memory_bytes: Optional[int]
    memory_available_bytes: Optional[int]
    host_oom_kills: Optional[int]


ROWS = {"services": ServiceRow, "disks": DiskRow, "ticks": TickRow}


def header(kind: str) -> list[str]:
    """The columns of ``kind``."""
    return [each.name for each in fields(ROWS[kind])]


def line_of(values: Sequence[Cell]) -> bytes:
    """One line of CSV; None is an empty field."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(["" if value is None else value for value in values])
    return text.getvalue().encode("utf-8")


class SampleFiles:
    """Appends ticks to the files of one window.

    Ticks that cannot be written, because the disk is full, are kept in memory and written when they can be; the oldest
    are dropped beyond ``most_kept``, which leaves a hole for all to see.
    """

    def __init__(self, directory: Path, most_kept: int = 720) -> None:
        self._directory = directory
        self._waiting: list[tuple[str, dict[str, bytes]]] = []
        self._most_kept = most_kept
        self.problem = ""

    def append(self, now_us: int, services: Iterable[ServiceRow], disks: Iterable[DiskRow], tick: TickRow) -> bool:
        """Write one tick and those that wait; whether all of them are on disk. ``problem`` says why not."""
        rows = {"services": services, "disks": disks, "ticks": (tick,)}
        data = {kind: b"".join(line_of(list(_cells(row))) for row in own) for kind, own in rows.items()}
        self._waiting.append((rfc3339(now_us)[:10].replace("-", ""), data))
        del self._waiting[: -self._most_kept]
        return self.flush()

    def flush(self) -> bool:
        """Write what waits; whether nothing waits any more."""
        try:
            while self._waiting:
                day, data = self._waiting[0]
                for kind in KINDS:
                    if data[kind]:
                        _append(self._directory / f"{kind}-{day}.csv", data[kind], line_of(header(kind)))
                        # Not again, where a later file of the same tick has no room.
                        data[kind] = b""
                del self._waiting[0]
        except OSError as error:
            self.problem = f"{len(self._waiting)} ticks wait to be written: {error}"
            return False
        self.problem = ""
        return True


def _cells(row: Any) -> Iterator[Cell]:
    return (getattr(row, each.name) for each in fields(row))


def _append(path: Path, data: bytes, head: bytes) -> None:
    """Append all of ``data`` and sync it, or leave the file as it was. Raises OSError."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        size = os.fstat(handle).st_size
        content = data if size else head + data
        try:
            if os.write(handle, content) != len(content):
                raise OSError(28, "No space left on device", str(path))
            os.fsync(handle)
        except OSError:
            os.ftruncate(handle, size)
            raise
    finally:
        os.close(handle)


def files_of(directory: Path, kind: str) -> list[Path]:
    """The files of ``kind``, oldest first."""
    return sorted(directory.glob(f"{kind}-[0-9]*.csv"))


def mend(directory: Path) -> None:
    """Cut off the half of a line that a loss of power may have left at the end of a file. Raises OSError."""
    for kind in KINDS:
        for path in files_of(directory, kind)[-2:]:
            content = path.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole != len(content):
                os.truncate(path, whole)


def read_ticks(directory: Path) -> list[TickRow]:
    """Every tick of the window in order. Raises OSError; ValueError for a file that is none of ours."""
    found = []
    for path in files_of(directory, "ticks"):
        with path.open(encoding="utf-8", newline="") as lines:
            found += [_tick(row) for row in csv.DictReader(lines)]
    return found


def _tick(row: Mapping[str, str]) -> TickRow:
    return TickRow(
        int(row["tick"]),
        row["time"],
        int(row["monotonic_ns"]),
        row["boot_id"],
        float(row["took_ms"]),
        int(row["sampler_pid"]),
        float(row["sampler_cpu_s"]),
        _whole(row["sampler_memory_bytes"]),
        _whole(row["memory_available_bytes"]),
        _whole(row["host_oom_kills"]),
    )


def last_row(directory: Path, kind: str) -> dict[str, str]:
    """The last row of ``kind``, by column; empty when there is none. Raises OSError."""
    for path in reversed(files_of(directory, kind)):
        with path.open("rb") as content:
            content.seek(0, os.SEEK_END)
            content.seek(max(0, content.tell() - 65_536))
            lines = content.read().decode("utf-8", "replace").splitlines()
        rows = [row for row in csv.reader(lines) if len(row) == len(header(kind)) and row[0].isdigit()]
        if rows:
            return dict(zip(header(kind), rows[-1]))
    return {}


def last_oom_kills(directory: Path) -> dict[str, int]:
    """The count of OOM kills that each service had at the last tick, so that a resumed sampler goes on from there."""
    found: dict[str, int] = {}
    for path in files_of(directory, "services")[-1:]:
        with path.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                found[row["service"]] = int(row["oom_kills"] or 0)
    return found


def _whole(text: str) -> Optional[int]:
    return int(text) if text else None

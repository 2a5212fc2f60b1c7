# SPDX-License-Identifier: Apache-2.0
"""What the sampler leaves on disk: read by others as it is, whole after a loss of power, complete after a full disk."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.measure.resources import samples
from ansible_collections.k2.hardening.plugins.module_utils.measure.resources.samples import (
    DiskRow,
    SampleFiles,
    ServiceRow,
    TickRow,
    last_oom_kills,
    last_row,
    mend,
    read_ticks,
)

NOON_US = 1_790_000_000_000_000
DAY_US = 86_400_000_000


def tick(number: int) -> TickRow:
    return TickRow(number, "2026-09-21T14:13:20.000000Z", 5 * number, "b", 1.5, 9, 0.1, 1024, None, 3)


def service(number: int, name: str = "web", **values: object) -> ServiceRow:
    return ServiceRow(number, "2026-09-21T14:13:20.000000Z", name, "running", **values)  # type: ignore[arg-type]


def write(files: SampleFiles, number: int, now_us: int = NOON_US) -> bool:
    return files.append(now_us, [service(number, oom_kills=number)], [], tick(number))


def test_each_file_has_one_header_and_a_row_per_sample(tmp_path: Path) -> None:
    files = SampleFiles(tmp_path)
    assert all(write(files, number) for number in range(3))
    with next(tmp_path.glob("services-*.csv")).open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["tick"] for row in rows] == ["0", "1", "2"]
    assert rows[0]["cpu_s"] == ""
    assert read_ticks(tmp_path) == [tick(0), tick(1), tick(2)]
    assert last_row(tmp_path, "ticks")["tick"] == "2"
    assert last_oom_kills(tmp_path) == {"web": 2}


def test_pandas_and_arrow_read_them_directly(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    files = SampleFiles(tmp_path)
    assert files.append(NOON_US, [service(0, cpu_s=0.5, why='a "quoted", word')], [DiskRow(0, "t", "d", 5, 6)], tick(0))
    frame = pandas.read_csv(next(tmp_path.glob("services-*.csv")))
    assert frame.cpu_s[0] == 0.5
    assert frame.why[0] == 'a "quoted", word'
    arrow = pytest.importorskip("pyarrow.csv")
    assert arrow.read_csv(next(tmp_path.glob("ticks-*.csv"))).column("monotonic_ns").to_pylist() == [0]


def test_each_day_has_files_of_its_own_and_they_are_read_in_order(tmp_path: Path) -> None:
    files = SampleFiles(tmp_path)
    write(files, 0)
    write(files, 1, NOON_US + DAY_US)
    assert len(list(tmp_path.glob("ticks-*.csv"))) == 2
    assert [each.tick for each in read_ticks(tmp_path)] == [0, 1]


def test_half_a_line_is_cut_off_and_nothing_else(tmp_path: Path) -> None:
    files = SampleFiles(tmp_path)
    write(files, 0)
    write(files, 1)
    path = next(tmp_path.glob("ticks-*.csv"))
    whole = path.read_bytes()
    path.write_bytes(whole + b"2,2026-09-21T14:1")
    mend(tmp_path)
    assert path.read_bytes() == whole


def test_a_full_disk_costs_no_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = SampleFiles(tmp_path)
    write(files, 0)
    real, full = os.write, True

    def write_some(handle: int, data: bytes) -> int:
        # As a file system does that has room for a part.
        return real(handle, data[:7]) if full else real(handle, data)

    monkeypatch.setattr(samples.os, "write", write_some)
    assert not write(files, 1)
    assert not write(files, 2)
    assert "2 ticks wait" in files.problem
    assert [each.tick for each in read_ticks(tmp_path)] == [0]
    full = False
    assert write(files, 3)
    assert files.problem == ""
    assert [each.tick for each in read_ticks(tmp_path)] == [0, 1, 2, 3]
    with next(tmp_path.glob("services-*.csv")).open(newline="") as lines:
        assert [row["tick"] for row in csv.DictReader(lines)] == ["0", "1", "2", "3"]


def test_what_waits_is_bounded_and_the_oldest_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = SampleFiles(tmp_path, most_kept=2)
    monkeypatch.setattr(samples.os, "write", lambda *_: 0)
    for number in range(4):
        write(files, number)
    monkeypatch.undo()
    assert files.flush()
    assert [each.tick for each in read_ticks(tmp_path)] == [2, 3]

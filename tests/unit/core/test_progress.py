# SPDX-License-Identifier: Apache-2.0
"""The writer of progress events."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.progress import Event, Progress, State


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_tells_start_state_and_end(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    with Progress(path, "load", unit="msg", total=10) as progress:
        progress._written_ns = 0
        progress.update(4)
    assert [(e["state"], e["done"], e["total"], e["unit"]) for e in lines(path)] == [
        ("started", None, 10, "msg"),
        ("running", 4, 10, "msg"),
        ("finished", 4, 10, "msg"),
    ]
    assert all(str(e["time"]).endswith("Z") and len(str(e["time"])) == 27 for e in lines(path))


def test_an_exception_is_told_and_passed_on(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    with pytest.raises(RuntimeError, match="no broker"), Progress(path, "load"):
        raise RuntimeError("no broker")
    assert lines(path)[-1]["state"] == "failed"
    assert lines(path)[-1]["message"] == "no broker"


def test_a_busy_loop_does_not_flood_the_file(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    with Progress(path, "load") as progress:
        for done in range(20_000):
            progress.update(done)
    assert len(lines(path)) < 20
    assert lines(path)[-1]["done"] == 19_999


def test_an_unwritable_file_is_told_once_and_does_not_end_the_work(tmp_path: Path) -> None:
    told: list[str] = []
    progress = Progress(tmp_path / "missing" / "progress.jsonl", "load", warn=told.append)
    progress.update(1)
    progress.finish()
    assert len(told) == 1
    assert "missing" in told[0]


def test_without_a_file_nothing_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("K2_PROGRESS_FILE", raising=False)
    Progress.from_environment("load").finish()
    assert not list(tmp_path.iterdir())


def test_lines_of_several_writers_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"

    def write(name: str) -> None:
        for _ in range(100):
            Progress(path, name * 500).finish()

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines(path)) == 800


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"{}", b'{"time":"","task":"","state":"paused"}', b'"x"', b"null"])
def test_what_is_no_event_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Event.from_line(line)


def test_an_event_survives_the_file() -> None:
    event = Event("2026-01-01T00:00:00.000000Z", "größer", State.RUNNING, 1.5, 3.0, "s", "näher")
    assert Event.from_line(event.to_line().rstrip(b"\n")) == event

# SPDX-License-Identifier: Apache-2.0
"""What a lab has to do without is told with its reason, down to the last that depends on it."""

from __future__ import annotations

import json
from pathlib import Path

from k2lab.control.availability import Entry, record_unavailable, unavailable, update_unavailable
from k2lab.control.lab import Lab

STORE = Entry("store", "cold", ("minio",), (), is_service=True)
BUCKET = Entry("bucket", "cold", (), ("store",), is_service=False)
WORKER = Entry("worker", "cold", (), ("bucket", "candles"), is_service=True)
BROKER = Entry("broker", "hot", (), (), is_service=True)
WATCHER = Entry("watcher", "monitoring", ("watch",), (), is_service=True)
ALL = [WORKER, BUCKET, STORE, BROKER, WATCHER]
PARTS = ("cold", "monitoring")


def test_all_is_there_when_all_programs_are() -> None:
    assert unavailable(ALL, PARTS, {}) == {}


def test_what_needs_a_missing_program_is_unavailable_through_steps_too() -> None:
    reasons = unavailable(ALL, PARTS, {"minio": "no Go here"})
    assert reasons == {
        "worker": "needs bucket, which is not available: its program minio is not available: no Go here",
        "bucket": "needs store, which is not available: its program minio is not available: no Go here",
        "store": "its program minio is not available: no Go here",
    }


def test_a_part_left_out_is_told_even_where_its_program_is_missing() -> None:
    reasons = unavailable(ALL, ["cold"], {"watch": "no Go here"})
    assert reasons == {"watcher": "part monitoring is left out by k2_lab_parts"}


def test_the_hot_path_cannot_be_left_out() -> None:
    assert "broker" not in unavailable(ALL, [], {})


def test_services_are_recorded_and_forgotten_again(tmp_path: Path) -> None:
    lab = Lab.at(tmp_path)
    lab.run.mkdir()
    reasons = unavailable(ALL, PARTS, {"minio": "no Go here"})
    assert record_unavailable(lab, ALL, reasons)
    assert not record_unavailable(lab, ALL, reasons)
    assert sorted(json.loads(lab.unavailable.read_text())) == ["store", "worker"], "a step is no service"
    assert record_unavailable(lab, ALL, {})
    assert json.loads(lab.unavailable.read_text()) == {}


def test_what_starts_again_is_no_longer_called_unavailable(tmp_path: Path) -> None:
    lab = Lab.at(tmp_path)
    lab.run.mkdir()
    record_unavailable(lab, ALL, unavailable(ALL, ["cold"], {}))
    left_out = json.loads(lab.unavailable.read_text())
    tried = {entry.name for entry in ALL if entry.is_service} - left_out.keys()
    update_unavailable(lab, tried, {"store": "did not start: disk full"})
    assert json.loads(lab.unavailable.read_text()) == {**left_out, "store": "did not start: disk full"}
    update_unavailable(lab, tried, {})
    assert json.loads(lab.unavailable.read_text()) == left_out

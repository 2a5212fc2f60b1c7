# SPDX-License-Identifier: Apache-2.0
"""What one preflight looks at: the parts a profile has, and none that cannot be had."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.progress import Event, State
from ansible_collections.k2.hardening.plugins.module_utils.measure import preflight
from ansible_collections.k2.hardening.plugins.module_utils.measure.preflight import observe
from ansible_collections.k2.hardening.plugins.module_utils.measure.watermarks import Reading
from ansible_collections.k2.hardening.plugins.module_utils.platform.prefect import Deployment, Run, Runs
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile


def described(**changed: Any) -> Profile:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    data = {
        "k2_platform": {"name": "p", "scale": "lab", "runtime": "docker"},
        "k2_services": {"db": {"kind": "database"}, "flows": {"kind": "orchestrator"}},
        "k2_clickhouse": {"host": "127.0.0.1", "port": port, "username": "u", "password": "", "database": "d"},
    }
    return parse_profile({**data, **changed})


WATERMARKS = {
    "host": "127.0.0.1",
    "port": 1,
    "database": "d",
    "username": "u",
    "password": "",
    "table": "t",
    "name_column": "n",
    "time_column": "t",
    "max_age_s": 60,
    "needs": ["db"],
}
ORCHESTRATOR = {
    "url": "http://127.0.0.1:1/api",
    "deployments": [{"name": "f/d", "interval_s": 60}],
    "needs": ["flows", "db"],
}


def test_absent_sections_are_none(tmp_path: Path) -> None:
    seen = observe(described(), 0, 0, tmp_path, None)
    assert (seen.watermarks, seen.schedule) == (None, None)


def test_what_needs_a_service_that_cannot_be_had_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "watch_watermarks", None)
    monkeypatch.setattr(preflight, "watch_schedule", None)
    services = {
        "db": {"kind": "database", "not_available": "no server program"},
        "flows": {"kind": "orchestrator", "not_available": "needs db, which is not available"},
    }
    profile = described(k2_services=services, k2_watermarks=WATERMARKS, k2_orchestrator=ORCHESTRATOR)
    seen = observe(profile, 0, 3600, tmp_path, None)
    assert seen.watermarks is not None
    assert seen.schedule is not None
    assert seen.watermarks.error == "not asked, not available: db: no server program"
    assert seen.schedule[0].error == (
        "not asked, not available: flows: needs db, which is not available; not available: db: no server program"
    )


def test_the_parts_of_the_cold_tier_are_watched_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each waits until the other one has begun: one after the other they would never end."""
    meeting = threading.Barrier(2, timeout=60)

    def read(section: object) -> Reading:
        meeting.wait()
        return Reading({"a": 1000.0}, 1001.0)

    class Client:
        def __init__(self, url: str) -> None:
            pass

        def deployment(self, name: str) -> Deployment:
            meeting.wait()
            return Deployment("d", False, 1)

        def latest_runs(self, *asked: object) -> Runs:
            return Runs((Run("COMPLETED", 1_000_000),), 2_000_000)

    monkeypatch.setattr(preflight, "read_watermarks", read)
    monkeypatch.setattr(preflight, "PrefectClient", Client)
    progress = tmp_path / "progress.jsonl"
    profile = described(k2_watermarks=WATERMARKS, k2_orchestrator=ORCHESTRATOR)
    seen = observe(profile, 0, 0, tmp_path, progress)
    assert seen.watermarks is not None
    assert seen.schedule is not None
    assert [mark.fresh for mark in seen.watermarks.watermarks] == [True]
    assert [sight.on_time for sight in seen.schedule] == [True]
    events = [Event.from_line(line) for line in progress.read_bytes().splitlines()]
    finished = {event.task for event in events if event.state is State.FINISHED}
    assert {"watching the offload's watermarks", "watching the orchestrator's schedule"} <= finished

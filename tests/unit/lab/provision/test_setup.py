# SPDX-License-Identifier: Apache-2.0
"""Set-up as a user meets it: old Python, no disk, timings, a lock held by another."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from k2lab.provision.errors import SetupError
from k2lab.provision.lock import exclusive
from k2lab.provision.process import Runner
from k2lab.provision.record import PartRecord, SetupRecord, write_record
from k2lab.provision.system import check_disk, java_version


def test_an_old_python_is_told_what_to_install(project_root: Path) -> None:
    """The entry point must be readable by Pythons that cannot parse the rest; 3.11 pretends to be one."""
    pretend = "import sys, runpy; sys.version_info = (3, 9, 2, 'final', 0); runpy.run_module('k2lab.provision')"
    outcome = subprocess.run(
        [sys.executable, "-c", pretend],
        env={**os.environ, "PYTHONPATH": str(project_root / "lab")},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert outcome.returncode == 2
    assert "Python 3.11 or newer is needed, this is 3.9" in outcome.stderr
    assert "apt install" in outcome.stderr


def test_too_little_disk_is_told_with_what_is_needed_and_seen(tmp_path: Path) -> None:
    needed = shutil.disk_usage(tmp_path).total * 2
    with pytest.raises(SetupError, match=f"{needed / 1e9:.1f} GB are needed") as refused:
        check_disk({tmp_path / "not" / "there": needed})
    assert "GB free" in str(refused.value)


def test_needs_on_one_file_system_add_up(tmp_path: Path) -> None:
    half = shutil.disk_usage(tmp_path).free * 2 // 3
    check_disk({tmp_path / "a": half})
    with pytest.raises(SetupError):
        check_disk({tmp_path / "a": half, tmp_path / "b": half})


@pytest.mark.parametrize(
    ("says", "expected"),
    [('openjdk version "17.0.15" 2025-04-15', 17), ('java version "1.8.0_392"', 8), ('openjdk version "21" 2023', 21)],
)
def test_java_versions(says: str, expected: int, tmp_path: Path) -> None:
    java = tmp_path / "java"
    java.write_text(f"#!/bin/sh\necho '{says}' >&2\n")
    java.chmod(0o755)
    assert java_version(str(java)) == expected


def test_a_java_that_does_not_run_has_no_version(tmp_path: Path) -> None:
    assert java_version(str(tmp_path / "java")) is None


def test_a_lock_held_by_another_is_waited_for_then_told(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    told: list[str] = []
    with lock.open("w") as holder:
        holder.write("4711\n")
        holder.flush()
        fcntl.flock(holder, fcntl.LOCK_EX)
        with (
            pytest.raises(SetupError, match="4711"),
            exclusive(lock, timeout_s=0.3, waiting=told.append, cancelled=lambda: False),
        ):
            pytest.fail("two held the lock")
    assert len(told) == 1
    with exclusive(lock, timeout_s=0.3, waiting=told.append, cancelled=lambda: False):
        assert lock.read_text() == f"{os.getpid()}\n"


def test_a_warm_set_up_does_not_hide_the_times_of_the_cold_one(tmp_path: Path) -> None:
    path = tmp_path / "setup.json"
    cold = SetupRecord("run", "2026-01-01T00:00:00Z", 60.0, "ok", (PartRecord("kafka", 60.0, "built", "fetched"),))
    warm = SetupRecord("run", "2026-01-01T00:02:00Z", 0.1, "ok", (PartRecord("kafka", 0.1, "reused", "there"),))
    write_record(path, cold)
    write_record(path, warm)
    document = json.loads(path.read_text())
    assert (document["last"]["seconds"], document["last_build"]["seconds"]) == (0.1, 60.0)


def test_a_command_that_hangs_is_ended_at_its_deadline(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="not finished after"):
        Runner(tmp_path).run("hang", ["sleep", "600"], timeout_s=0.2, remedy="nothing")

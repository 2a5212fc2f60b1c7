# SPDX-License-Identifier: Apache-2.0
"""What `k2h status` prints."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.cli import status
from ansible_collections.k2.hardening.plugins.module_utils.cli.main import main
from ansible_collections.k2.hardening.plugins.module_utils.cli.status import render
from ansible_collections.k2.hardening.plugins.module_utils.cli.table import show_bytes, show_seconds
from ansible_collections.k2.hardening.plugins.module_utils.core.clock import read_clock
from ansible_collections.k2.hardening.plugins.module_utils.platform.probe import ProbeResult
from ansible_collections.k2.hardening.plugins.module_utils.platform.stack import ServiceInfo, StackInfo
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile

UP = ServiceInfo(
    name="log",
    kind="broker",
    runtime="docker",
    unit="log",
    state="running",
    ready=True,
    pid=42,
    uptime_s=3725.0,
    restarts=0,
    exit_code=None,
    port=9092,
    cpu_cores=0.126,
    memory_bytes=1536 * 1024**2,
    memory_kind="working_set",
    oom_kills=0,
    probe=ProbeResult(True, 3.2, "connected"),
    probe_what="connect 127.0.0.1:9092",
    start_command="docker start log",
    problem="",
)


def stack(*services: ServiceInfo) -> StackInfo:
    return StackInfo(services, read_clock(), read_clock(), 1)


def test_table_of_a_healthy_stack() -> None:
    assert render("bets", stack(UP)).splitlines() == [
        "SERVICE  STATE    PID  UPTIME   CPU    MEMORY  PORT  PROBE",
        "log      running   42   1h 2m  0.13  1.50 GiB  9092  ok 3 ms",
        "bets: 1 of 1 services ready",
    ]


def test_stopped_service_is_named_with_what_starts_it() -> None:
    down = dataclasses.replace(
        UP, state="exited", ready=False, pid=None, probe=ProbeResult(False, 1, "refused"), problem=""
    )
    text = render("bets", stack(down))
    assert "log (exited): probe connect 127.0.0.1:9092: refused\n    start: docker start log" in text


def test_running_service_is_not_told_to_start() -> None:
    sick = dataclasses.replace(UP, ready=False, probe=ProbeResult(False, 1, "HTTP 503 " + "x" * 200))
    text = render("bets", stack(sick))
    assert "docker start" not in text
    assert "x" * 200 in text.splitlines()[-1]
    assert len(text.splitlines()[1]) < 120


def test_same_reason_is_told_once() -> None:
    lost = dataclasses.replace(UP, state="unknown", ready=False, problem="no engine", start_command="make up")
    text = render("bets", stack(lost, dataclasses.replace(lost, name="db")))
    assert text.count("no engine") == 1
    assert "log (unknown), db (unknown): no engine\n    start: make up" in text


ABSENT = dataclasses.replace(
    UP,
    name="charts",
    state="not available",
    ready=False,
    pid=None,
    probe=None,
    problem="not available: no build",
    not_available="no build",
)


def test_what_cannot_be_had_is_listed_with_its_reason() -> None:
    text = render("bets", stack(UP, ABSENT))
    assert "charts   not available" in text
    assert "bets: 1 of 2 services ready, 1 not available\n  charts: not available: no build" in text
    assert "start:" not in text


@pytest.mark.parametrize(
    ("services", "code"),
    [((UP,), 0), ((UP, ABSENT), 3), ((UP, ABSENT, dataclasses.replace(UP, ready=False)), 1)],
)
def test_the_exit_code_tells_down_from_not_available(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], services: tuple[ServiceInfo, ...], code: int
) -> None:
    profile = parse_profile(
        {"k2_platform": {"name": "bets", "scale": "lab", "runtime": "docker"}, "k2_services": {"a": {"kind": "cache"}}}
    )
    monkeypatch.setattr(status, "load_profile", lambda *_: profile)
    monkeypatch.setattr(status, "inspect_stack", lambda *_, **__: stack(*services))
    assert main(["status", "-i", "inventory/lab"]) == code
    assert f"of {len(services)} services ready" in capsys.readouterr().out


@pytest.mark.parametrize(("seconds", "text"), [(None, "-"), (0.4, "0s"), (61, "1m 1s"), (90061, "1d 1h")])
def test_durations(seconds: float | None, text: str) -> None:
    assert show_seconds(seconds) == text


def test_sizes() -> None:
    assert (show_bytes(None), show_bytes(5 * 1024**2), show_bytes(3 * 1024**3)) == ("-", "5 MiB", "3.00 GiB")


def test_unusable_inventory_ends_with_2_and_a_message(project_root: Path, tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("all: {hosts: {elsewhere: {}}}")
    command: list[str | Path] = [
        sys.executable,
        project_root / "bin/k2h",
        "status",
        "-i",
        tmp_path / "hosts.yml",
        "--host",
        "elsewhere",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "elsewhere is another machine" in done.stderr
    assert "Traceback" not in done.stderr

# SPDX-License-Identifier: Apache-2.0
"""systemd through a systemctl that tells what a real one of version 252 does."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import UnsupportedOperation
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime import cgroup
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.base import (
    NoAnswer,
    NotRunning,
    State,
)
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.systemd import SystemdRuntime
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Resources, RuntimeSettings

ACTIVE = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "MainPID": "812",
    "NRestarts": "3",
    "Restart": "on-failure",
    "Result": "success",
    "ControlGroup": "/system.slice/web.service",
    "CPUQuotaPerSecUSec": "1.5s",
    "MemoryMax": "536870912",
    "ExecMainStatus": "0",
    "ExecMainExitTimestampMonotonic": "0",
    "ActiveEnterTimestampMonotonic": "1000000",
}


def systemctl(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> SystemdRuntime:
    """A runtime with a systemctl of its own, a Python program."""
    program = folder / "systemctl"
    program.write_text(f"#!{sys.executable}\nimport sys, time\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return SystemdRuntime(RuntimeSettings("/run/systemd/private", 2.0))


def shows(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: str) -> SystemdRuntime:
    text = "\n".join(f"{name}={value}" for name, value in {**ACTIVE, **changes}.items())
    return systemctl(folder, monkeypatch, f"assert sys.argv[1] == 'show' and sys.argv[-1] == 'web'\nprint({text!r})")


def test_a_unit_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = shows(tmp_path, monkeypatch)
    status = runtime.status("web")
    assert (status.state, status.pid, status.restarts, status.exit_code) == (State.RUNNING, 812, 3, None)
    assert status.uptime_s is not None
    setup = runtime.setup("web")
    assert setup is not None
    assert setup.limit == Resources(1.5, 512 * 2**20)
    assert setup.restart.after_crash
    assert not setup.restart.after_success
    assert runtime.start_command("web") == "systemctl start web"


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"LoadState": "not-found", "ActiveState": "inactive", "MainPID": "0"}, State.MISSING),
        ({"ActiveState": "failed", "SubState": "failed", "MainPID": "0", "Result": "oom-kill"}, State.FAILED),
        ({"ActiveState": "activating", "SubState": "auto-restart", "MainPID": "0"}, State.RESTARTING),
        ({"ActiveState": "inactive", "SubState": "dead", "MainPID": "0"}, State.STOPPED),
        ({"ActiveState": "active", "SubState": "exited", "MainPID": "0"}, State.EXITED),
        ({"ActiveState": "maintenance"}, State.UNKNOWN),
    ],
)
def test_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], state: State) -> None:
    assert shows(tmp_path, monkeypatch, **changes).status("web").state is state


def test_no_limit_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = shows(tmp_path, monkeypatch, CPUQuotaPerSecUSec="infinity", MemoryMax="infinity").setup("web")
    assert setup is not None
    assert setup.limit == Resources(None, None)


def test_resources_come_from_the_units_own_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "cgroup"
    group = root / "system.slice/web.service"
    group.mkdir(parents=True)
    (group / "cpu.stat").write_text("usage_usec 2500000\n")
    (group / "memory.current").write_text("5000\n")
    (group / "memory.stat").write_text("inactive_file 1000\n")
    (group / "memory.events").write_text("oom_kill 1\n")
    real = cgroup.locate_group
    monkeypatch.setattr(cgroup, "locate_group", lambda path: real(path, root))
    reading = shows(tmp_path, monkeypatch).resources("web")
    assert (reading.cpu_seconds, reading.memory_bytes, reading.oom_kills) == (2.5, 4000, 1)
    assert reading.memory_kind == "working_set"


def test_a_group_that_is_not_accounted_for_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = cgroup.locate_group
    monkeypatch.setattr(cgroup, "locate_group", lambda path: real(path, tmp_path / "nowhere"))
    with pytest.raises(UnsupportedOperation, match="not visible"):
        shows(tmp_path, monkeypatch).resources("web")


def test_a_unit_without_a_group_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotRunning, match="systemctl start web"):
        shows(tmp_path, monkeypatch, ControlGroup="", MainPID="0").resources("web")


def test_errors_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoAnswer, match="Failed to connect to bus"):
        systemctl(tmp_path, monkeypatch, "sys.exit('Failed to connect to bus: Host is down')").status("web")
    with pytest.raises(NoAnswer):
        systemctl(tmp_path, monkeypatch, "time.sleep(9)").status("web")
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    with pytest.raises(NoAnswer, match="systemctl on PATH"):
        SystemdRuntime(RuntimeSettings("", 1.0)).status("web")


def test_what_acts_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = shows(tmp_path, monkeypatch)
    for act in (runtime.pause, runtime.resume, runtime.kill, runtime.attachments):
        with pytest.raises(UnsupportedOperation, match="observed only"):
            act("web")

# SPDX-License-Identifier: Apache-2.0
"""The sampler on real processes: what they use, what it survives, and what it refuses."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.measure.resources.control import (
    begin,
    collect,
    standing,
    stop,
)
from ansible_collections.k2.hardening.plugins.module_utils.measure.resources.home import Holder, Home, WindowError
from ansible_collections.k2.hardening.plugins.module_utils.measure.resources.plan import Plan, plan_of
from ansible_collections.k2.hardening.plugins.module_utils.measure.resources.samples import read_ticks
from ansible_collections.k2.hardening.plugins.module_utils.measure.resources.snapshot import take_snapshot
from ansible_collections.k2.hardening.plugins.module_utils.platform.procfs import read_stat
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile
from ansible_collections.k2.hardening.plugins.module_utils.verdict import growth, resources
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import Decided, Scale, Verdict
from ansible_collections.k2.hardening.plugins.module_utils.verdict.resources import decide_resources

from .runtimes import Engine, engine_socket, eventually, supervisord

# 2 MiB a second; the saw gives back what it took, three times a second.
LEAKS = "import time; kept = []\nwhile True: kept.append(b'x' * 20971); time.sleep(0.01)"
SAW = (
    "import time; kept = []\nwhile True:\n kept.append(b'x' * 104858); time.sleep(0.01)\n if len(kept) > 29: kept = []"
)
PROGRAMS = {"leaks": LEAKS, "saw": SAW, "busy": "while True: pass", "idle": "import time; time.sleep(9999)"}


@pytest.fixture(scope="module")
def socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A supervisord with one program of each kind, named as the services are."""
    folder = tmp_path_factory.mktemp("programs")
    sections = []
    for name, text in PROGRAMS.items():
        (folder / f"{name}.py").write_text(text)
        sections.append(
            f"[program:{name}]\ncommand={sys.executable} {folder}/{name}.py\nstartsecs=0\nautorestart=true\n"
        )
    with supervisord("".join(sections)) as bench:
        for name in PROGRAMS:
            eventually(lambda name=name: bench.runtime.status(name).pid, bool)  # type: ignore[misc]
        yield bench.runtime._socket  # type: ignore[attr-defined]


def described(socket: str, *names: str, disk: Path | None = None) -> Profile:
    # A machine that others share gives a busy loop a tenth of a core at least.
    budget = {"cpus": 0.05, "memory": "4G"}
    return parse_profile(
        {
            "k2_platform": {
                "name": "bench",
                "scale": "lab",
                "runtime": "supervisor",
                "runtimes": {"supervisor": {"socket": socket}},
            },
            "k2_services": {name: {"kind": "service", "budget": budget} for name in names},
            "k2_budget": {
                "cpus": 8,
                "memory": "8G",
                "disks": {"data": {"path": str(disk), "growth_per_day": "1G"}} if disk else {},
            },
        }
    )


def planned(socket: str, *names: str, seconds: float = 600.0, interval: float = 0.2) -> Plan:
    return plan_of(described(socket, *names), seconds, interval)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A window's directory; whatever samples there is ended."""
    found = Home(tmp_path / "resources" / "w")
    yield found
    if found.exists:
        stop(found, only_look=False)


def ticks(home: Home, at_least: int) -> int:
    return eventually(lambda: len(read_ticks(home.path)), lambda n: n >= at_least, 60)


def decide(home: Home, profile: Profile, folder: Path) -> dict[str, Decided]:
    collected = collect(home, profile, folder / "undo", only_look=False).to_plain()
    facts = {"collected": collected, "files": collected["files"]}
    return {one.result.spec.id: one for one in decide_resources(profile, facts, Scale.LAB)}


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def guard_of(pid: int) -> int:
    stat = read_stat(pid)
    assert stat is not None
    return stat.parent


# -- what it measures ------------------------------------------------------------------------------------------------


def test_what_is_over_its_budget_fails_and_what_is_not_passes(socket: str, home: Home, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_bytes(b"x" * 2**20)
    profile = described(socket, "busy", "idle", disk=tmp_path / "data")
    begin(home, plan_of(profile, 12, 1), only_look=False)
    eventually(lambda: standing(home).state, lambda state: state == "finished", 60)
    found = decide(home, profile, tmp_path)
    busy, idle = found["S2.busy.cpu"].result, found["S2.idle.cpu"].result
    assert busy.verdict is Verdict.FAIL
    assert busy.measured is not None
    assert 0.05 < busy.measured < 1.3
    assert (idle.verdict, idle.measured) == (Verdict.PASS, pytest.approx(0, abs=0.05))
    assert found["S2.idle.memory"].result.verdict is Verdict.PASS
    assert 1 < (found["S2.idle.memory"].result.measured or 0) < 60
    assert found["S2.restarts"].result.measured == 0
    (disk,) = found["S2.samples"].detail["disks"]
    assert 2**20 <= disk["used_bytes"] < 2**21
    assert found["S2.burn_in_24h"].result.verdict is Verdict.NOT_RUN


def test_a_leak_is_told_from_a_sawtooth(
    socket: str, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As over a day, with a second for each ten minutes."""
    profile = described(socket, "leaks", "saw")
    begin(home, plan_of(profile, 60, 0.1), only_look=False)
    eventually(lambda: standing(home).state, lambda state: state == "finished", 120)
    warm_up_s, stretch_s = 10.0, 1.2
    real = growth.minima
    monkeypatch.setattr(resources, "needed_s", lambda: 50.0)
    monkeypatch.setattr(resources, "minima", lambda at_s, values: real(at_s, values, warm_up_s, stretch_s))
    found = decide(home, profile, tmp_path)
    assert found["S2.leaks.growth"].result.verdict is Verdict.FAIL, found["S2.leaks.growth"].result.reason
    assert found["S2.saw.growth"].result.verdict is Verdict.PASS, found["S2.saw.growth"].result.reason


def test_a_service_that_is_killed_is_an_end(socket: str, home: Home, tmp_path: Path) -> None:
    profile = described(socket, "idle")
    begin(home, plan_of(profile, 600, 0.2), only_look=False)
    ticks(home, 5)
    kill(take_pid(profile))
    ticks(home, len(read_ticks(home.path)) + 8)
    gate = decide(home, profile, tmp_path)["S2.restarts"].result
    assert (gate.verdict, gate.measured) == (Verdict.FAIL, 1)


def take_pid(profile: Profile) -> int:
    from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.factory import runtime_of

    (service,) = profile.services.values()
    return runtime_of(profile, service).pid(service.unit)


# -- what it survives ------------------------------------------------------------------------------------------------


def test_a_killed_sampler_is_started_again_and_goes_on(socket: str, home: Home) -> None:
    begin(home, planned(socket, "idle"), only_look=False)
    first = ticks(home, 4)
    pid = standing(home).pid
    assert pid is not None
    kill(pid)
    ticks(home, first + 6)
    now = standing(home)
    assert (now.state, now.pid != pid) == ("running", True)
    numbers = [row.tick for row in read_ticks(home.path)]
    assert numbers == sorted(set(numbers))
    assert now.holes, "what was missed is shown"


def test_what_was_killed_with_its_guard_is_told_and_gone_on_with(socket: str, home: Home) -> None:
    plan = planned(socket, "idle")
    begin(home, plan, only_look=False)
    ticks(home, 3)
    pid = standing(home).pid
    assert pid is not None
    kill(guard_of(pid))
    kill(pid)
    died = eventually(lambda: standing(home), lambda now: now.state == "died")
    assert "state: started goes on" in died.text
    changed, now, said = begin(home, replace(plan, seconds=7.0), only_look=False)
    assert changed
    assert said == f"went on with the window that began {died.started}"
    assert now.seconds == plan.seconds, "the window stays the one that began"
    ticks(home, died.ticks + 3)


def test_it_outlives_the_session_that_started_it(socket: str, home: Home) -> None:
    begin(home, planned(socket, "idle"), only_look=False)
    pid = standing(home).pid
    assert pid is not None
    assert os.getsid(pid) != os.getsid(0)
    assert guard_of(pid) != os.getpid()


def test_a_second_start_says_so_and_changes_nothing(socket: str, home: Home) -> None:
    plan = planned(socket, "idle")
    _, first, _ = begin(home, plan, only_look=False)
    changed, second, said = begin(home, plan, only_look=False)
    assert not changed
    assert "nothing was started" in said
    assert (second.pid, second.started) == (first.pid, first.started)


def test_what_is_stopped_is_over_and_the_next_begins_anew_beside_it(socket: str, home: Home) -> None:
    plan = planned(socket, "idle")
    begin(home, plan, only_look=False)
    changed, now = stop(home, only_look=False)
    assert (changed, now.state) == (True, "stopped")
    assert stop(home, only_look=False)[0] is False
    begin(home, plan, only_look=False)
    kept = [path for path in home.path.parent.iterdir() if path.name.startswith("w-")]
    assert len(kept) == 1
    assert read_ticks(kept[0])


def test_a_foreign_pid_in_the_pid_file_is_left_alone(socket: str, home: Home) -> None:
    plan = planned(socket, "idle")
    begin(home, plan, only_look=False)
    pid = standing(home).pid
    assert pid is not None
    kill(guard_of(pid))
    kill(pid)
    eventually(lambda: standing(home).state, lambda state: state == "died")
    # As after a day in which pids went around: the number is that of this very process.
    mine = read_stat(os.getpid())
    assert mine is not None
    holder = home.holder()
    assert holder is not None
    stale = Holder(os.getpid(), mine.start_ticks - 1, holder.boot_id)
    home_pid = home.path / "sampler.pid"
    home_pid.write_text(f'{{"pid": {stale.pid}, "started": {stale.started}, "boot_id": "{stale.boot_id}"}}')
    assert "another process now, and is left alone" in standing(home).text
    assert begin(home, plan, only_look=False)[0]
    assert stop(home, only_look=False)[1].state == "stopped"


# -- what it refuses -------------------------------------------------------------------------------------------------


def test_unknown_services_and_windows_are_refused(socket: str) -> None:
    profile = described(socket, "idle")
    with pytest.raises(K2Error, match="did you mean 'idle'"):
        plan_of(profile, 60, 5, ["idel"])
    with pytest.raises(K2Error, match="no window"):
        plan_of(profile, 1, 5)


def test_a_service_that_cannot_be_read_is_named_before_anything_starts(socket: str, home: Home, tmp_path: Path) -> None:
    profile = described(str(tmp_path / "no.sock"), "idle")
    with pytest.raises(WindowError, match=r"idle: .*no\.sock"):
        begin(home, plan_of(profile, 60, 1), only_look=False)
    assert not home.exists


def test_collect_status_and_stop_before_start(socket: str, home: Home, tmp_path: Path) -> None:
    assert standing(home).state == "none"
    with pytest.raises(WindowError, match="state: started"):
        collect(home, described(socket, "idle"), tmp_path / "undo", only_look=False)
    with pytest.raises(WindowError, match="nothing was ever started"):
        stop(home, only_look=False)


def test_check_mode_starts_nothing(socket: str, home: Home) -> None:
    changed, _, said = begin(home, planned(socket, "idle"), only_look=True)
    assert changed
    assert said == "a window would begin"
    assert not home.path.exists()


def test_a_directory_that_takes_no_file_is_told(socket: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WindowError, match="writable directory"):
        begin(Home(tmp_path / "file" / "w"), planned(socket, "idle"), only_look=False)


# -- containers ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    for found in engine_socket():
        yield Engine(found)


def test_a_container_that_the_kernel_kills_is_counted(engine: Engine, home: Home, tmp_path: Path) -> None:
    """A container's group dies with it: the engine's word is what is left."""
    # Nothing for a moment, so that it is seen alive, then more than it may have.
    greedy = "sleep 4; exec tail /dev/zero"
    with engine.container("--memory", "32m", "--restart", "always", command=greedy) as name:
        profile = parse_profile(
            {
                "k2_platform": {
                    "name": "bench",
                    "scale": "lab",
                    "runtime": "docker",
                    "runtimes": {"docker": {"socket": engine.socket}},
                },
                "k2_services": {"greedy": {"kind": "service", "unit": name, "budget": {"memory": "1G"}}},
            }
        )
        snapshot = take_snapshot(plan_of(profile, 60, 1), 0.1)
        (reading,) = snapshot.services
        assert (reading.memory_kind, reading.limit_memory_bytes) == ("working_set", 32 * 2**20)
        begin(home, plan_of(profile, 60, 0.5), only_look=False)
        time.sleep(12)
        found = decide(home, profile, tmp_path)
    assert found["S2.oom_kills"].result.verdict is Verdict.FAIL
    assert found["S2.restarts"].result.verdict is Verdict.FAIL
    assert found["S2.greedy.memory"].result.spec.target == 32.0

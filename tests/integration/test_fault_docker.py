# SPDX-License-Identifier: Apache-2.0
"""Faults on real containers: each takes effect, is proven, ends, and its steps alone undo it when nobody ends it."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.clock import Deadline
from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.fault.inject.base import (
    Fault,
    FaultEndedEarly,
    FaultNotPossible,
    Mechanism,
    Step,
)
from ansible_collections.k2.hardening.plugins.module_utils.fault.inject.factory import fault_for
from ansible_collections.k2.hardening.plugins.module_utils.fault.inject.network import OutsideCut
from ansible_collections.k2.hardening.plugins.module_utils.fault.journal import Journal
from ansible_collections.k2.hardening.plugins.module_utils.fault.steps import perform
from ansible_collections.k2.hardening.plugins.module_utils.measure.failure import experiment
from ansible_collections.k2.hardening.plugins.module_utils.measure.failure.experiment import break_and_measure
from ansible_collections.k2.hardening.plugins.module_utils.measure.failure.request import FailureRequest, plan
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.base import (
    State,
    UnitAmbiguous,
    UnitMissing,
)
from ansible_collections.k2.hardening.plugins.module_utils.platform.unix_http import SocketUnavailable
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import FaultAction
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile

from .boxes import PORT, Boxes, boxes
from .runtimes import Engine, eventually, new_name
from .scripted import answers
from .test_failure_measured import TOOL

HELD = {"max_recovery_s": 20, "duration_s": 600, "recovery_from": "heal", "affects": ["careful", "other"]}
# The worker's helper stays idle, its newest child is the run, which has a process of its own.
WORKER = "sleep 900 & sh -c 'sleep 901 & sleep 902; true' & wait"


@pytest.fixture(scope="module")
def site(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boxes]:
    with boxes(engine, tmp_path_factory.mktemp("boxes")) as made:
        yield made


@pytest.fixture(autouse=True)
def up(request: pytest.FixtureRequest) -> None:
    if "site" in request.fixturenames:
        made: Boxes = request.getfixturevalue("site")
        for unit in made.units.values():
            made.runtime.resume(unit)
            made.runtime.start(unit, 20)
        made.listening()


def fault(site: Boxes, action: str, unit: str | None = None, **service: Any) -> Fault:
    data = site.data(it={"action": "kill", "max_recovery_s": 5, "duration_s": 30})
    data["k2_services"]["front"].update(({"unit": unit} if unit else {}) | service)
    profile = parse_profile(data)
    mode = replace(profile.failure_modes["it"], action=FaultAction(action))
    return fault_for(profile, mode, profile.services["front"], site.engine.runtime())


def checked(made: Fault) -> tuple[Fault, tuple[Step, ...]]:
    """The fault, and its undo as it would be on disk."""
    made.check()
    steps: list[Step] = json.loads(json.dumps(made.undo_steps()))
    return made, tuple(steps)


def undo(steps: Iterable[Step]) -> None:
    """As the watchdog does it."""
    outcomes = perform(tuple(steps), Deadline.after(30).at_ns)
    assert all(outcome.ok for outcome in outcomes), outcomes


def reaches(site: Boxes, source: str | None = None) -> bool:
    """Whether the front takes a connection, from an address of the host if told."""
    try:
        origin = (source, 0) if source else None
        socket.create_connection((site.addresses["front"], PORT), timeout=1, source_address=origin).close()
    except OSError:
        return False
    return True


def test_a_crash_is_restarted_by_the_engine_and_its_undo_starts_what_is_down(site: Boxes) -> None:
    crash, steps = checked(fault(site, "kill"))
    victim = site.pid("front")
    crash.inject()
    assert crash.proof(5).proven
    eventually(crash.mechanism, lambda found: found is Mechanism.RESTARTED_BY_SUPERVISOR)
    assert (site.pid("front") != victim, crash.restored()) == (True, ())
    site.runtime.stop(site.units["front"], 20)
    undo(steps)
    undo(steps)
    assert crash.restored() == ()


def test_a_stop_holds_until_it_is_healed_or_undone(site: Boxes) -> None:
    stop, steps = checked(fault(site, "stop"))
    stop.inject()
    assert stop.proof(5).proven
    assert stop.restored() == ("front is exited, was running",)
    moment = stop.heal()
    assert moment is not None
    assert (stop.mechanism(), stop.restored()) == (Mechanism.RESTARTED_BY_TOOL, ())
    again, steps = checked(fault(site, "stop"))
    again.inject()
    undo(steps)
    undo(steps)
    assert again.restored() == ()


def test_a_restart_is_told_as_ours(site: Boxes) -> None:
    restart, _ = checked(fault(site, "restart"))
    restart.inject()
    assert restart.proof(5).proven
    assert (restart.mechanism(), restart.heal(), restart.restored()) == (Mechanism.RESTARTED_BY_TOOL, None, ())


def test_a_pause_keeps_the_process_and_is_undone_however_often(site: Boxes) -> None:
    pid = site.pid("front")
    pause, steps = checked(fault(site, "pause"))
    pause.inject()
    assert pause.proof(5).proven
    assert pause.restored()[0] == "front is paused, was running"
    assert pause.heal() is not None
    assert (pause.mechanism(), pause.restored(), site.pid("front")) == (Mechanism.HEALED_ITSELF, (), pid)
    pause.inject()
    undo(steps)
    undo(steps)
    assert (pause.restored(), site.pid("front")) == ((), pid)
    with pytest.raises(FaultEndedEarly):
        pause.heal()


class TestDisconnect:
    def test_address_and_aliases_come_back_and_peers_reach_it_again(self, site: Boxes) -> None:
        cut, _ = checked(fault(site, "disconnect"))
        before = site.runtime.attachments(site.units["front"])
        assert (before[0].ipv4, "front" in before[0].aliases) == (site.addresses["front"], True)
        cut.inject()
        assert (cut.proof(5).proven, reaches(site)) == (True, False)
        assert cut.heal() is not None
        assert (site.runtime.attachments(site.units["front"]), cut.restored()) == (before, ())
        eventually(lambda: reaches(site), bool)
        assert cut.mechanism() is Mechanism.HEALED_ITSELF

    def test_its_steps_bring_them_back_too_and_see_it_when_they_cannot(self, site: Boxes) -> None:
        cut, steps = checked(fault(site, "disconnect"))
        before = site.runtime.attachments(site.units["front"])
        cut.inject()
        undo(steps)
        undo(steps)
        assert site.runtime.attachments(site.units["front"]) == before
        # Somebody puts it back plainly: the engine then says that it is connected, and it is not as it was.
        cut.inject()
        site.engine.docker("network", "connect", site.subnet.name, site.units["front"])
        first, *_ = perform(steps, 0)
        assert (first.ok, "IPv4Address" in first.seen) == (False, True)
        site.engine.docker("network", "disconnect", site.subnet.name, site.units["front"])
        undo(steps)
        assert (site.runtime.attachments(site.units["front"]), cut.restored()) == (before, ())

    def test_what_has_no_network_of_its_own_is_left_alone(self, site: Boxes) -> None:
        joined = f"container:{site.units['other']}"
        for network in ("none", "host", joined):
            with site.engine.container("--network", network, "--restart", "always") as name:
                for action in ("disconnect", "cut_source"):
                    with pytest.raises(FaultNotPossible, match="network of its own"):
                        fault(site, action, name).check()


class TestCutOffTheOutside:
    """The container still has its own network, and hears nothing from beyond it."""

    @pytest.fixture
    def beyond(self, site: Boxes) -> Iterator[str]:
        """An address of the engine's host beyond all networks of containers: theirs are hidden behind a gateway's."""
        address = "192.0.2.1"
        subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
        yield address
        subprocess.run(["ip", "address", "del", f"{address}/32", "dev", "lo"], check=True)

    def test_peers_reach_it_and_the_outside_does_not_until_it_is_healed(self, site: Boxes, beyond: str) -> None:
        cut, _ = checked(fault(site, "cut_source"))
        assert isinstance(cut, OutsideCut)
        assert reaches(site, beyond)
        cut.inject()
        assert not reaches(site, beyond)
        assert cut.proof(5).proven
        assert reaches(site)
        assert "packets are dropped still" in cut.restored()[0]
        assert cut.heal() is not None
        assert (reaches(site, beyond), cut.restored()) == (True, ())
        assert cut.mechanism() is Mechanism.HEALED_ITSELF

    def test_its_steps_remove_the_rule_from_outside_however_often(self, site: Boxes, beyond: str) -> None:
        cut, steps = checked(fault(site, "cut_source"))
        cut.inject()
        undo(steps)
        undo(steps)
        assert reaches(site, beyond)
        with pytest.raises(FaultEndedEarly):
            cut.heal()

    def test_a_crash_meanwhile_takes_the_rule_along(self, site: Boxes, beyond: str) -> None:
        cut, steps = checked(fault(site, "cut_source"))
        cut.inject()
        victim = site.runtime.kill(site.units["front"])
        eventually(lambda: site.runtime.status(site.units["front"]).pid, lambda pid: pid not in (None, victim))
        eventually(lambda: reaches(site, beyond), bool)
        with pytest.raises(FaultEndedEarly, match="some of them gone"):
            cut.heal()
        undo(steps)
        assert cut.restored() == ()


def test_a_run_is_killed_with_its_processes_and_the_worker_goes_on(site: Boxes) -> None:
    with site.engine.container("--restart", "unless-stopped", command=WORKER) as name:
        kill, steps = checked(fault(site, "kill_run", name))
        pid = site.runtime.pid(name)
        kill.inject()
        assert kill.proof(5).proven
        assert (site.runtime.pid(name), kill.mechanism(), kill.restored()) == (pid, Mechanism.HEALED_ITSELF, ())
        undo(steps)


class TestWhatIsRefused:
    """Each says what was expected, what was seen and what to do, and touches nothing."""

    def told(self, error: K2Error, *words: str) -> bool:
        return bool(error.expected and error.seen and error.action) and all(word in str(error) for word in words)

    def test_a_container_that_nothing_restarts(self, site: Boxes) -> None:
        with site.engine.container("--restart", "no") as name:
            with pytest.raises(FaultNotPossible) as refused:
                fault(site, "kill", name).check()
            assert self.told(refused.value, "restart policy no", "give the unit a restart policy")
            assert site.runtime.status(name).state is State.RUNNING

    def test_a_container_whose_restarts_are_used_up(self, site: Boxes) -> None:
        with site.engine.container("--restart", "on-failure:1") as name:
            victim = site.runtime.kill(name)
            eventually(lambda: site.runtime.status(name).pid, lambda pid: pid not in (None, victim))
            with pytest.raises(FaultNotPossible, match="on-failure:1, of which 1 used"):
                fault(site, "kill", name).check()

    def test_a_container_that_is_not_there(self, site: Boxes) -> None:
        with pytest.raises(UnitMissing) as refused:
            fault(site, "kill", "k2test-nobody").check()
        assert self.told(refused.value, "k2test-nobody")

    def test_a_name_that_several_answer_to(self, site: Boxes) -> None:
        label = new_name()
        one = ("--label", f"com.docker.compose.service={label}")
        with site.engine.container(*one) as first, site.engine.container(*one) as second:
            with pytest.raises(UnitAmbiguous) as refused:
                fault(site, "stop", label).check()
            assert self.told(refused.value, first, second, "k2_platform.runtimes.docker.project")

    def test_a_container_that_is_paused_or_down(self, site: Boxes) -> None:
        front = site.units["front"]
        site.runtime.pause(front)
        with pytest.raises(FaultNotPossible) as refused:
            fault(site, "kill").check()
        assert self.told(refused.value, "state paused")
        site.runtime.stop(front, 20)
        for action in ("kill", "restart", "stop", "pause", "disconnect", "cut_source"):
            with pytest.raises(FaultNotPossible, match="state exited"):
                fault(site, action).check()

    def test_an_engine_that_is_not_there(self, site: Boxes, tmp_path: Path) -> None:
        gone = replace(site, engine=Engine(str(tmp_path / "docker.sock")))
        with pytest.raises(SocketUnavailable) as refused:
            fault(gone, "kill").check()
        assert self.told(refused.value, "does not exist", "start the runtime")
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(tmp_path / "docker.sock"))
        with pytest.raises(SocketUnavailable) as refused:
            fault(gone, "kill").check()
        assert self.told(refused.value, "nobody listens")

    def test_a_user_who_is_not_root_may_neither_ask_the_engine_nor_kill(self, site: Boxes, tmp_path: Path) -> None:
        """In a process of its own, which has given up root."""
        for case, opened, words in (
            ("socket", False, "may not be used by this user"),
            ("kill", True, "may not be signalled by this user"),
            ("cut_source", True, "the packet filter is root's"),
        ):
            action = "kill" if case == "socket" else case
            with way_to(site.engine, tmp_path, opened=opened) as path:
                data = replace(site, engine=Engine(str(path))).data(it=HELD | {"action": "kill"})
                found = as_nobody(data, action)
            assert words in found["obstacle"], found
            assert "become: true" in found["obstacle"]
        assert site.runtime.status(site.units["front"]).state is State.RUNNING


@contextmanager
def way_to(engine: Engine, folder: Path, *, opened: bool) -> Iterator[Path]:
    """A path to the engine's socket, which everybody may use or nobody but root."""
    real = Path(engine.socket)
    before, parent = stat.S_IMODE(real.stat().st_mode), stat.S_IMODE(real.parent.stat().st_mode)
    real.parent.chmod(parent | 0o711)
    real.chmod(0o666 if opened else 0o600)
    try:
        yield real
    finally:
        real.chmod(before)
        real.parent.chmod(parent)


# What is imported later may be where root alone can look.
AS_NOBODY = """
import encodings.ascii, encodings.idna, json, os, sys
from dataclasses import replace
from ansible_collections.k2.hardening.plugins.module_utils.measure.failure import request
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import FaultAction
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile
profile = parse_profile(json.loads(sys.argv[1]))
mode = replace(profile.failure_modes["it"], action=FaultAction(sys.argv[2]))
request.all_modes = lambda _: (mode,)
os.setgroups([]), os.setgid(65534), os.setuid(65534)
print(json.dumps(request.plan(profile, request.FailureRequest("it"))))
"""


def as_nobody(data: dict[str, Any], action: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, json.dumps(data), action],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_check_mode_tells_what_would_be_done(site: Boxes) -> None:
    told = plan(site.profile(it=HELD | {"action": "disconnect"}), FailureRequest("it"))
    assert told["obstacle"] is None
    assert told["action"] == f"disconnect {site.units['front']} from all its networks for 600 s"
    assert told["undo"] == "connect it to the same networks, with its addresses and aliases"
    assert told["at_most_s"] > 600


@pytest.mark.parametrize("action", ["disconnect", "pause", "cut_source", "stop"])
def test_a_tool_killed_while_a_fault_is_held_is_undone_by_its_watchdog(
    site: Boxes, tmp_path: Path, action: str
) -> None:
    before = site.runtime.attachments(site.units["front"])
    journal = Journal(tmp_path / "scripted" / "undo")
    data = site.data(it=HELD | {"action": action})
    if action == "cut_source":
        data["k2_services"]["front"].update({"kind": "feed-handler", "exchange": "binance"})
    process = subprocess.Popen(
        [sys.executable, "-c", TOOL, json.dumps(data), str(tmp_path), os.devnull],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,
    )
    try:
        (entry,) = eventually(journal.open_entries, bool, 60)
        eventually(lambda: in_force(site, action), bool)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)
    eventually(journal.open_entries, lambda entries: not entries, 30)
    assert journal.closed_by(entry.id) == "watchdog"
    assert site.runtime.status(site.units["front"]).state is State.RUNNING
    assert site.runtime.attachments(site.units["front"]) == before
    assert not in_force(site, action)
    eventually(lambda: answers(site.addresses["front"], PORT), bool)


def in_force(site: Boxes, action: str) -> bool:
    front = site.units["front"]
    if action == "disconnect":
        return site.runtime.attachments(front) == ()
    if action == "cut_source":
        words = ["nsenter", "-t", str(site.pid("front")), "-n", "iptables", "-w", "5", "-S", "INPUT"]
        return "k2-" in subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return site.runtime.status(front).state in (State.PAUSED, State.EXITED)


def test_a_disconnect_is_measured_from_its_peers(site: Boxes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "LEAST_WATCH_S", 1.0)
    mode = HELD | {"action": "disconnect", "duration_s": 2}
    result = break_and_measure(
        site.profile(it=mode), FailureRequest("it", run_id="run-1", steady_s=1, settle_s=1), tmp_path
    ).to_plain()
    assert (result["error"], result["problems"], result["restored"]["differences"]) == (None, [], [])
    assert (result["mechanism"], result["undone_by"]) == ("healed itself", "tool")
    lanes = {lane["name"]: lane["outage"] for lane in result["lanes"]}
    # The process never noticed; who asks for it over its network did.
    assert (lanes["process:front"]["fails"], lanes["service:front"]["fails"] > 0) == (0, True)
    assert lanes["service:front"]["lower_s"] <= 2 <= lanes["service:front"]["upper_s"]
    kinds = [(each["service"], each["kind"]) for each in result["events"]["seen"]]
    assert (result["events"]["why"], kinds[0][0]) == ("", "front")
    assert {"disconnected", "connected"} <= {kind for _, kind in kinds}

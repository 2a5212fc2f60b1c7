# SPDX-License-Identifier: Apache-2.0
"""S3 on services whose outages are known: the measured interval contains the truth, and no fault outlives its tool.

``K2_UNDO_ROUNDS`` kills the tool more often than the three times of an ordinary test.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.clock import Deadline
from ansible_collections.k2.hardening.plugins.module_utils.fault.inject.base import Moment, bracket
from ansible_collections.k2.hardening.plugins.module_utils.fault.inject.processes import Kill, Restart, Stop
from ansible_collections.k2.hardening.plugins.module_utils.fault.journal import Journal, JournalError
from ansible_collections.k2.hardening.plugins.module_utils.fault.lock import PlatformBusy, PlatformLock
from ansible_collections.k2.hardening.plugins.module_utils.fault.steps import Outcome, perform
from ansible_collections.k2.hardening.plugins.module_utils.measure.failure import experiment, guard, watching
from ansible_collections.k2.hardening.plugins.module_utils.measure.failure.experiment import break_and_measure
from ansible_collections.k2.hardening.plugins.module_utils.measure.failure.guard import undo_earlier
from ansible_collections.k2.hardening.plugins.module_utils.measure.failure.request import (
    FailureRequest,
    open_fault,
    plan,
)
from ansible_collections.k2.hardening.plugins.module_utils.measure.recovery.samplers import NotSteady
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.base import RuntimeFailure, State
from ansible_collections.k2.hardening.plugins.module_utils.verdict.failure import decide_failure
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import GateResult, Scale, Verdict

from .runtimes import eventually
from .scripted import Site, scripted

pytestmark = pytest.mark.measures

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
ROUNDS = int(os.environ.get("K2_UNDO_ROUNDS", "3"))
ALONE = {"action": "kill", "max_recovery_s": 20}
# Of whom a fault may touch it is known four times as fast that all is well with them.
CRASH = ALONE | {"affects": ["careful", "other"]}
STOP = CRASH | {"action": "stop", "duration_s": 2, "recovery_from": "heal"}
PAUSE = STOP | {"action": "pause"}
# A run of its own, to be killed.
TOOL = """
import json, sys
from pathlib import Path
from ansible_collections.k2.hardening.plugins.module_utils.measure.failure.experiment import break_and_measure
from ansible_collections.k2.hardening.plugins.module_utils.measure.failure.request import FailureRequest
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile
print("begins", flush=True)
request = FailureRequest("it", run_id="killed", steady_s=1, settle_s=1)
break_and_measure(parse_profile(json.loads(sys.argv[1])), request, Path(sys.argv[2]), Path(sys.argv[3]))
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with scripted(tmp_path_factory.mktemp("scripted")) as made:
        yield made


@pytest.fixture(autouse=True)
def site(platform: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    # These services do at once as they are told: nothing shows late.
    monkeypatch.setattr(experiment, "LEAST_WATCH_S", 1.0)
    monkeypatch.setattr(watching, "SYMPTOM_S", 1.0)
    platform.mend()
    return platform


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "scripted" / "undo")


def measured(site: Site, tmp_path: Path, mode: dict[str, Any], **request: Any) -> dict[str, Any]:
    """One fault of mode "it", as a module returns it."""
    asked = FailureRequest("it", run_id="run-1", **({"steady_s": 1, "settle_s": 1} | request))
    result = break_and_measure(site.profile(it=mode), asked, tmp_path)
    plain: dict[str, Any] = json.loads(json.dumps(result.to_plain()))
    return plain


def gates(site: Site, mode: dict[str, Any], found: dict[str, Any]) -> dict[str, GateResult]:
    facts = {"mode": "it", "failures": [found], "loads": [], "audit": None}
    decided = decide_failure(site.profile(it=mode), facts, Scale.LAB)
    return {one.result.spec.id.removeprefix("S3.it."): one.result for one in decided}


def clean(found: dict[str, Any], journal: Journal) -> bool:
    """Whether nothing is left of it, and nothing hindered it."""
    hindered = (found["error"], found["problems"], found["restored"]["differences"])
    return (hindered, journal.open_entries(), watchdogs(journal)) == ((None, [], []), [], [])


def watchdogs(journal: Journal) -> list[str]:
    """Logs of watchdogs that had something to do, or are still there."""
    return [path.name for path in (journal.path.parent / "watchdog").glob("*.log")]


def looks(found: dict[str, Any], lane: str) -> list[tuple[int, int, bool]]:
    """Start, end and success of each look, on the clock."""
    (samples,) = (each["samples"] for each in found["lanes"] if each["name"] == lane)
    base = found["baseline_start_ns"]
    return [(base + round(start * 1e6), base + round(end * 1e6), bool(ok)) for start, end, ok, _ in samples]


@pytest.mark.parametrize("delay_s", [0.5, 3.0])
def test_the_recovery_contains_when_the_service_was_really_up(
    site: Site, tmp_path: Path, journal: Journal, delay_s: float
) -> None:
    site.script("front", delay_s=delay_s)
    killed = site.pid("front")
    known = len(site.ups("front"))
    found = measured(site, tmp_path, ALONE)
    ((up_low, up_high),) = site.ups("front")[known:]
    inject_low, inject_high = found["injected"]
    out_s = [(up_low - inject_high) / 1e9, (up_high - inject_low) / 1e9]
    assert out_s[0] > delay_s - 0.01
    assert (found["proof"]["proven"], f"process {killed} is gone" in found["proof"]["what"]) == (True, True)
    (lane,) = (each["outage"] for each in found["lanes"] if each["name"] == "service:front")
    assert lane["t2"][0] <= out_s[1]
    assert lane["t2"][1] >= out_s[0]
    assert lane["lower_s"] <= out_s[1]
    assert lane["upper_s"] >= out_s[0]
    # The platform is back when its supervisor calls the process running, too: that may be the later of the two.
    recovery = found["recovery"]
    assert recovery["point"] == "served"
    assert lane["t2"][0] <= recovery["low_s"] <= recovery["high_s"]
    assert recovery["high_s"] >= lane["t2"][1]
    decided = gates(site, ALONE, found)
    assert decided["recovery"].verdict is PASS, decided["recovery"].reason
    assert (decided["recovery"].low, decided["recovery"].high) == (recovery["low_s"], recovery["high_s"])
    assert decided["restored"].verdict is PASS
    assert decided["isolation"].verdict is PASS, decided["isolation"].reason
    assert (found["mechanism"], found["undone_by"]) == ("restarted by its supervisor", None)
    assert clean(found, journal)


def test_a_service_that_is_back_too_late_fails_by_what_was_seen(site: Site, tmp_path: Path, journal: Journal) -> None:
    site.script("front", delay_s=3)
    late = CRASH | {"max_recovery_s": 2}
    found = measured(site, tmp_path, late)
    recovery = gates(site, late, found)["recovery"]
    assert recovery.verdict is FAIL
    assert recovery.low is not None
    assert recovery.low >= 2
    assert "expected < 2 s" in recovery.reason
    assert clean(found, journal)


def test_a_service_that_never_comes_back_fails_when_its_time_is_over(
    site: Site, tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment, "STEADY_AFTER_S", 1.0)
    site.script("front", delay_s=600)
    never = CRASH | {"max_recovery_s": 1}
    known = len(site.ups("front"))
    found = measured(site, tmp_path, never, watch_s=2.5)
    assert len(site.ups("front")) == known
    assert (found["recovery"], found["steady_after"]) == (None, False)
    recovery = gates(site, never, found)["recovery"]
    assert (recovery.verdict, recovery.high) == (FAIL, None)
    assert recovery.low is not None
    assert 1 <= recovery.low <= (found["ended_ns"] - found["injected"][0]) / 1e9
    assert "not back after" in recovery.reason
    assert (journal.open_entries(), watchdogs(journal)) == ([], [])


def test_what_its_supervisor_gave_up_is_started_by_the_undo_and_fails(
    site: Site, tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment, "RESTORED_S", 1.0)
    site.script("careful", fails=2)
    given_up = ALONE | {"services": ["careful"], "affects": ["front", "other"], "max_recovery_s": 1}
    found = measured(site, tmp_path, given_up, watch_s=4)
    (difference,) = found["restored"]["differences"]
    assert difference.startswith("careful is ")
    assert (found["undone_by"], found["mechanism"], found["steady_after"]) == ("tool", None, True)
    assert gates(site, given_up, found)["recovery"].verdict is FAIL
    assert gates(site, given_up, found)["restored"].verdict is FAIL
    assert site.state("careful") is State.RUNNING
    assert (found["error"], journal.open_entries()) == (None, [])


def test_what_even_the_undo_cannot_start_fails_and_stays_open_until_its_watchdog_can(
    site: Site, tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name, seconds in ((experiment, "RESTORED_S", 0.5), (experiment, "STEADY_AFTER_S", 0.5)):
        monkeypatch.setattr(module, name, seconds)
    monkeypatch.setattr(guard, "UNDO_TIMEOUT_S", 2.0)
    site.script("careful", fails=1000)
    broken = ALONE | {"services": ["careful"], "affects": ["front", "other"], "max_recovery_s": 1}
    found = measured(site, tmp_path, broken, watch_s=4)
    decided = gates(site, broken, found)
    assert decided["recovery"].verdict is FAIL, decided["recovery"].reason
    assert decided["restored"].verdict is FAIL
    assert any(text.startswith("not undone: ") for text in found["restored"]["differences"])
    assert (found["steady_after"], found["error"]) == (False, None)
    (entry,) = journal.open_entries()
    site.script("careful")
    eventually(journal.open_entries, lambda entries: not entries, 60)
    assert journal.closed_by(entry.id) == "watchdog"
    assert site.state("careful") is State.RUNNING


def test_an_undo_is_done_when_the_service_is_up_however_often_its_start_fails(site: Site) -> None:
    whole = site.profile(it=STOP | {"services": ["careful"], "affects": []})
    fault = open_fault(whole, whole.failure_modes["it"], whole.services["careful"])
    fault.check()
    undo = fault.undo_steps()
    fault.inject()
    # A start that failed leaves it waiting for the next, which supervisord takes for started.
    site.script("careful", fails=2)
    outcomes = perform(undo, Deadline.after(60).at_ns)
    assert all(outcome.ok for outcome in outcomes), outcomes
    assert site.state("careful") is State.RUNNING


def test_a_fault_without_effect_proves_nothing_and_passes_nothing(
    site: Site, tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(self: Kill) -> Moment:
        return bracket(lambda: None)

    monkeypatch.setattr(Kill, "inject", nothing)
    monkeypatch.setattr(experiment, "PROOF_S", 0.5)
    pid = site.pid("front")
    found = measured(site, tmp_path, CRASH)
    assert site.pid("front") == pid
    assert found["proof"] == {"proven": False, "what": f"process {pid} still runs"}
    decided = gates(site, CRASH, found)
    for gate in ("recovery", "isolation", "restored"):
        assert decided[gate].verdict is INCONCLUSIVE
        assert f"process {pid} still runs" in decided[gate].reason
    assert clean(found, journal)


def test_a_crash_that_the_tool_had_to_mend_is_no_recovery(
    site: Site, tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Kill, "inject", Restart.inject)
    found = measured(site, tmp_path, CRASH)
    recovery = gates(site, CRASH, found)["recovery"]
    assert recovery.verdict is FAIL
    assert recovery.reason == "front: restarted by the tool, expected: restarted by its supervisor"
    assert clean(found, journal)


def test_a_platform_that_is_already_sick_is_left_alone(site: Site, tmp_path: Path, journal: Journal) -> None:
    site.runtime.stop("other", 20)
    pid = site.pid("front")
    with pytest.raises(NotSteady, match="process:other: state stopped"):
        measured(site, tmp_path, CRASH, steady_timeout_s=2)
    assert site.pid("front") == pid
    assert not journal.path.exists()


def test_a_platform_on_which_another_run_is_at_work_is_left_alone(site: Site, tmp_path: Path, journal: Journal) -> None:
    pid = site.pid("front")
    with (
        PlatformLock(tmp_path / "scripted", "run-0"),
        pytest.raises(PlatformBusy, match=f"process {os.getpid()} of run run-0"),
    ):
        measured(site, tmp_path, CRASH)
    assert site.pid("front") == pid
    assert not journal.path.exists()


def test_without_a_journal_nothing_is_broken(site: Site, tmp_path: Path, journal: Journal) -> None:
    journal.path.mkdir(parents=True)
    (journal.path / "closed").touch()
    pid = site.pid("front")
    with pytest.raises(JournalError, match="cannot write the undo journal"):
        measured(site, tmp_path, CRASH)
    assert site.pid("front") == pid


def test_a_fault_that_fails_halfway_is_undone_and_told(
    site: Site, tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(self: Stop) -> Moment:
        self.runtime.stop(self.unit, 20)
        raise RuntimeFailure("it does not answer")

    monkeypatch.setattr(Stop, "inject", half)
    with pytest.raises(RuntimeFailure, match=r"could not be brought about.*it does not answer.*nothing is left of it"):
        measured(site, tmp_path, STOP)
    assert site.states() == {State.RUNNING}
    assert (journal.open_entries(), watchdogs(journal)) == ([], [])


def test_a_supervisor_that_hangs_meanwhile_costs_the_verdict_and_not_the_service(
    site: Site, tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor: int = site.runtime._call("getPID")

    def kill_and_hang(self: Kill) -> Moment:
        os.kill(supervisor, signal.SIGSTOP)
        return bracket(lambda: os.kill(self.before.process.pid, signal.SIGKILL))

    def answer_again(*arguments: Any) -> list[Outcome]:
        os.kill(supervisor, signal.SIGCONT)
        return perform(*arguments)

    monkeypatch.setattr(Kill, "inject", kill_and_hang)
    monkeypatch.setattr(guard, "perform", answer_again)
    monkeypatch.setattr(experiment, "RESTORED_S", 1.0)
    try:
        found = measured(replace(site, timeout_s=1), tmp_path, CRASH, watch_s=2)
    finally:
        os.kill(supervisor, signal.SIGCONT)
    (difference,) = found["restored"]["differences"]
    assert "cannot be told whether front is as it was" in difference
    assert "what brought it back cannot be told" in found["problems"][0]
    assert (found["proof"]["proven"], found["undone_by"], found["steady_after"]) == (True, "tool", True)
    decided = gates(site, CRASH, found)
    assert [decided[gate].verdict for gate in ("recovery", "isolation", "restored")] == [
        INCONCLUSIVE,
        INCONCLUSIVE,
        FAIL,
    ]
    assert (site.states(), journal.open_entries()) == ({State.RUNNING}, [])


@pytest.mark.parametrize(
    ("mode", "mechanism"), [(STOP, "restarted by the tool"), (PAUSE, "healed itself")], ids=["stop", "pause"]
)
def test_what_is_held_is_held_long_enough_watched_meanwhile_and_put_back(
    site: Site, tmp_path: Path, journal: Journal, mode: dict[str, Any], mechanism: str
) -> None:
    found = measured(site, tmp_path, mode)
    (_, inject_high), (heal_low, _) = found["injected"], found["healed"]
    assert found["zero"] == "heal"
    assert heal_low - inject_high >= mode["duration_s"] * 1e9
    assert (found["mechanism"], found["undone_by"]) == (mechanism, "tool")
    for lane in ("process:front", "service:front"):
        held = [(start, end, ok) for start, end, ok in looks(found, lane) if end > inject_high and start < heal_low]
        # A look that hangs at what stands still is as long as its timeout.
        gaps = [later[0] - sooner[1] for sooner, later in pairwise(held)]
        assert held[0][0] < inject_high + 1e9
        assert held[-1][1] > heal_low - 1e9
        assert max(gaps) < 1e9
        assert any(not ok for _, _, ok in held)
    decided = gates(site, mode, found)
    assert decided["recovery"].verdict is PASS, decided["recovery"].reason
    assert decided["restored"].verdict is PASS, decided["restored"].reason
    assert clean(found, journal)


def test_a_service_that_dies_with_the_first_was_not_kept_out_of_it(site: Site, tmp_path: Path) -> None:
    site.script("other", delay_s=3)
    site.script("front", takes_along=site.pid("other"))
    found = measured(site, tmp_path, ALONE)
    decided = gates(site, ALONE, found)
    assert decided["isolation"].verdict is FAIL
    assert "service:other" in decided["isolation"].reason
    assert decided["recovery"].verdict is PASS, decided["recovery"].reason


@contextmanager
def tool(
    site: Site, tmp_path: Path, mode: dict[str, Any], progress: Path = Path(os.devnull)
) -> Iterator[subprocess.Popen[str]]:
    """A run in a process of its own, killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", TOOL, json.dumps(site.data(it=mode)), str(tmp_path), str(progress)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "begins\n"
        yield process
    finally:
        # Its group, as a terminal or an init that ends a session does.
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=20)


def test_a_run_killed_while_a_service_is_held_down_is_undone_by_its_watchdog(
    site: Site, tmp_path: Path, journal: Journal
) -> None:
    with tool(site, tmp_path, STOP | {"duration_s": 600}):
        (entry,) = eventually(journal.open_entries, bool)
        eventually(lambda: site.state("front"), lambda state: state is State.STOPPED)
    eventually(journal.open_entries, lambda entries: not entries, 30)
    assert journal.closed_by(entry.id) == "watchdog"
    eventually(lambda: site.answers("front"), bool)
    found = measured(site, tmp_path, CRASH)
    assert gates(site, CRASH, found)["recovery"].verdict is PASS
    assert (found["error"], found["problems"]) == (None, [])


def test_a_run_killed_at_any_moment_leaves_nothing_broken(site: Site, tmp_path: Path, journal: Journal) -> None:
    moments = random.Random(6)
    for number in range(ROUNDS):
        mode, progress = (STOP, PAUSE, CRASH)[number % 3], tmp_path / f"progress-{number}"
        progress.touch()
        action = plan(site.profile(it=mode), FailureRequest("it"))["action"]
        with tool(site, tmp_path, mode, progress) as run:
            if moments.random() < 0.7:
                # About the fault itself; else before it and after it, too, where nothing is to be undone.
                eventually(lambda run=run: journal.open_entries() or run.poll() is not None, bool)
            time.sleep(moments.uniform(0, 2.5))
        if action in progress.read_text(encoding="utf-8"):
            # Nobody but the watchdog is there to put it back.
            eventually(journal.open_entries, lambda entries: not entries, 30)
        else:
            undo_earlier(journal)
        assert journal.open_entries() == []
        eventually(site.states, lambda states: states == {State.RUNNING})

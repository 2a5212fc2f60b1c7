# SPDX-License-Identifier: Apache-2.0
"""S3.audit and S3.mttr_30s rest on what the run recorded: a mode without a bound keeps the milestone from passing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import failure_facts as given
import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.profile.failures import all_modes, crash_modes
from ansible_collections.k2.hardening.plugins.module_utils.verdict import catalogue
from ansible_collections.k2.hardening.plugins.module_utils.verdict.failure import decide_failure
from ansible_collections.k2.hardening.plugins.module_utils.verdict.failure_whole import Recorded
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import GateResult, Scale, Verdict
from ansible_collections.k2.hardening.plugins.module_utils.verdict.rundir import Owner, RunDir, RunInfo, RunState

PASS, FAIL, INCONCLUSIVE, NOT_RUN = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.NOT_RUN
INFO = RunInfo("betting", "sha256:0", "inventory", "lab", False, {}, None, {})
LOST = {"uk": 200, "ie": 190}


class Run:
    """A run of step S3, recorded as the action plugin records it."""

    def __init__(self, root: Path) -> None:
        self.dir = RunDir.create(root, INFO, catalogue.not_run(given.PROFILE, ["S3"]), Owner.of(os.getpid()))

    def tell(self, **facts: Any) -> None:
        """Decide and record."""
        recorded = Recorded({gate.spec.id: gate for gate in self.dir.gates()}, self.dir.details("S3"))
        for one in decide_failure(given.PROFILE, facts, Scale.LAB, recorded):
            for path, content in one.samples.items():
                self.dir.keep(path, content)
            self.dir.record(one.result.with_evidence(*one.samples), one.detail, one.mechanism)

    def mode(self, name: str, **changes: Any) -> None:
        """One mode of the profile that went well, unless changed."""
        faults = [given.fault(name, service, **changes) for service in given.MODES[name]["services"]]
        audit = given.audit(lost=LOST if name == "odds_crash" else None)
        self.tell(mode=name, failures=faults, loads=[given.load()], audit=audit)

    def all_but(self, *left_out: str) -> None:
        """Every mode and crash that went well, but some."""
        for name in given.MODES:
            if name not in left_out:
                self.mode(name)
        crashes = [
            given.fault(mode.name, mode.services[0]) for mode in crash_modes(given.PROFILE) if mode.name not in left_out
        ]
        self.tell(crashes=crashes, loads=[given.load()], audit=given.audit())

    def gate(self, name: str) -> GateResult:
        return next(gate for gate in self.dir.gates() if gate.spec.id == name)

    def whole(self, audit: dict[str, Any] | None) -> tuple[GateResult, GateResult]:
        """S3.audit and S3.mttr_30s."""
        self.tell(mttr=True, audit_all=audit)
        return self.gate("S3.audit"), self.gate("S3.mttr_30s")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


STEP_AUDIT = given.audit(upstream=[])


def test_a_step_in_which_all_went_well_passes(run: Run) -> None:
    run.all_but()
    audit, mttr = run.whole(STEP_AUDIT)
    assert (audit.verdict, mttr.verdict) == (PASS, PASS)
    # The archive recovers with its next run after 43 s; what counts of it is when the service itself was back.
    assert (mttr.high, mttr.n) == (3.25, len(all_modes(given.PROFILE)))
    assert run.dir.end(RunState.FINISHED) is PASS
    blocking = {gate.verdict for gate in run.dir.gates() if gate.spec.blocking and gate.spec.step == "S3"}
    assert blocking == {PASS}


def test_a_mode_that_was_not_run_keeps_the_milestone_from_passing(run: Run) -> None:
    run.all_but("store_cut")
    mttr = run.whole(STEP_AUDIT)[1]
    assert (mttr.verdict, mttr.high) == (INCONCLUSIVE, None)
    assert "store_cut" in mttr.reason


def test_a_crash_that_was_not_run_does_so_too(run: Run) -> None:
    run.all_but("crash_board")
    assert "crash_board" in run.whole(STEP_AUDIT)[1].reason
    assert run.gate("S3.mttr_30s").verdict is INCONCLUSIVE


@pytest.mark.parametrize(
    "changes",
    [
        {"proof": None},
        {"recovery": None, "t2_s": None},
        {"mechanism": "restarted by the tool", "action": "disconnect"},
        {"steady_after": False},
    ],
)
def test_a_mode_without_a_bound_that_can_be_trusted_does_so_too(run: Run, changes: dict[str, Any]) -> None:
    run.all_but("store_cut")
    run.mode("store_cut", **changes)
    mttr = run.whole(STEP_AUDIT)[1]
    assert mttr.verdict is INCONCLUSIVE
    assert "store_cut" in mttr.reason


def test_a_recovery_of_30_s_or_more_fails_the_milestone(run: Run) -> None:
    run.all_but("store_cut")
    run.mode("store_cut", back_s=31.0)
    mttr = run.whole(STEP_AUDIT)[1]
    assert mttr.verdict is FAIL
    assert "store_cut" in mttr.reason


def test_a_mode_that_fails_its_own_target_need_not_fail_the_milestone(run: Run) -> None:
    run.all_but("log_restart")
    run.mode("log_restart", back_s=12.0)
    assert run.gate("S3.log_restart.recovery").verdict is FAIL
    assert run.whole(STEP_AUDIT)[1].verdict is PASS


def test_a_platform_that_never_came_back_fails_the_milestone(run: Run) -> None:
    run.all_but("log_restart")
    gone = {"recovery": None, "t1_s": None, "t2_s": None, "t3_s": None, "mechanism": None, "steady_after": False}
    run.mode("log_restart", back_s=40.0, ended_ns=given.at(40), **gone)
    assert run.whole(STEP_AUDIT)[1].verdict is FAIL


def test_what_nobody_chose_for_this_run_blocks_nothing_and_proves_nothing(run: Run) -> None:
    run.mode("log_restart")
    others = [mode.name for mode in all_modes(given.PROFILE) if mode.name != "log_restart"]
    run.tell(modes=others, unselected="not among k2_failure_modes_only")
    audit, mttr = run.whole(STEP_AUDIT)
    assert audit.verdict is PASS
    assert (mttr.verdict, mttr.spec.blocking) == (NOT_RUN, False)
    assert "store_cut" in mttr.reason
    assert run.dir.end(RunState.FINISHED) is PASS
    left = [gate for gate in run.dir.gates() if gate.spec.id.startswith("S3.store_cut")]
    assert {(gate.verdict, gate.spec.blocking, gate.reason) for gate in left} == {
        (NOT_RUN, False, "not among k2_failure_modes_only")
    }


def test_a_failure_of_what_was_chosen_blocks_all_the_same(run: Run) -> None:
    run.mode("store_cut", back_s=31.0)
    for mode in all_modes(given.PROFILE):
        if mode.name != "store_cut":
            run.tell(mode=mode.name, unselected="quick")
    mttr = run.whole(STEP_AUDIT)[1]
    assert (mttr.verdict, mttr.spec.blocking) == (FAIL, True)
    assert run.dir.end(RunState.FINISHED) is FAIL


@pytest.mark.parametrize(("key", "verdict"), [("skipped", NOT_RUN), ("failed", INCONCLUSIVE)])
def test_what_was_chosen_and_not_measured_blocks(run: Run, key: str, verdict: Verdict) -> None:
    run.all_but("store_cut")
    run.tell(mode="store_cut", **{key: "the platform did not return"})
    gate = run.gate("S3.store_cut.recovery")
    assert (gate.verdict, gate.spec.blocking, gate.reason) == (verdict, True, "the platform did not return")
    assert run.whole(STEP_AUDIT)[1].verdict is INCONCLUSIVE
    assert run.dir.end(RunState.FINISHED) is INCONCLUSIVE


# -- the ledger of the whole step --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("audit", "verdict"),
    [
        (None, INCONCLUSIVE),
        (given.audit(range=[], upstream=[]), INCONCLUSIVE),
        (given.audit(tiers=[], upstream=[]), INCONCLUSIVE),
        (given.audit("INCONCLUSIVE", upstream=[], reason="half"), INCONCLUSIVE),
        (given.audit("LOST", upstream=[], tiers=[given.tier("LOST", missing=1)]), FAIL),
        (given.audit("DUPLICATED", upstream=[], tiers=[given.tier("DUPLICATED", duplicated=1)]), FAIL),
        (given.audit("LOST", upstream=[]), FAIL),
        # What never came to the broker is accounted for by the outages of the modes, or by nothing.
        (given.audit(lost=LOST), PASS),
        (given.audit(lost={"uk": 201}), FAIL),
    ],
)
def test_the_ledger_of_the_step(run: Run, audit: dict[str, Any] | None, verdict: Verdict) -> None:
    run.all_but()
    assert run.whole(audit)[0].verdict is verdict


def test_a_step_in_which_nothing_was_broken_has_no_ledger(run: Run) -> None:
    assert run.whole(STEP_AUDIT)[0].verdict is INCONCLUSIVE


@pytest.mark.parametrize(
    ("audit", "loads", "verdict"),
    [
        (given.audit(lost={"uk": 3}), [given.load()], FAIL),
        (given.audit(tiers=[]), [given.load()], INCONCLUSIVE),
        (given.audit(upstream=[]), [], INCONCLUSIVE),
        (given.audit(upstream=[]), [given.load()], INCONCLUSIVE),
        (given.audit(), [given.load(start_us=given.STARTED_US + 10_500_000)], INCONCLUSIVE),
        (None, [given.load()], INCONCLUSIVE),
    ],
)
def test_what_crashes_cost_shows_in_the_ledger_of_the_step(
    run: Run, audit: dict[str, Any] | None, loads: list[Any], verdict: Verdict
) -> None:
    for name in given.MODES:
        run.mode(name)
    crashes = [given.fault(mode.name, mode.services[0]) for mode in crash_modes(given.PROFILE)]
    run.tell(crashes=crashes, loads=loads, audit=audit)
    assert run.whole(STEP_AUDIT)[0].verdict is verdict


def test_the_step_may_count_for_its_crashes(run: Run) -> None:
    for name in given.MODES:
        run.mode(name)
    run.tell(crashes=[given.fault(mode.name, mode.services[0]) for mode in crash_modes(given.PROFILE)])
    assert run.whole(given.audit(lost=LOST))[0].verdict is PASS


# -- what is no fact ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"mode": "unknown", "failures": []},
        {"mode": "log_restart"},
        {"crashes": [given.fault("log_restart", "log")]},
        {"mode": "log_restart", "failures": [{}]},
    ],
)
def test_facts_of_another_shape_are_refused(run: Run, facts: dict[str, Any]) -> None:
    with pytest.raises(K2Error):
        run.tell(**facts)


def test_samples_are_kept_beside_the_evidence_that_names_them(run: Run) -> None:
    run.mode("log_restart")
    gate = run.gate("S3.log_restart.recovery")
    assert "samples/S3.log_restart.log.json" in gate.evidence
    assert all((run.dir.path / path).is_file() for path in gate.evidence)


@pytest.mark.parametrize("path", ["samples/../results.json", "evidence/x.json", "samples/a/b.json", "samples/x.txt"])
def test_samples_lie_nowhere_else(run: Run, path: str) -> None:
    with pytest.raises(K2Error, match="cannot keep"):
        run.dir.keep(path, {})

"""The run directory: true at every moment, one run per platform, nothing left open by a dead run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import (
    GateResult,
    GateSpec,
    Op,
    Scale,
    Verdict,
    decide,
)
from ansible_collections.k2.hardening.plugins.module_utils.verdict.rundir import (
    Owner,
    RunDir,
    RunError,
    RunInfo,
    RunState,
    mark_ended,
)

SPEC = GateSpec("S0.services", "services", Op.EQ, 2, "services")
INFO = RunInfo("k2-lab", "sha256:0", "inventory/lab", "lab", False, {"k2.hardening": "0.1.0"}, None, {"cpus": 2})


READER = """
import json, sys
reads = 0
print("reading", flush=True)
while json.load(open(sys.argv[1]))["state"] == "running":
    reads += 1
print(reads)
"""


def not_run() -> list[GateResult]:
    return [GateResult(SPEC, Verdict.NOT_RUN, "not yet", Scale.LAB)]


def start(root, info=INFO, owner=None) -> RunDir:
    return RunDir.create(root, info, not_run(), owner or Owner.of(os.getpid()))


@pytest.fixture
def dead_owner():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        owner = Owner.of(process.pid)
        assert owner.alive
        process.communicate(b"\n", timeout=10)
    assert not owner.alive
    return owner


def test_a_new_run_lists_every_gate_and_is_latest(tmp_path):
    run = start(tmp_path)
    results = json.loads((tmp_path / "latest" / "results.json").read_text())
    assert results["run_id"] == run.run_id
    assert results["state"] == "running"
    assert [entry["verdict"] for entry in results["gates"]] == ["NOT_RUN"]
    assert results["verdict"] == "INCONCLUSIVE"


def test_recording_writes_evidence_and_enters_the_gate(tmp_path):
    run = start(tmp_path)
    run.record(decide(SPEC, Scale.LAB, 2, 2, ""), {"services": {}}, "counted")
    assert run.end(RunState.FINISHED) is Verdict.PASS
    (entry,) = run.results()["gates"]
    assert entry["verdict"] == "PASS"
    evidence = json.loads((run.path / entry["evidence"][0]).read_text())
    assert (evidence["id"], evidence["mechanism"], evidence["n"]) == ("S0.services", "counted", 2)


def test_a_gate_that_is_not_listed_is_refused(tmp_path):
    stranger = decide(replace(SPEC, id="S9.none"), Scale.LAB, 2, 2, "")
    with pytest.raises(RunError, match="does not list the gate"):
        start(tmp_path).record(stranger, {}, "counted")


def test_whether_a_gate_blocks_is_settled_at_the_start(tmp_path):
    unselected = [GateResult(replace(SPEC, blocking=False), Verdict.NOT_RUN, "not selected", Scale.LAB)]
    run = RunDir.create(tmp_path, INFO, unselected, Owner.of(os.getpid()))
    run.record(decide(SPEC, Scale.LAB, 1, 2, "one is down"), {}, "counted")
    assert run.gates()[0].spec.blocking is False


@pytest.mark.parametrize(
    ("verdict", "blocks"),
    [(Verdict.NOT_RUN, False), (Verdict.INCONCLUSIVE, True), (Verdict.FAIL, True)],
)
def test_only_what_was_not_run_may_turn_out_not_to_have_been_asked_for(tmp_path, verdict, blocks):
    run = start(tmp_path)
    run.record(GateResult(replace(SPEC, blocking=False), verdict, "not chosen", Scale.LAB), {}, "not measured")
    assert run.gates()[0].spec.blocking is blocks


@pytest.mark.parametrize("state", [RunState.ERROR, RunState.INTERRUPTED])
def test_a_run_that_did_not_finish_has_not_passed(tmp_path, state):
    run = start(tmp_path)
    run.record(decide(SPEC, Scale.LAB, 2, 2, ""), {}, "counted")
    assert run.end(state, "stopped half-way") is Verdict.INCONCLUSIVE
    assert run.results()["error"] == "stopped half-way"


def test_the_first_end_counts(tmp_path):
    run = start(tmp_path)
    run.record(decide(SPEC, Scale.LAB, 1, 2, "one is down"), {}, "counted")
    run.end(RunState.FINISHED)
    mark_ended(run.path, "interrupted", "too late")
    assert (run.results()["state"], run.results()["verdict"], run.results()["error"]) == ("finished", "FAIL", None)


def test_a_second_run_against_the_same_platform_is_refused(tmp_path):
    first = start(tmp_path)
    with pytest.raises(RunError, match="another run against k2-lab is active") as refusal:
        start(tmp_path)
    assert first.run_id in str(refusal.value)
    start(tmp_path, info=replace(INFO, profile="another"))


def test_a_run_left_by_a_dead_process_is_closed_as_interrupted(tmp_path, dead_owner):
    left = start(tmp_path, owner=dead_owner)
    start(tmp_path)
    assert left.results()["state"] == "interrupted"
    assert left.results()["verdict"] == "INCONCLUSIVE"


def test_a_reused_pid_is_not_the_owner():
    me = Owner.of(os.getpid())
    assert me.alive
    assert not replace(me, start_ticks=me.start_ticks - 1).alive
    assert not replace(me, boot_id="another boot").alive


def test_a_directory_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"no readable .*results.json"):
        RunDir.open(tmp_path)


def test_an_unwritable_root_says_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="k2_artifacts_dir"):
        start(tmp_path / "file")


def test_results_are_whole_at_every_moment(tmp_path):
    """A reader polling while the run is edited never meets a half-written file."""
    run = start(tmp_path)
    reader = subprocess.Popen(
        [
            sys.executable,
            "-c",
            READER,
            str(run.path / "results.json"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert reader.stdout is not None
    reader.stdout.readline()
    for measured in (0, 1) * 20:
        run.record(decide(SPEC, Scale.LAB, measured, 2, "counting"), {"pad": "x" * 10_000}, "counted")
    run.end(RunState.FINISHED)
    out, _ = reader.communicate(timeout=30)
    assert reader.returncode == 0
    assert int(out) > 0

# SPDX-License-Identifier: Apache-2.0
"""S5.signoff: a tag for a whole run at full scale that passed, or the list of all that is missing."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from recorded_runs import change, documents, full_data, whole_run

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile
from ansible_collections.k2.hardening.plugins.module_utils.report.signoff import TAG, SignOffRefused, sign_off
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import GateResult, Scale, Verdict
from ansible_collections.k2.hardening.plugins.module_utils.verdict.rundir import RunDir, RunState
from ansible_collections.k2.hardening.plugins.module_utils.verdict.signoff import decide_sign_off

PROFILE = parse_profile(full_data())
LONG_AGO = "2020-01-01T00:00:00Z"


def git(where: Path, *arguments: str, when: str = LONG_AGO) -> str:
    names = {f"GIT_{who}_{what}": "nobody@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return subprocess.run(
        ["git", "-C", str(where), *arguments],
        env={**os.environ, **names, "GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The platform's checkout, older than any run."""
    path = tmp_path / "platform"
    path.mkdir()
    git(path, "init", "-q")
    git(path, "config", "user.name", "nobody")
    git(path, "config", "user.email", "nobody@example.com")
    (path / "compose.yml").write_text("a: 1\n")
    git(path, "add", ".")
    git(path, "commit", "-qm", "as deployed")
    return path


def decided(run: RunDir) -> RunDir:
    """The run with step S5 decided, and ended."""
    documents(run)
    for one in decide_sign_off(PROFILE, run, Scale.FULL):
        run.record(one.result, one.detail, one.mechanism)
    run.end(RunState.FINISHED)
    return run


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return decided(whole_run(tmp_path / "runs", PROFILE))


def test_a_run_that_passed_is_signed_off_once(run: RunDir, checkout: Path) -> None:
    assert run.results()["verdict"] == "PASS"
    planned = sign_off(run.path, checkout, only_look=True)
    assert planned.changed
    assert git(checkout, "tag") == ""
    signed = sign_off(run.path, checkout)
    assert (signed.changed, signed.pushed) == (True, False)
    assert git(checkout, "cat-file", "-t", TAG) == "tag"
    assert git(checkout, "rev-parse", f"{TAG}^{{commit}}") == git(checkout, "rev-parse", "HEAD") == signed.commit
    message = git(checkout, "tag", "-l", "--format=%(contents)", TAG)
    digest = hashlib.sha256((run.path / "report/index.html").read_bytes()).hexdigest()
    assert f"Run: {run.run_id}" in message.splitlines()
    assert f"Report-SHA256: {digest}" in message.splitlines()
    before = git(checkout, "rev-parse", TAG)
    assert not sign_off(run.path, checkout).changed
    assert git(checkout, "rev-parse", TAG) == before


def test_a_tag_is_pushed_only_when_asked_and_alone(run: RunDir, checkout: Path, tmp_path: Path) -> None:
    remote = tmp_path / "remote.git"
    git(tmp_path, "init", "-q", "--bare", str(remote))
    git(checkout, "remote", "add", "origin", str(remote))
    sign_off(run.path, checkout)
    assert git(remote, "for-each-ref") == ""
    assert sign_off(run.path, checkout, remote="origin").pushed
    assert git(remote, "for-each-ref", "--format=%(refname)") == f"refs/tags/{TAG}"
    again = sign_off(run.path, checkout, remote="origin")
    assert (again.changed, again.pushed) == (False, False)


def dirty(_run: RunDir, checkout: Path) -> None:
    (checkout / "compose.yml").write_text("a: 2\n")


def young(_run: RunDir, checkout: Path) -> None:
    git(checkout, "commit", "-q", "--allow-empty", "-m", "not tested", when="2090-01-01T00:00:00Z")


def tagged(_run: RunDir, checkout: Path) -> None:
    git(checkout, "tag", TAG)


def unrendered(run: RunDir, _checkout: Path) -> None:
    (run.path / "report/index.html").unlink()


def quick(run: RunDir, _checkout: Path) -> None:
    change(run.path / "results.json", quick=True)


def lab(run: RunDir, _checkout: Path) -> None:
    change(run.path / "results.json", scale="lab")


def running(run: RunDir, _checkout: Path) -> None:
    change(run.path / "results.json", state="running")


def broken_off(run: RunDir, _checkout: Path) -> None:
    change(run.path / "results.json", state="error", error="no host")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (dirty, "1 changed files that no commit holds (compose.yml)"),
        (young, "was made after the run began"),
        (tagged, f"tag {TAG} is at"),
        (unrendered, "the report report/index.html"),
        (quick, "this one is quick"),
        (lab, "of scale lab"),
        (running, "this one is running"),
        (broken_off, "error: no host"),
    ],
)
def test_what_is_missing_is_told_and_no_tag_made(
    run: RunDir, checkout: Path, spoil: Callable[[RunDir, Path], None], told: str
) -> None:
    spoil(run, checkout)
    before = git(checkout, "for-each-ref")
    with pytest.raises(SignOffRefused) as refused:
        sign_off(run.path, checkout)
    assert [one for one in refused.value.missing if told in one], refused.value.missing
    assert len(refused.value.missing) == 1
    assert git(checkout, "for-each-ref") == before


def test_all_that_is_missing_is_told_at_once(run: RunDir, checkout: Path) -> None:
    for spoil in (dirty, tagged, quick):
        spoil(run, checkout)
    with pytest.raises(SignOffRefused) as refused:
        sign_off(run.path, checkout)
    assert len(refused.value.missing) == 3


def test_no_repository_and_evidence_that_is_gone(run: RunDir, checkout: Path, tmp_path: Path) -> None:
    with pytest.raises(SignOffRefused, match="not a git repository"):
        sign_off(run.path, tmp_path)
    with pytest.raises(SignOffRefused, match="no directory"):
        sign_off(run.path, tmp_path / "nowhere")
    (run.path / "evidence/S0.services.json").unlink()
    with pytest.raises(K2Error, match=r"S0\.services\.json"):
        sign_off(run.path, checkout)
    assert git(checkout, "tag") == ""


def of(verdict: Verdict, run: RunDir, name: str) -> GateResult:
    gate = next(gate for gate in run.gates() if gate.spec.id == name)
    return replace(gate, verdict=verdict, reason="because", evidence=())


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (Verdict.FAIL, Verdict.FAIL),
        (Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE),
        (Verdict.NOT_RUN, Verdict.INCONCLUSIVE),
    ],
)
def test_a_gate_that_did_not_pass_keeps_the_run_from_being_signed_off(
    tmp_path: Path, checkout: Path, verdict: Verdict, expected: Verdict
) -> None:
    run = whole_run(tmp_path / "runs", PROFILE)
    run.record(of(verdict, run, "S3.audit"), {}, "a test")
    decided(run)
    gates = {gate.spec.id: gate for gate in run.gates()}
    assert gates["S5.signoff"].verdict is expected
    assert f"S3.audit is {verdict}: because" in gates["S5.signoff"].reason
    with pytest.raises(SignOffRefused, match=r"S3\.audit is"):
        sign_off(run.path, checkout)


def test_what_tags_or_a_selection_left_out_is_missing_though_it_blocks_nothing(tmp_path: Path) -> None:
    run = whole_run(tmp_path / "runs", PROFILE)
    left_out = of(Verdict.NOT_RUN, run, "S3.audit")
    run.record(replace(left_out, spec=replace(left_out.spec, blocking=False)), {}, "a test")
    decided(run)
    gates = {gate.spec.id: gate for gate in run.gates()}
    assert not gates["S3.audit"].spec.blocking
    assert gates["S5.signoff"].verdict is Verdict.INCONCLUSIVE


def test_another_profile_is_missing_the_old_one(tmp_path: Path) -> None:
    run = whole_run(tmp_path / "runs", PROFILE)
    change(run.path / "run.json", profile_digest="sha256:other")
    decided(run)
    assert "the profile that the run was begun with" in run.results()["gates"][-1]["reason"]


def test_a_run_at_lab_scale_is_not_blocked_by_what_it_cannot_have(tmp_path: Path) -> None:
    data = full_data()
    data["k2_platform"]["scale"] = "lab"
    profile = parse_profile(data)
    run = whole_run(tmp_path / "runs", profile)
    documents(run)
    for one in decide_sign_off(profile, run, Scale.LAB):
        run.record(one.result, one.detail, one.mechanism)
    run.end(RunState.FINISHED)
    own = run.results()["gates"][-1]
    assert (own["id"], own["verdict"], own["blocking"]) == ("S5.signoff", "NOT_RUN", False)
    assert run.results()["verdict"] == "PASS"


def test_late_evidence_changes_the_verdict_of_a_run_that_has_ended(run: RunDir) -> None:
    run.record(of(Verdict.FAIL, run, "S3.audit"), {}, "a test")
    assert run.results()["verdict"] == "FAIL"

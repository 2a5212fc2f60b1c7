# SPDX-License-Identifier: Apache-2.0
"""Decide a step's gates on the controller and record them; documented in the module of the same name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile
from ansible_collections.k2.hardening.plugins.module_utils.verdict.alert_drill import decide_drill, is_drill
from ansible_collections.k2.hardening.plugins.module_utils.verdict.baseline import read_baseline
from ansible_collections.k2.hardening.plugins.module_utils.verdict.coverage import decide_coverage
from ansible_collections.k2.hardening.plugins.module_utils.verdict.failure import decide_failure
from ansible_collections.k2.hardening.plugins.module_utils.verdict.failure_whole import Recorded
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import Decided, GateResult, Scale, Verdict
from ansible_collections.k2.hardening.plugins.module_utils.verdict.latency import decide_latency
from ansible_collections.k2.hardening.plugins.module_utils.verdict.monitoring import decide_monitoring
from ansible_collections.k2.hardening.plugins.module_utils.verdict.preflight import decide_preflight
from ansible_collections.k2.hardening.plugins.module_utils.verdict.resources import decide_resources
from ansible_collections.k2.hardening.plugins.module_utils.verdict.runbook import decide_runbooks
from ansible_collections.k2.hardening.plugins.module_utils.verdict.rundir import RunDir, RunError
from ansible_collections.k2.hardening.plugins.module_utils.verdict.signoff import decide_sign_off


@dataclass(frozen=True)
class Decision:
    """What a step's gates are decided from."""

    profile: Profile
    facts: dict[str, Any]
    run: RunDir
    scale: Scale
    baseline: str | None


class ActionModule(ActionBase):
    """Everything happens in this process: evidence is kept on the controller."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(
            argument_spec={
                "step": {"type": "str", "required": True, "choices": tuple(DECIDE)},
                "run_dir": {"type": "path", "required": True},
                "profile": {"type": "dict", "required": True},
                "facts": {"type": "dict", "required": True},
                "baseline": {"type": "path"},
            },
        )
        if self._task.check_mode:
            return result | {"changed": False, "skipped": True, "msg": "check mode: no gate is recorded"}
        try:
            run = RunDir.open(Path(args["run_dir"]))
            decided = _decide(args, run)
            gates = [_record(run, one).to_json() for one in decided]
        except K2Error as error:
            raise AnsibleActionFail(str(error)) from error
        failed = [
            one.result.spec.id for one in decided if one.result.verdict is Verdict.FAIL and one.result.spec.blocking
        ]
        return result | {"changed": True, "gates": gates, "blocking_failures": failed}


def _record(run: RunDir, one: Decided) -> GateResult:
    """Samples first: evidence never names a file that is not there."""
    for path, content in one.samples.items():
        run.keep(path, content)
    return run.record(one.result.with_evidence(*one.samples), one.detail, one.mechanism)


def _preflight(of: Decision) -> list[Decided]:
    return decide_preflight(of.profile, of.facts)


def _latency(of: Decision) -> list[Decided]:
    return decide_latency(of.profile, of.facts, of.scale, read_baseline(Path(of.baseline)) if of.baseline else None)


def _resources(of: Decision) -> list[Decided]:
    return decide_resources(of.profile, of.facts, of.scale)


def _failure(of: Decision) -> list[Decided]:
    recorded = Recorded({gate.spec.id: gate for gate in of.run.gates()}, of.run.details("S3"))
    return decide_failure(of.profile, of.facts, of.scale, recorded)


def _monitoring(of: Decision) -> list[Decided]:
    if of.facts.get("coverage"):
        return [decide_coverage(of.profile, of.scale)]
    if is_drill(of.facts):
        return decide_drill(of.profile, of.facts, of.scale)
    return decide_monitoring(of.profile, of.facts, of.scale)


def _documents(of: Decision) -> list[Decided]:
    if "runbook" in of.facts or "runbooks" in of.facts:
        return decide_runbooks(of.profile, of.facts, of.scale)
    if not of.facts.get("sign_off"):
        raise RunError(
            "facts of step S5 say nothing",
            expected="runbook, runbooks or sign_off: true",
            seen=str(sorted(of.facts)),
        )
    return decide_sign_off(of.profile, of.run, of.scale)


DECIDE: dict[str, Callable[[Decision], list[Decided]]] = {
    "S0": _preflight,
    "S1": _latency,
    "S2": _resources,
    "S3": _failure,
    "S4": _monitoring,
    "S5": _documents,
}


def _decide(args: dict[str, Any], run: RunDir) -> list[Decided]:
    results = run.results()
    decision = Decision(
        profile=parse_profile(args["profile"]),
        facts=args["facts"],
        run=run,
        scale=Scale.SHORTENED if results["quick"] else Scale(results["scale"]),
        baseline=args["baseline"],
    )
    return DECIDE[args["step"]](decision)

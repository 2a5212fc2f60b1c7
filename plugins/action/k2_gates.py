# SPDX-License-Identifier: Apache-2.0
"""Decide a step's gates on the controller and record them; documented in the module of the same name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile
from ansible_collections.k2.hardening.plugins.module_utils.verdict.baseline import read_baseline
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import Decided, Scale, Verdict
from ansible_collections.k2.hardening.plugins.module_utils.verdict.latency import decide_latency
from ansible_collections.k2.hardening.plugins.module_utils.verdict.preflight import decide_preflight
from ansible_collections.k2.hardening.plugins.module_utils.verdict.rundir import RunDir

STEPS = ("S0", "S1")


class ActionModule(ActionBase):
    """Everything happens in this process: evidence is kept on the controller."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(
            argument_spec={
                "step": {"type": "str", "required": True, "choices": STEPS},
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
            gates = [run.record(one.result, one.detail, one.mechanism).to_json() for one in decided]
        except K2Error as error:
            raise AnsibleActionFail(str(error)) from error
        failed = [
            one.result.spec.id for one in decided if one.result.verdict is Verdict.FAIL and one.result.spec.blocking
        ]
        return result | {"changed": True, "gates": gates, "blocking_failures": failed}


def _decide(args: dict[str, Any], run: RunDir) -> list[Decided]:
    profile = parse_profile(args["profile"])
    if args["step"] == "S0":
        return decide_preflight(profile, args["facts"])
    results = run.results()
    scale = Scale.SHORTENED if results["quick"] else Scale(results["scale"])
    baseline = read_baseline(Path(args["baseline"])) if args["baseline"] else None
    return decide_latency(profile, args["facts"], scale, baseline)

# SPDX-License-Identifier: Apache-2.0
"""Begin and end a run on the controller; documented in the module of the same name."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.release import __version__ as ansible_version

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.references import contradictions
from ansible_collections.k2.hardening.plugins.module_utils.verdict import catalogue
from ansible_collections.k2.hardening.plugins.module_utils.verdict.lines import lines
from ansible_collections.k2.hardening.plugins.module_utils.verdict.rundir import Owner, RunDir, RunInfo, RunState
from ansible_collections.k2.hardening.plugins.module_utils.verdict.version import collection_version

COLLECTION_ROOT = Path(__file__).resolve().parents[2]


class ActionModule(ActionBase):
    """Everything happens in this process: the run directory is on the controller."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(
            argument_spec={
                "state": {"type": "str", "choices": ["started", "finished", "error"], "required": True},
                "profile": {"type": "dict"},
                "artifacts_dir": {"type": "path"},
                "inventory": {"type": "str", "default": ""},
                "quick": {"type": "bool", "default": False},
                "steps": {"type": "list", "elements": "str"},
                "run_dir": {"type": "path"},
                "error": {"type": "str"},
            },
            required_if=[
                ("state", "started", ("profile", "artifacts_dir")),
                ("state", "finished", ("run_dir",)),
                ("state", "error", ("run_dir", "error")),
            ],
        )
        if self._task.check_mode:
            return result | {"changed": False, "skipped": True, "msg": "check mode: no run is recorded"}
        try:
            return result | (self._start(args, task_vars or {}) if args["state"] == "started" else self._end(args))
        except K2Error as error:
            raise AnsibleActionFail(str(error)) from error

    def _start(self, args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        profile = parse_profile(args["profile"])
        selected = _selected_steps(task_vars) & set(args["steps"] or catalogue.STEPS)
        info = RunInfo(
            profile=profile.platform.name,
            profile_digest=profile.digest(),
            inventory=args["inventory"],
            scale=profile.platform.scale.value,
            quick=args["quick"],
            versions={
                "k2.hardening": collection_version(COLLECTION_ROOT),
                "ansible-core": ansible_version,
                "python": platform.python_version(),
            },
            git_commit=_git_commit(COLLECTION_ROOT),
            host_facts={
                "controller": platform.node(),
                "kernel": platform.release(),
                "cpus": os.cpu_count(),
                "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
            },
            findings=contradictions(profile),
        )
        # Tasks run in forked workers; the parent is ansible-playbook itself, which lives as long as the run.
        run = RunDir.create(
            # Absolute: plugins that look a file up would take it as relative to a role.
            Path(args["artifacts_dir"]).absolute(),
            info,
            catalogue.not_run(profile, selected),
            Owner.of(os.getppid()),
        )
        return {"changed": True, "run_id": run.run_id, "run_dir": str(run.path), "steps": sorted(selected)}

    def _end(self, args: dict[str, Any]) -> dict[str, Any]:
        run = RunDir.open(Path(args["run_dir"]))
        verdict = run.end(RunState(args["state"]), args["error"])
        gates = run.gates()
        return {
            "changed": True,
            "verdict": str(verdict),
            "gates": [gate.to_json() for gate in gates],
            "summary": lines(gates),
        }


def _selected_steps(task_vars: dict[str, Any]) -> set[str]:
    """The steps that this invocation's tags select; tags are the step ids in lower case, as in the playbooks."""
    only = {str(tag) for tag in task_vars.get("ansible_run_tags", ["all"])}
    skip = {str(tag) for tag in task_vars.get("ansible_skip_tags", [])}
    every = {"all", "tagged"} & only
    return {step for step in catalogue.STEPS if (every or step.lower() in only) and step.lower() not in skip}


def _git_commit(directory: Path) -> str | None:
    """The commit of the checkout this collection runs from, with ``-dirty`` when it has changes; None outside a
    checkout.
    """
    if not (directory / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()

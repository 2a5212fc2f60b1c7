# SPDX-License-Identifier: Apache-2.0
"""Render a run's report on the controller; documented in the module of the same name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.report.render import render

TEMPLATES = Path(__file__).resolve().parents[2] / "roles" / "report" / "templates"


class ActionModule(ActionBase):
    """Everything happens in this process: the run directory is on the controller."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec={"run_dir": {"type": "path", "required": True}})
        if self._task.check_mode:
            return result | {"changed": False, "skipped": True, "msg": "check mode: no report is rendered"}
        try:
            files = render(Path(args["run_dir"]), TEMPLATES)
        except K2Error as error:
            raise AnsibleActionFail(str(error)) from error
        return result | {"changed": True, "files": [str(path) for path in files]}

# SPDX-License-Identifier: Apache-2.0
"""Compare two runs on the controller; documented in the module of the same name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.report.compare import (
    compare_runs,
    lines,
    render_comparison,
)

TEMPLATES = Path(__file__).resolve().parents[2] / "roles" / "report" / "templates"


class ActionModule(ActionBase):
    """Everything happens in this process: runs are on the controller."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(
            argument_spec={
                "before": {"type": "path", "required": True},
                "after": {"type": "path", "required": True},
                "directory": {"type": "path"},
            },
        )
        try:
            comparison = compare_runs(Path(args["before"]), Path(args["after"]))
            where = Path(args["directory"]) if args["directory"] else None
            files = [] if self._task.check_mode else render_comparison(comparison, TEMPLATES, where)
        except K2Error as error:
            raise AnsibleActionFail(str(error)) from error
        return result | {
            "changed": bool(files),
            "verdict": str(comparison.verdict),
            "regressions": [gate.id for gate in comparison.regressions],
            "summary": list(lines(comparison)),
            "files": [str(path) for path in files],
        }

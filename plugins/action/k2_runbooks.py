# SPDX-License-Identifier: Apache-2.0
"""Render runbooks on the controller; documented in the module of the same name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.runbooks import runbook_modes
from ansible_collections.k2.hardening.plugins.module_utils.report.runbooks.measured import Evidence
from ansible_collections.k2.hardening.plugins.module_utils.report.runbooks.render import Wanted, render_runbooks
from ansible_collections.k2.hardening.plugins.module_utils.report.runbooks.site import SiteError

TEMPLATES = Path(__file__).resolve().parents[2] / "roles" / "runbooks" / "templates"


class ActionModule(ActionBase):
    """Everything happens in this process: evidence and documents are on the controller."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(
            argument_spec={
                "profile": {"type": "dict", "required": True},
                "directory": {"type": "path", "required": True},
                "run_dir": {"type": "path"},
                "artifacts_dir": {"type": "path", "required": True},
                "state_dir": {"type": "path", "required": True},
                "templates": {"type": "path"},
                "site": {"type": "bool", "default": True},
            },
        )
        directory = Path(args["directory"])
        try:
            profile = parse_profile(args["profile"])
            run_dir = Path(args["run_dir"]) if args["run_dir"] else None
            evidence = Evidence(run_dir, Path(args["artifacts_dir"]), profile.platform.name)
            wanted = Wanted(
                directory,
                Path(args["templates"]) if args["templates"] else TEMPLATES,
                args["state_dir"],
                directory.parent / "site" if args["site"] else None,
                check=self._task.check_mode,
            )
            try:
                done = render_runbooks(profile, evidence, wanted)
            except SiteError as error:
                # People can read Markdown: a generator that is not there takes no runbook away.
                result.setdefault("warnings", []).append(str(error))
                done = render_runbooks(
                    profile, evidence, Wanted(directory, wanted.templates, wanted.state_dir, None, wanted.check)
                )
        except K2Error as error:
            raise AnsibleActionFail(str(error)) from error
        modes = [
            {
                "mode": mode.name,
                "services": list(mode.services),
                "not_applicable": mode.not_applicable,
                "path": done.runbooks[mode.name],
            }
            for mode in runbook_modes(profile)
        ]
        return result | {
            "changed": bool(done.changed or done.site_changed),
            "files": list(done.changed),
            "runbooks": modes,
            "site": done.site,
        }

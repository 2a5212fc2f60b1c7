# SPDX-License-Identifier: Apache-2.0
"""Sign a run off on the controller; documented in the module of the same name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.report.signoff import TAG, SignOffRefused, sign_off


class ActionModule(ActionBase):
    """Everything happens in this process: evidence and the checkout are on the controller."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(
            argument_spec={
                "run_dir": {"type": "path", "required": True},
                "repository": {"type": "path", "required": True},
                "tag": {"type": "str", "default": TAG},
                "push": {"type": "bool", "default": False},
                "remote": {"type": "str", "default": "origin"},
            },
        )
        remote = args["remote"] if args["push"] else None
        try:
            signed = sign_off(
                Path(args["run_dir"]),
                Path(args["repository"]),
                args["tag"],
                remote,
                only_look=self._task.check_mode,
            )
        except SignOffRefused as refused:
            return result | {"failed": True, "changed": False, "msg": str(refused), "missing": list(refused.missing)}
        except K2Error as error:
            raise AnsibleActionFail(str(error)) from error
        return result | {
            "changed": signed.changed,
            "tag": signed.tag,
            "commit": signed.commit,
            "message": signed.message,
            "pushed": signed.pushed,
            "missing": [],
        }

# SPDX-License-Identifier: Apache-2.0
"""Make the plans of a drill from the catalogue, which is read on the controller, and run the module on the target."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.k2.hardening.plugins.module_utils.catalogue.drills import drill_plans
from ansible_collections.k2.hardening.plugins.module_utils.catalogue.load import load_catalogue
from ansible_collections.k2.hardening.plugins.module_utils.catalogue.rules import rules_of
from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile


class ActionModule(ActionBase):
    """Whoever gives ``alerts`` drills those instead."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = dict(self._task.args)
        if args.get("alerts") is None and isinstance(args.get("profile"), dict):
            try:
                profile = parse_profile(args["profile"])
                catalogue = load_catalogue()
                args["alerts"] = drill_plans(catalogue, rules_of(catalogue, profile), profile)
            except K2Error as error:
                raise AnsibleActionFail(str(error)) from error
        answer: dict[str, Any] = self._execute_module(module_args=args, task_vars=task_vars)
        return result | answer

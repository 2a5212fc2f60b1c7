# SPDX-License-Identifier: Apache-2.0
"""Says that it has rendered a report, so that the callback can be tried without a run that has anything to show."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        return result | {"changed": True, "files": ["/runs/1/report/report.md", "/runs/1/report/index.html"]}

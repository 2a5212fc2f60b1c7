# SPDX-License-Identifier: Apache-2.0
"""Begins a run without gates, so that the callback can be tried without a platform."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.k2.hardening.plugins.module_utils.verdict.rundir import Owner, RunDir, RunInfo


class ActionModule(ActionBase):
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        info = RunInfo("test", "0", "test", "lab", True, {}, None, {})
        run = RunDir.create(Path(self._task.args["artifacts_dir"]), info, [], Owner.of(os.getppid()))
        return result | {"changed": True, "run_id": run.run_id, "run_dir": str(run.path)}

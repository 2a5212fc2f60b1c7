# SPDX-License-Identifier: Apache-2.0
"""Run the module on the target, then bound the target's clock against the controller's: only the controller can
do that.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.k2.hardening.plugins.module_utils.core.clock import Deadline
from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.measure.clock_dialogue import ANSWER_EACH_LINE, ClockDialogue
from ansible_collections.k2.hardening.plugins.module_utils.measure.clock_skew import TIME_LIMIT_S, Skew, measure_skew
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile


class ActionModule(ActionBase):
    """Adds the skew between controller and target to what the module saw."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        result |= self._execute_module(task_vars=task_vars)
        if result.get("failed"):
            return result
        limit_ms = parse_profile(self._task.args["profile"]).platform.clock.max_skew_ms
        result["clocks"] = [asdict(self._skew(limit_ms)), *result["clocks"]]
        return result

    def _skew(self, limit_ms: float) -> Skew:
        """By a dialogue where the connection allows one, else by a command for each reading."""
        name = "target against controller"
        command = self._dialogue_command()
        if command:
            try:
                with ClockDialogue(command) as clock:
                    skew = measure_skew(name, clock.read_us, limit_ms, Deadline.after(TIME_LIMIT_S))
            except K2Error:
                skew = Skew(name, None, None, 0, "no dialogue")
            if skew.n:
                return skew
        return measure_skew(name, self._target_time_us, limit_ms, Deadline.after(TIME_LIMIT_S))

    def _dialogue_command(self) -> list[str]:
        """An ssh like the connection's own; none for another kind, or where a password would have to be handed over."""
        connection = self._connection
        if connection.transport != "ssh" or connection.get_option("password"):
            return []
        program = connection.get_option("ssh_executable")
        return [
            part if isinstance(part, str) else part.decode()
            for part in connection._build_command(program, "ssh", connection.host, ANSWER_EACH_LINE)  # noqa: SLF001
        ]

    def _target_time_us(self) -> int:
        done = self._low_level_execute_command("date +%s%N")
        text = done["stdout"].strip()
        if done["rc"] != 0 or not text.isdigit():
            raise K2Error(
                "cannot read the target's clock",
                expected="nanoseconds from date +%s%N",
                seen=text or done["stderr"].strip(),
            )
        return int(text) // 1000
